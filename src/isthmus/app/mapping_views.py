"""Versions of mappings, and what they would change, as they are shown, over HTTP and at the terminal alike."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from isthmus.app.veiling import MASK, veiled
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema
from isthmus.sync.connections import all_settings, connection_of
from isthmus.sync.flow_checks import checked
from isthmus.sync.flow_versions import FLOW_PREFIX, FlowPlan, FlowVersion, Trial, in_force
from isthmus.sync.flows import Flow
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


class MappingPlan(Struct, frozen=True, kw_only=True):
    """What a mapping would change on the records as they were received: how many of those looked at, and by field.

    `rejected` could not be stored any more, for such a `reason`. `moved` shows the first.
    """

    looked: int
    changed: int
    rejected: int
    reason: str
    fields: dict[str, int]
    moved: list[MovedView]


def mapping_view(found: FlowVersion) -> MappingView:
    """Return a version as it is shown."""
    names = ("connection", "type", "number", "reason", "created_at", "created_by", "in_force")
    told = {name: getattr(found, name) for name in names}
    return MappingView(id=text_of(FLOW_PREFIX, found.id), mapping=found.flow, **told)


def plan_view(found: FlowPlan, record_type: RecordType, *, may: Callable[[str], bool], shown: int) -> MappingPlan:
    """Return what a mapping would change as it is shown; personal values, and what is custom, masked."""
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
    )


async def fitting(tx: Transaction, store: Store, engine: Engine, connection: str, flow: Flow, schema: Schema) -> Flow:
    """Return a mapping that fits its connection and type; raises FlowUnfit, ConnectionMissing and UnknownConnector."""
    own = await connection_of(tx, connection)
    known = engine.connectors.get(own.connector)
    if known is None:
        raise UnknownConnector(f"There is no connector {own.connector!r}.", fix="Install it, or connect another.")
    settings = await all_settings(tx, store.vault, own)
    return checked(flow, schema[flow.type], known.adapted(settings), known.feeds_of(settings))


async def planned_mapping(tx: Transaction, store: Store, engine: Engine, version: FlowVersion) -> FlowPlan:
    """Tell what a version would change on what was received; raises UnknownConnector."""
    own = await connection_of(tx, version.connection_id)
    known = engine.connectors.get(own.connector)
    if known is None:
        raise UnknownConnector(f"There is no connector {own.connector!r}.", fix="Install it, or connect another.")
    settings = await all_settings(tx, store.vault, own)
    now = await in_force(tx, own.id)
    trial = Trial.of(store, known.adapted(settings), settings, version=version, now=now)
    return await trial.plan(tx)
