"""Bad days of a vendor: nothing is lost, nothing destroyed, and the cause is told in words until it is over."""

import dataclasses
from collections.abc import Callable, Iterable
from datetime import timedelta
from random import Random
from time import monotonic

import msgspec
import pytest

from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.observation import Observation
from isthmus.stream.limits import Leases, OutgoingLimit, Rate, VendorQuotaUsedUp
from isthmus.stream.limits.postgres import PostgresAuthority
from isthmus.sync.connector import ConnectorError, Raw, Throttled
from isthmus.sync.drift import kind_of
from isthmus.sync.mending import rejects_by_cause
from isthmus.sync.running import retry
from isthmus.sync.runs import Run
from tests.conformance.bending import Counting
from tests.conformance.conftest import SYSTEM, Bench, marked

ENOUGH = 21


def of(external_id: str, bend: Callable[[dict[str, Json]], dict[str, Json]]) -> Callable[[Raw], Raw]:
    """Return what bends the body of one record."""

    def bent(raw: Raw) -> Raw:
        if raw.external_id != external_id or raw.deleted:
            return raw
        return msgspec.structs.replace(raw, body=bend(raw.body), version=f"{raw.version}-bent")

    return bent


async def causes(bench: Bench) -> dict[str, int]:
    """Return how many rows are kept aside, by cause."""
    async with bench.store.database.transaction(bench.scope()) as tx:
        return {each.code: each.rows for each in await rejects_by_cause(tx, system=SYSTEM)}


def told(run: Run, status: Status, words: str) -> None:
    """Hold that a run ended so, with the cause in words."""
    assert run.status is status, run.error
    assert run.error
    assert words in run.error


async def test_empty_source_deletes_nothing(bench: Bench) -> None:
    bench.side.counterpart.burst(ENOUGH)
    await bench.begin()
    before = len(await bench.records())
    bench.bends.ids = lambda _: []
    told(await bench.sync("sweep"), Status.NEEDS_ATTENTION, "would be deleted")
    assert len(await bench.records()) == before
    bench.bends.ids = None
    assert (await bench.sync()).status is Status.HEALTHY


async def test_partial_source_deletes_nothing(bench: Bench) -> None:
    bench.side.counterpart.burst(2)
    await bench.begin()
    before = len(await bench.records())
    bench.bends.ids_raising = [ConnectionResetError() for _ in range(9)]
    told(await bench.sync("sweep"), Status.NEEDS_ATTENTION, "ConnectionResetError")
    assert len(await bench.records()) == before


async def test_rekeyed_source_deletes_nothing(bench: Bench) -> None:
    bench.side.counterpart.burst(ENOUGH)
    await bench.begin()
    before = len(await bench.records())
    bench.bends.ids = lambda found: [f"new-{each}" for each in found]
    told(await bench.sync("sweep"), Status.NEEDS_ATTENTION, "would be deleted")
    assert len(await bench.records()) == before


async def test_mass_deletion_trips_the_fuse(bench: Bench) -> None:
    made = bench.side.counterpart.burst(ENOUGH)
    await bench.begin()
    known = [
        str(each)
        for (each,) in await bench.rows(
            "select external_id from ref where workspace = current_workspace() and system = %s and not deleted", SYSTEM
        )
    ]
    bench.bends.told = [Raw(external_id=each, body={}, deleted=True) for each in known]
    told(await bench.sync("pull"), Status.NEEDS_ATTENTION, "would be deleted at once")
    assert all([await bench.held(each) for each in made])
    bench.bends.told = []
    assert (await bench.sync()).status is Status.HEALTHY


async def test_repeated_and_reordered_rows(bench: Bench) -> None:
    made = bench.side.counterpart.burst(7)
    bench.bends.shuffled = Random(3)
    run = await bench.begin()
    assert run.status is Status.HEALTHY, run.error
    assert run.created == len(
        await bench.rows("select 1 from ref where workspace = current_workspace() and system = %s", SYSTEM)
    )
    assert all([await bench.held(each) for each in made])


async def test_throttling_is_waited_for(bench: Bench) -> None:
    bench.bends.raising = [Throttled("Slow down.", retry_after_s=12.0)]
    run = await bench.begin()
    assert run.status is Status.HEALTHY, run.error
    assert 12.0 <= bench.pauses[0] < 13.0
    bench.bends.raising = [Throttled("Slow down.", retry_after_s=7200.0)]
    bench.side.make()
    told(await bench.sync(), Status.RETRYING, "Slow down.")
    assert (await bench.sync()).status is Status.HEALTHY


async def test_outage_needs_attention(bench: Bench) -> None:
    await bench.begin()
    made, text = bench.side.make()
    bench.bends.raising = [ConnectorError("It does not answer.", fix="Wait.") for _ in range(3)]
    told(await bench.sync(), Status.NEEDS_ATTENTION, "It does not answer.")
    assert (await bench.sync()).status is Status.HEALTHY
    assert await bench.held(made) == text


async def test_unknown_form_needs_attention(bench: Bench) -> None:
    await bench.begin()
    made, text = bench.side.make()
    bench.bends.raising = [KeyError("results") for _ in range(3)]
    told(await bench.sync(), Status.NEEDS_ATTENTION, "in a form that the connector does not know")
    assert (await bench.sync()).status is Status.HEALTHY
    assert await bench.held(made) == text


