"""Reading records back: by id, by page, by handle, and field by field through their history."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import LiteralString, cast
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import SCOPED, Database, Scope, Transaction
from isthmus.store.fold import Decision, fold
from isthmus.store.layout import OWN, Layout, layout_of
from isthmus.store.schema import index_column
from isthmus.store.trail import claims_of
from isthmus.vault import Vault

PAGE_ROWS_MAX = 1_000
_Map = dict[str, Json]
_read_part = msgspec.json.Decoder(_Map).decode


@dataclass(frozen=True)
class Condition:
    """A further condition on the rows of a record type: names come from declarations, values are bound to `%s`."""

    sql: LiteralString
    parameters: tuple[object, ...] = ()


def all_of(*conditions: Condition | None) -> Condition | None:
    """Return what holds where all conditions hold, or None when there is none."""
    named = [each for each in conditions if each is not None]
    if not named:
        return None
    sql: LiteralString = " and ".join(f"({each.sql})" for each in named)
    return Condition(sql, tuple(value for each in named for value in each.parameters))


def limited(record_type: RecordType, only: Mapping[str, frozenset[UUID]]) -> Condition | None:
    """Return the condition on a type for whoever is limited to named records, or None when there is no limit.

    A named type shows the named records; another shows what points to one of them, of each named type that it points
    to; a type that points to none shows nothing.
    """
    if not only:
        return None
    if record_type.name in only:
        return Condition("id = any(%s)", (sorted(only[record_type.name]),))
    conditions: list[Condition] = []
    for name, ids in sorted(only.items()):
        columns = [each.name for each in record_type.open_fields if each.to == name]
        if columns:
            sql = cast("LiteralString", " or ".join(f"{column} = any(%s)" for column in columns))
            conditions.append(Condition(sql, (sorted(ids),) * len(columns)))
    return all_of(*conditions) or Condition("false")


class Stored(Struct, frozen=True, kw_only=True):
    """A record as it is held. `erased` tells that its personal values are gone for ever."""

    id: UUID
    type: str
    values: dict[str, Json]
    version: int
    hlc: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    merged_into: UUID | None = None
    erased: bool = False


async def find(
    tx: Transaction, vault: Vault, record_type: RecordType, ids: Sequence[UUID], *, seen: Condition | None = None
) -> dict[UUID, Stored]:
    """Return the records of these ids that exist, deleted ones included, and where `seen` holds."""
    asked = _Asked(record_type, *_of_ids(ids, seen))
    return {each.id: each for each in await asked.within(tx, vault)}


async def page(
    tx: Transaction,
    vault: Vault,
    record_type: RecordType,
    *,
    limit: int,
    after: UUID | None = None,
    where: dict[str, object] | None = None,
    newest_first: bool = False,
    seen: Condition | None = None,
) -> list[Stored]:
    """Return living records in the order of their ids, starting after one; `where` compares open fields for equality.

    Only those where `seen` holds are there.
    Raises KeyError for a field that the type does not hold in clear.
    """
    wanted = Wanted(limit=limit, after=after, where=where or {}, newest_first=newest_first, seen=seen)
    return await _Asked(record_type, *_of_page(record_type, wanted)).within(tx, vault)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which living records a page holds, as `page` has it."""

    limit: int
    after: UUID | None = None
    where: Mapping[str, object] = field(default_factory=dict[str, object])
    newest_first: bool = False
    seen: Condition | None = None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads records of one type for answers, each time in one round trip.

    `prefixes` names the fields whose ids are told in their outside form; moments and days are left to the encoder of
    the answer. Without `personal` sealed values are not
    opened, and null.
    """

    database: Database
    vault: Vault
    type: RecordType
    prefixes: tuple[tuple[str, str], ...] = ()

    async def find(
        self,
        scope: Scope,
        record_id: UUID,
        *,
        personal: bool,
        seen: Condition | None = None,
        within: Transaction | None = None,
    ) -> Stored | None:
        """Return one record, a deleted one too, or None where there is none or `seen` does not hold.

        It is what a transaction sees where one is given.
        """
        asked = _Asked(self.type, *_of_ids([record_id], seen), self.prefixes, personal)
        if within is not None:
            return next(iter(await asked.within(within, self.vault)), None)
        return next(iter(await asked.alone(self.database, self.vault, scope)), None)

    async def page(self, scope: Scope, wanted: Wanted, *, personal: bool) -> list[Stored]:
        """Return a page; raises KeyError as `page` does."""
        asked = _Asked(self.type, *_of_page(self.type, wanted), self.prefixes, personal)
        return await asked.alone(self.database, self.vault, scope)


def _of_ids(ids: Sequence[UUID], seen: Condition | None) -> tuple[str, list[object]]:
    if seen is None:
        return "and id = any(%s)", [list(ids)]
    return f"and id = any(%s) and ({seen.sql})", [list(ids), *seen.parameters]


def _of_page(record_type: RecordType, wanted: Wanted) -> tuple[str, list[object]]:
    conditions = ["and deleted_at is null and merged_into is null"]
    parameters: list[object] = []
    own = _compared(record_type)
    for name, value in wanted.where.items():
        if name not in own:
            raise KeyError(name)
        conditions.append(f"and {name} = %s")
        parameters.append(value)
    if wanted.seen is not None:
        conditions.append(f"and ({wanted.seen.sql})")
        parameters.extend(wanted.seen.parameters)
    if wanted.after is not None:
        conditions.append(f"and id {'<' if wanted.newest_first else '>'} %s")
        parameters.append(wanted.after)
    conditions.append(f"order by workspace, id {'desc' if wanted.newest_first else 'asc'} limit %s")
    parameters.append(min(wanted.limit, PAGE_ROWS_MAX))
    return " ".join(conditions), parameters


@lru_cache(maxsize=1024)
def _compared(record_type: RecordType) -> frozenset[str]:
    """Return the columns that a page may be asked for by their values."""
    return frozenset(
        (*(each.name for each in record_type.open_fields), *(index_column(each) for each in record_type.handles))
    )


async def count(tx: Transaction, record_type: RecordType) -> int:
    """Return how many living records there are."""
    table = cast("LiteralString", record_type.table)
    query = f"select count(*) from {table} where workspace = current_workspace() and deleted_at is null and merged_into is null"  # noqa: E501, S608 - the name comes from a declaration.
    row = await (await tx.connection.execute(query)).fetchone()
    return int(row[0]) if row else 0


async def history(tx: Transaction, vault: Vault, record_type: RecordType, record_id: UUID) -> list[Decision]:
    """Return what every claim did to every field, oldest first: value, system, time, rule and verdict."""
    trails = await claims_of(tx, vault, [record_id])
    return fold(record_type, trails[record_id]).decisions


@lru_cache(maxsize=1024)
def _select(
    layout: Layout, table: str, condition: str, *, sealed: LiteralString, place: LiteralString
) -> LiteralString:
    """Return the query of a type; all names in it come from declarations and are checked against them."""
    columns = layout.columns.format(sealed=sealed)
    return cast("LiteralString", f"select {columns} from {table} where workspace = {place} {condition}")  # noqa: S608 - see above.


@dataclass(frozen=True)
class _Asked:
    """What is asked of a type: the condition with its values, and whether sealed values are opened."""

    type: RecordType
    condition: str
    parameters: Sequence[object]
    prefixes: tuple[tuple[str, str], ...] | None = None
    personal: bool = True

    def query(self, *, place: LiteralString) -> LiteralString:
        """Return the query, for the workspace that stands at a place."""
        sealed: LiteralString = "sealed" if self.personal else "sealed is not null"
        return _select(self.layout, self.type.table, self.condition, sealed=sealed, place=place)

    @property
    def layout(self) -> Layout:
        """How the rows are told."""
        return layout_of(self.type, prefixes=self.prefixes)

    async def within(self, tx: Transaction, vault: Vault) -> list[Stored]:
        """Return what a transaction sees."""
        query = self.query(place="current_workspace()")
        cursor = await tx.connection.execute(query, self.parameters, binary=True)
        return self.stored(vault, tx.scope.workspace, await cursor.fetchall())

    async def alone(self, database: Database, vault: Vault, scope: Scope) -> list[Stored]:
        """Return the same in one round trip, without a transaction around it."""
        rows = await database.read(scope, self.query(place=SCOPED), self.parameters)
        return self.stored(vault, scope.workspace, rows)

    def stored(self, vault: Vault, workspace: int, rows: Sequence[Sequence[object]]) -> list[Stored]:
        """Return records of rows."""
        layout, name = self.layout, self.type.name
        parts = self._parts(vault, workspace, rows)
        found: list[Stored] = []
        for row, (erased, personal) in zip(rows, parts, strict=True):
            record_id, version, hlc, created_at, updated_at, deleted_at, merged_into, *_ = row
            values = layout.values(row)
            if personal:
                values |= personal
            found.append(
                Stored(
                    id=cast("UUID", record_id),
                    type=name,
                    values=values,
                    version=cast("int", version),
                    hlc=cast("int", hlc),
                    created_at=cast("datetime", created_at),
                    updated_at=cast("datetime", updated_at),
                    deleted_at=cast("datetime | None", deleted_at),
                    merged_into=cast("UUID | None", merged_into),
                    erased=erased,
                )
            )
        return found

    def _parts(
        self, vault: Vault, workspace: int, rows: Sequence[Sequence[object]]
    ) -> Iterable[tuple[bool, _Map | None]]:
        """Return of each row whether its sealed part is gone for ever, and that part; all are opened at once."""
        place = len(OWN)
        if not self.personal:
            held = vault.holding(workspace=workspace, subjects=[cast("UUID", row[0]) for row in rows if row[place]])
            return [(bool(row[place]) and row[0] not in held, None) for row in rows]
        sealed = [(cast("UUID", row[0]), cast("bytes", row[place])) for row in rows if row[place] is not None]
        opened = iter(vault.open_many(workspace=workspace, values=sealed))
        names = {each.name for each in self.type.personal_fields}
        return [_part(next(opened), names) if row[place] is not None else (False, None) for row in rows]


def _part(plain: bytes | None, names: AbstractSet[str]) -> tuple[bool, _Map | None]:
    if not plain:
        return plain is None, None
    said = _read_part(plain)
    return False, said if said.keys() <= names else {name: value for name, value in said.items() if name in names}
