"""Jobs that reconcile connections, one of them or all, each when nobody runs it, and that repair what differs."""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Annotated, Protocol
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.app.scheduling.connections import Connected, name_or_id, told, wish_for
from isthmus.app.scheduling.context import JobContext
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.stream.jobs.job import GaveUp, Kind, Wish
from isthmus.stream.jobs.work import Work
from isthmus.sync.connections import Connection, connections
from isthmus.sync.connector import ConnectorError
from isthmus.sync.reconciling.found import Which, differences
from isthmus.sync.reconciling.running import probe, reconcile, repair
from isthmus.sync.reconciling.systems import Reconciled
from isthmus.sync.running import ConnectionPaused
from isthmus.sync.runs import Engine, RunOverlaps

RECONCILE, PROBE, REPAIR = "sync.reconcile", "sync.probe", "sync.repair"
CHOSEN_MAX = 500
# A run that takes longer than twenty minutes is a first load; the comparison says then that it did not come to it.
_TRIES, _BETWEEN_TRIES_S = 600, 2.0


class Compare(Protocol):
    """Compares a connection, whole or some of it."""

    async def __call__(self, engine: Engine, *, workspace: int, connection: str | UUID) -> list[Reconciled]:
        """Compare; raises ConnectorError and RunOverlaps."""
        ...


class WhichConnections(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connections, by name; none means all."""

    connections: tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...] = ()


async def reconcile_connections(work: Work, context: JobContext) -> Json:
    """Reconcile connections one after the other."""
    return await _each(work, context, reconcile, waits=False)


async def probe_connections(work: Work, context: JobContext) -> Json:
    """Probe connections one after the other; one that is being run just now is probed the next time."""
    return await _each(work, context, probe, waits=True)


async def _each(work: Work, context: JobContext, compare: Compare, *, waits: bool) -> Json:
    """Compare connections one after the other; one that cannot be read now holds up no other.

    One that is being run just now comes last and, unless it can wait for the next time, is tried until its run is over.
    """
    given = work.given(WhichConnections)
    async with work.database.transaction(work.scope()) as tx:
        there = [each.name for each in await connections(tx) if each.status != Status.PAUSED]
    exact: dict[str, Json] = {}
    left = deque((name, 0 if waits else _TRIES) for name in given.connections or there)
    while left:
        name, tries = left.popleft()
        try:
            results = await compare(context.engine, workspace=work.claim.workspace, connection=name)
        except RunOverlaps as error:
            if tries:
                await context.engine.pause(_BETWEEN_TRIES_S)
                left.append((name, tries - 1))
            elif waits:
                exact[name] = {"passed_over": error.detail}
            else:
                work.degraded(f"{name}: {error.detail}")
            continue
        except ConnectorError as error:
            work.degraded(f"{name}: {error.detail}")
            continue
        exact[name] = {
            "compared": sum(each.compared for each in results),
            "differing": sum(each.differing for each in results),
        }
    return exact


class Repair(Connected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connection and which differences; None means everything. `confirmed` agrees to many changes."""

    differences: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=CHOSEN_MAX)] | None = None
    confirmed: bool = False


def comparing(connection: Connection, kind: str) -> Wish:
    """Return the wish for a comparison of a connection, whole or by lot."""
    own = f"connection:{connection.id}"
    return Wish(kind=kind, arguments={"connections": [connection.name]}, dedupe=own, key=own)


def repairing(connection: Connection, chosen: Sequence[UUID] | None, *, confirmed: bool) -> Wish:
    """Return the wish for a repair of some differences of a connection, or of all."""
    ids: Json = None if chosen is None else [str(each) for each in chosen]
    return wish_for(connection, REPAIR, differences=ids, confirmed=confirmed)


async def run_repair(work: Work, context: JobContext) -> Json:
    """Take in what differs as the system holds it now, and compare again."""
    given, own = work.given(Repair), work.claim
    scope = work.scope()
    wanted: dict[str, set[str]] = defaultdict(set)
    if given.differences is not None:
        async with work.database.transaction(scope) as tx:
            which = Which(status=None, ids=given.differences)
            for each in await differences(tx, context.engine.store, which=which, limit=CHOSEN_MAX):
                wanted[each.type].add(each.external_id)
    try:
        run, results = await repair(
            context.engine,
            workspace=own.workspace,
            connection=name_or_id(given.connection),
            actor=scope.actor,
            wanted=None if given.differences is None else {name: frozenset(ids) for name, ids in wanted.items()},
            confirmed=given.confirmed,
        )
    except ConnectionPaused as error:
        raise GaveUp(error.detail, fix=error.fix) from error
    return {
        "run": await told(work, run),
        "compared": sum(each.compared for each in results),
        "differing": sum(each.differing for each in results),
    }


KINDS: tuple[Kind[JobContext], ...] = (
    Kind(
        name=RECONCILE,
        about="Compare what systems hold with what is held of them here.",
        run=reconcile_connections,
        arguments=WhichConnections,
        permission="sync:write",
        run_s_max=6 * 3_600.0,
    ),
    Kind(
        name=PROBE,
        about="Ask systems for some records drawn by lot and compare them with what is held of them here.",
        run=probe_connections,
        arguments=WhichConnections,
        permission="sync:write",
        run_s_max=6 * 3_600.0,
    ),
    Kind(
        name=REPAIR,
        about="Take in what differs as a system holds it now, and compare again.",
        run=run_repair,
        arguments=Repair,
        permission="sync:write",
        run_s_max=6 * 3_600.0,
    ),
)
