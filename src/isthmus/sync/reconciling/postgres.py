"""A side in PostgreSQL: a table or a query, hashed by the server in one scan."""

from collections.abc import Sequence
from decimal import Decimal

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from isthmus.sync.reconciling.digest import Buckets, Digest
from isthmus.sync.reconciling.shape import Field, Kind, Row, Shape
from isthmus.sync.reconciling.sides import PORTABLE, Sums

NATIVE = "postgresql"
_PROBE = sql.SQL(
    "select getdatabaseencoding(), hashtextextended('isthmus', 1) # hash_numeric_extended(12.50, 2)"
    " # timestamp_hash_extended(timestamp '2026-11-23 01:02:03.4', 3)"
)
# Each kind in the type that is hashed, from whatever type the column has.
_TYPED = {
    Kind.TEXT: sql.SQL("{}::text"),
    Kind.INTEGER: sql.SQL("{}::bigint"),
    Kind.NUMBER: sql.SQL("{}::numeric"),
    Kind.TRUTH: sql.SQL("{}::boolean"),
    Kind.MOMENT: sql.SQL("({}::timestamptz at time zone 'UTC')"),
    Kind.DAY: sql.SQL("({}::date - date '2000-01-01')"),
}
# The same texts that `canonical` gives.
_CANONICAL = {
    Kind.TEXT: sql.SQL("{}::text"),
    Kind.INTEGER: sql.SQL("{}::bigint::text"),
    Kind.NUMBER: sql.SQL("trim_scale({}::numeric)::text"),
    Kind.TRUTH: sql.SQL("{}::boolean::text"),
    Kind.MOMENT: sql.SQL("""to_char({}::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""),
    Kind.DAY: sql.SQL("to_char({}::date, 'YYYY-MM-DD')"),
}
# Chained: the hash so far is the seed of the next. No value is hashed as something that no value of the kind is:
# a text begins with `v`, a number is never NaN, a moment never before all others.
_LINKED = {
    Kind.NUMBER: sql.SQL("hash_numeric_extended(coalesce({}, 'NaN'), {})"),
    Kind.MOMENT: sql.SQL("timestamp_hash_extended(coalesce({}, '-infinity'), {})"),
    Kind.TEXT: sql.SQL("""hashtextextended(coalesce('v' || {} collate "C", ''), {})"""),
}
_LINKED_AS_TEXT = sql.SQL("""hashtextextended(coalesce({}::text collate "C", ''), {})""")
_PORTABLE_PART = sql.SQL("coalesce('V' || octet_length(convert_to({0}, 'UTF8')) || ':' || {0}, 'N')")
_PORTABLE_HASH = sql.SQL("('x' || left(md5({}), 16))::bit(64)::bigint")
# `offset 0` keeps the hash from being computed once for each aggregate that uses it.
_DIGESTS = sql.SQL(
    "select bucket, count(*), sum(hash), bit_xor(hash) from"
    " (select {place} >> %(bits)s as bucket, {hash} as hash from {source} offset 0) as hashed group by bucket"
)
_SUMS = sql.SQL(
    "select currency, to_char(month, 'YYYY-MM'), sum(total) from"
    " (select {currency} as currency, date_trunc('month', {at}) as month, sum({amount}) as total from {source}"
    " where {amount} is not null and {currency} is not null and {at} is not null group by 1, 2) as summed group by 1, 2"
)
_SPANS = sql.SQL("unnest(%(first)s::bigint[], %(last)s::bigint[]) as span(first, last)")
_SEEKING = sql.SQL(
    "{spans} cross join lateral (select * from {relation} as inner_row"
    " where inner_row.{key} >= span.first and inner_row.{key} <= span.last) as row"
)
_SIFTING = sql.SQL("(select * from {relation} as inner_row where {place} >> %(level)s = any(%(numbers)s)) as row")


class PostgresSide:
    """A table, or a query in parentheses, whose columns have the names of the shape.

    The caller owns the connection: in a transaction that reads repeatably all steps see one state, and moments without
    a zone are read in its time zone, which should be UTC. Numbers are no NaN. A key that is a number should be indexed.
    """

    kept_bits: int | None = None

    def __init__(
        self, name: str, shape: Shape, connection: AsyncConnection[TupleRow], relation: sql.Composable
    ) -> None:
        """Compare a relation."""
        self.name = name
        self._shape = shape
        self._connection = connection
        self._relation = relation
        self._whole = sql.SQL("{} as row").format(relation)

    async def families(self) -> Sequence[str]:
        """Return our own way under the name of a probe: servers that hash otherwise never meet in it."""
        row = await (await self._connection.execute(_PROBE)).fetchone()
        return (PORTABLE,) if row is None else (f"{NATIVE} {row[0]} {row[1]}", PORTABLE)

    async def extent(self, family: str) -> tuple[int, int] | None:
        if not self._shape.by_number:
            return 0, (1 << 63) - 1
        statement = sql.SQL("select min({0}), max({0}) from {1}").format(place(self._shape, family), self._whole)
        row = await (await self._connection.execute(statement)).fetchone()
        return None if row is None or row[0] is None else (int(row[0]), int(row[1]))

    async def digests(self, family: str, *, bits: int, within: Buckets | None = None) -> dict[int, Digest]:
        source, given = self._source(family, within)
        statement = _DIGESTS.format(place=place(self._shape, family), hash=hashed(self._shape, family), source=source)
        cursor = await self._connection.execute(statement, {"bits": bits, **given})
        return {number: Digest(count, int(total), mixed) for number, count, total, mixed in await cursor.fetchall()}

    async def hashes(self, family: str, within: Buckets) -> list[tuple[str, int]]:
        source, given = self._source(family, within)
        statement = sql.SQL("select {}, {} from {}").format(
            _canonical(self._shape.key), hashed(self._shape, family), source
        )
        return [(key, own) for key, own in await (await self._connection.execute(statement, given)).fetchall()]

    async def rows(self, keys: Sequence[str]) -> list[Row]:
        columns = [_canonical(each) for each in (self._shape.key, *self._shape.fields)]
        stamp = self._shape.changed_at
        columns.append(_canonical(Field(name=stamp, kind=Kind.MOMENT)) if stamp else sql.SQL("null::text"))
        statement = sql.SQL("select {} from {} where {} = any(%s::{})").format(
            sql.SQL(", ").join(columns),
            self._whole,
            _typed(self._shape.key) if not self._shape.by_number else _column(self._shape.key),
            sql.SQL("bigint[]" if self._shape.by_number else "text[]"),
        )
        wanted = [int(each) for each in keys] if self._shape.by_number else list(keys)
        cursor = await self._connection.execute(statement, (wanted,))
        return [Row(key, tuple(values), changed_at) for key, *values, changed_at in await cursor.fetchall()]

    async def sums(self) -> Sums:
        money = self._shape.money
        if money is None:
            return {}
        amount, currency, at = (self._shape.fields[self._shape.position(each)] for each in _names(self._shape))
        statement = _SUMS.format(
            currency=_canonical(currency),
            at=_moment(at),
            amount=_typed(amount),
            source=self._whole,
        )
        cursor = await self._connection.execute(statement)
        return {(name, month): Decimal(total) for name, month, total in await cursor.fetchall()}

    def _source(self, family: str, within: Buckets | None) -> tuple[sql.Composable, dict[str, object]]:
        """Return what is read, and its parameters: a number is sought by the index, a text found in one scan."""
        if within is None:
            return self._whole, {}
        if self._shape.by_number:
            first, last = within.spans()
            source = _SEEKING.format(spans=_SPANS, relation=self._relation, key=sql.Identifier(self._shape.key.name))
            return source, {"first": first, "last": last}
        source = _SIFTING.format(relation=self._relation, place=place(self._shape, family, of="inner_row"))
        return source, {"level": within.bits, "numbers": list(within.numbers)}


def place(shape: Shape, family: str, *, of: str = "row") -> sql.Composable:
    """Return the expression of the place of a row's key."""
    if shape.by_number:
        return sql.SQL("{}::bigint").format(_column(shape.key, of=of))
    key = sql.SQL("""{}::text collate "C" """).format(_column(shape.key, of=of))
    own = _PORTABLE_HASH.format(key) if family == PORTABLE else sql.SQL("hashtextextended({}, 0)").format(key)
    return sql.SQL("({} & 9223372036854775807)").format(own)


def hashed(shape: Shape, family: str, *, of: str = "row") -> sql.Composable:
    """Return the expression of the hash of a row."""
    if family == PORTABLE:
        parts = [_PORTABLE_PART.format(_canonical(each, of=of)) for each in (shape.key, *shape.fields)]
        return _PORTABLE_HASH.format(sql.SQL(" || ").join(parts))
    chained: sql.Composable = sql.SQL("0")
    for field in (shape.key, *shape.fields):
        chained = _LINKED.get(field.kind, _LINKED_AS_TEXT).format(_typed(field, of=of), chained)
    return chained


def _names(shape: Shape) -> tuple[str, ...]:
    return (shape.money.amount, shape.money.currency, shape.money.at) if shape.money else ()


def _column(field: Field, *, of: str = "row") -> sql.Composable:
    return sql.Identifier(of, field.name)


def _typed(field: Field, *, of: str = "row") -> sql.Composable:
    return _TYPED[field.kind].format(_column(field, of=of))


def _moment(field: Field) -> sql.Composable:
    """Return the expression of when a moment or a day is, as a local time of UTC."""
    return sql.SQL("{}::date::timestamp").format(_column(field)) if field.kind is Kind.DAY else _typed(field)


def _canonical(field: Field, *, of: str = "row") -> sql.Composable:
    return _CANONICAL[field.kind].format(_column(field, of=of))
