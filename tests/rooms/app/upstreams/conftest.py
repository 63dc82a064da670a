"""A server that may call services on this machine, a service, and a key that may use it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isthmus.app.http.server import HttpServer
from isthmus.app.program import migrate_as_owner
from isthmus.app.settings import Settings
from isthmus.kernel.marks import Json
from tests.rooms.app.engines import stage
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site, free_port
from tests.rooms.app.upstreams.service import Service

PROXY_KEY = "k" * 40


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server of all tests of this room, with one worker, so that what it learns of a service is one story."""
    key = tmp_path_factory.mktemp("keys") / "authz"
    key.write_text(PROXY_KEY, "ascii")
    with stage.directory() as data_dir, stage.start(data_dir) as engines:
        migrate_as_owner(engines.postgres)
        settings = Settings(
            data_dir=Path(data_dir),
            port=free_port(),
            upstream_allow="127.0.0.0/8",
            authz_key_file=key,
        )
        server = HttpServer.start(settings)
        try:
            yield Site(settings, engines, server)
        finally:
            server.stop()


@pytest.fixture
def service() -> Iterator[Service]:
    """A service of the test's own."""
    with Service.running() as running:
        yield running


@pytest.fixture
def workspace(site: Site) -> int:
    """A workspace of the test's own."""
    return site.workspace()


@pytest.fixture
def owner(site: Site, workspace: int) -> Caller:
    """Its owner."""
    return site.caller(site.key(workspace, "owner"))


@pytest.fixture
def register(owner: Caller, service: Service) -> Callable[..., str]:
    """Return what registers the service, and returns the path under which it is reached."""

    def add(name: str = "billing", **given: Json) -> str:
        answer = owner.post("/api/v1/upstreams", {"name": name, "url": service.url, **given})
        assert answer.status == 201, answer.body
        return f"/up/{name}"

    return add
