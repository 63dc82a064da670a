"""Bulk by column: it ends in the same records as row by row, and one bad row costs its own way only."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.kernel.marks import Json
from isthmus.store.columns import Columns
from isthmus.store.database import Scope
from isthmus.store.put import PutResult
from isthmus.store.records import history, page
from isthmus.store.rejected import open_rejects
from isthmus.sync.ingest import Interval, Store, put, put_stream

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
AT = datetime(2026, 11, 1, tzinfo=UTC)
ALWAYS = Interval(since=None, until=NOW)
LEAD = "sales.lead"


def leads(count: int, *, at: datetime = AT, system: str = "file", **columns: Sequence[Json]) -> Columns:
    """That many leads, with columns of one's own."""
    fields: dict[str, Sequence[Json]] = {
        "email": [f" Lead{n}@Engines.example" for n in range(count)],
        "first_name": [f"Ada {n}" for n in range(count)],
        "company": ["Engines "] * count,
        "captured_at": ["2026-01-01T00:00:00+01:00"] * count,
        "expected_value": [{"amount": n + 0.5, "currency": "EUR"} for n in range(count)],
        **columns,
    }
    return Columns(type=LEAD, system=system, external_ids=[f"L{n}" for n in range(count)], fields=fields, at=at)


async def stream(store: Store, scope: Scope, *batches: Columns) -> PutResult:
    """Put batches as a stream."""

    async def given_batches() -> AsyncIterator[Columns]:
        for batch in batches:
            yield batch

    return await put_stream(store, scope, store.schema[LEAD], given_batches(), interval=ALWAYS, progress=lambda _: None)


async def held(store: Store, scope: Scope) -> list[dict[str, Json]]:
    """The values of all leads, in order of their e-mail."""
    async with store.database.transaction(scope) as tx:
        found = await page(tx, store.vault, store.schema[LEAD], limit=1_000)
    return sorted((each.values for each in found), key=lambda each: str(each["email"]))


async def counts(store: Store, scope: Scope) -> tuple[object, ...]:
    """How many rows there are of leads, references, claims, events and audit rows."""
    async with store.database.transaction(scope) as tx:
        cursor = await tx.connection.execute(
            "select (select count(*) from sales_lead), (select count(*) from ref), (select count(*) from claim),"
            " (select count(*) from event), (select count(*) from audit)"
        )
        row = await cursor.fetchone()
    assert row is not None
    return row


async def test_columns_make_records_with_claims_events_and_audit_rows(store: Store, scope: Scope) -> None:
    result = await stream(store, scope, leads(30))
    assert (result.created, result.rejected) == (30, 0)
    assert await counts(store, scope) == (30,) * 5
    first = (await held(store, scope))[0]
    assert first["email"] == "lead0@engines.example"
    assert (first["company"], first["captured_at"]) == ("Engines", "2025-12-31T23:00:00Z")
    assert first["expected_value"] == {"amount": "0.50", "currency": "EUR"}


async def test_what_came_by_column_repeats_what_came_by_row_and_the_other_way_round(store: Store, scope: Scope) -> None:
    columns = leads(20)
    rows = [columns.observation(n) for n in range(20)]
    await stream(store, scope, columns)
    (again,) = await put(store, scope, rows, interval=ALWAYS)
    assert (again.unchanged, again.created, again.changed, again.claimed) == (20, 0, 0, 0)
    other = Scope(workspace=scope.workspace + 1_000_000, actor="user:other", cause="test", now=NOW)
    await put(store, other, rows, interval=ALWAYS)
    result = await stream(store, other, columns)
    assert (result.unchanged, result.created, result.changed, result.claimed) == (20, 0, 0, 0)
    assert await held(store, scope) == await held(store, other)


