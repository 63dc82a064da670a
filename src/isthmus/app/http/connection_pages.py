"""What the console's pages of connections need of the program."""

from collections.abc import Mapping

from isthmus.app.connecting import access_of, answer_of, connector_named, not_local, parted, secrets_stay, tried
from isthmus.app.http.authorizing import CALLBACK
from isthmus.app.http.readable import is_readable
from isthmus.app.mapping_views import fitting
from isthmus.app.scheduling.connections import CONNECTION, wish_for
from isthmus.app.scheduling.reconciling import PROBE, RECONCILE, REPAIR, comparing
from isthmus.app.scheduling.rereading import BACKFILL, REMAP, RESYNC, RETRY
from isthmus.console.connections.port import Connecting, Said, Task
from isthmus.gateway import Call, Services
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.jobs.job import Wish
from isthmus.sync.connections import Connection, all_settings, audit, connection_of
from isthmus.sync.connector import Connector, ConnectorError
from isthmus.sync.flow_versions import FlowPlan, FlowVersion, Trial, in_force
from isthmus.sync.flows import Flow
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine

_KINDS: Mapping[Task, str] = {
    "run": CONNECTION,
    "backfill": BACKFILL,
    "resync": RESYNC,
    "retry": RETRY,
    "remap": REMAP,
    "reconcile": RECONCILE,
    "probe": PROBE,
    "repair": REPAIR,
}


def connecting_of(services: Services) -> Connecting:
    """Return what the pages need; connectors and the store are looked up when they are needed."""

    async def try_mapping(tx: Transaction, version: FlowVersion) -> FlowPlan:
        own = await connection_of(tx, version.connection_id)
        known = connector_named(services.of(Engine).connectors, own.connector)
        settings = await all_settings(tx, services.vault, own)
        now = await in_force(tx, own.id)
        trial = Trial.of(services.of(Store), known.adapted(settings), settings, version=version, now=now)
        return await trial.plan(tx)

    async def fit(tx: Transaction, connection: str, flow: Flow) -> Flow:
        store, engine = services.of(Store), services.of(Engine)
        return await fitting(tx, store, engine, connection, flow, services.schema)

    return Connecting(
        may_read=is_readable,
        check_new=_check_new,
        check_changed=_check_changed,
        ask=_ask,
        part=_part,
        wish=_wish,
        try_mapping=try_mapping,
        fit=fit,
        callback=CALLBACK,
    )


async def _check_new(connector: Connector, name: str, settings: Mapping[str, str]) -> None:
    not_local(connector, settings)
    await tried(connector, name=name, settings=settings, asks=True)


async def _check_changed(
    connector: Connector, found: Connection, settings: Mapping[str, str], whole: Mapping[str, str]
) -> None:
    not_local(connector, settings)
    secrets_stay(connector, found, settings)
    await tried(connector, name=found.name, settings=whole, asks=True)


async def _ask(call: Call, found: Connection) -> Said:
    async with call.services.database.transaction(call.scope) as tx:
        settings = await all_settings(tx, call.services.vault, found)
        await audit(tx, action="check", resource="connection", record_id=found.id, details={"name": found.name})
    engine = call.services.of(Engine)
    connector = connector_named(engine.connectors, found.connector)
    try:
        access = access_of(engine, found, connector, settings, scope=call.scope)
        return Said(answers_as=await answer_of(connector, settings, name=found.name, access=access))
    except ConnectorError as error:
        return Said(trouble=error.detail, fix=error.fix)


async def _part(call: Call, found: Connection) -> str:
    async with call.services.database.transaction(call.scope) as tx:
        settings = await all_settings(tx, call.services.vault, found)
    engine = call.services.of(Engine)
    connector = engine.connectors.get(found.connector)
    access = None if connector is None else access_of(engine, found, connector, settings, scope=call.scope)
    return await parted(connector, settings, access=access)


def _wish(task: Task, found: Connection, more: Mapping[str, Json]) -> Wish:
    if task in ("reconcile", "probe"):
        return comparing(found, _KINDS[task])
    return wish_for(found, _KINDS[task], **more)
