"""What differs is found and nothing else, whatever differs and wherever the sides are."""

import sqlite3
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from isthmus.app.engines import Engines
from isthmus.kernel.errors import Invalid
from isthmus.sync.reconciling import comparing
from isthmus.sync.reconciling.comparing import DifferenceKind, NoCommonHash, compare, compare_sums
from isthmus.sync.reconciling.postgres import PostgresSide
from isthmus.sync.reconciling.shape import (
    Field,
    Kind,
    MoneyFields,
    Row,
    Shape,
    UnknownValue,
    canonical,
    row_of,
)
from isthmus.sync.reconciling.sides import PORTABLE, ScannedSide, Side, dbapi_rows, mapped_row, summed
from tests.rooms.sync.reconciling.planting import WATERMARK, Planted, planted, shape, told

KEYS = (Kind.INTEGER, Kind.TEXT)
FLAT = Shape(key=Field(name="id"), fields=(Field(name="name"),))


def scanned(name: str, own: Shape, rows: Iterable[Row]) -> ScannedSide:
    return ScannedSide(name, own, lambda: rows)


@asynccontextmanager
async def connected(engines: Engines) -> AsyncGenerator[AsyncConnection[TupleRow]]:
    owner = engines.postgres.owner
    async with await AsyncConnection.connect(owner.conninfo, password=owner.password) as connection:
        yield connection


async def loaded(
    connection: AsyncConnection[TupleRow], table: str, own: Shape, rows: Iterable[Row], *, loose: bool
) -> PostgresSide:
    """Load rows into a temporary table; `loose` gives columns other types that hold the same."""
    number = "double precision" if loose else "numeric(20,6)"
    key, size = ("bigint", "numeric") if own.by_number else ("varchar(80)", "bigint")
    kinds = f"name text, amount {number}, currency varchar(9), due date, seen_at timestamptz, open boolean, size {size}"
    await connection.execute(f"create temp table {table} (id {key}, {kinds}, changed_at timestamptz)".encode())
    async with connection.cursor().copy(f"copy {table} from stdin".encode()) as copy:
        for row in rows:
            await copy.write_row((row.key, *row.values, row.changed_at))
    return PostgresSide(table, own, connection, sql.Identifier(table))


async def check(one: Side, other: Side, own: Shape, made: Planted) -> None:
    found = await compare(one, other, shape=own, watermark=WATERMARK)
    assert told(found.differences) == made.differences
    assert (found.rows_one, found.rows_other) == (len(made.one), len(made.other))
    assert found.unvisited == 0
    assert found.agree == (not made.differences)


@pytest.mark.parametrize("key", KEYS)
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 300), differences=st.integers(0, 40))
@settings(max_examples=25, deadline=None)
async def test_all_that_was_planted_is_found_and_nothing_is_invented(
    seed: int, rows: int, differences: int, key: Kind
) -> None:
    made, own = planted(Random(seed), rows=rows, differences=differences, key=key), shape(key)
    await check(scanned("one", own, made.one), scanned("other", own, made.other), own, made)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("seed", [1, 2])
async def test_tables_of_postgresql_are_compared_with_each_other_and_with_rows_from_elsewhere(
    engines: Engines, seed: int, key: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "ROWS_AT_ONCE", 200)
    made, own = planted(Random(seed), rows=5_000, differences=60, key=key), shape(key)
    async with connected(engines) as first, connected(engines) as second:
        one = await loaded(first, "here", own, made.one, loose=False)
        other = await loaded(second, "there", own, made.other, loose=True)
        await check(one, other, own, made)
        await check(one, scanned("rows", own, made.other), own, made)
        await check(scanned("rows", own, made.one), other, own, made)
        assert await one.sums() == summed(own, made.one)


async def test_a_query_is_a_side_as_a_table_is(engines: Engines) -> None:
    own = Shape(key=Field(name="id", kind=Kind.INTEGER), fields=(Field(name="name"),))
    async with connected(engines) as connection:
        text = "(select n as id, 'name ' || n as name from generate_series(1, 3000) n {})"
        one = PostgresSide("all", own, connection, sql.SQL(text).format(sql.SQL("")))
        async with connected(engines) as another:
            other = PostgresSide("most", own, another, sql.SQL(text).format(sql.SQL("where n <> 777")))
            found = await compare(one, other, shape=own)
    assert [(each.kind, each.key) for each in found.differences] == [(DifferenceKind.MISSING, "777")]


