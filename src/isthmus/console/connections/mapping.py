"""The mapping of a connection: its versions, what one would change, putting it in force and taking it back."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from isthmus.console import words
from isthmus.console.connections.at import ACT, BYTES_MAX, READ, connector_of, found, opened, place, shown, viewer_of
from isthmus.console.connections.flowing import changed_flow, flow_form
from isthmus.console.connections.loading import brought, workspace_name
from isthmus.console.connections.port import Connecting
from isthmus.console.connections.telling import HERE, Deed, address, told
from isthmus.console.connections.veiling import said_of
from isthmus.gateway import HTML, Call, Response, Route, redirect
from isthmus.kernel.errors import Conflicting, Invalid, IsthmusError, NotFound
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.board import start
from isthmus.sync.connections import Connection
from isthmus.sync.connector import ConnectorError
from isthmus.sync.flow_versions import (
    FLOW_PREFIX,
    FlowMissing,
    FlowPlan,
    FlowVersion,
    NotInForce,
    activate_flow,
    flow_of,
    flow_versions,
    roll_back_flow,
    save_flow,
)
from isthmus.sync.flows import Flow, FlowUnfit
from isthmus.sync.running import ConnectionPaused

VERSIONS_SHOWN, MOVED_SHOWN, FIELDS_MAX = 20, 20, 45
_TAIL = 6
_Text = Annotated[str, Meta(max_length=200)]
_Words = Annotated[list[_Text], Meta(max_length=FIELDS_MAX)]


class Looking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which record type, the versions before which, and which version is tried."""

    type: _Text = ""
    before: _Text = ""
    trial: _Text = ""
    did: Deed | None = None


