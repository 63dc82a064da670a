"""Reading records back: by id, by page, by handle, and field by field through their history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import LiteralString, cast
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.marks import Field, Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.fold import Decision, fold
from isthmus.store.prepare import canonical_amount
from isthmus.store.schema import index_column
from isthmus.store.trail import claims_of
from isthmus.vault import Vault

PAGE_ROWS_MAX = 1_000
_Map = dict[str, Json]
_Form = Callable[[Json], Json]


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
    more = "" if seen is None else f" and ({seen.sql})"
    bound = () if seen is None else seen.parameters
    cursor = await tx.connection.execute(_select(record_type, f"and id = any(%s){more}"), (list(ids), *bound))
    return {each.id: each for each in _stored(tx, vault, record_type, await cursor.fetchall())}


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
    own = {name for each in record_type.open_fields for name in (each.name,)} | {
        index_column(each) for each in record_type.handles
    }
    conditions = ["and deleted_at is null and merged_into is null"]
    parameters: list[object] = []
    for name, value in (where or {}).items():
        if name not in own:
            raise KeyError(name)
        conditions.append(f"and {name} = %s")
        parameters.append(value)
    if seen is not None:
        conditions.append(f"and ({seen.sql})")
        parameters.extend(seen.parameters)
    if after is not None:
        conditions.append(f"and id {'<' if newest_first else '>'} %s")
        parameters.append(after)
    conditions.append(f"order by workspace, id {'desc' if newest_first else 'asc'} limit %s")
    parameters.append(min(limit, PAGE_ROWS_MAX))
    cursor = await tx.connection.execute(_select(record_type, " ".join(conditions)), parameters)
    return _stored(tx, vault, record_type, await cursor.fetchall())


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
def _select(record_type: RecordType, condition: str) -> LiteralString:
    """Return the query of a type; all names in it come from declarations and are checked against them."""
    shown = ", ".join(f"'{each.name}', {_shown(each)}" for each in record_type.open_fields)
    return cast(
        "LiteralString",
        f"""select id, jsonb_build_object({shown}), sealed, version, hlc, created_at, updated_at, deleted_at,
        merged_into from {record_type.table} where workspace = current_workspace() {condition}""",  # noqa: S608 - see above.
    )


def _shown(field: Field) -> str:
    if field.column == "money":
        name = field.name
        return f"case when {name} is null then null else jsonb_build_array({name}::text, {name}_currency) end"
    return f"{field.name}::text" if field.column == "numeric" else field.name


def _stored(tx: Transaction, vault: Vault, record_type: RecordType, rows: Sequence[tuple[object, ...]]) -> list[Stored]:
    sealed = [(cast("UUID", row[0]), bytes(cast("bytes", row[2]))) for row in rows if row[2] is not None]
    opened = iter(vault.open_many(workspace=tx.scope.workspace, values=sealed))
    names, written = _forms(record_type)
    found: list[Stored] = []
    for row in rows:
        record_id, shown, envelope, version, hlc, created_at, updated_at, deleted_at, merged_into = row
        plain = next(opened) if envelope is not None else None
        values = _readable(cast("_Map", shown), names, written)
        personal = msgspec.json.decode(plain, type=_Map) if plain else {}
        values |= {each.name: personal.get(each.name) for each in record_type.personal_fields}
        found.append(
            Stored(
                id=cast("UUID", record_id),
                type=record_type.name,
                values=values,
                version=cast("int", version),
                hlc=cast("int", hlc),
                created_at=cast("datetime", created_at),
                updated_at=cast("datetime", updated_at),
                deleted_at=cast("datetime | None", deleted_at),
                merged_into=cast("UUID | None", merged_into),
                erased=envelope is not None and plain is None,
            )
        )
    return found


def _readable(shown: _Map, names: Sequence[str], written: Sequence[tuple[str, _Form]]) -> _Map:
    """Return open values in the form in which they are claimed."""
    values = {name: shown.get(name) for name in names}
    for name, write in written:
        if (value := values[name]) is not None:
            values[name] = write(value)
    return values


@lru_cache(maxsize=1024)
def _forms(record_type: RecordType) -> tuple[tuple[str, ...], tuple[tuple[str, _Form], ...]]:
    """Return the names of the open fields, and how those are written whose form in the table is another."""
    written = ((each.name, _FORMS[each.column]) for each in record_type.open_fields if each.column in _FORMS)
    return tuple(each.name for each in record_type.open_fields), tuple(written)


def _money(value: Json) -> Json:
    if not isinstance(value, list):
        return value
    amount, currency = str(value[0]), str(value[1])
    return {"amount": canonical_amount(Decimal(amount), currency), "currency": currency}


def _moment(value: Json) -> Json:
    if not isinstance(value, str):
        return value
    return datetime.fromisoformat(value).astimezone(UTC).isoformat().replace("+00:00", "Z")


def _number(value: Json) -> Json:
    return format(Decimal(value).normalize(), "f") if isinstance(value, str) else value


_FORMS: Mapping[str, _Form] = {"money": _money, "timestamptz": _moment, "numeric": _number}