async def test_a_later_import_of_the_same_changes_nothing_and_is_remembered_as_seen(store: Store, scope: Scope) -> None:
    await stream(store, scope, leads(5))
    later = await stream(store, scope, leads(5, at=AT + timedelta(hours=3)))
    assert (later.unchanged, later.created, later.changed) == (5, 0, 0)
    assert await counts(store, scope) == (5,) * 5
    async with store.database.transaction(scope) as tx:
        cursor = await tx.connection.execute("select count(*) from ref where seen > hlc and digest is not null")
        assert await cursor.fetchone() == (5,)


async def test_a_changed_row_among_many_changes_its_record(store: Store, scope: Scope) -> None:
    await stream(store, scope, leads(6))
    names: list[Json] = [f"Ada {n}" for n in range(6)]
    names[4] = "Augusta"
    result = await stream(store, scope, leads(6, at=AT + timedelta(hours=1), first_name=names))
    assert (result.changed, result.unchanged) == (1, 5)
    assert [each["first_name"] for each in await held(store, scope)][4] == "Augusta"


async def test_bad_rows_are_kept_with_their_reasons_and_the_others_stored(store: Store, scope: Scope) -> None:
    columns = leads(
        6,
        email=["a@x.example", "nobody", "c@x.example", "d@x.example", "e@x.example", "f@x.example"],
        company=["X", "X", 7, "a\0b", "X", "X"],
        company_size=[1, 2, 3, 4, -5, 6],
    )
    result = await stream(store, scope, columns)
    assert (result.created, result.rejected) == (2, 4)
    async with store.database.transaction(scope) as tx:
        kept = await open_rejects(tx, store.vault)
    assert {each.external_id: each.code for each in kept} == {
        "L1": "invalid-email",
        "L2": "invalid-value",
        "L3": "nul",
        "L4": "invalid-value",
    }


async def test_ids_that_cannot_be_stored_are_refused(store: Store, scope: Scope) -> None:
    columns = Columns(
        type=LEAD,
        system="file",
        external_ids=["ok", "", "a\x1fb", "x" * 501],
        fields={"email": [f"{n}@x.example" for n in range(4)]},
    )
    result = await stream(store, scope, columns)
    assert (result.created, result.rejected) == (1, 3)


async def test_an_unknown_column_refuses_every_row_with_its_name(store: Store, scope: Scope) -> None:
    result = await stream(store, scope, leads(3, surprise=[1, 2, 3]))
    assert (result.created, result.rejected) == (0, 3)
    async with store.database.transaction(scope) as tx:
        kept = await open_rejects(tx, store.vault)
    assert {each.code for each in kept} == {"unknown-field"}


async def test_rows_with_one_handle_are_one_record_wherever_they_meet(store: Store, scope: Scope) -> None:
    await stream(store, scope, leads(3))
    same: list[Json] = ["LEAD1@engines.example", "new@x.example", "NEW@x.example", "alone@x.example"]
    result = await stream(store, scope, leads(4, system="mail", email=same))
    assert result.created == 2
    assert len(await held(store, scope)) == 5
    async with store.database.transaction(scope) as tx:
        cursor = await tx.connection.execute("select evidence from merge")
        assert [row[0] for row in await cursor.fetchall()] == ["same email"] * 2


async def test_batches_in_flight_that_share_ids_and_handles_end_as_one(store: Store, scope: Scope) -> None:
    result = await stream(store, scope, leads(10), leads(10, at=AT + timedelta(hours=1)), leads(10, system="mail"))
    assert result.created == 10
    assert len(await held(store, scope)) == 10


