"""Lists, single records, their history and edits made here, for every record type, made from its declaration."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, LiteralString, TypeAlias, Union
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct
from psycopg import errors

from isthmus.app.areas import AREAS
from isthmus.gateway import Call, Page, Paging, Response, Route, id_at
from isthmus.gateway.errors import StaleVersion
from isthmus.kernel.errors import Conflicting, Fault, Invalid, NotFound
from isthmus.kernel.hlc import moment_of
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Field, Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.fold import Decision
from isthmus.store.prepare import Rejected
from isthmus.store.put import Raced
from isthmus.store.records import Reader, Stored, Wanted, find, history
from isthmus.store.schema import Schema
from isthmus.sync.edit import RecordDeleted, edit_in
from isthmus.sync.ingest import Store

TRIES_MAX = 3
HISTORY_MAX = 1_000
_LOCK: LiteralString = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"
_IRREGULAR = {
    "sales.person": "people",
    "product.event": "product-events",
    "product.feedback": "feedback",
    "finance.spend": "spend",
}
_OWN = ("id", "version", "created_at", "updated_at", "deleted_at", "merged_into", "masked", "erased")
_Map: TypeAlias = dict[str, Json]
_Document: TypeAlias = dict[str, object]
_FieldOf: TypeAlias = tuple[str, object, object]
_Id = Annotated[str, Meta(description="The id of a record.")]


class RecordUnseen(NotFound):
    """There is no such record, or the caller may not see it."""

    code, title = "record-missing", "There is no such record"


class RecordUnknown(Invalid):
    """A field names a record that is not there."""

    code, title = "unknown-record", "A field names a record that is not there"


class Change(Struct, frozen=True, kw_only=True):
    """What one system said of one field at one time, and what came of it."""

    field: str
    value: Json
    system: str
    external_id: str
    at: datetime
    verdict: str
    rule: str
    masked: bool = False


class History(Struct, frozen=True, kw_only=True):
    """What was said of a record, oldest first."""

    data: list[Change]
    has_more: bool = False


def plural(record_type: RecordType) -> str:
    """Return the name of a type's collection in paths."""
    kind = record_type.name.partition(".")[2].replace("_", "-")
    if (irregular := _IRREGULAR.get(record_type.name)) is not None:
        return irregular
    if kind.endswith("y"):
        return f"{kind[:-1]}ies"
    return f"{kind}es" if kind.endswith(("s", "x", "ch", "sh")) else f"{kind}s"


def record_routes(schema: Schema) -> tuple[Route, ...]:
    """Return the routes of all record types."""
    return tuple(route for record_type in schema for route in _Collection(record_type, schema).routes)