async def test_missing_field_is_quarantined(bench: Bench) -> None:
    first, second = bench.side.counterpart.fields
    made, text = bench.side.make()
    await bench.begin()
    bench.side.counterpart.put(made, {first: text, second: "Bruges"})
    bench.bends.rows = of(made, lambda _: {})
    run = await bench.sync("pull")
    record = await bench.of(made)
    assert record is not None
    assert (record.values[first], record.values[second]) == (text, "Ghent"), "what is missing clears nothing"
    if run.status is not Status.HEALTHY:
        assert (run.status, sum((await causes(bench)).values())) == (Status.DEGRADED, 1)
    bench.bends.rows = None
    bench.side.counterpart.put(made, {second: "Liège"})
    assert (await bench.sync()).status is Status.HEALTHY
    assert bench.side.counterpart.held(made) == {first: text, second: "Liège"}


async def test_retyped_field_is_quarantined(bench: Bench) -> None:
    first, second = bench.side.counterpart.fields
    made, text = bench.side.make()
    await bench.begin()
    bench.side.counterpart.put(made, {second: "Bruges"})
    other, other_text = bench.side.make()

    def retyped(body: dict[str, Json]) -> dict[str, Json]:
        return {name: [{"of": "another kind"}] if kind_of(value) == "text" else "text" for name, value in body.items()}

    bench.bends.rows = of(made, retyped)
    run = await bench.sync("pull")
    assert (run.status, run.rejected) == (Status.DEGRADED, 1), run.error
    assert len(await causes(bench)) == 1
    assert (await bench.held(made), await bench.held(other)) == (text, other_text)
    bench.bends.rows = None
    bench.side.counterpart.put(made, {first: text, second: "Liège"})
    assert (await bench.sync()).status is Status.HEALTHY
    assert await causes(bench) == {}


async def test_new_field_loses_nothing(bench: Bench) -> None:
    made, text = bench.side.make()
    new: dict[str, Json] = {"invented_yesterday": {"x": 1}}
    bench.bends.rows = of(made, lambda body: body | new)
    run = await bench.begin()
    assert run.status is Status.HEALTHY, run.error
    assert await bench.held(made) == text


async def test_poison_row_stops_no_other(bench: Bench) -> None:
    made, _ = bench.side.make()
    other, text = bench.side.make()
    normalise = bench.side.connector.normalise

    def poisoned(feed: str, raw: Raw) -> Iterable[Observation]:
        if raw.external_id == made:
            raise ZeroDivisionError
        return normalise(feed, raw)

    mended = bench.side
    bench.side = dataclasses.replace(mended, connector=dataclasses.replace(mended.connector, normalise=poisoned))
    run = await bench.begin()
    assert (run.status, await causes(bench)) == (Status.DEGRADED, {"mapping": 1})
    assert await bench.held(other) == text
    run = await bench.sync()
    assert await causes(bench) == {"mapping": 1}
    bench.side = mended
    done = await retry(bench.engine, workspace=bench.workspace, connection=SYSTEM)
    assert (done.stored, done.left) == (1, 0)
    assert await bench.held(made)


async def test_late_commit_is_found(bench: Bench) -> None:
    bench.feed = marked(bench.side.feed, settles_s=600)
    made, text = bench.side.make()
    bench.side.make()
    bench.bends.hidden = {made}
    await bench.begin()
    bench.bends.hidden = set()
    bench.clock.ahead += timedelta(seconds=601)
    await bench.sync("pull")
    assert await bench.held(made) == text


async def test_unmoved_stamp_is_found(bench: Bench) -> None:
    bench.feed = marked(bench.side.feed, scan_s=3600)
    first, _ = bench.side.counterpart.fields
    made, text = bench.side.make()
    bench.side.make()
    moved: list[str] = []
    normalise = bench.side.connector.normalise

    def formula(feed: str, raw: Raw) -> Iterable[Observation]:
        said = list(normalise(feed, raw))
        if raw.external_id == made and moved:
            said = [msgspec.structs.replace(each, fields={**each.fields, first: moved[0]}) for each in said]
        return said

    bench.side = dataclasses.replace(bench.side, connector=dataclasses.replace(bench.side.connector, normalise=formula))
    await bench.begin()
    assert await bench.held(made) == text
    moved.append(bench.side.name("Computed"))
    bench.clock.ahead += timedelta(seconds=3601)
    await bench.sync("pull")
    assert await bench.held(made) == moved[0]


async def test_merge_there_is_followed(bench: Bench) -> None:
    kept, text = bench.side.make()
    lost, _ = bench.side.make()
    await bench.begin()
    before = len(await bench.records())
    bench.bends.rows = lambda raw: (
        Raw(external_id=lost, body={}, at=raw.at, deleted=True, merged_into=kept) if raw.external_id == lost else raw
    )
    bench.bends.told = [Raw(external_id=lost, body={}, deleted=True, merged_into=kept)]
    bench.bends.ids = lambda found: [each for each in found if each != lost]
    run = await bench.sync("pull", "sweep")
    assert run.status is Status.HEALTHY, run.error
    assert len(await bench.records()) == before - 1
    one, other = await bench.of(kept), await bench.of(lost)
    assert one is not None
    assert other is not None
    assert one.id == other.id
    assert await bench.held(kept) == text
    assert await bench.rows("select 1 from inbox_case where workspace = current_workspace() and status = 'open'") == []


async def test_quota_is_leased(bench: Bench) -> None:
    leases = Leases(PostgresAuthority(bench.store.database), node="one", ticks=monotonic)
    rates = (Rate(count=3, seconds=3600, burst=3),)
    other = OutgoingLimit(leases, connection=f"{bench.workspace}:conformance", rates=rates)
    counting = Counting()
    counted = counting.leave()

    async def leave() -> None:
        await counted()
        await other.enter(wait_s_max=0)

    async def asking() -> None:
        async with bench.side.connector.open(bench.side.settings, leave=leave) as session:
            for _ in range(9):
                await session.check()

    with pytest.raises((VendorQuotaUsedUp, ConnectorError)):
        await asking()
    assert counting.asked == 4, "three were let through, and the fourth was not sent"