async def test_any_driver_of_python_is_a_side() -> None:
    own = Shape(
        key=Field(name="id", kind=Kind.INTEGER),
        fields=(Field(name="amount", kind=Kind.NUMBER), Field(name="currency"), Field(name="on", kind=Kind.DAY)),
        money=MoneyFields(amount="amount", currency="currency", at="on"),
        changed_at="changed_at",
    )
    base = sqlite3.connect(":memory:", check_same_thread=False)
    base.execute("create table sold (id, amount, currency, day, changed_at)")
    base.executemany(
        "insert into sold values (?, ?, ?, ?, ?)",
        [(n, f"{n}.10", "EUR", f"2026-{n % 12 + 1:02}-03", "2026-01-01T00:00:00Z") for n in range(100)],
    )
    query = "select id, amount, currency, day, changed_at from sold"
    one = ScannedSide("sold", own, dbapi_rows(base.cursor, query, own))
    rows = [row_of(own, n, (f"{n}.1", "EUR", date(2026, n % 12 + 1, 3)), "2026-01-01T00:00:00") for n in range(100)]
    same = await compare(one, scanned("rows", own, rows), shape=own)
    base.execute("update sold set amount = '12.11' where id = 12")
    found = await compare(one, scanned("rows", own, rows), shape=own)
    sums = await compare_sums(one, scanned("rows", own, rows))
    base.close()
    assert same.agree
    (difference,) = found.differences
    assert (difference.key, difference.field, difference.one, difference.other) == ("12", "amount", "12.11", "12.1")
    assert difference.at_stake == (Decimal("0.01"), "EUR")
    assert [(each.kind, each.key, each.at_stake) for each in sums] == [
        (DifferenceKind.AGGREGATE, "EUR 2026-01", (Decimal("0.01"), "EUR"))
    ]


async def test_rows_that_cancel_each_other_in_the_exclusive_or_are_found() -> None:
    rows = [Row(str(n), ("x",)) for n in range(20)]
    found = await compare(scanned("one", FLAT, rows + [rows[4]] * 2), scanned("other", FLAT, rows), shape=FLAT)
    assert [(each.kind, each.key, each.one, each.other) for each in found.differences] == [
        (DifferenceKind.DUPLICATE, "4", "3", "1")
    ]


async def test_a_row_that_changed_after_the_watermark_is_late_and_not_wrong() -> None:
    own = Shape(key=Field(name="id"), fields=(Field(name="name"),), changed_at="at")
    before, after = "2026-06-01T00:00:00.000000Z", "2026-06-01T00:00:00.000001Z"
    one = [Row("a", ("1",), before), Row("b", ("1",), before), Row("c", ("1",), after)]
    other = [Row("a", ("2",), after), Row("b", ("2",), before)]
    found = await compare(scanned("one", own, one), scanned("other", own, other), shape=own, watermark=WATERMARK)
    assert [(each.kind, each.key) for each in found.differences] == [
        (DifferenceKind.LATE, "a"),
        (DifferenceKind.FIELD, "b"),
        (DifferenceKind.LATE, "c"),
    ]


async def test_no_value_and_a_blank_are_two_things() -> None:
    one, other = [Row("a", (None,))], [Row("a", ("",))]
    (difference,) = (await compare(scanned("one", FLAT, one), scanned("other", FLAT, other), shape=FLAT)).differences
    assert (difference.one, difference.other) == (None, "")


async def test_sides_that_differ_everywhere_are_told_of_up_to_a_limit() -> None:
    one = [Row(str(n), ("x",)) for n in range(9_000)]
    found = await compare(scanned("one", FLAT, one), scanned("other", FLAT, []), shape=FLAT, found_max=100)
    assert len(found.differences) >= 100
    assert found.unvisited > 1_000
    assert not found.agree


async def test_sides_that_cannot_hash_alike_are_refused() -> None:
    class Foreign(ScannedSide):
        async def families(self) -> tuple[str, ...]:
            return ("another",)

    with pytest.raises(NoCommonHash):
        await compare(Foreign("one", FLAT, list[Row]), scanned("other", FLAT, []), shape=FLAT)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (Decimal("1.500"), Kind.NUMBER, "1.5"),
        ("-0.00", Kind.NUMBER, "0"),
        (1e20, Kind.NUMBER, "100000000000000000000"),
        (datetime.fromisoformat("2026-01-01T01:00:00+01:00"), Kind.MOMENT, "2026-01-01T00:00:00.000000Z"),
        (True, Kind.TRUTH, "true"),
        (0, Kind.TRUTH, "false"),
        (date(26, 1, 2), Kind.DAY, "0026-01-02"),
        ("007", Kind.INTEGER, "7"),
        (None, Kind.TEXT, None),
    ],
)
def test_a_value_has_one_text_on_every_side(value: object, kind: Kind, text: str | None) -> None:
    assert canonical(value, kind) == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [("NaN", Kind.NUMBER), ("x", Kind.INTEGER), ("perhaps", Kind.TRUTH), ("soon", Kind.MOMENT), (3, Kind.DAY)],
)
def test_a_value_of_another_kind_is_refused(value: object, kind: Kind) -> None:
    with pytest.raises(UnknownValue):
        canonical(value, kind)


def test_a_row_without_a_key_is_refused() -> None:
    with pytest.raises(UnknownValue):
        mapped_row(FLAT, {"name": "nobody"})


def test_money_that_no_field_holds_is_refused() -> None:
    with pytest.raises(Invalid):
        Shape(key=Field(name="id"), fields=(), money=MoneyFields(amount="a", currency="b", at="c"))


def test_a_key_is_a_text_or_an_integer() -> None:
    with pytest.raises(Invalid):
        Shape(key=Field(name="id", kind=Kind.MOMENT), fields=())


async def test_a_side_that_is_read_hashes_in_the_portable_way() -> None:
    assert list(await scanned("one", FLAT, []).families()) == [PORTABLE]
