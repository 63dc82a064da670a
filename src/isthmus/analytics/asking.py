# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# The lines above: pyarrow ships no types and makes its compute functions at import; what comes out gets its type here.
"""Asking what domains publish: a metric's query sees the columns that it declares, and nothing else.

A query is SQL over relations by their quoted names, `from "<domain>.<kind>"`. In front of it stand common table
expressions with exactly the declared columns of living records of the workspace, and `id`. So the declaration in
`reads` is what the question can see, not what somebody wrote about it: a column that is not declared does not exist.
A reference `x_id` is there as it is stored, to look up by, and as `x_id_now`, which leads from a merged record to its
winner, to count by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, LiteralString, TypeAlias, cast

import pyarrow as pa
from pyarrow import csv

from isthmus.analytics._arrow import SCALE, Table
from isthmus.analytics.catalog import Metric, Relation, check
from isthmus.kernel.marks import RecordType
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema, column_names

# Right after an import the database has no statistics and takes relations for tiny; a loop over a loop then takes
# minutes where hashing takes a moment.
_WHOLE: LiteralString = "set local enable_nestloop = off"
_SINGLE: LiteralString = "set local enable_nestloop = on"
Kind: TypeAlias = Literal["text", "moment", "flag", "count", "number", "amount"]
_TYPES: Mapping[Kind, object] = MappingProxyType(
    {
        "text": pa.string(),
        "moment": pa.timestamp("us", "UTC"),
        "flag": pa.bool_(),
        "count": pa.int64(),
        "number": pa.float64(),
        "amount": pa.decimal128(38, SCALE),
    }
)


def relation_of(record_type: RecordType) -> Relation:
    """Return what a record type publishes: its id and every field that is neither personal nor unpublished."""
    published = [name for each in record_type.fields if each.published for name, _ in column_names(each)]
    personal = [each.name for each in record_type.fields if each.personal]
    meaning = (record_type.struct.__doc__ or "").partition("\n")[0]
    return Relation.publish(
        name=record_type.name, columns=("id", "created_at", *published), personal=personal, meaning=meaning
    )


@dataclass(frozen=True)
class Catalog:
    """Everything that is published, and the metrics that read it; raises UnknownRelation and UnknownColumn when made.

    `computed` are relations that a metric answers with instead of a table of records.
    """

    schema: Schema
    metrics: tuple[Metric, ...] = ()
    computed: tuple[Relation, ...] = ()
    relations: Mapping[str, Relation] = field(init=False)

    def __post_init__(self) -> None:
        """Check that every metric reads what is published."""
        relations = [*(relation_of(each) for each in self.schema), *self.computed]
        check(relations=relations, metrics=self.metrics)
        object.__setattr__(self, "relations", MappingProxyType({each.name: each for each in relations}))

    async def table(
        self,
        tx: Transaction,
        metric: Metric,
        query: LiteralString,
        *,
        columns: Mapping[str, Kind],
        given: Mapping[str, object] | None = None,
    ) -> Table:
        """Return the answer to a query as a table; `columns` names what the query selects, in order.

        `given` holds the values of `%(name)s` in the query.
        """
        text: LiteralString = f"copy ({self._query(metric, query)}) to stdout (format csv)"
        parts: list[bytes] = []
        await tx.connection.execute(_WHOLE)
        async with tx.connection.cursor() as cursor, cursor.copy(text, given) as copy:
            parts.extend([bytes(part) async for part in copy])
        await tx.connection.execute(_SINGLE)
        return _read(b"".join(parts), columns=columns)

    async def rows(
        self,
        tx: Transaction,
        metric: Metric,
        query: LiteralString,
        *,
        given: Mapping[str, object] | None = None,
        whole: bool = False,
    ) -> Sequence[tuple[object, ...]]:
        """Return the rows of a query, for answers of a few rows; `whole` tells that it goes through whole relations."""
        if whole:
            await tx.connection.execute(_WHOLE)
        cursor = await tx.connection.execute(self._query(metric, query), given)
        found = await cursor.fetchall()
        if whole:
            await tx.connection.execute(_SINGLE)
        return found

    def _query(self, metric: Metric, query: LiteralString) -> LiteralString:
        reads = tuple((name, columns) for name, columns in metric.reads.items() if name in self.schema.types)
        return cast("LiteralString", f"{_shown(self.schema, reads)} {query}")

    def __hash__(self) -> int:
        """Be the same as itself only."""
        return id(self)


@lru_cache(maxsize=1024)
def _visible(record_type: RecordType, columns: tuple[str, ...]) -> str:
    """Return the expression that shows columns of living records."""
    chosen: list[str] = []
    joins: list[str] = []
    for name in dict.fromkeys(("id", *columns)):
        chosen.append(f"own.{name}")
        declared = record_type.field(name)
        if declared is not None and declared.to is not None:
            joined = f"to_{name}"
            table = declared.to.replace(".", "_")
            joins.append(
                f"left join {table} {joined} on {joined}.workspace = own.workspace and {joined}.id = own.{name}"
                f" and {joined}.merged_into is not null"
            )
            chosen.append(f"coalesce({joined}.merged_into, own.{name}) as {name}_now")
    return (
        f'"{record_type.name}" as not materialized (select {", ".join(chosen)} from {record_type.table} own'  # noqa: S608 - names come from declarations.
        f" {' '.join(joins)} where own.workspace = current_workspace() and own.deleted_at is null"
        " and own.merged_into is null)"
    )


def _shown(schema: Schema, reads: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    return "with " + ", ".join(_visible(schema[name], columns) for name, columns in reads)


def _read(raw: bytes, *, columns: Mapping[str, Kind]) -> Table:
    types = {name: _TYPES[kind] for name, kind in columns.items()}
    if not raw:
        empty = {name: pa.array([], kind) for name, kind in types.items()}
        return pa.table(empty)
    return csv.read_csv(
        pa.BufferReader(raw),
        read_options=csv.ReadOptions(column_names=list(columns)),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
        ),
    )