class Drawn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The form with a line for each field: `names` joined by commas, and in their order direction and winner.

    Or, with `whole`, the mapping as JSON. `base` is the version that the form showed; what it does not show stays.
    """

    type: _Text
    reason: Annotated[str, Meta(max_length=500)] = ""
    base: _Text = ""
    names: Annotated[str, Meta(max_length=5_000)] = ""
    direction: _Words = []
    winner: _Words = []
    whole: Annotated[str, Meta(max_length=100_000)] = ""


class Pressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form whose button is all it has."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a system would be taken to say of a field, before and after."""

    external_id: str
    field: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a version would change on the records as they were received."""

    number: int
    looked: int
    changed: int
    rejected: int
    reason: str
    fields: Sequence[tuple[str, int]]
    moved: Sequence[Moved]
    more: int


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """A version of a mapping."""

    id: str
    found: FlowVersion
    says: str
    by: str


async def show(call: Call) -> Response:
    """Show the mapping of a connection for one record type, and what a version would change."""
    return await _page(call, call.query(Looking))


async def save(call: Call) -> Response:
    """Keep the next version, once it fits."""
    given = call.body(Drawn)
    try:
        async with call.services.database.transaction(call.scope) as tx:
            own = await found(call, tx)
            flow = await _drawn(call, tx, given)
            if not given.reason.strip():
                raise FlowUnfit("No reason is given.", fix="Say why, for those who read the history.")
            await call.services.of(Connecting).fit(tx, own.name, flow)
            saved = await save_flow(tx, connection_id=own.id, flow=flow, reason=given.reason.strip())
            to = address(_at(own), "saved", type=flow.type, trial=text_of(FLOW_PREFIX, saved.id))
    except (Invalid, Conflicting, NotFound, ConnectorError) as refused:
        return await _page(call, Looking(type=given.type), refused=refused, given=given)
    return redirect(to)


async def activate(call: Call) -> Response:
    """Put a version in force; what it says is checked again, since connectors change."""

    async def act(tx: Transaction, own: Connection, version: FlowVersion) -> str:
        await call.services.of(Connecting).fit(tx, own.name, version.flow)
        await activate_flow(tx, version)
        return address(_at(own), "activated", type=version.type)

    return await _acted(call, act)


async def roll_back(call: Call) -> Response:
    """Take back that a version was put in force."""

    async def act(tx: Transaction, own: Connection, version: FlowVersion) -> str:
        await roll_back_flow(tx, version)
        return address(_at(own), "rolled-back", type=version.type)

    return await _acted(call, act)


async def replay(call: Call) -> Response:
    """Want what was received to be mapped again."""

    async def act(tx: Transaction, own: Connection, version: FlowVersion) -> str:
        if not version.in_force:
            raise NotInForce(f"Version {version.number} is not in force.", fix="Put it in force first.")
        if own.status is Status.PAUSED:
            raise ConnectionPaused(f"{own.name!r} is paused: {own.reason}", fix="Resume it first.")
        await start(tx, call.services.of(Connecting).wish("remap", own, {"type": version.type}))
        return address(_at(own), "replayed", type=version.type)

    return await _acted(call, act)


async def _acted(call: Call, act: Callable[[Transaction, Connection, FlowVersion], Awaitable[str]]) -> Response:
    type_name = ""
    try:
        async with call.services.database.transaction(call.scope) as tx:
            own = await found(call, tx)
            version = await _version(call, tx, own, call.path["version"])
            type_name = version.type
            to = await act(tx, own, version)
    except (Invalid, Conflicting, ConnectorError) as refused:
        return await _page(call, Looking(type=type_name), refused=refused)
    return redirect(to)


async def _drawn(call: Call, tx: Transaction, given: Drawn) -> Flow:
    """Return the mapping that a form says; raises FlowUnfit, and FlowMissing for a base that is not there."""
    if given.whole:
        try:
            flow = msgspec.json.decode(given.whole.encode(), type=Flow)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise FlowUnfit(f"This is no mapping: {error}.", fix="Mend it, and save again.") from error
        if flow.type != given.type:
            raise FlowUnfit(f"It says {flow.type!r}, and this page is about {given.type!r}.", fix="Change `type`.")
        return flow
    own = await found(call, tx)
    base = (await _version(call, tx, own, given.base)).flow if given.base else Flow(type=given.type)
    names = [each for each in given.names.split(",") if each]
    return changed_flow(base, names, given.direction, given.winner)


async def _page(
    call: Call, looking: Looking, *, refused: IsthmusError | None = None, given: Drawn | None = None
) -> Response:
    own = await opened(call)
    types = brought(own, connector_of(call, own), viewer_of(call))
    name = looking.type if looking.type in types else next(iter(types), "")
    async with call.services.database.transaction(call.scope) as tx:
        before = uuid_of(FLOW_PREFIX, looking.before) if looking.before else None
        versions = await flow_versions(tx, connection_id=own.id, types=[name], before=before, limit=VERSIONS_SHOWN + 1)
        force = await _in_force(tx, own, name)
        tried = await _version(call, tx, own, looking.trial) if looking.trial else None
        trial = _trial(call, tried, await call.services.of(Connecting).try_mapping(tx, tried)) if tried else None
        workspace = await workspace_name(tx)
    base = tried or force or next(iter(versions), None)
    connector = connector_of(call, own)
    values: dict[str, object] = {
        "name": own.name,
        "title": connector.title if connector else own.connector,
        "at": _at(own),
        "back": place(own),
        "workspace": workspace,
        "now": call.scope.now,
        "types": [(each, words.title(words.kind(each, count=2))) for each in types],
        "type": name,
        "kind": words.kind(name, count=2) if name else "",
        "versions": [_row(each) for each in versions[:VERSIONS_SHOWN]],
        "next": text_of(FLOW_PREFIX, versions[VERSIONS_SHOWN - 1].id) if len(versions) > VERSIONS_SHOWN else "",
        "first": before is None,
        "force": _row(force) if force else None,
        "trial": trial,
        "tried": _row(tried) if tried else None,
        "form": flow_form(call.services.schema[name], base.flow if base else Flow(type=name)) if name else None,
        "base": _row(base) if base else None,
        "given": given,
        "told": told(looking.did),
        "may_act": viewer_of(call).may("sync:write"),
    }
    return shown(call, "mapping", values, refused=refused)


async def _in_force(tx: Transaction, own: Connection, name: str) -> FlowVersion | None:
    """Return the version that is in force, among the last ones."""
    versions = await flow_versions(tx, connection_id=own.id, types=[name], limit=500)
    return next((each for each in versions if each.in_force), None)


async def _version(call: Call, tx: Transaction, own: Connection, text: str) -> FlowVersion:
    """Return a version of this connection; one on records that the caller may not read is not there for it."""
    version = await flow_of(tx, uuid_of(FLOW_PREFIX, text))
    if version.connection_id != own.id or not call.services.of(Connecting).may_read(call, version.type):
        raise FlowMissing("There is no such version here.", fix="Choose one that is listed.")
    return version


def _trial(call: Call, version: FlowVersion, plan: FlowPlan) -> Trial:
    record_type = call.services.schema[version.type]
    personal = call.may(f"{record_type.domain}:read_personal")
    return Trial(
        number=version.number,
        looked=plan.looked,
        changed=plan.changed,
        rejected=plan.rejected,
        reason=plan.reason if personal else "",
        fields=[(words.plain(name), count) for name, count in plan.fields.items()],
        moved=[
            Moved(
                external_id=each.external_id,
                field=words.plain(each.field),
                before=said_of(call, record_type, each.field, each.before),
                after=said_of(call, record_type, each.field, each.after),
            )
            for each in plan.moved[:MOVED_SHOWN]
        ],
        more=max(0, sum(plan.fields.values()) - MOVED_SHOWN),
    )


def _row(version: FlowVersion) -> VersionRow:
    flow = version.flow
    parts = [words.counted(len(flow.fields), "field")] if flow.fields else []
    parts += [words.counted(len(flow.custom), "custom value")] if flow.custom else []
    return VersionRow(
        id=text_of(FLOW_PREFIX, version.id),
        found=version,
        says=" and ".join(parts) or "everything, unchanged",
        by=_by(version.created_by),
    )


def _by(actor: str) -> str:
    """Return who it was: the sort, and the end of the id, by which the audit log finds it."""
    sort, _, own = actor.partition(":")
    return f"{sort} …{own[-_TAIL:]}" if len(own) > 2 * _TAIL else actor


def _at(own: Connection) -> str:
    return f"{place(own)}/mapping"


def _button(
    path: str, handler: Callable[[Call], Awaitable[Response]], summary: str, body: type[Struct] = Pressed
) -> Route:
    return Route(
        method="POST",
        path=f"{HERE}/{{connection}}/mapping{path}",
        permission=ACT,
        handler=handler,
        summary=summary,
        body=body,
        accepts="form",
        body_bytes_max=BYTES_MAX,
        media=HTML,
        listed=False,
    )


MAPPINGS = (
    Route(
        method="GET",
        path=f"{HERE}/{{connection}}/mapping",
        permission=READ,
        handler=show,
        summary="The mapping of a connection",
        query=Looking,
        media=HTML,
        listed=False,
    ),
    _button("", save, "Keep the next version of a mapping", Drawn),
    _button("/{version}/activate", activate, "Put a mapping in force"),
    _button("/{version}/rollback", roll_back, "Take a mapping back"),
    _button("/{version}/replay", replay, "Map again what was received"),
)
