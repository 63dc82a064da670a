"""The engine with the connector: what is there comes here, what is edited here goes there, once."""

from datetime import timedelta

import pytest

from isthmus.kernel.status import Status
from isthmus.sync.running import planned
from tests.conformance.bending import Killed
from tests.conformance.conftest import SYSTEM, Bench, latest, pages, rows


async def test_pull_is_complete(bench: Bench) -> None:
    made, text = bench.side.make()
    run = await bench.begin()
    assert run.status is Status.HEALTHY, run.error
    assert await bench.held(made) == text
    again = await bench.sync()
    assert (again.status, again.created, again.changed, again.written) == (Status.HEALTHY, 0, 0, 0), again.error


async def test_killed_between_pages_goes_on(bench: Bench) -> None:
    made = bench.side.counterpart.burst(bench.side.counterpart.page_rows * 3)
    bench.settings["page_rows"] = str(bench.side.counterpart.page_rows)
    bench.bends.raising = [None, None, Killed()]
    with pytest.raises(Killed):
        await bench.begin()
    # A row may become records of several types.
    known = "select 1 from ref where workspace = current_workspace() and system = %s"
    kept = len(await bench.rows(known, SYSTEM))
    run = await bench.sync()
    assert run.status is Status.HEALTHY, run.error
    assert run.created == len(await bench.rows(known, SYSTEM)) - kept
    assert all([await bench.held(each) for each in made])
    claims = await bench.rows(
        "select count(*), count(distinct (type, external_id)) from claim where workspace = current_workspace()"
    )
    assert claims[0][0] == claims[0][1], "nothing is said twice"


async def test_edit_there_comes_here(bench: Bench) -> None:
    made, _ = bench.side.make()
    await bench.begin()
    text = bench.side.name("Theirs")
    bench.side.counterpart.put(made, {bench.side.counterpart.fields[0]: text})
    await bench.sync()
    assert await bench.held(made) == text


async def test_edit_here_is_written_once(bench: Bench) -> None:
    first, second = bench.side.counterpart.fields
    made, _ = bench.side.make()
    await bench.begin()
    text = bench.side.name("Ours")
    await bench.edit(made, **{first: text, second: "Bruges"})
    run = await bench.sync()
    assert (run.written, bench.bends.writes) == (1, 1), run.error
    assert bench.side.counterpart.held(made) == {first: text, second: "Bruges"}
    for _ in range(2):
        run = await bench.sync()
        assert (run.changed, run.written, run.conflicts) == (0, 0, 0)
    assert bench.bends.writes == 1


async def test_both_sides_edit(bench: Bench) -> None:
    first, second = bench.side.counterpart.fields
    made, _ = bench.side.make()
    await bench.begin()
    text = bench.side.name("Theirs")
    bench.side.counterpart.put(made, {first: text})
    await bench.edit(made, **{second: "Bruges"})
    await bench.sync()
    assert bench.side.counterpart.held(made) == {first: text, second: "Bruges"}
    record = await bench.of(made)
    assert record is not None
    assert (record.values[first], record.values[second]) == (text, "Bruges")


async def test_record_made_here_is_made_there_once(bench: Bench) -> None:
    first, second = bench.side.counterpart.fields
    await bench.begin()
    async with bench.side.connector.open(bench.side.settings) as session:
        cursor = await latest(bench.side, session)
    text = bench.side.name("Made here")
    await bench.make(**{first: text, second: "Ghent"})
    bench.bends.killed_after_write = True
    with pytest.raises(Killed):
        await bench.sync()
    run = await bench.sync()
    assert run.status is Status.HEALTHY, run.error
    await bench.sync()
    async with bench.side.connector.open(bench.side.settings) as session:
        told = [row for row in rows(await pages(session, bench.side.feed.name, cursor)) if not row.deleted]
    assert len({row.external_id for row in told if bench.side.said(row).get(first) == text}) == 1
    assert [each.values[first] for each in await bench.records()].count(text) == 1


async def test_deletion_there_is_noticed(bench: Bench) -> None:
    (gone, *_) = bench.side.counterpart.burst(2)
    await bench.begin()
    assert await bench.held(gone)
    bench.side.counterpart.delete(gone)
    run = await bench.sync()
    assert run.status is Status.HEALTHY, run.error
    assert await bench.held(gone) is None


async def test_deletion_here_is_made(bench: Bench) -> None:
    (gone, *_) = bench.side.counterpart.burst(2)
    await bench.begin()
    await bench.delete(gone)
    run = await bench.sync()
    assert run.status is Status.HEALTHY, run.error
    assert bench.side.counterpart.held(gone) is None


async def test_plan_writes_nothing(bench: Bench) -> None:
    made, text = bench.side.make()
    first, _ = bench.side.counterpart.fields
    await bench.begin()
    ours = bench.side.name("Planned")
    await bench.edit(made, **{first: ours})
    (plan,) = await planned(bench.engine, workspace=bench.workspace, connection=SYSTEM)
    assert (plan.change.external_id, plan.change.fields) == (made, {first: ours})
    held = bench.side.counterpart.held(made)
    assert held is not None
    assert (bench.bends.writes, held[first]) == (0, text)
    assert (await bench.sync()).written == 1


@pytest.mark.parametrize("skew_days", [-2, 2])
async def test_skewed_clock_is_survived(bench: Bench, skew_days: int) -> None:
    first, second = bench.side.counterpart.fields
    bench.bends.skew = timedelta(days=skew_days)
    made, _ = bench.side.make()
    await bench.begin()
    text = bench.side.name("After")
    bench.side.counterpart.put(made, {first: text})
    await bench.sync()
    assert await bench.held(made) == text
    await bench.edit(made, **{second: "Bruges"})
    await bench.sync()
    assert bench.side.counterpart.held(made) == {first: text, second: "Bruges"}
