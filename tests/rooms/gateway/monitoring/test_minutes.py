"""Traffic by the minute survives restarts, adds up over instances, and stays in its workspace."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from isthmus.auth.principal import Principal
from isthmus.gateway import Call, Response, Route
from isthmus.gateway.decide import Asked
from isthmus.gateway.histogram import quantile
from isthmus.gateway.monitoring.minutes import KEPT, KEYS_MAX, OTHERS, Minutes, forget, steps, sums, write
from isthmus.store.database import Database, Scope
from tests.conftest import NOW

MINUTE = timedelta(minutes=1)


async def reached(_: Call) -> Response:
    return Response(body=b"")


def route(path: str, *, permission: str = "making:read", media: str = "application/json") -> Route:
    return Route(method="GET", path=path, handler=reached, summary="", permission=permission, media=media)


A, B, LIVE = route("/a"), route("/b", permission="gateway:read"), route("/live", media="text/event-stream")


def call(workspace: int, to: Route, *, at: datetime = NOW, key: int = 1) -> Asked:
    principal = Principal(workspace=workspace, kind="key", id=UUID(int=key), name="", permissions=frozenset())
    return Asked(route=to, now=at, principal=principal)


async def test_minutes_of_two_instances_add_up(database: Database, scope: Scope) -> None:
    for instance, status in (("one", 200), ("two", 503)):
        minutes = Minutes(domains=["making"])
        for micros in (1_000, 300_000):
            minutes.ended(call(scope.workspace, A), status=status, micros=micros)
        minutes.ended(call(scope.workspace, B, at=NOW + MINUTE), status=404, micros=5_000)
        assert await write(database, minutes, now=NOW + 2 * MINUTE, instance=instance) == 8
    async with database.transaction(scope) as tx:
        found = await steps(tx, "all", since=NOW, until=NOW + 5 * MINUTE, step=MINUTE)
        assert [(each.at, each.cell.calls, each.cell.refused, each.cell.failed, each.cell.slow) for each in found] == [
            (NOW, 4, 0, 2, 2),
            (NOW + MINUTE, 2, 2, 0, 0),
        ]
        domains = await steps(tx, "domain", since=NOW, until=NOW + 5 * MINUTE, step=5 * MINUTE)
        assert {each.name: each.cell.calls for each in domains} == {"making": 4, "system": 2}
        routes = await steps(tx, "route", since=NOW, until=NOW + 5 * MINUTE, step=5 * MINUTE, name="GET /a")
        assert [sum(each.cell.counts.values()) for each in routes] == [4]
        p95 = quantile(routes[0].cell.counts, 0.95)
        assert p95 is not None
        assert abs(p95 / 300_000 - 1) < 0.011
        judged = await sums(tx, "all", "all", since=NOW, until=NOW + MINUTE)
        assert (judged.calls, judged.failed, judged.timed, judged.slow) == (4, 2, 4, 2)


async def test_the_minute_that_is_not_over_waits_until_the_program_ends(database: Database, scope: Scope) -> None:
    minutes = Minutes(domains=[])
    minutes.ended(call(scope.workspace, A), status=200, micros=10)
    assert await write(database, minutes, now=NOW + MINUTE / 2, instance="i") == 0
    assert await write(database, minutes, now=NOW + MINUTE / 2, instance="i", whole=True) == 4
    minutes.ended(call(scope.workspace, A), status=200, micros=10)
    await write(database, minutes, now=NOW + MINUTE, instance="i")
    async with database.transaction(scope) as tx:
        assert (await sums(tx, "all", "all", since=NOW, until=NOW + MINUTE)).calls == 2


async def test_streams_are_counted_and_not_timed(database: Database, scope: Scope) -> None:
    minutes = Minutes(domains=[])
    minutes.ended(call(scope.workspace, LIVE), status=200, micros=3_600_000_000)
    await write(database, minutes, now=NOW + MINUTE, instance="i")
    async with database.transaction(scope) as tx:
        found = await sums(tx, "all", "all", since=NOW, until=NOW + MINUTE)
    assert (found.calls, found.timed, found.slow) == (1, 0, 0)


async def test_a_workspace_sees_its_own_traffic_and_no_other(database: Database, scope: Scope) -> None:
    minutes = Minutes(domains=[])
    minutes.ended(call(scope.workspace, A), status=200, micros=10)
    await write(database, minutes, now=NOW + MINUTE, instance="i")
    async with database.transaction(replace(scope, workspace=scope.workspace + 1)) as tx:
        assert await steps(tx, "all", since=NOW, until=NOW + MINUTE, step=MINUTE) == []


async def test_keys_beyond_the_busiest_are_counted_together(database: Database, scope: Scope) -> None:
    minutes = Minutes(domains=[])
    for key in range(1, KEYS_MAX + 11):
        for _ in range(2 if key > 10 else 1):
            minutes.ended(call(scope.workspace, A, key=key), status=200, micros=10)
    await write(database, minutes, now=NOW + MINUTE, instance="i")
    async with database.transaction(scope) as tx:
        found = {
            each.name: each.cell.calls for each in await steps(tx, "key", since=NOW, until=NOW + MINUTE, step=MINUTE)
        }
    assert len(found) == KEYS_MAX + 1
    assert found.pop(OTHERS) == 10
    assert set(found.values()) == {2}


async def test_what_is_older_than_35_days_goes(database: Database, scope: Scope) -> None:
    minutes = Minutes(domains=[])
    for at in (NOW, NOW - KEPT - MINUTE):
        minutes.ended(call(scope.workspace, A, at=at), status=200, micros=10)
    await write(database, minutes, now=NOW + MINUTE, instance="i")
    async with database.transaction(scope) as tx:
        await forget(tx)
        found = await steps(tx, "all", since=NOW - 2 * KEPT, until=NOW + MINUTE, step=MINUTE)
    assert [each.at for each in found] == [NOW]
