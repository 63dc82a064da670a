"""The job that reconciles connections: one of them, or all, each when nobody runs it."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.app.scheduling.context import JobContext
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.stream.jobs.job import Kind
from isthmus.stream.jobs.work import Work
from isthmus.sync.connections import connections
from isthmus.sync.connector import ConnectorError
from isthmus.sync.reconciling.running import reconcile
from isthmus.sync.runs import RunOverlaps

RECONCILE = "sync.reconcile"


class WhichConnections(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connections, by name; none means all."""

    connections: tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...] = ()


async def reconcile_connections(work: Work, context: JobContext) -> Json:
    """Reconcile connections one after the other; one that cannot be read now holds up no other."""
    given, own = work.given(WhichConnections), work.claim
    async with work.database.transaction(work.scope()) as tx:
        there = [each.name for each in await connections(tx) if each.status != Status.PAUSED]
    told: dict[str, Json] = {}
    for name in given.connections or there:
        try:
            results = await reconcile(context.engine, workspace=own.workspace, connection=name)
        except (ConnectorError, RunOverlaps) as error:
            work.degraded(f"{name}: {error.detail}")
            continue
        told[name] = {
            "compared": sum(each.compared for each in results),
            "differing": sum(each.differing for each in results),
        }
    return told


KINDS: tuple[Kind[JobContext], ...] = (
    Kind(
        name=RECONCILE,
        about="Compare what systems hold with what is held of them here.",
        run=reconcile_connections,
        arguments=WhichConnections,
        permission="sync:write",
        run_s_max=6 * 3_600.0,
    ),
)
