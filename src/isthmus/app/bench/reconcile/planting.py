"""Two tables with the same rows, and a hundred differences between them."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.shape import Field, Kind, MoneyFields, Shape
from isthmus.sync.reconciling.sides import Sums

ONE, OTHER = "bench_one", "bench_other"
WATERMARK = datetime(2027, 6, 1, tzinfo=UTC)
SHAPE = Shape(
    key=Field(name="id", kind=Kind.INTEGER),
    fields=(
        Field(name="name"),
        Field(name="mail"),
        Field(name="city"),
        Field(name="amount", kind=Kind.NUMBER),
        Field(name="currency"),
        Field(name="changed_at", kind=Kind.MOMENT),
    ),
    money=MoneyFields(amount="amount", currency="currency", at="changed_at"),
    changed_at="changed_at",
)
PLANTS = {
    DifferenceKind.MISSING: 20,
    DifferenceKind.EXTRA: 20,
    DifferenceKind.FIELD: 30,
    DifferenceKind.DUPLICATE: 15,
    DifferenceKind.LATE: 15,
}
_MAKE: LiteralString = """
create table bench_one as
select id::bigint as id, 'User ' || id || ' Name' as name,
       'user' || id || '@company' || (id % 20000) || '.example' as mail,
       case when id % 7 = 0 then null else 'city ' || id % 977 end as city,
       ((id % 100000)::numeric / 100)::numeric(12, 2) as amount, (array['EUR', 'USD', 'GBP'])[id % 3 + 1] as currency,
       timestamptz '2026-01-01 00:00+00' + (id % 31536000) * interval '1 second' as changed_at
from generate_series(1, {rows}) as id;
create table bench_other as select * from bench_one;
create index on bench_one (id);
create index on bench_other (id);
"""
_ROW: LiteralString = (
    "select amount, currency, to_char(changed_at at time zone 'UTC', 'YYYY-MM') from bench_one where id = %s"
)
_FIELDS = ("name", "city", "amount")
_CHANGES: dict[str, LiteralString] = {
    "name": "update bench_other set name = 'Somebody Else' where id = %s",
    "city": "update bench_other set city = case when city is null then '' end where id = %s",
    "amount": "update bench_other set amount = amount + 0.01 where id = %s",
}
_CENT = Decimal("0.01")
_LATER = WATERMARK + timedelta(days=3)


@dataclass
class Planted:
    """What differs: (kind, key, field), and by how much the money of a currency and month does (one less other)."""

    differences: Counter[tuple[DifferenceKind, str, str | None]] = field(
        default_factory=Counter[tuple[DifferenceKind, str, str | None]]
    )
    money: Sums = field(default_factory=dict[tuple[str, str], Decimal])

    def add(self, place: tuple[str, str], amount: Decimal) -> None:
        """Count money that only one side has."""
        self.money[place] = self.money.get(place, Decimal(0)) + amount


async def make_tables(connection: AsyncConnection[TupleRow], rows: int) -> None:
    """Make both tables, and what the planner knows of them."""
    await connection.execute(_MAKE.replace("{rows}", str(rows)).encode())
    await connection.commit()
    await connection.set_autocommit(True)
    for table in (ONE, OTHER):
        await connection.execute(f"vacuum analyze {table}".encode())
    await connection.set_autocommit(False)


async def plant(connection: AsyncConnection[TupleRow], *, rows: int, chance: Random) -> Planted:
    """Write the differences, each at a key of its own."""
    made = Planted()
    kinds = [kind for kind, count in PLANTS.items() for _ in range(count)]
    for kind, number in zip(kinds, chance.sample(range(1, rows + 1), len(kinds)), strict=True):
        row = await (await connection.execute(_ROW, (number,))).fetchone()
        if row is None:
            message = f"row {number} is not there"
            raise AssertionError(message)
        amount, place = Decimal(row[0]), (str(row[1]), str(row[2]))
        name = chance.choice(_FIELDS) if kind is DifferenceKind.FIELD else None
        made.differences[kind, str(number), name] += 1
        await _plant(connection, made, (kind, number, name), amount, place)
    await connection.commit()
    return made


async def _plant(
    connection: AsyncConnection[TupleRow],
    made: Planted,
    what: tuple[DifferenceKind, int, str | None],
    amount: Decimal,
    place: tuple[str, str],
) -> None:
    kind, number, name = what
    match kind:
        case DifferenceKind.MISSING:
            await connection.execute("delete from bench_other where id = %s", (number,))
            made.add(place, amount)
        case DifferenceKind.EXTRA:
            await connection.execute("delete from bench_one where id = %s", (number,))
            made.add(place, -amount)
        case DifferenceKind.DUPLICATE:
            await connection.execute("insert into bench_other select * from bench_other where id = %s", (number,))
            made.add(place, -amount)
        case DifferenceKind.LATE:
            await connection.execute("update bench_other set changed_at = %s where id = %s", (_LATER, number))
            made.add(place, amount)
            made.add((place[0], _LATER.strftime("%Y-%m")), -amount)
        case _:
            await connection.execute(_CHANGES[str(name)], (number,))
            if name == "amount":
                made.add(place, -_CENT)