@dataclass(frozen=True)
class _Collection:
    """The routes of one record type."""

    of: RecordType
    schema: Schema

    @cached_property
    def area(self) -> str:
        """What its permissions begin with."""
        return AREAS.get(self.of.name, self.of.domain)

    @cached_property
    def kind(self) -> str:
        """Its name without the domain."""
        return self.of.name.partition(".")[2]

    @cached_property
    def pointers(self) -> tuple[Field, ...]:
        """Open fields that hold ids of records."""
        return tuple(each for each in self.of.open_fields if each.to)

    @cached_property
    def query(self) -> type[Struct]:
        """Paging, and a filter for each field that points to a record."""
        fields = [(each.name, _optional(_Id), None) for each in self.pointers]
        return defstruct(
            f"{self.of.struct.__name__}Query", fields, bases=(Paging,), frozen=True, kw_only=True, module=__name__
        )

    @cached_property
    def view(self) -> type[Struct]:
        """The record as it is shown; personal fields that the caller may not see are null and named in `masked`."""
        clash = {each.name for each in self.of.fields} & set(_OWN)
        if clash:
            message = f"{self.of.name}: a field may not be called {', '.join(sorted(clash))}"
            raise ValueError(message)
        own: list[_FieldOf] = [
            ("id", str, msgspec.NODEFAULT),
            ("version", int, msgspec.NODEFAULT),
            ("created_at", datetime, msgspec.NODEFAULT),
            ("updated_at", datetime, msgspec.NODEFAULT),
            ("deleted_at", datetime | None, None),
            ("merged_into", str | None, None),
            ("masked", list[str], []),
            ("erased", bool, False),
        ]
        shown = [(each.name, _optional(str if each.to else each.annotation), None) for each in self.of.fields]
        return _struct(self.of.struct.__name__, [*own, *shown])

    @cached_property
    def patch(self) -> type[Struct]:
        """The fields of a record, all of them optional; null empties a field, and what is absent stays."""
        fields = [
            (each.name, _optional(_Id if each.to else each.annotation, UnsetType), UNSET) for each in self.of.fields
        ]
        return _struct(f"{self.of.struct.__name__}Patch", fields)

    @cached_property
    def _prefixes(self) -> tuple[tuple[str, str], ...]:
        """The prefixes of ids, for the fields that hold one."""
        return tuple((each.name, self.schema[each.to].prefix) for each in self.of.fields if each.to)

    @property
    def routes(self) -> tuple[Route, ...]:
        """List, get, history, edit."""
        name, words = plural(self.of), self.kind.replace("_", " ")
        base, one = f"/api/v1/{name}", f"/api/v1/{name}/{{{self.kind}_id}}"
        amounts = tuple(each.name for each in self.of.open_fields if each.column == "money")
        personal = f"{self.of.domain}:read_personal" if self.of.personal_fields else ""
        camel = "".join(part.capitalize() for part in self.kind.split("_"))
        read, write, tags = f"{self.area}:read", f"{self.area}:write", (self.of.domain,)
        about = "Personal fields are null and named in `masked` without the permission to read them."
        listing = _page_of(self.view)
        return (
            Route(
                method="GET",
                path=base,
                permission=read,
                handler=self.read_page,
                summary=f"List {name}",
                tags=tags,
                query=self.query,
                response=listing,
                record=self.of.name,
                personal=personal,
                description=about,
                operation=f"list{camel}",
                shared=True,
            ),
            Route(
                method="GET",
                path=one,
                permission=read,
                handler=self.read_one,
                summary=f"Read one {words}",
                tags=tags,
                response=self.view,
                record=self.of.name,
                personal=personal,
                description=about,
                operation=f"get{camel}",
                errors=(RecordUnseen,),
            ),
            Route(
                method="GET",
                path=f"{one}/history",
                permission=read,
                handler=self.read_history,
                tags=tags,
                summary=f"Every word on each field of one {words}: value, system, time and rule",
                response=History,
                record=self.of.name,
                personal=personal,
                operation=f"list{camel}History",
                errors=(RecordUnseen,),
            ),
            Route(
                method="PATCH",
                path=one,
                permission=write,
                handler=self.edit_one,
                summary=f"Edit one {words} here",
                tags=tags,
                body=self.patch,
                response=self.view,
                record=self.of.name,
                personal=personal,
                amounts=amounts,
                if_match=True,
                operation=f"edit{camel}",
                errors=(RecordUnseen, RecordDeleted, StaleVersion, Rejected),
            ),
        )

    async def read_page(self, call: Call) -> Page[_Document]:
        """Answer a page of living records in the order they were made."""
        paging = call.read_query
        assert isinstance(paging, Paging)
        where: dict[str, object] = {}
        for each in self.pointers:
            wanted: str | None = getattr(paging, each.name)
            if wanted is not None:
                where[each.name] = id_at(f"/query/{each.name}", wanted, self.schema[each.to or ""])
        after = call.after()
        asked = Wanted(
            limit=paging.limit + 1,
            after=None if after is None else UUID(after),
            where=where,
            seen=call.seen(self.of),
        )
        rows = await self._reader(call).page(call.scope, asked, personal=self._may_see_all(call))
        found = call.page(rows, limit=paging.limit, after=lambda row: str(row.id))
        masked = self._masked(call) if rows else ()
        shown = [self._shown(each, masked) for each in found.data]
        return Page(data=shown, next_cursor=found.next_cursor, has_more=found.has_more)

    async def read_one(self, call: Call) -> Response:
        """Answer one record; one that was deleted or merged says so."""
        return self._answer(call, await self._find(call))

    async def read_history(self, call: Call) -> History:
        """Answer the trail of one record."""
        async with call.services.database.transaction(call.scope) as tx:
            stored = await self._find(call, tx)
            decisions = await history(tx, call.services.vault, self.of, stored.id)
        shown = [self._change(call, each) for each in decisions[-HISTORY_MAX:]]
        return History(data=shown, has_more=len(decisions) > HISTORY_MAX)

    async def edit_one(self, call: Call) -> Response:
        """Change fields of one record, as of the version the caller saw."""
        fields, named = self._fields(call)
        store = call.services.of(Store)
        for attempt in range(TRIES_MAX):
            try:
                async with call.services.database.transaction(call.scope) as tx:
                    await tx.connection.execute(_LOCK, (str(self._id(call)),))
                    stored = await self._find(call, tx)
                    call.expect(stored.version)
                    await self._check(call, tx, named)
                    await edit_in(tx, store, self.of.name, stored.id, fields)
                    return self._answer(call, await self._find(call, tx))
            except (Raced, errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
                if attempt == TRIES_MAX - 1:
                    raise
        raise Conflicting("Others change this record at this moment.", fix="Try again.")

    def _id(self, call: Call) -> UUID:
        return call.record_id(f"{self.kind}_id", self.of)

    def _reader(self, call: Call) -> Reader:
        return Reader(database=call.services.database, vault=call.services.vault, type=self.of, prefixes=self._prefixes)

    async def _find(self, call: Call, tx: Transaction | None = None) -> Stored:
        stored = await self._reader(call).find(
            call.scope, self._id(call), personal=self._may_see_all(call), seen=call.seen(self.of), within=tx
        )
        if stored is None:
            raise RecordUnseen(f"There is no {self.kind.replace('_', ' ')} with this id.", fix="Check the id.")
        return stored

    def _answer(self, call: Call, stored: Stored) -> Response:
        shown = self._shown(stored, self._masked(call))
        return Response(body=msgspec.json.encode(shown), version=stored.version)

    @cached_property
    def _personal(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.of.personal_fields)

    def _may_see_all(self, call: Call) -> bool:
        """Tell whether sealed values are to be opened, before it is known whether there are any."""
        return not self._personal or (call.caller is not None and call.caller.may(f"{self.of.domain}:read_personal"))

    def _masked(self, call: Call) -> tuple[str, ...]:
        """Return the fields that this caller does not see; that the others are shown is noted with the call."""
        sees_all = not self._personal or call.may(f"{self.of.domain}:read_personal")
        return () if sees_all else self._personal

    def _shown(self, stored: Stored, masked: Sequence[str]) -> _Document:
        prefix = self.of.prefix
        return {
            "id": text_of(prefix, stored.id),
            "version": stored.version,
            "created_at": stored.created_at,
            "updated_at": stored.updated_at,
            "deleted_at": stored.deleted_at,
            "merged_into": text_of(prefix, stored.merged_into) if stored.merged_into else None,
            **stored.values,
            "masked": [*masked],
            "erased": stored.erased,
        }

    def _change(self, call: Call, decision: Decision) -> Change:
        declared = self.of.field(decision.field)
        masked = declared is not None and declared.name in self._masked(call)
        value = self._outside(declared, decision.value) if declared else decision.value
        hlc, system, external_id = decision.place
        return Change(
            field=decision.field,
            value=None if masked else value,
            system=system,
            external_id=self._external(system, external_id),
            at=moment_of(hlc),
            verdict=decision.verdict,
            rule=decision.rule,
            masked=masked,
        )

    def _external(self, system: str, external_id: str) -> str:
        return text_of(self.of.prefix, UUID(external_id)) if system == "isthmus" else external_id

    def _outside(self, declared: Field, value: Json) -> Json:
        """Return a value with ids in their outside form."""
        if declared.to and isinstance(value, str):
            return text_of(self.schema[declared.to].prefix, UUID(value))
        return value

    def _fields(self, call: Call) -> tuple[_Map, list[tuple[Field, UUID]]]:
        """Return the edited fields in the form in which they are claimed, and the records they name."""
        fields: _Map = msgspec.convert(msgspec.to_builtins(call.body(self.patch)), _Map)
        named: list[tuple[Field, UUID]] = []
        for each in self.pointers:
            if isinstance(text := fields.get(each.name), str):
                record_id = id_at(f"/{each.name}", text, self.schema[each.to or ""])
                fields[each.name] = str(record_id)
                named.append((each, record_id))
        return fields, named

    async def _check(self, call: Call, tx: Transaction, named: list[tuple[Field, UUID]]) -> None:
        """Raise RecordUnknown when a named record is not in the workspace."""
        faults: list[Fault] = []
        for each, record_id in named:
            target = self.schema[each.to or ""]
            if not await find(tx, call.services.vault, target, [record_id], seen=call.seen(target)):
                detail = f"There is no {target.name} with this id."
                faults.append(Fault(pointer=f"/{each.name}", code=RecordUnknown.code, detail=detail))
        if faults:
            raise RecordUnknown("A field names a record that is not there.", fix="Check the id.", faults=tuple(faults))


def _optional(kind: object, *more: object) -> object:
    return Union[(kind, None, *more)]


def _struct(name: str, fields: Sequence[_FieldOf]) -> type[Struct]:
    return defstruct(name, fields, frozen=True, kw_only=True, forbid_unknown_fields=True, module=__name__)


def _page_of(view: type[Struct]) -> type[Struct]:
    fields = [("data", list[view]), ("next_cursor", str | None, None), ("has_more", bool, False)]
    return defstruct(f"{view.__name__}Page", fields, frozen=True, module=__name__)
