"""The standard schedule is installed, connections come when they are due, and every kind of job does its work."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest

from isthmus.app.scheduling.changes import Changes
from isthmus.app.scheduling.connections import CONNECTION, STREAMS
from isthmus.app.scheduling.context import JobContext
from isthmus.app.scheduling.figures import month_before
from isthmus.app.scheduling.keeping import tick
from isthmus.app.scheduling.kinds import BadArguments, checked, kind_of, kinds
from isthmus.app.scheduling.standard import STANDARD
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.ids import mint
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.database import Scope
from isthmus.store.records import page
from isthmus.stream.jobs import schedules
from isthmus.stream.jobs.board import jobs
from isthmus.stream.jobs.job import Backoff, Job, UnknownKind, Wish
from isthmus.stream.jobs.queue import Holder, enqueue
from isthmus.stream.jobs.worker import Worker
from isthmus.stream.relay import stamp
from isthmus.sync.connections import connect, connection_of, pause
from isthmus.sync.connector import ConnectorError, Throttled
from isthmus.sync.edit import edit
from isthmus.sync.flow_versions import activate_flow, roll_back_flow, save_flow
from isthmus.sync.flows import FieldFlow, Flow
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine, alone
from isthmus.vault import entropy
from tests.rooms.domains.desk import Desk, said
from tests.rooms.sync.vendor import Vendor


async def at_once(_: float) -> None:
    """Wait for nothing."""


@dataclass
class Works:
    """A workspace with one vendor, a scheduler and a worker."""

    desk: Desk
    vendor: Vendor

    async def pass_time(self, **by: float) -> None:
        """Let time pass, then do what is due."""
        self.desk.later(**by)
        only = frozenset({self.desk.scope.workspace})
        await tick(self.desk.store.database, now=self.desk.clock.now(), only=only)
        await self.worker().drain()

    async def pass_changes(self, changes: Changes | None = None) -> None:
        """Let the relay stamp what happened, then do what is due, changes among it, within a second."""
        self.desk.later(seconds=1)
        database, only = self.desk.store.database, frozenset({self.desk.scope.workspace})
        async with database.transaction(self.desk.now) as tx:
            await stamp(tx.connection)
        changes = changes or Changes({"crm": self.vendor.connector()})
        await tick(database, now=self.desk.clock.now(), only=only, changes=changes)
        await self.worker().drain()

    def worker(self, pause: Callable[[float], Awaitable[None]] = at_once) -> Worker[JobContext]:
        """A worker that has just been started."""
        desk = self.desk
        engine = replace(desk.services.of(Engine), pause=pause)
        return Worker(
            database=desk.store.database,
            clock=desk.clock,
            kinds=tuple(kinds().values()),
            context=JobContext(store=desk.store, engine=engine, services=lambda: desk.gateway.services),
            holder=Holder(id=mint(unix_ms=0, entropy=entropy(10)), worker="test"),
            backoff=Backoff(chance=Random(1)),
            only=frozenset({desk.scope.workspace}),
        )

    async def connect(self, *, every_s: int | None = None) -> None:
        """Connect the vendor."""
        store = self.desk.store
        async with store.database.transaction(self.desk.now) as tx:
            connector = self.vendor.connector()
            await connect(tx, store.vault, connector, name="crm", settings={"token": "s3cr3t"}, every_s=every_s)

    async def jobs(self, kind: str) -> list[Job]:
        """Return the jobs of a kind, the oldest first."""
        async with self.desk.store.database.transaction(self.desk.now) as tx:
            return list(reversed(await jobs(tx, kind=kind, limit=200)))


@pytest.fixture
def works(store: Store, scope: Scope) -> Works:
    """The workspace."""
    clock = FrozenClock(scope.now)
    vendor = Vendor("crm", clock)
    desk = Desk.of(store, scope, connectors={"crm": vendor.connector()})
    vendor.clock = desk.clock
    return Works(desk, vendor)


async def test_the_standard_schedule_is_installed_and_runs_at_its_hours(works: Works) -> None:
    await works.connect()
    await works.pass_time()
    assert [each.name for each in await installed(works)] == sorted(each.name for each in STANDARD)
    # From the morning of Monday the second of November until that of the ninth.
    for _ in range(14):
        await works.pass_time(hours=12)
    seen = {name: sorted(str(each.occurrence)[5:16] for each in await works.jobs(name)) for name in kinds()}
    assert seen[STREAMS] == [f"11-{day:02} {hour}" for day in range(3, 10) for hour in ("02:00", "06:00")]
    assert seen["matching.people"] == [f"11-{day:02} 01:00" for day in range(3, 10)]
    assert len(seen["matching.new"]) == 14, "once for each time at which work was looked for"
    assert seen["success.health"] == [f"11-{day:02} 06:00" for day in range(3, 10)]
    assert seen["analytics.full"] == ["11-08 03:00"]
    assert seen["analytics.attribution"] == ["11-04 04:00"]
    assert seen["sync.reconcile"] == ["11-07 01:00"]
    assert seen["sync.probe"] == [f"11-{day:02} 04:30" for day in range(3, 10)]
    assert seen["report.executive"] == []
    jobs = [(name, each) for name in kinds() for each in await works.jobs(name)]
    assert [(name, each.occurrence, each.reason) for name, each in jobs if each.status is not Status.HEALTHY] == []


async def test_a_comparison_that_meets_a_run_waits_for_its_end(works: Works) -> None:
    await works.connect()
    engine, waited = works.desk.services.of(Engine), list[float]()
    async with AsyncExitStack() as run:
        await run.enter_async_context(alone(engine, workspace=works.desk.scope.workspace, name="crm"))

        async def until_the_third(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                await run.aclose()

        async with works.desk.store.database.transaction(works.desk.now) as tx:
            await enqueue(tx, [Wish(kind="sync.reconcile")])
        await works.worker(until_the_third).drain()
    (job,) = await works.jobs("sync.reconcile")
    assert (job.status, len(waited)) == (Status.HEALTHY, 3)
    assert job.result == {"crm": {"compared": 0, "differing": 0}}


async def all_ids(works: Works, name: str) -> list[UUID]:
    """Return the ids of all records of a type."""
    store = works.desk.store
    async with store.database.transaction(works.desk.now) as tx:
        return [each.id for each in await page(tx, store.vault, store.schema[name], limit=100)]


async def installed(works: Works) -> list[schedules.Schedule]:
    """Return the schedules."""
    async with works.desk.store.database.transaction(works.desk.now) as tx:
        return await schedules.schedules(tx)


async def test_a_connection_runs_as_often_as_it_says(works: Works) -> None:
    await works.connect(every_s=600)
    works.vendor.put("companies", name="Acme")
    await works.pass_time()
    await works.pass_time(seconds=590)
    assert len(await works.jobs(CONNECTION)) == 1
    await works.pass_time(seconds=10)
    first, second = await works.jobs(CONNECTION)
    assert (first.status, second.status) == (Status.HEALTHY, Status.HEALTHY)
    assert isinstance(first.result, dict)
    assert (first.result["read"], first.result["created"]) == (1, 1)


async def test_a_change_is_pushed_as_soon_as_it_is_stamped_and_only_once(works: Works) -> None:
    await works.connect(every_s=3_600)
    works.vendor.put("deals", "d1", name="Engine", stage="proposal")
    await works.pass_time()
    (deal,) = await all_ids(works, "sales.deal")
    await works.pass_changes()
    assert works.vendor.writes == 0
    await edit(works.desk.store, works.desk.now, "sales.deal", deal, {"name": "Loom"})
    await works.pass_changes()
    await works.pass_changes()
    assert works.vendor.rows["deals"]["d1"].body["name"] == "Loom"
    assert works.vendor.writes == 1
    begun = [each.arguments for each in await works.jobs(CONNECTION)]
    assert begun[-1]["parts"] == ["push"]
    # An event that concerns nothing that is written there wants nothing.
    before = len(begun)
    await works.desk.put(said("marketing.campaign", "c1", name="Spring"))
    await works.pass_changes()
    assert len(await works.jobs(CONNECTION)) == before


async def test_a_change_of_what_a_mapping_keeps_back_wants_no_push_until_the_mapping_is_taken_back(
    works: Works,
) -> None:
    await works.connect(every_s=3_600)
    works.vendor.put("deals", "d1", name="Engine", stage="proposal")
    await works.pass_time()
    store = works.desk.store
    async with store.database.transaction(works.desk.now) as tx:
        own = await connection_of(tx, "crm")
        flow = Flow(type="sales.deal", fields={"name": FieldFlow(direction="in")})
        version = await activate_flow(tx, await save_flow(tx, connection_id=own.id, flow=flow, reason="Theirs."))
    (deal,) = await all_ids(works, "sales.deal")
    changes = Changes({"crm": works.vendor.connector()})
    await works.pass_changes(changes)
    before = len(await works.jobs(CONNECTION))
    await edit(store, works.desk.now, "sales.deal", deal, {"name": "Loom"})
    await works.pass_changes(changes)
    assert len(await works.jobs(CONNECTION)) == before
    async with store.database.transaction(works.desk.now) as tx:
        await roll_back_flow(tx, version)
    await works.pass_changes(changes)
    assert works.vendor.rows["deals"]["d1"].body["name"] == "Loom"


async def test_a_change_of_what_is_kept_back_wants_nothing_where_a_vendor_names_no_fields(works: Works) -> None:
    works.vendor.writable = {}
    await works.connect(every_s=3_600)
    works.vendor.put("deals", "d1", name="Engine", stage="proposal")
    await works.pass_time()
    store = works.desk.store
    async with store.database.transaction(works.desk.now) as tx:
        own = await connection_of(tx, "crm")
        flow = Flow(type="sales.deal", fields={"name": FieldFlow(direction="in")})
        await activate_flow(tx, await save_flow(tx, connection_id=own.id, flow=flow, reason="Theirs."))
    (deal,) = await all_ids(works, "sales.deal")
    changes = Changes({"crm": works.vendor.connector()})
    await works.pass_changes(changes)
    before = len(await works.jobs(CONNECTION))
    await edit(store, works.desk.now, "sales.deal", deal, {"name": "Loom"})
    await works.pass_changes(changes)
    assert len(await works.jobs(CONNECTION)) == before
    await edit(store, works.desk.now, "sales.deal", deal, {"stage": "negotiation"})
    await works.pass_changes(changes)
    assert len(await works.jobs(CONNECTION)) == before + 1


async def test_a_connection_without_a_schedule_is_not_pushed_to(works: Works) -> None:
    await works.connect()
    await works.desk.put(said("sales.deal", "d1", name="Engine", stage="proposal"))
    await works.pass_changes()
    assert await works.jobs(CONNECTION) == []


async def test_a_system_that_asks_to_wait_is_asked_again_then(works: Works) -> None:
    await works.connect(every_s=86_400)
    works.vendor.troubles = [Throttled("Slow down.", retry_after_s=900.0)] * 40
    await works.pass_time()
    (waiting,) = await works.jobs(CONNECTION)
    assert (waiting.status, waiting.due_at >= works.desk.clock.now()) == (Status.RETRYING, True)
    works.vendor.troubles = []
    await works.pass_time(minutes=20)
    (done,) = await works.jobs(CONNECTION)
    assert (done.status, done.attempt) == (Status.HEALTHY, 2)


async def test_a_system_that_refuses_us_needs_a_person(works: Works) -> None:
    await works.connect(every_s=86_400)
    works.vendor.troubles = [ConnectorError("The token is refused.", fix="Make a new one.")] * 40
    await works.pass_time()
    (failed,) = await works.jobs(CONNECTION)
    assert (failed.status, failed.tries) == (Status.NEEDS_ATTENTION, 1)
    assert "The token is refused." in failed.reason


async def test_a_connection_that_rests_is_left_alone(works: Works) -> None:
    await works.connect(every_s=60)
    store = works.desk.store
    async with store.database.transaction(works.desk.now) as tx:
        await pause(tx, await connection_of(tx, "crm"), reason="moving")
        await enqueue(tx, [Wish(kind=STREAMS), Wish(kind=CONNECTION, arguments={"connection": "crm"})])
    await works.pass_time(hours=1)
    (asked,) = await works.jobs(CONNECTION)
    assert (asked.status, asked.reason.startswith("'crm' is paused")) == (Status.NEEDS_ATTENTION, True)
    assert [each.result for each in await works.jobs(STREAMS)] == [{"connections": [], "begun": 0}]


async def test_figures_are_kept_as_results(works: Works) -> None:
    desk = works.desk
    await desk.put(said("marketing.campaign", "C1", name="Spring", channel="email"))
    async with desk.store.database.transaction(desk.now) as tx:
        names = ("analytics.full", "analytics.attribution", "report.executive")
        await enqueue(tx, [Wish(kind=each) for each in names])
    await works.worker().drain()
    results: dict[str, dict[str, Json]] = {}
    for name in names:
        (job,) = await works.jobs(name)
        assert (job.status, isinstance(job.result, dict)) == (Status.HEALTHY, True), job.reason
        results[name] = job.result if isinstance(job.result, dict) else {}
    assert set(results["analytics.full"]) == {"as_of", "credit", "returns"}
    models = results["analytics.attribution"]["models"]
    assert isinstance(models, dict)
    assert {"first", "last", "linear"} <= set(models)
    assert results["report.executive"]["month"] == "2026-10"


def test_the_month_before_january_is_december() -> None:
    assert [month_before(datetime(2026, each, 5, tzinfo=UTC)) for each in (1, 12)] == ["2025-12", "2026-11"]


def test_arguments_are_checked_before_a_job_is_made() -> None:
    with pytest.raises(UnknownKind):
        kind_of("nothing")
    with pytest.raises(BadArguments):
        checked(kind_of(CONNECTION), {"connection": "crm", "parts": ["everything"]})
    assert checked(kind_of(CONNECTION), {"connection": "crm"})["confirmed"] is False
