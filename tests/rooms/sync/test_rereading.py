"""Reading again: a span of time or everything, beside the live cursor, told feed by feed."""

from datetime import timedelta

import pytest
from msgspec import structs

from isthmus.sync.connections import Status
from isthmus.sync.feeds import feed_states
from isthmus.sync.rereading import FeedMissing, Span, SpanEmpty
from isthmus.sync.running import backfill, resync
from isthmus.sync.runs import INTERRUPTED, Run, as_of
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import EPOCH, Row, Vendor, away


async def cursors(bench: Bench) -> dict[str, str | None]:
    """Return where each feed stands."""
    own = (await bench.connection("crm")).id
    return {name: each.cursor for name, each in (await bench.read(lambda tx: feed_states(tx, own))).items()}


def hide(crm: Vendor, name: str, *, minutes: int) -> str:
    """Make a deal there that the live cursor has passed already."""
    crm.numbers += 1
    own = f"hidden-{crm.numbers}"
    crm.rows["deals"][own] = Row({"name": name, "deal_number": own}, EPOCH + timedelta(minutes=minutes), -crm.numbers)
    crm.rows["deals"][own].change = 1
    return own


async def names(bench: Bench) -> list[str]:
    """Return the names of the deals."""
    return sorted(str(each.values["name"]) for each in await bench.records("sales.deal"))


async def again(bench: Bench, feed: str = "deals", *, since: int | None = None, until: int | None = None) -> Run:
    """Read minutes after the beginning again."""
    bench.tick()
    since_at = None if since is None else EPOCH + timedelta(minutes=since)
    until_at = None if until is None else EPOCH + timedelta(minutes=until)
    span = Span(since=since_at, until=until_at)
    return await backfill(bench.engine, workspace=bench.workspace, connection="crm", feed=feed, span=span)


async def test_a_span_is_read_again_and_the_live_cursor_stays(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("deals", name="Known", deal_number="D-1")
    await bench.sync("crm")
    before = await cursors(bench)
    hide(crm, "Missed", minutes=-60)
    hide(crm, "Older", minutes=-90)
    await bench.sync("crm")
    assert await names(bench) == ["Known"]
    crm.troubles = [away(), None]
    run = await again(bench, since=-70, until=-30)
    assert (run.kind, run.status, run.read, run.created, run.unchanged) == ("backfill", Status.HEALTHY, 1, 1, 0)
    assert run.feeds == {"deals": {"read": 1, "created": 1}}
    assert (await names(bench), await cursors(bench)) == (["Known", "Missed"], before)
    assert (await again(bench, since=-70, until=-30)).created == 0


async def test_what_was_missed_long_ago_overrules_nothing_newer(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    own = crm.put("deals", name="First", deal_number="D-1")
    await bench.sync("crm")
    bench.tick(600)
    await bench.edit("sales.deal", (await bench.only("sales.deal")).id, next_step="Call")
    bench.tick(600)
    await bench.sync("crm")
    row = crm.rows["deals"][own]
    crm.rows["deals"][own] = Row({**row.body, "next_step": "Write"}, EPOCH + timedelta(minutes=5), row.change)
    await again(bench, since=0, until=20)
    assert (await bench.only("sales.deal")).values["next_step"] == "Call"


async def test_everything_is_read_again_and_what_is_gone_is_buried(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("companies", name="Mills")
    gone = crm.put("deals", name="Gone", deal_number="D-1")
    await bench.sync("crm")
    before = await cursors(bench)
    hide(crm, "Missed", minutes=-60)
    crm.delete("deals", gone)
    bench.tick()
    run = await resync(bench.engine, workspace=bench.workspace, connection="crm")
    assert (run.kind, run.status, run.read, run.created, run.written) == ("resync", Status.HEALTHY, 2, 1, 0)
    assert run.feeds == {"companies": {"read": 1, "unchanged": 1}, "contacts": {}, "deals": {"read": 1, "created": 1}}
    assert (await names(bench), await cursors(bench)) == (["Missed"], before)


async def test_a_feed_that_is_not_there_and_a_span_without_time_are_refused(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    with pytest.raises(FeedMissing, match="deals"):
        await again(bench, "nothing")
    with pytest.raises(SpanEmpty):
        await again(bench, since=5, until=5)


async def test_a_run_tells_what_it_wrote_by_feed_and_one_that_fell_silent_was_interrupted(
    bench: Bench, crm: Vendor
) -> None:
    await bench.connect(crm)
    crm.put("companies", name="Mills")
    crm.put("deals", name="Deal", deal_number="D-1")
    await bench.sync("crm")
    await bench.edit("sales.deal", (await bench.only("sales.deal")).id, name="Renamed")
    (run,) = await bench.sync("crm")
    assert run.feeds == {"companies": {}, "contacts": {}, "deals": {"written": 1}}
    going = as_of(run, run.updated_at + timedelta(hours=1))
    assert going == run
    open_run = structs.replace(run, finished_at=None)
    assert as_of(open_run, run.updated_at + timedelta(seconds=29)) == open_run
    silent = as_of(open_run, run.updated_at + timedelta(seconds=31))
    assert (silent.status, silent.error) == (Status.NEEDS_ATTENTION, INTERRUPTED)
