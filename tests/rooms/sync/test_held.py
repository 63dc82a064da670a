"""What a vendor says of its limits while it is written to slows down those who read as well."""

import dataclasses
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from isthmus.kernel.status import Status
from isthmus.stream.limits import Leases, OutgoingLimit, Rate, VendorQuotaUsedUp
from isthmus.stream.limits.postgres import PostgresAuthority
from isthmus.sync.calls import Rules, calling
from isthmus.sync.connector import Throttled
from isthmus.sync.edit import edit
from isthmus.sync.pull import Leaving
from isthmus.sync.running import synchronise
from tests.rooms.stream.limits.world import World
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Vendor, throttled

ROOMY = Rate(count=10_000, seconds=10)


def answering(*statuses: int) -> tuple[Callable[[web.Request], Awaitable[web.Response]], list[str]]:
    """Return answers that come one after the other, with 400 s to wait, and what was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.Response(status=statuses[len(asked) - 1], headers={"Retry-After": "400"})

    return answer, asked


async def test_after_a_write_was_turned_away_no_read_goes_out_on_the_same_lease() -> None:
    world = World()
    node = world.node("one")
    answer, asked = answering(429, 200, 200)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    limits = [OutgoingLimit(node, connection=name, rates=(ROOMY,)) for name in ("crm", "crm", "other")]
    async with TestServer(app) as server:
        url = str(server.make_url("/"))

        async def send(method: str, limit: OutgoingLimit) -> int:
            async with calling(url, title="Acme", dice=Random(1), leave=Leaving(limit), rules=Rules()) as calls:
                return (await calls.send(method, "/rows")).status

        with pytest.raises(Throttled):
            await send("POST", limits[0])
        world.now += 1
        with pytest.raises(VendorQuotaUsedUp) as refused:
            await send("GET", limits[1])
        assert refused.value.retry_after_s == pytest.approx(399)
        assert asked == ["POST"], "the read was not sent"
        assert await send("GET", limits[2]) == 200
        world.now += 400
        assert await send("GET", limits[1]) == 200


async def test_a_push_that_was_told_to_wait_keeps_the_next_run_from_reading(bench: Bench, crm: Vendor) -> None:
    connection = await bench.connect(crm)
    crm.put("companies", name="Quince")
    await bench.sync("crm")
    account = await bench.only("sales.account")
    await edit(bench.store, bench.scope(), "sales.account", account.id, {"city": "Gent"})
    leases = Leases(PostgresAuthority(bench.store.database), node="one", ticks=monotonic)
    connector = dataclasses.replace(crm.connector(), allowances=(ROOMY,))
    engine = dataclasses.replace(bench.engine, connectors={**bench.engine.connectors, "crm": connector}, leases=leases)
    crm.troubles = [throttled(1_800)]
    run = await synchronise(engine, workspace=bench.workspace, connection="crm", parts=("push",))
    assert run.status is Status.RETRYING
    reads = crm.reads
    run = await synchronise(engine, workspace=bench.workspace, connection="crm", parts=("pull",))
    assert (run.status, crm.reads) == (Status.RETRYING, reads)
    assert "allowance" in str(run.error)
    limit = OutgoingLimit(leases, connection=f"{bench.workspace}:{connection.id}", rates=connector.allowances)
    with pytest.raises(VendorQuotaUsedUp) as refused:
        await limit.enter(wait_s_max=0)
    assert 1_700 < refused.value.retry_after_s <= 1_800
