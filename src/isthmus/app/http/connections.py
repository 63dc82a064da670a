"""Routes of connectors and connections: what can be connected, what is, and how it is."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from isthmus.app.connecting import (
    NoAnswer,
    NoConnector,
    access_of,
    answer_of,
    connector_named,
    not_local,
    parted,
    secrets_stay,
    tried,
)
from isthmus.app.connection_views import ConnectionView, ConnectorView, connection_view, connector_view
from isthmus.app.http.readable import named_connection
from isthmus.app.inbound_views import CONNECTION_PREFIX
from isthmus.gateway import Call, Page, Paging, Response, Route
from isthmus.gateway.routes import FRESH_S
from isthmus.kernel.errors import Fault
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.sync.connections import (
    NAME_CHARACTERS_MAX,
    Connection,
    ConnectionMissing,
    NameTaken,
    Options,
    SettingsRefused,
    all_settings,
    audit,
    change_connection,
    connect,
    connections,
    pause,
    remove,
    resume,
)
from isthmus.sync.connector import Connector, ConnectorError
from isthmus.sync.grants import Access
from isthmus.sync.runs import Engine

_TAGS = ("connections",)
_Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
_Type = Annotated[str, Meta(min_length=1, max_length=100)]
_Settings = dict[Annotated[str, Meta(max_length=100)], Annotated[str, Meta(max_length=20_000)]]
_Every = Annotated[int, Meta(ge=10, le=31 * 86_400, description="Seconds between runs; null runs it when asked only.")]
_EXAMPLE: dict[str, Json] = {
    "connector": "tryton",
    "name": "erp",
    "settings": {"url": "https://erp.example", "database": "main", "key": "of a user application"},
    "every_s": 900,
    "check": False,
}


class NewConnection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A system to be connected, with all settings; secret ones are sealed at once and never shown.

    `name` stands in every claim. `create` names record types that are made there when they are missing. Without
    `pipeline` the records that it brings do not go through the steps of their domain. With `check` it is asked first
    whether it answers; if it does not, nothing is kept.
    """

    connector: Annotated[str, Meta(min_length=1, max_length=100)]
    name: _Name
    settings: _Settings = {}
    push: bool = True
    create: Annotated[tuple[_Type, ...], Meta(max_length=100)] = ()
    delete: bool = True
    pipeline: bool = True
    every_s: _Every | None = None
    check: bool = True


class ConnectionChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed; what is absent stays. When settings change it is asked first whether it answers."""

    settings: _Settings | UnsetType = UNSET
    push: bool | UnsetType = UNSET
    create: Annotated[tuple[_Type, ...], Meta(max_length=100)] | UnsetType = UNSET
    delete: bool | UnsetType = UNSET
    pipeline: bool | UnsetType = UNSET
    every_s: _Every | UnsetType | None = UNSET
    check: bool = True


class Pausing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it rests."""

    reason: Annotated[str, Meta(max_length=200)] = ""


class ConnectionAnswer(Struct, frozen=True, kw_only=True):
    """Who we are there; or, where it does not answer as it should, what is wrong and how to mend it."""

    id: str
    name: str
    answers_as: str | None = None
    trouble: str = ""
    fix: str = ""


async def list_connectors(call: Call) -> Page[ConnectorView]:
    """List connectors by name."""
    paging, after = call.query(Paging), call.after()
    known = sorted(call.services.of(Engine).connectors.values(), key=lambda each: each.name)
    rest = [connector_view(each) for each in known if after is None or each.name > after]
    return call.page(rest, limit=paging.limit, after=lambda each: each.name)


async def list_connections(call: Call) -> Page[ConnectionView]:
    """List connections, oldest first."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        found = [each for each in await connections(tx) if after is None or text_of(CONNECTION_PREFIX, each.id) > after]
        shown = [await _view(call, tx, each) for each in found[: paging.limit + 1]]
    return call.page(shown, limit=paging.limit, after=lambda each: each.id)


async def add_connection(call: Call) -> Response:
    """Connect a system."""
    wanted = call.body(NewConnection)
    connector = connector_named(_connectors(call), wanted.connector)
    not_local(connector, wanted.settings)
    options = Options(
        push=wanted.push, create=_types(call, wanted.create), delete=wanted.delete, pipeline=wanted.pipeline
    )
    await tried(connector, name=wanted.name, settings=wanted.settings, asks=wanted.check)
    async with call.services.database.transaction(call.scope) as tx:
        made = await connect(
            tx,
            call.services.vault,
            connector,
            name=wanted.name,
            settings=wanted.settings,
            options=options,
            every_s=wanted.every_s,
        )
        view = await _view(call, tx, made)
    return Response(value=view, headers=(("location", f"/api/v1/connections/{view.id}"),))


async def show_connection(call: Call) -> ConnectionView:
    """Show a connection."""
    async with call.services.database.transaction(call.scope) as tx:
        return await _view(call, tx, await named_connection(call, tx))


async def edit_connection(call: Call) -> ConnectionView:
    """Change a connection."""
    wanted, vault = call.body(ConnectionChange), call.services.vault
    settings = None if wanted.settings is UNSET else wanted.settings
    async with call.services.database.transaction(call.scope) as tx:
        found = await named_connection(call, tx)
        whole = await all_settings(tx, vault, found) | (settings or {})
    connector = connector_named(_connectors(call), found.connector)
    if settings is not None:
        not_local(connector, settings)
        secrets_stay(connector, found, settings)
        await tried(connector, name=found.name, settings=whole, asks=wanted.check)
    names = ("push", "create", "delete", "pipeline")
    changed = {name: value for name in names if (value := getattr(wanted, name)) is not UNSET}
    if wanted.create is not UNSET:
        changed["create"] = _types(call, wanted.create)
    async with call.services.database.transaction(call.scope) as tx:
        found = await named_connection(call, tx)
        options = msgspec.structs.replace(found.options, **changed)
        kept = await change_connection(
            tx, vault, connector, found, settings=settings, options=options, every_s=wanted.every_s
        )
        return await _view(call, tx, kept)


async def remove_connection(call: Call) -> None:
    """Take a connection away, with what its system keeps for it."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await named_connection(call, tx)
        settings = await all_settings(tx, call.services.vault, found)
    connector = _connectors(call).get(found.connector)
    left = await parted(connector, settings, access=_access(call, found, connector, settings))
    async with call.services.database.transaction(call.scope) as tx:
        await remove(tx, call.services.vault, await named_connection(call, tx), left=left)


