"""Reconciling a connection, and mending what was found, while no other run of it goes on."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from isthmus.audit.trace import trace
from isthmus.sync.connections import all_settings, connection_of
from isthmus.sync.connector import ConnectorError
from isthmus.sync.flow_versions import in_force
from isthmus.sync.flows import flowing
from isthmus.sync.pull import Work
from isthmus.sync.reconciling.found import RESOURCE, keep
from isthmus.sync.reconciling.held import fold
from isthmus.sync.reconciling.probing import PROBED_MAX, probe_types
from isthmus.sync.reconciling.systems import Reconciled, reconcile_types
from isthmus.sync.running import resync, take_again
from isthmus.sync.runs import Engine, Progress, Run, alone


async def reconcile(
    engine: Engine, *, workspace: int, connection: str | UUID, repaired: bool = False
) -> list[Reconciled]:
    """Compare what a system holds with what is held of it, and keep what was found; changes nothing else.

    Raises ConnectionMissing, RunOverlaps and ConnectorError. `repaired` tells that differences were mended just now.
    """
    async with _alone(engine, workspace, connection) as work:
        results = await reconcile_types(work)
        async with engine.store.database.transaction(work.scope()) as tx:
            await fold(tx)
            await keep(tx, engine.store, work.connection.id, results, repaired=repaired)
    return results


async def probe(
    engine: Engine, *, workspace: int, connection: str | UUID, probed_max: int = PROBED_MAX
) -> list[Reconciled]:
    """Compare some records of a system that are drawn by lot, and keep what was found; changes nothing else.

    Nothing is found of a system that cannot be asked by id. Raises as `reconcile` does.
    """
    async with _alone(engine, workspace, connection) as work:
        results = await probe_types(work, probed_max=probed_max)
        async with engine.store.database.transaction(work.scope()) as tx:
            await keep(tx, engine.store, work.connection.id, results)
    return results


async def repair(
    engine: Engine,
    *,
    workspace: int,
    connection: str | UUID,
    actor: str,
    wanted: Mapping[str, frozenset[str]] | None = None,
    confirmed: bool = False,
    reason: str = "",
) -> tuple[Run, list[Reconciled]]:
    """Take in what a system holds now, then reconcile: what has become equal is repaired.

    Without `wanted`, which names single records by type and external id, everything is read and the ids are compared.
    The fuse holds as in any run; `confirmed` says that a person has agreed to many changes. `reason` is kept in the
    audit log. Raises as `reconcile`.
    """
    scope = engine.scope(workspace=workspace, actor=actor, cause="reconcile")
    async with engine.store.database.transaction(scope) as tx:
        found = await connection_of(tx, connection)
        details: dict[str, object] = {"connection": found.name}
        details |= {"reason": reason} if reason else {}
        details |= {} if wanted is None else {"records": sum(map(len, wanted.values()))}
        await trace(tx, action="repair", resource=RESOURCE, record_id=None, details=details)
    if wanted is None:
        run = await resync(engine, workspace=workspace, connection=found.id, confirmed=confirmed)
    else:
        run = await take_again(engine, workspace=workspace, connection=found.id, wanted=wanted, confirmed=confirmed)
    return run, await reconcile(engine, workspace=workspace, connection=found.id, repaired=True)


@asynccontextmanager
async def _alone(engine: Engine, workspace: int, connection: str | UUID) -> AsyncGenerator[Work]:
    scope = engine.scope(workspace=workspace, actor="sync:engine", cause="reconcile")
    async with engine.store.database.transaction(scope) as tx:
        found = await connection_of(tx, connection)
        settings = await all_settings(tx, engine.store.vault, found)
        flows = await in_force(tx, found.id)
    connector = engine.connectors.get(found.connector)
    if connector is None:
        known = ", ".join(engine.connectors) or "none"
        raise ConnectorError(f"There is no connector {found.connector!r}.", fix=f"There are: {known}.")
    async with alone(engine, workspace=workspace, name=found.name):
        yield Work(
            engine=engine,
            workspace=workspace,
            connection=found,
            connector=flowing(connector.adapted(settings), flows),
            settings=settings,
            progress=Progress(id=found.id, kind="sweep"),
        )
