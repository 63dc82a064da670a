"""One server on real engines for the whole run, with a workspace and keys of each role."""

import asyncio
import secrets
import socket
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from isthmus.app.engines import Engines
from isthmus.app.http.server import HttpServer
from isthmus.app.program import Program, migrate_as_owner, opened
from isthmus.app.settings import Settings
from isthmus.auth.keys import KeyWish, create_key
from isthmus.auth.sessions import create_admin_link
from isthmus.store.database import Scope
from tests.rooms.app.engines import stage
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.rivals import Rivals, rivals

T = TypeVar("T")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Site:
    """A running server and the means to prepare what it serves."""

    settings: Settings
    engines: Engines
    server: HttpServer

    def run(self, work: Callable[[Program], Coroutine[object, object, T]]) -> T:
        """Do something beside the server, in a program of its own."""

        async def inside() -> T:
            async with opened(self.settings, self.engines, connections_max=2) as program:
                return await work(program)

        return asyncio.run(inside())

    def workspace(self, *, kind: str = "live") -> int:
        """Return a new workspace."""

        async def make(program: Program) -> int:
            slug = f"test-{secrets.token_hex(6)}"
            async with program.database.plain() as connection:
                cursor = await connection.execute(
                    "insert into workspace (slug, name, kind, created_at) values (%s, 'Test', %s, now()) returning id",
                    (slug, kind),
                )
                row = await cursor.fetchone()
            assert row is not None
            return int(row[0])

        return self.run(make)

    def key(self, workspace: int, *roles: str, permissions: tuple[str, ...] = ()) -> str:
        """Return the text of a new key with these roles."""

        async def make(program: Program) -> str:
            domains = sorted({each.domain for each in program.store.schema})
            wish = KeyWish(name="Test", roles=roles, permissions=permissions)
            async with program.database.transaction(scope_of(workspace)) as tx:
                _, text = await create_key(tx, wish, domains=domains, giver=None)
            return text.text

        return self.run(make)

    def link(self, workspace: int) -> str:
        """Return the token of a new one-time link."""

        async def make(program: Program) -> str:
            async with program.database.transaction(scope_of(workspace)) as tx:
                return await create_admin_link(tx)

        return self.run(make)

    def caller(self, key: str | None = None) -> Caller:
        """Return somebody who calls the server."""
        return Caller(self.settings.port, key)


def scope_of(workspace: int) -> Scope:
    """Return the scope of a tester, now."""
    return Scope(workspace=workspace, actor="user:tester", cause="test", now=datetime.now(UTC))


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """The server of all tests of this room."""
    with stage.directory() as data_dir, stage.start(data_dir) as engines:
        migrate_as_owner(engines.postgres)
        settings = Settings(data_dir=Path(data_dir), port=free_port(), workers=2)
        server = HttpServer.start(settings)
        try:
            yield Site(settings, engines, server)
        finally:
            server.stop()


@pytest.fixture(scope="session")
def two(site: Site) -> Iterator[Rivals]:
    """Two processes beside the server, of which races kill one."""
    with rivals(site.settings) as running:
        yield running


@pytest.fixture(scope="session")
def counted(site: Site) -> Iterator[Callable[[str, int], int]]:
    """Counts rows of a workspace, by what stands behind `from`."""
    with stage.connect(site.engines.postgres.owner) as connection:

        def count(rows: str, workspace: int) -> int:
            query = f"select count(*) from {rows} and workspace = %s".encode()  # noqa: S608 - the tests' own words.
            row = connection.execute(query, (workspace,)).fetchone()
            assert row is not None
            return int(row[0])

        yield count


@pytest.fixture(scope="session")
def shared_workspace(site: Site) -> int:
    """A workspace for tests that only look."""
    return site.workspace()


@pytest.fixture(scope="session")
def owner(site: Site, shared_workspace: int) -> Caller:
    """Its owner."""
    return site.caller(site.key(shared_workspace, "owner"))