async def check_connection(call: Call) -> ConnectionAnswer:
    """Ask a system whether it answers."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await named_connection(call, tx)
        settings = await all_settings(tx, call.services.vault, found)
        await audit(tx, action="check", resource="connection", record_id=found.id, details={"name": found.name})
    connector = connector_named(_connectors(call), found.connector)
    own = text_of(CONNECTION_PREFIX, found.id)
    try:
        access = _access(call, found, connector, settings)
        answer = await answer_of(connector, settings, name=found.name, access=access)
    except ConnectorError as error:
        return ConnectionAnswer(id=own, name=found.name, trouble=error.detail, fix=error.fix)
    return ConnectionAnswer(id=own, name=found.name, answers_as=answer)


async def pause_connection(call: Call) -> ConnectionView:
    """Let a connection rest."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await named_connection(call, tx)
        await pause(tx, found, reason=call.body(Pausing).reason or "Paused by a person.")
        return await _view(call, tx, await named_connection(call, tx))


async def resume_connection(call: Call) -> ConnectionView:
    """Let a paused connection run again."""
    async with call.services.database.transaction(call.scope) as tx:
        await resume(tx, await named_connection(call, tx))
        return await _view(call, tx, await named_connection(call, tx))


def _access(call: Call, found: Connection, connector: Connector | None, settings: Mapping[str, str]) -> Access | None:
    engine = call.services.of(Engine)
    return None if connector is None else access_of(engine, found, connector, settings, scope=call.scope)


def _connectors(call: Call) -> Mapping[str, Connector]:
    return call.services.of(Engine).connectors


async def _view(call: Call, tx: Transaction, found: Connection) -> ConnectionView:
    return await connection_view(tx, found, connectors=_connectors(call))


def _types(call: Call, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of record types; raises SettingsRefused for one that is none."""
    known = call.services.schema.types
    faults = tuple(
        Fault(pointer=f"/create/{index}", code="unknown-type", detail=f"There is no record type {name!r}.")
        for index, name in enumerate(names)
        if name not in known
    )
    if faults:
        raise SettingsRefused(
            " ".join(each.detail for each in faults), fix="Use names such as sales.deal.", faults=faults
        )
    return names


_ONE = "/api/v1/connections/{connection}"
_WRITE_ERRORS = (SettingsRefused, NoAnswer, NoConnector)
ROUTES = (
    Route(
        method="GET",
        path="/api/v1/connectors",
        permission="sync:read",
        handler=list_connectors,
        summary="List what can be connected: settings, feeds, and what each connector was tried against",
        tags=_TAGS,
        query=Paging,
        response=Page[ConnectorView],
    ),
    Route(
        method="GET",
        path="/api/v1/connections",
        permission="sync:read",
        handler=list_connections,
        summary="List connections with their status, oldest first",
        tags=_TAGS,
        query=Paging,
        response=Page[ConnectionView],
    ),
    Route(
        method="POST",
        path="/api/v1/connections",
        permission="sync:write",
        handler=add_connection,
        summary="Connect a system; its secrets are sealed and never shown",
        tags=_TAGS,
        body=NewConnection,
        response=ConnectionView,
        status=201,
        fresh_s=FRESH_S,
        request_example=_EXAMPLE,
        errors=(*_WRITE_ERRORS, NameTaken),
    ),
    Route(
        method="GET",
        path=_ONE,
        permission="sync:read",
        handler=show_connection,
        summary="Show a connection, by its id or its name: settings, feeds, status and last run",
        tags=_TAGS,
        response=ConnectionView,
        errors=(ConnectionMissing,),
    ),
    Route(
        method="PATCH",
        path=_ONE,
        permission="sync:write",
        handler=edit_connection,
        summary="Change settings, secrets, what it may do or how often it runs; what is absent stays",
        tags=_TAGS,
        body=ConnectionChange,
        response=ConnectionView,
        fresh_s=FRESH_S,
        request_example={"every_s": 3600, "delete": False},
        errors=(*_WRITE_ERRORS, ConnectionMissing),
    ),
    Route(
        method="DELETE",
        path=_ONE,
        permission="sync:write",
        handler=remove_connection,
        summary="Take a connection away and destroy its secrets; what it told us stays",
        tags=_TAGS,
        status=204,
        fresh_s=FRESH_S,
        errors=(ConnectionMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:check",
        permission="sync:write",
        handler=check_connection,
        summary="Ask a system whether it answers, and who we are there",
        tags=_TAGS,
        response=ConnectionAnswer,
        errors=(ConnectionMissing, NoConnector),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:pause",
        permission="sync:write",
        handler=pause_connection,
        summary="Let a connection rest until it is resumed",
        tags=_TAGS,
        body=Pausing,
        response=ConnectionView,
        request_example={"reason": "upgrade until Monday"},
        errors=(ConnectionMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:resume",
        permission="sync:write",
        handler=resume_connection,
        summary="Let a paused connection run again",
        tags=_TAGS,
        response=ConnectionView,
        errors=(ConnectionMissing,),
    ),
)
