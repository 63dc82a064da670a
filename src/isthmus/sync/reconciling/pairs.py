"""The money of two systems compared: exact sums by currency and month, and the records by which they differ.

Both are taken from what each system said last, so nothing is read from them. Digests of months come first; only months
whose digests differ are looked into. A record that both speak of is known by our own id. Of a moment the day counts,
in UTC: two systems book at different times. Records whose money does not count, by the mark `Void`, are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from isthmus.kernel.errors import Invalid
from isthmus.kernel.hlc import moment_of
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Transaction
from isthmus.sync.connections import connection_of
from isthmus.sync.feeds import feed_states
from isthmus.sync.reconciling.comparing import Difference, DifferenceKind, compare
from isthmus.sync.reconciling.shape import Field, Kind, MoneyFields, Row, Shape, canonical, row_of
from isthmus.sync.reconciling.sides import ScannedSide

UNDATED = "undated"
_WORDS: LiteralString = """
with word as (
    select distinct on (c.record_id, c.external_id, said.key) c.record_id, c.external_id, said.key, c.hlc,
           case when said.key = %(dated)s and said.value <> 'null' then to_jsonb(left(said.value #>> '{}', 10))
                else said.value end as value
    from claim c cross join lateral jsonb_each(c.fields) as said
    where c.workspace = current_workspace() and c.type = %(type)s and c.system = %(system)s
      and said.key = any(%(names)s)
      and not exists (
          select from ref r where r.workspace = current_workspace() and r.type = c.type and r.system = c.system
             and r.external_id = c.external_id and r.deleted
      )
    order by c.record_id, c.external_id, said.key, c.hlc desc
), told as (
    select record_id, external_id, max(hlc) as hlc,
           coalesce(jsonb_object_agg(key, value) filter (where value <> 'null' and key <> %(state)s), '{}') as said,
           string_agg(concat_ws(' ', key, coalesce(
               trim_scale((value ->> 'amount')::numeric)::text || (value ->> 'currency'), value #>> '{}'
           )), ', ' order by key) filter (where value <> 'null' and key <> %(state)s) as exact
    from word group by record_id, external_id
    having not coalesce(bool_or(key = %(state)s and value #>> '{}' = any(%(void)s)), false)
), dated as (
    select *, coalesce(left(said ->> %(dated)s, 7), 'undated') as month from told
)
"""
_NAMES: LiteralString = """
select array_agg(distinct said.key) from claim c cross join lateral jsonb_object_keys(c.fields) as said(key)
where c.workspace = current_workspace() and c.type = %s and c.system = %s and said.key = any(%s)
"""
_DIGESTS: LiteralString = (
    _WORDS
    + """
select month, count(*), sum(hashtextextended(concat(record_id, exact), 0)::numeric),
       bit_xor(hashtextextended(concat(record_id, exact), 0))
from dated group by month
"""
)
_SUMS: LiteralString = (
    _WORDS
    + """
select money.name, said -> money.name ->> 'currency', month, sum((said -> money.name ->> 'amount')::numeric), count(*)
from dated cross join unnest(%(money)s::text[]) as money(name)
where said -> money.name ->> 'amount' is not null
group by 1, 2, 3
"""
)
_ROWS: LiteralString = (
    _WORDS
    + """
select record_id, external_id, said, hlc from dated where month = any(%(months)s) order by record_id
"""
)
_Place = tuple[str, str, str]


class NoMoney(Invalid):
    """The record type holds no money, or the two systems do not both speak of it."""

    code, title = "no-money", "There is no money to compare"


@dataclass(frozen=True, kw_only=True)
class MoneySum:
    """What both systems say that a field adds up to, in a currency and a month (`2026-11`, or `undated`), exactly."""

    field: str
    currency: str
    month: str
    one: Decimal
    other: Decimal
    one_records: int
    other_records: int

    @property
    def agree(self) -> bool:
        """Tell whether both are equal; there is no tolerance."""
        return self.one == self.other


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What a record is called in each of the two systems."""

    one: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The money of two systems on one record type.

    The keys of `differences` are our ids of records, or of an aggregate currency and month; `outside` tells what those
    records are called. Both systems were read up to `watermark`; what one said after the other was read is late.
    """

    type: str
    one: str
    other: str
    dated_by: str | None
    watermark: datetime | None
    sums: tuple[MoneySum, ...]
    differences: tuple[Difference, ...]
    outside: dict[str, Outside]

    @property
    def agree(self) -> bool:
        """Tell whether all sums and all records agree."""
        return not self.differences


def money_fields(record_type: RecordType) -> tuple[str, ...]:
    """Return the fields of money that are stored in clear, in the order of the declaration."""
    return tuple(each.name for each in record_type.open_fields if each.column == "money")


def dated_by(record_type: RecordType) -> str | None:
    """Return the first field in clear that is a date or a moment: it says to which month the money belongs."""
    return next((each.name for each in record_type.open_fields if each.column in {"date", "timestamptz"}), None)


async def paired(tx: Transaction, record_type: RecordType, *, one: str, other: str) -> Paired:
    """Compare the money that two systems speak of on a record type; raises NoMoney and ConnectionMissing."""
    marks = [await _complete_at(tx, name) for name in (one, other)]
    known = [each for each in marks if each]
    watermark = min(known) if len(known) == len(marks) else None
    sides = [_Words(tx, record_type, system) for system in (one, other)]
    date = dated_by(record_type)
    wanted = [*money_fields(record_type), *([date] if date else [])]
    spoken = [await each.names(wanted) for each in sides]
    common = [name for name in wanted if all(name in names for names in spoken)]
    money = [name for name in common if name != date]
    if not money:
        raise NoMoney(
            f"{one} and {other} do not both speak of money on {record_type.name}.",
            fix="Name a record type with amounts of which both systems speak.",
        )
    sums = _joined(*[await each.sums(common, money, date) for each in sides])
    first, second = [await each.digests(common, date) for each in sides]
    months = sorted(each for each in first.keys() | second.keys() if first.get(each) != second.get(each))
    shape = _shape(money, date if date in common else None)
    rows = [await each.rows(common, date, months, shape) for each in sides]
    if watermark is not None:
        # What a system said late is what it said after the other was read, whenever its own feeds were.
        rows = [_timed(told, mark, watermark) for told, mark in zip(rows, reversed(known), strict=True)]
    found = await compare(
        *(ScannedSide(name, shape, _scan(told)) for name, told in zip((one, other), rows, strict=True)),
        shape=shape,
        watermark=watermark,
    )
    apart = [_aggregate(each) for each in sums if not each.agree]
    keys = {each.key for each in found.differences}
    return Paired(
        type=record_type.name,
        one=one,
        other=other,
        dated_by=date,
        watermark=watermark,
        sums=tuple(sums),
        differences=(*found.differences, *apart),
        outside={key: Outside(one=_called(rows[0], key), other=_called(rows[1], key)) for key in sorted(keys)},
    )


class _Words:
    """What one system says of the money of a record type."""

    def __init__(self, tx: Transaction, record_type: RecordType, system: str) -> None:
        self._tx = tx
        state = next((each for each in record_type.open_fields if each.void), None)
        self._state = state.name if state else ""
        void = list(state.void) if state else []
        self._given = {"type": record_type.name, "system": system, "state": self._state, "void": void}

    async def names(self, wanted: Sequence[str]) -> frozenset[str]:
        """Return of which fields the system ever spoke."""
        given = (self._given["type"], self._given["system"], list(wanted))
        row = await (await self._tx.connection.execute(_NAMES, given)).fetchone()
        return frozenset(row[0] or () if row else ())

    async def digests(self, names: Sequence[str], date: str | None) -> dict[str, tuple[object, ...]]:
        cursor = await self._tx.connection.execute(_DIGESTS, self._asking(names, date))
        return {month: tuple(rest) for month, *rest in await cursor.fetchall()}

    async def sums(
        self, names: Sequence[str], money: Sequence[str], date: str | None
    ) -> dict[_Place, tuple[Decimal, int]]:
        cursor = await self._tx.connection.execute(_SUMS, {**self._asking(names, date), "money": list(money)})
        return {(field, code, month): (total, count) for field, code, month, total, count in await cursor.fetchall()}

    async def rows(
        self, names: Sequence[str], date: str | None, months: Sequence[str], shape: Shape
    ) -> list[tuple[str, Row]]:
        """Return external ids and rows of some months."""
        if not months:
            return []
        given = {**self._asking(names, date), "months": list(months)}
        cursor = await self._tx.connection.execute(_ROWS, given)
        return [
            (external_id, _row(shape, record, said, moment_of(hlc)))
            for record, external_id, said, hlc in await cursor.fetchall()
        ]

    def _asking(self, names: Sequence[str], date: str | None) -> dict[str, object]:
        return {**self._given, "names": [*names, self._state], "dated": date or ""}


def _scan(told: list[tuple[str, Row]]) -> "_Scan":
    return _Scan([row for _, row in told])


def _timed(told: list[tuple[str, Row]], mark: datetime, watermark: datetime) -> list[tuple[str, Row]]:
    """Return rows of which those are later than the watermark that changed after a moment, and no others."""
    latest, before = canonical(mark, Kind.MOMENT), canonical(watermark, Kind.MOMENT)
    return [
        (key, row if (row.changed_at or "") > (latest or "") else replace(row, changed_at=before)) for key, row in told
    ]


@dataclass(frozen=True)
class _Scan:
    rows: list[Row]

    def __call__(self) -> list[Row]:
        return self.rows


def _called(told: Sequence[tuple[str, Row]], key: str) -> tuple[str, ...]:
    return tuple(external_id for external_id, row in told if row.key == key)


def _joined(first: dict[_Place, tuple[Decimal, int]], second: dict[_Place, tuple[Decimal, int]]) -> list[MoneySum]:
    nothing = (Decimal(0), 0)
    found: list[MoneySum] = []
    for place in sorted(first.keys() | second.keys()):
        (one, ones), (other, others) = first.get(place, nothing), second.get(place, nothing)
        field, currency, month = place
        counted = {"one_records": ones, "other_records": others}
        found.append(MoneySum(field=field, currency=currency, month=month, one=one, other=other, **counted))
    return found


def _aggregate(each: MoneySum) -> Difference:
    return Difference(
        kind=DifferenceKind.AGGREGATE,
        key=f"{each.currency} {each.month}",
        field=each.field,
        one=f"{each.one:f}",
        other=f"{each.other:f}",
        at_stake=(abs(each.one - each.other), each.currency),
    )


def _shape(money: Sequence[str], date: str | None) -> Shape:
    fields: list[Field] = []
    for name in money:
        fields += [Field(name=name, kind=Kind.NUMBER), Field(name=f"{name}.currency")]
    day = Field(name=date or UNDATED)
    return Shape(
        key=Field(name="record"),
        fields=(*fields, day),
        money=MoneyFields(amount=money[0], currency=f"{money[0]}.currency", at=day.name),
        changed_at="changed_at",
    )


def _row(shape: Shape, record: UUID, said: dict[str, Json], changed_at: datetime) -> Row:
    values: list[object] = []
    for each in shape.fields:
        name, _, part = each.name.partition(".")
        value = said.get(name)
        values.append(value.get(part or "amount") if isinstance(value, dict) else value)
    return row_of(shape, str(record), tuple(values), changed_at)


async def _complete_at(tx: Transaction, system: str) -> datetime | None:
    """Return up to when a system was read: the earliest end of the last reading of its feeds; None if not yet."""
    connection = await connection_of(tx, system)
    ended = [state.finished_at for state in (await feed_states(tx, connection.id)).values()]
    return min((each for each in ended if each), default=None) if ended and all(ended) else None
