"""Versions of mappings, and what they would change, as they are shown, over HTTP and at the terminal alike."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from isthmus.app.connecting import access_of, described_by
from isthmus.app.veiling import MASK, veiled
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Scope, Transaction
from isthmus.store.schema import Schema
from isthmus.sync.connections import Connection, all_settings, connection_of
from isthmus.sync.connector import ConnectorError, Described
from isthmus.sync.flow_checks import checked
from isthmus.sync.flow_fields import found_fields
from isthmus.sync.flow_out import Rehearsal, ToldPlan
from isthmus.sync.flow_versions import FLOW_PREFIX, FlowPlan, FlowVersion, Trial, in_force
from isthmus.sync.flows import Flow, flowing
from isthmus.sync.ingest import Store
from isthmus.sync.running import UnknownConnector
from isthmus.sync.runs import Engine


class MappingView(Struct, frozen=True, kw_only=True):
    """A version of what flows between a connection and the records of a type; `in_force` tells that runs use it."""

    id: str
    connection: str
    type: str
    number: int
    mapping: Flow
    reason: str
    created_at: datetime
    created_by: str
    in_force: bool


class MovedView(Struct, frozen=True, kw_only=True):
    """What the system would be taken to say of a field, before and after; null where it would say nothing."""

    external_id: str
    field: str
    before: Json
    after: Json


class ToldView(Struct, frozen=True, kw_only=True):
    """What the system would be told of a field, before and after, beside what it says itself; null where nothing.

    `writes` tells that the next push writes it.
    """

    external_id: str
    field: str
    there: Json
    before: Json
    after: Json
    writes: bool


class OutgoingPlan(Struct, frozen=True, kw_only=True):
    """What a mapping would change on what the system is told: of how many records that it knows, and by field.

    The next push writes `writes` of them; `unfit` could not be told, for such a `reason`. `told` shows the first.
    """

    looked: int
    changed: int
    writes: int
    unfit: int
    reason: str
    fields: dict[str, int]
    told: list[ToldView]


class MappingPlan(Struct, frozen=True, kw_only=True):
    """What a mapping would change on the records as they were received: how many of those looked at, and by field.

    `rejected` could not be stored any more, for such a `reason`. `moved` shows the first. `out` is the other direction.
    """

    looked: int
    changed: int
    rejected: int
    reason: str
    fields: dict[str, int]
    moved: list[MovedView]
    out: OutgoingPlan


class FieldView(Struct, frozen=True, kw_only=True):
    """A field of what a system sends: where it stands, by dots, and in how many of the rows it holds something.

    `becomes` names our fields that it is part of, as mapped now. `label`, `kind` and `own` are as the system describes
    it, where it was asked; `kinds` are those of its values.
    """

    feed: str
    path: str
    label: str
    kind: str
    own: bool
    kinds: list[str]
    filled: int
    becomes: list[str]


class MappingFields(Struct, frozen=True, kw_only=True):
    """The fields that can be mapped to records of a type; `note` says why the system describes none."""

    looked: int
    note: str
    fields: list[FieldView]


def mapping_view(found: FlowVersion) -> MappingView:
    """Return a version as it is shown."""
    names = ("connection", "type", "number", "reason", "created_at", "created_by", "in_force")
    told = {name: getattr(found, name) for name in names}
    return MappingView(id=text_of(FLOW_PREFIX, found.id), mapping=found.flow, **told)


def plan_view(
    plans: tuple[FlowPlan, ToldPlan], record_type: RecordType, *, may: Callable[[str], bool], shown: int
) -> MappingPlan:
    """Return what a mapping would change as it is shown; personal values, and what is custom, masked."""
    found, out = plans
    personal = may(f"{record_type.domain}:read_personal")

    def veil(name: str, value: Json) -> Json:
        hidden = name == "custom" and value is not None and not personal
        return MASK if hidden else veiled(record_type, name, value, personal=personal)

    moved = [
        MovedView(
            external_id=each.external_id,
            field=each.field,
            before=veil(each.field, each.before),
            after=veil(each.field, each.after),
        )
        for each in found.moved[:shown]
    ]
    return MappingPlan(
        looked=found.looked,
        changed=found.changed,
        rejected=found.rejected,
        reason=found.reason if personal else "",
        fields=found.fields,
        moved=moved,
        out=_outgoing_view(out, veil, reason=out.reason if personal else "", shown=shown),
    )


def _outgoing_view(out: ToldPlan, veil: Callable[[str, Json], Json], *, reason: str, shown: int) -> OutgoingPlan:
    told = [
        ToldView(
            external_id=each.external_id,
            field=each.field,
            there=veil(each.field, each.there),
            before=veil(each.field, each.before),
            after=veil(each.field, each.after),
            writes=each.writes,
        )
        for each in out.told[:shown]
    ]
    return OutgoingPlan(
        looked=out.looked,
        changed=out.changed,
        writes=out.writes,
        unfit=out.unfit,
        reason=reason,
        fields=out.fields,
        told=told,
    )


async def fitting(tx: Transaction, store: Store, engine: Engine, connection: str, flow: Flow, schema: Schema) -> Flow:
    """Return a mapping that fits its connection and type; raises FlowUnfit, ConnectionMissing and UnknownConnector."""
    own = await connection_of(tx, connection)
    known = engine.connectors.get(own.connector)
    if known is None:
        raise UnknownConnector(f"There is no connector {own.connector!r}.", fix="Install it, or connect another.")
    settings = await all_settings(tx, store.vault, own)
    return checked(flow, schema[flow.type], known.adapted(settings), known.feeds_of(settings))


async def planned_mapping(
    tx: Transaction, store: Store, engine: Engine, version: FlowVersion
) -> tuple[FlowPlan, ToldPlan]:
    """Tell what a version would change on what was received, and on what is told; raises UnknownConnector."""
    own = await connection_of(tx, version.connection_id)
    known = engine.connectors.get(own.connector)
    if known is None:
        raise UnknownConnector(f"There is no connector {own.connector!r}.", fix="Install it, or connect another.")
    settings = await all_settings(tx, store.vault, own)
    now = await in_force(tx, own.id)
    connector = known.adapted(settings)
    trial = Trial.of(store, connector, settings, version=version, now=now)
    rehearsal = Rehearsal.of(store, own, connector, settings, version=version, now=now)
    return await trial.plan(tx), await rehearsal.plan(tx)


async def fields_to_map(  # noqa: PLR0913, PLR0917, RUF100 - what is asked, of what, by whom.
    store: Store, engine: Engine, scope: Scope, own: Connection, type_name: str, *, ask: bool
) -> MappingFields:
    """Return the fields that can be mapped: of what was received, and with `ask` those that the system describes.

    Raises UnknownConnector. A system that does not answer is a note.
    """
    known = engine.connectors.get(own.connector)
    if known is None:
        raise UnknownConnector(f"There is no connector {own.connector!r}.", fix="Install it, or connect another.")
    async with store.database.transaction(scope) as tx:
        settings = await all_settings(tx, store.vault, own)
        flows = await in_force(tx, own.id)
    feeds = [feed for feed in known.feeds_of(settings) if type_name in feed.types]
    told: dict[str, list[Described]] = {}
    note = "" if ask else "The system was not asked."
    if ask:
        access = access_of(engine, own, known, settings, scope=scope)
        try:
            told = await described_by(known, settings, [feed.name for feed in feeds], name=own.name, access=access)
            note = "" if told else f"{known.title} describes no fields; these are of what was received."
        except ConnectorError as error:
            note = str(error)
    async with store.database.transaction(scope) as tx:
        connector = flowing(known.adapted(settings), flows)
        found = await found_fields(tx, store, connector, feeds, system=own.name, type_name=type_name, described=told)
    names = FieldView.__struct_fields__
    fields = [FieldView(**{name: getattr(each, name) for name in names}) for each in found.fields]
    return MappingFields(looked=found.looked, note=note, fields=fields)
