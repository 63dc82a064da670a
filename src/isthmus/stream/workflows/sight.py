"""What conditions may look at: fields of the record, one step along its links, and the latest record about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import LiteralString, cast
from uuid import UUID

import msgspec
from msgspec import NODEFAULT

from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Field, Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.records import Stored, find
from isthmus.store.schema import Schema
from isthmus.vault import Vault

OWN = "id"
_LINK_END = "_id"


@dataclass(frozen=True, kw_only=True)
class Latest:
    """The newest record of a type, by its time field `at`, whose field `by` points to what the field `of` points to.

    `of` is a field of the records that are followed, or `id` for those themselves.
    """

    type: str
    by: str
    at: str
    of: str = OWN


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What conditions on records of a type see: `links` lead to types by a field, `latest` to the newest about them.

    Ids are seen in their outside form: `prefixes` says how those of each type begin.
    """

    subject: RecordType
    links: Mapping[str, tuple[Field, RecordType]] = field(default_factory=dict[str, tuple[Field, RecordType]])
    latest: Mapping[str, tuple[Latest, RecordType]] = field(default_factory=dict[str, tuple[Latest, RecordType]])
    prefixes: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, schema: Schema, subject: RecordType, latest: Mapping[str, Latest]) -> "Sight":
        """Take the links that a type declares: `account_id` is seen as `account`."""
        linked = [(each, each.to) for each in subject.fields if each.to is not None and each.published]
        return cls(
            subject=subject,
            links={each.name.removesuffix(_LINK_END): (each, schema[to]) for each, to in linked},
            latest={name: (each, schema[each.type]) for name, each in latest.items()},
            prefixes={each.name: each.prefix for each in schema},
        )

    @classmethod
    def alone(cls, schema: Schema, subject: RecordType) -> "Sight":
        """Take a type without what it leads to."""
        return cls(subject=subject, prefixes={each.name: each.prefix for each in schema})

    def field_at(self, path: str) -> Field | None:
        """Return the published field that a path such as `status` or `account.segment` leads to, or None."""
        first, dot, rest = path.partition(".")
        seen = self.types.get(first) if dot else self.subject
        found = None if seen is None else seen.field(rest if dot else first)
        return found if found is not None and found.published else None

    def why_not(self, path: str) -> str:
        """Say why a path leads to no field."""
        first, dot, rest = path.partition(".")
        if not dot:
            return f"{self.subject.name} publishes no field {path!r}."
        if not self.types:
            return f"{path!r} leads beyond {self.subject.name}. Compare one of its own fields."
        if first not in self.types:
            plain = self.subject.field(f"{first}{_LINK_END}")
            if plain is not None:
                return f"{plain.name!r} of {self.subject.name} leads to no record. Compare {plain.name!r} itself."
            return f"Nothing leads from {self.subject.name} to {first!r}; there are: {', '.join(sorted(self.types))}."
        if "." in rest:
            return f"{path!r} goes more than one step. Take a field of {first!r} itself."
        return f"{self.types[first].name} publishes no field {rest!r}."

    @property
    def types(self) -> Mapping[str, RecordType]:
        """The types beyond the subject, by the names under which they are seen."""
        linked = {name: kind for name, (_, kind) in self.links.items()}
        return linked | {name: kind for name, (_, kind) in self.latest.items()}

    def beyond(self, paths: Iterable[str]) -> frozenset[str]:
        """Return the names of the types beyond the subject that paths look at."""
        firsts = {each.partition(".")[0] for each in paths if "." in each}
        return frozenset(kind.name for name, kind in self.types.items() if name in firsts)


async def facts(
    tx: Transaction, vault: Vault, sight: Sight, record: Stored, *, paths: Iterable[str]
) -> dict[str, Json]:
    """Return what paths lead to from a record, None where nothing is; only what they need is read."""
    wanted = list(paths)
    seen = own_facts(sight.subject, record, prefixes=sight.prefixes)
    for name in sorted({each.partition(".")[0] for each in wanted if "." in each}):
        beyond = await _beyond(tx, vault, sight, record, name)
        if beyond is not None:
            there = own_facts(sight.types[name], beyond, prefixes=sight.prefixes)
            seen |= {f"{name}.{key}": value for key, value in there.items()}
    return seen


@lru_cache(maxsize=256)
def defaults_of(record_type: RecordType) -> Mapping[str, Json]:
    """Return the published fields of a type with the defaults of their declaration, None where there is none."""
    given = {each.name: each.default for each in msgspec.structs.fields(record_type.struct)}
    published = (each.name for each in record_type.fields if each.published)
    return {name: None if given[name] is NODEFAULT else msgspec.to_builtins(given[name]) for name in published}


def own_facts(record_type: RecordType, record: Stored, *, prefixes: Mapping[str, str]) -> dict[str, Json]:
    """Return the published fields of a record, with the defaults of their declaration and ids in their outside form."""
    found: dict[str, Json] = {}
    for name, default in defaults_of(record_type).items():
        value, declared = record.values.get(name), record_type.field(name)
        prefix = None if declared is None or declared.to is None else prefixes.get(declared.to)
        if prefix is not None and isinstance(value, str):
            value = text_of(prefix, UUID(value))
        found[name] = value if value is not None else default
    return found


async def _beyond(tx: Transaction, vault: Vault, sight: Sight, record: Stored, name: str) -> Stored | None:
    """Return the living record that a link leads to, or the latest one."""
    if name in sight.links:
        own = _named(record, sight.links[name][0].name)
    else:
        own = await _newest(tx, record, *sight.latest[name])
    kind = sight.types[name]
    found = None if own is None else (await find(tx, vault, kind, [own])).get(own)
    if found is not None and found.merged_into is not None:
        found = (await find(tx, vault, kind, [found.merged_into])).get(found.merged_into)
    return None if found is None or found.deleted_at is not None else found


def _named(record: Stored, name: str) -> UUID | None:
    value = record.id if name == OWN else record.values.get(name)
    return value if isinstance(value, UUID) else UUID(value) if isinstance(value, str) else None


async def _newest(tx: Transaction, record: Stored, latest: Latest, kind: RecordType) -> UUID | None:
    about, pointing = _named(record, latest.of), kind.field(latest.by)
    if about is None or pointing is None:
        return None
    newest = f"order by {latest.at} desc, id desc limit 1"
    query = (
        f"select id from {kind.table} where workspace = current_workspace() and deleted_at is null"  # noqa: S608 - the names come from declarations.
        f" and merged_into is null and {latest.by} in (select same_as(%s, %s)) {newest}"
    )
    cursor = await tx.connection.execute(cast("LiteralString", query), (pointing.to, about), prepare=True)
    row = await cursor.fetchone()
    return None if row is None else row[0]
