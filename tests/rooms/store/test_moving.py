"""Later words by column on records that are known end as they do row by row, whoever else spoke of the records."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import LiteralString

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.kernel.marks import Json
from isthmus.store.columns import Columns
from isthmus.store.database import Scope
from isthmus.store.prepare import Prepared
from isthmus.store.put import PutResult, Raced, anticipate, land, write
from isthmus.store.records import history, page
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Interval, Store, put, put_stream

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
AT = datetime(2026, 11, 1, tzinfo=UTC)
ALWAYS = Interval(since=None, until=NOW)
LEAD = "sales.lead"
TOLD: LiteralString = """
select e.type, e.changed, r.version from event e join sales_lead r on r.workspace = e.workspace and r.id = e.record_id
order by e.id
"""
BUNDLES: LiteralString = """
select right(type, 10), changed, count(*), sum(events), max(events) <= 128 from event_bundle group by 1, 2 order by 3
"""
WORDS: LiteralString = """
select system, external_id, hlc, fields::text, deleted, basis is null from claim order by 1, 2, 3, 4
"""
HEARD: LiteralString = "select system, external_id, hlc, seen, version, deleted from ref order by 1, 2"
DONE: LiteralString = "select action, count(*) from audit group by 1 order by 1"
_others = count(5_000_000)


def leads(numbers: Sequence[int], *, hour: int = 0, system: str = "file", **columns: Sequence[Json]) -> Columns:
    """Leads, each with an address of its own."""
    fields: dict[str, Sequence[Json]] = {
        "email": [f"lead{n}@engines.example" for n in numbers],
        "first_name": [f"Ada {n}" for n in numbers],
        "company": ["Engines"] * len(numbers),
        **columns,
    }
    ids = [f"L{n}" for n in numbers]
    return Columns(type=LEAD, system=system, external_ids=ids, fields=fields, at=AT + timedelta(hours=hour))


async def stream(store: Store, scope: Scope, batch: Columns) -> PutResult:
    """Put one batch by column."""

    async def given_batches() -> AsyncIterator[Columns]:
        yield batch

    return await put_stream(store, scope, store.schema[LEAD], given_batches(), interval=ALWAYS, progress=lambda _: None)


async def asked(store: Store, scope: Scope, query: LiteralString) -> list[tuple[object, ...]]:
    """What a query gives in the workspace."""
    async with store.database.transaction(scope) as tx:
        return await (await tx.connection.execute(query)).fetchall()


async def landed(store: Store, scope: Scope, batch: Columns) -> Prepared:
    """A batch that has landed, with what is known of it."""
    prepared = store.preparer(LEAD, scope.workspace).prepare_columns(batch, since=None, until=NOW)
    async with store.database.transaction(scope) as tx:
        await land(tx, prepared)
    return prepared


async def told(store: Store, scope: Scope) -> tuple[object, ...]:
    """All that a workspace holds of its leads, but for ids and times."""
    async with store.database.transaction(scope) as tx:
        found = await page(tx, store.vault, store.schema[LEAD], limit=100)
        trails = [await history(tx, store.vault, store.schema[LEAD], each.id) for each in found]
    values = sorted([sorted(each.values.items(), key=str) for each in found], key=str)
    decided = [sorted([(each.field, each.value, each.verdict) for each in one], key=str) for one in trails]
    rows = [sorted(await asked(store, scope, each), key=str) for each in (TOLD, WORDS, HEARD, DONE)]
    return values, sorted(decided, key=str), *rows


async def test_later_words_change_records_and_tell_which_fields(store: Store, scope: Scope) -> None:
    await stream(store, scope, leads(range(6)))
    names: list[Json] = ["Augusta", "Ada 1", "Augusta", "Ada 3", "Ada 4", "Ada 5"]
    companies: list[Json] = ["Engines", "Engines", "Looms", "Engines", "Engines", "Engines"]
    later = leads(range(6), hour=1, first_name=names, company=companies)
    result = await stream(store, scope, later)
    assert (result.changed, result.unchanged, result.created, result.claimed) == (2, 4, 0, 0)
    changes = [changed for kind, changed, _ in await asked(store, scope, TOLD) if str(kind).endswith("changed.v1")]
    assert sorted(changes, key=str) == [["company", "first_name"], ["first_name"]]
    again = await stream(store, scope, later)
    assert (again.changed, again.unchanged) == (0, 6)


async def test_what_a_batch_does_is_told_in_bundles(store: Store, scope: Scope) -> None:
    await stream(store, scope, leads(range(300)))
    await stream(store, scope, leads(range(300), hour=1, company=["Looms"] * 150 + ["Engines"] * 100 + ["Mills"] * 50))
    assert await asked(store, scope, BUNDLES) == [
        ("changed.v1", ["company"], 2, 200, True),
        ("created.v1", [], 3, 300, True),
    ]
    told_of = "select count(distinct id), count(distinct record_id), count(distinct (record_id, hlc)) from event"
    assert await asked(store, scope, told_of) == [(500, 300, 500)]


async def test_later_rows_go_together_and_those_that_arrive_late_by_themselves(store: Store, scope: Scope) -> None:
    await stream(store, scope, leads(range(4)))
    await stream(store, scope, leads([3], hour=2, company=["Looms"]))
    prepared = await landed(store, scope, leads(range(5), hour=1, company=["Mills"] * 5))
    assert prepared.moved is not None
    assert prepared.block is not None
    assert sorted(prepared.moved.block.external_ids) == ["L0", "L1", "L2"]
    assert [row.observation.external_id for row in prepared.rows] == ["L3"]
    assert prepared.block.external_ids == ["L4"]


async def test_a_row_that_another_writer_moved_is_missed_and_the_batch_tried_again(store: Store, scope: Scope) -> None:
    await stream(store, scope, leads(range(3)))
    stale = await landed(store, scope, leads(range(3), hour=2, company=["Mills"] * 3))
    await stream(store, scope, leads([1], hour=1, company=["Looms"]))
    preparer = store.preparer(LEAD, scope.workspace)
    anticipate(store.vault, stale, workspace=scope.workspace, now=NOW)
    with pytest.raises(Raced):
        async with store.database.transaction(scope) as tx:
            await write(tx, store.vault, stale, preparer)
    companies = await asked(store, scope, "select company from sales_lead order by 1")
    assert companies == [("Engines",), ("Engines",), ("Looms",)]


async def test_later_words_of_two_streams_at_once_end_with_the_last(store: Store, scope: Scope) -> None:
    numbers = range(60)
    await stream(store, scope, leads(numbers))
    await asyncio.gather(
        *(stream(store, scope, leads(numbers, hour=hour, company=[f"Mill {hour}"] * 60)) for hour in (3, 1, 2))
    )
    assert await asked(store, scope, "select distinct company from sales_lead") == [("Mill 3",)]
    assert await asked(store, scope, "select count(*) from claim") in ([(4 * 60,)], [(3 * 60,)], [(2 * 60,)])


async def test_an_edit_made_here_is_met_by_rules_and_not_overrun(store: Store, scope: Scope) -> None:
    await stream(store, scope, leads(range(2)))
    async with store.database.transaction(scope) as tx:
        first = (await page(tx, store.vault, store.schema[LEAD], limit=10))[0]
    await edit(store, scope, LEAD, first.id, {"company": "Edited"})
    await stream(store, scope, leads(range(2), hour=5, first_name=["Augusta", "Augusta"]))
    assert await asked(store, scope, "select company from sales_lead order by 1") == [("Edited",), ("Engines",)]


@st.composite
def batches(draw: st.DrawFn) -> list[Columns]:
    """Some batches of two systems on the same few leads, at any times."""
    found: list[Columns] = []
    for _ in range(draw(st.integers(2, 4))):
        numbers = draw(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True))
        size = len(numbers)
        words: dict[str, Sequence[Json]] = {
            "company": draw(st.lists(st.sampled_from(["X", "Y"]), min_size=size, max_size=size)),
            "first_name": draw(st.lists(st.sampled_from(["Ada", "Bo"]), min_size=size, max_size=size)),
        }
        if draw(st.booleans()):
            words["status"] = draw(st.lists(st.sampled_from(["new", "working"]), min_size=size, max_size=size))
        if draw(st.booleans()):
            words["title"] = draw(st.lists(st.sampled_from(["Head", None]), min_size=size, max_size=size))
        system = draw(st.sampled_from(["file", "file", "mail"]))
        found.append(leads(numbers, hour=draw(st.integers(0, 3)), system=system, **words))
    return found


@given(batches())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_words_by_column_and_by_row_end_alike(store: Store, given_batches: list[Columns]) -> None:
    by_column, by_row = (Scope(workspace=next(_others), actor="user:a", cause="test", now=NOW) for _ in range(2))
    for batch in given_batches:
        await stream(store, by_column, batch)
        await put(store, by_row, [batch.observation(n) for n in range(len(batch))], interval=ALWAYS)
    assert await told(store, by_column) == await told(store, by_row)
