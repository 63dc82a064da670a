"""Which events somebody is told of: by the fields that changed, and by what their records say when they are looked at.

Events hold no values. A filter therefore looks at the record, as it is at that moment: one that is gone says nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Protocol, TypeVar, cast
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.records import find
from isthmus.store.schema import Schema
from isthmus.stream.topics import Topics
from isthmus.stream.workflows.definition import CLAUSES_MAX, Clause, clause_faults, holds
from isthmus.stream.workflows.sight import Sight, own_facts
from isthmus.vault import Vault

_WORDS, FAULTS_MAX = 3, 20
_Name = Annotated[str, Meta(min_length=1, max_length=200)]


class BadFilter(Invalid):
    """The filter does not fit what the events tell of."""

    code, title = "bad-filter", "The filter does not fit the events"


class EventFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of changes only those of one of the fields `changed`; of all events those of whose records all of `where` holds.

    What names no changed field, such as a creation or a deletion, passes `changed`. Empty, it lets everything pass.
    """

    changed: Annotated[tuple[_Name, ...], Meta(max_length=CLAUSES_MAX)] = ()
    where: Annotated[tuple[Clause, ...], Meta(max_length=CLAUSES_MAX)] = ()


class Told(Protocol):
    """As much of an event as filters look at."""

    @property
    def record_type(self) -> str:
        """The type of its record."""
        ...

    @property
    def record_id(self) -> UUID:
        """Its record."""
        ...

    @property
    def changed(self) -> Sequence[str]:
        """The fields that changed."""
        ...


T = TypeVar("T", bound=Told)


def check_filter(
    wanted: EventFilter, *, types: Iterable[str], topics: Topics, schema: Schema, pointer: str = "/filter"
) -> None:
    """Raise BadFilter with every fault: a field that a type of event does not tell of, a value that does not fit."""
    records = sorted({topics.types[each].record for each in types})
    faults = [fault for name in records for fault in _faults(wanted, Sight.alone(schema, schema[name]), pointer)]
    if faults:
        detail = "One thing is wrong." if len(faults) == 1 else f"{len(faults)} things are wrong."
        fix = "Name fields that all records have which these events tell of, or choose fewer events."
        raise BadFilter(detail, fix=fix, faults=tuple(faults[:FAULTS_MAX]))


def _faults(wanted: EventFilter, sight: Sight, pointer: str) -> Iterator[Fault]:
    for at, name in enumerate(wanted.changed):
        if sight.subject.field(name) is None:
            detail = f"{sight.subject.name} has no field {name!r}."
            yield Fault(pointer=f"{pointer}/changed/{at}", code="unknown-field", detail=detail)
    for at, clause in enumerate(wanted.where):
        yield from clause_faults(clause, sight, pointer=f"{pointer}/where/{at}")


def moved(wanted: EventFilter, changed: Sequence[str]) -> bool:
    """Tell whether fields that changed are among those that are asked for; none stand for more than single fields."""
    return not wanted.changed or not changed or not set(wanted.changed).isdisjoint(changed)


async def passing(tx: Transaction, vault: Vault, schema: Schema, wanted: EventFilter, events: Sequence[T]) -> list[T]:
    """Return the events that a filter lets pass, in their order."""
    some = [each for each in events if moved(wanted, each.changed)]
    if not wanted.where:
        return some
    ids: dict[str, set[UUID]] = {}
    for each in some:
        ids.setdefault(each.record_type, set()).add(each.record_id)
    there: set[UUID] = set()
    for name, records in ids.items():
        if name in schema.types:
            there |= await _holding(tx, vault, schema, name, records, wanted.where)
    return [each for each in some if each.record_id in there]


async def _holding(
    tx: Transaction, vault: Vault, schema: Schema, name: str, records: set[UUID], where: Sequence[Clause]
) -> set[UUID]:
    sight = Sight.alone(schema, schema[name])
    found = await find(tx, vault, sight.subject, sorted(records))
    seen = {own: own_facts(sight.subject, record, prefixes=sight.prefixes) for own, record in found.items()}
    now = tx.scope.now
    return {own for own, facts in seen.items() if all(holds(each, facts.get(each.field), now=now) for each in where)}


def read_clause(text: str, *, pointer: str) -> Clause:
    """Read a clause such as `amount at_least 1000`; what is no JSON is text. Raises BadFilter."""
    field, comparison, *value = text.split(None, _WORDS - 1) if len(text.split()) > 1 else (text, "")
    given: dict[str, Json] = {"field": field, "is": comparison, "value": _value(value[0]) if value else None}
    try:
        return msgspec.convert(given, Clause)
    except msgspec.ValidationError as error:
        detail = f"{text[:80]!r} is no clause: {error}."
        fault = Fault(pointer=pointer, code=BadFilter.code, detail=detail)
        fix = "Write a field, a comparison, a value: amount at_least 1000"
        raise BadFilter(detail, fix=fix, faults=(fault,)) from error


def _value(text: str) -> Json:
    try:
        return cast("Json", msgspec.json.decode(text))
    except msgspec.DecodeError:
        return text