async def test_streams_of_two_systems_at_once_end_as_one_record_for_each_human(store: Store, scope: Scope) -> None:
    batches = 6
    parts = [range(40 * n, 40 * (n + 1)) for n in range(batches)]

    def batch(system: str, numbers: range) -> Columns:
        emails: list[Json] = [f"lead{n}@x.example" for n in numbers]
        ids = [f"{system}{n}" for n in numbers]
        return Columns(type=LEAD, system=system, external_ids=ids, fields={"email": emails}, at=AT)

    results = await asyncio.gather(
        stream(store, scope, *(batch("crm", each) for each in parts)),
        stream(store, scope, *(batch("mail", each) for each in reversed(parts))),
        stream(store, scope, *(batch("shop", each) for each in parts)),
    )
    assert sum(each.created for each in results) == 40 * batches
    assert len(await held(store, scope)) == 40 * batches
    assert (await counts(store, scope))[1] == 3 * 40 * batches


async def test_a_broken_source_ends_the_stream_with_its_error(store: Store, scope: Scope) -> None:
    async def broken() -> AsyncIterator[Columns]:
        yield leads(3)
        message = "the file ends in the middle"
        raise ValueError(message)

    with pytest.raises(ValueError, match="in the middle"):
        await put_stream(store, scope, store.schema[LEAD], broken(), interval=ALWAYS, progress=lambda _: None)


async def test_the_history_of_a_bulk_record_names_its_system(store: Store, scope: Scope) -> None:
    await stream(store, scope, leads(1))
    async with store.database.transaction(scope) as tx:
        (found,) = await page(tx, store.vault, store.schema[LEAD], limit=10)
        trail = await history(tx, store.vault, store.schema[LEAD], found.id)
    assert {each.place[1] for each in trail} == {"file"}
    assert {"email", "company"} <= {each.field for each in trail}


VALUES: dict[str, st.SearchStrategy[Json]] = {
    "email": st.sampled_from(["a@x.example", "B@x.example", " c@x.example", "bad", "", None, 3]),
    "phone": st.sampled_from(["+49 30 1", "0049 30 1", "030-1", None, "", True]),
    "company": st.sampled_from(["X", " X", "", None, "é", "a\0"]),
    "company_size": st.sampled_from([1, True, 1.0, "1", None, -1]),
    "score": st.sampled_from([1, 1.0, 99.5, float("nan"), 101, None]),
    "status": st.sampled_from(["new", "working", "sleeping", None]),
    "captured_at": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01", None, 5]),
    "expected_value": st.sampled_from([{"amount": "1", "currency": "EUR"}, {"amount": "-1", "currency": "EUR"}, "1"]),
    "tags": st.sampled_from([["a"], [], [1], None]),
    "custom": st.sampled_from([{"a": 1}, {}, {"a": [1]}]),
}


@st.composite
def tables(draw: st.DrawFn) -> Columns:
    """Columns of any values, good and bad."""
    count = draw(st.integers(1, 8))
    names = draw(st.sets(st.sampled_from(sorted(VALUES)), min_size=1))
    fields = {name: draw(st.lists(VALUES[name], min_size=count, max_size=count)) for name in names}
    ids = draw(st.lists(st.sampled_from(["1", "2", "3", "4", "5", "6"]), min_size=count, max_size=count))
    return Columns(type=LEAD, system="file", external_ids=ids, fields=fields, at=AT)


@given(tables())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_and_rows_are_prepared_alike(store: Store, workspace: int, columns: Columns) -> None:
    preparer = store.preparer(LEAD, workspace)
    rows = preparer.prepare([columns.observation(n) for n in range(len(columns))], since=None, until=NOW)
    bulk = preparer.prepare_columns(columns, since=None, until=NOW)
    assert bulk.block is not None
    prepared = {each.observation.external_id: (each.digest, each.indexes, each.hlc) for each in bulk.rows}
    block = bulk.block
    indexes = list(zip(*block.indexes, strict=True))
    prepared |= {
        external_id: (block.digests[n], indexes[n], block.hlcs[n]) for n, external_id in enumerate(block.external_ids)
    }
    assert prepared == {each.observation.external_id: (each.digest, each.indexes, each.hlc) for each in rows.rows}
    assert sorted(each.reason for each in bulk.rejects) == sorted(each.reason for each in rows.rejects)
