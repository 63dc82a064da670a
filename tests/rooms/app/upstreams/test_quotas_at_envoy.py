"""A real Envoy keeps to the quotas that it is assigned, without asking for each call."""

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from isthmus.app.program import Program
from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site, free_port
from tests.rooms.app.upstreams.conftest import PROXY_KEY
from tests.rooms.app.upstreams.proxies import envoy, running
from tests.rooms.app.upstreams.service import Service

RATE, OVERLOAD, LINES, MEASURED_S = 100, 5, 10, 10.0


@contextmanager
def quotas(site: Site, port: int, into: Path) -> Generator[None]:
    """Run the role that assigns quotas."""
    own = {"ISTHMUS_DATA_DIR": str(site.settings.data_dir), "ISTHMUS_RLQS_LISTEN": f"127.0.0.1:{port}"}
    into.mkdir()
    command = [sys.executable, "-m", "isthmus.app.role", "rlqs"]
    before = dict(os.environ)
    os.environ.update(own)
    try:
        with running(command, port, cwd=into):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def flood(port: int, key: str, *, per_second: float, seconds: float) -> Counter[int]:
    """Call over a few lines at a steady rate, and count the answers of each status."""
    met: Counter[int] = Counter()
    request = f"GET /up/billing/echo HTTP/1.1\r\nHost: front\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    until = time.monotonic() + seconds

    async def line(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = time.monotonic() + number / per_second
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += LINES / per_second
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            met[int(head[9:12])] += 1
            lengths = [each for each in head.lower().split(b"\r\n") if each.startswith(b"content-length:")]
            if lengths:
                await reader.readexactly(int(lengths[0].partition(b":")[2]))
        writer.close()

    await asyncio.gather(*(line(number) for number in range(LINES)))
    return met


def slug_of(site: Site, workspace: int) -> str:
    """Return the name of a workspace."""

    async def ask(program: Program) -> str:
        async with program.database.plain() as connection:
            row = await (await connection.execute("select slug from workspace where id = %s", (workspace,))).fetchone()
        assert row is not None
        return str(row[0])

    return site.run(ask)


def test_five_times_too_much_is_held_to_the_rate_within_two_percent(
    site: Site, workspace: int, owner: Caller, register: Callable[..., str], service: Service, tmp_path: Path
) -> None:
    register()
    rule: Json = {"name": "edge", "scope": "integration", "subject": "edge", "count": RATE, "seconds": 1}
    assert owner.call("PUT", "/api/v1/limits", {"limits": [rule]}).status == 200
    ports, key = {8080: site.settings.port, 9000: service.port, 8090: free_port()}, site.key(workspace, "owner")
    with (
        quotas(site, ports[8090], tmp_path / "quotas"),
        envoy(ports, key=PROXY_KEY, into=tmp_path, workspace=slug_of(site, workspace)) as front,
    ):
        offered = RATE * OVERLOAD
        over = time.monotonic() + 30
        while not asyncio.run(flood(front, key, per_second=offered, seconds=1.0))[429]:
            assert time.monotonic() < over, "no quota was assigned"
        asyncio.run(flood(front, key, per_second=offered, seconds=2.0))
        began = time.monotonic()
        met = asyncio.run(flood(front, key, per_second=offered, seconds=MEASURED_S))
        passed_s = time.monotonic() - began
    assert set(met) == {200, 429}, met
    assert met[429] > met[200], met
    assert 0.98 <= met[200] / (RATE * passed_s) <= 1.02, (met, passed_s)
