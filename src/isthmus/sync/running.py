"""Running a connection: pull, sweep and push, or reading again, under one lock, with one honest status at the end."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.store.database import DatabaseAway
from isthmus.sync.connections import Connection, Status, all_settings, connection_of, set_status
from isthmus.sync.connector import ConnectorError, Throttled
from isthmus.sync.feeds import feed_states, swept
from isthmus.sync.flow_versions import in_force, replay
from isthmus.sync.flow_winners import decide_by_flows
from isthmus.sync.flows import Flow, flowing
from isthmus.sync.lanes import read_again
from isthmus.sync.learned import decide_by_rules
from isthmus.sync.mending import UNKNOWN_LINK, Retried, remapping, retry_rejects, stamp_run
from isthmus.sync.planning import Planned
from isthmus.sync.pull import TooLong, Work, pull
from isthmus.sync.push import plan, push
from isthmus.sync.rereading import WHOLE, Span, reread, reread_some
from isthmus.sync.runs import Engine, Kind, Progress, Run, alone, recorded, run_of, words_of
from isthmus.sync.sweep import sweep, sweep_due

Part = Literal["pull", "sweep", "push"]
EVERYTHING: tuple[Part, ...] = ("pull", "sweep", "push")
SWEEP_EVERY_S = 86_400
NEWS_MAX = 10


class ConnectionPaused(Conflicting):
    """The connection rests until somebody resumes it."""

    code, title = "connection-paused", "The connection is paused"


class UnknownConnector(NotFound):
    """The connector's folder is not there any more."""

    code, title = "unknown-connector", "There is no such connector"


async def synchronise(
    engine: Engine,
    *,
    workspace: int,
    connection: str | UUID,
    parts: Sequence[Part] = EVERYTHING,
    sweep_every_s: int = SWEEP_EVERY_S,
    confirmed: bool = False,
) -> Run:
    """Run a connection and return how it went; trouble with the system is told in the run, not raised.

    A sweep asked for alone is made at once; else when the last one is `sweep_every_s` old. `confirmed` says that a
    person has agreed to many deletions. Raises RunOverlaps, ConnectionPaused and ConnectionMissing.
    """
    kind: Kind = parts[0] if len(parts) == 1 else "sync"

    async def act(work: Work) -> None:
        if "pull" in parts:
            await _pull(work, confirmed=confirmed)
        if "sweep" in parts and (kind == "sweep" or await sweep_due(work, every_s=sweep_every_s)):
            await sweep(work, confirmed=confirmed)
        await decide_by_flows(engine.store, work.scope(), system=work.connection.name, flows=await _flows(work))
        await decide_by_rules(engine.store, work.scope())
        if "push" in parts:
            await push(work, confirmed=confirmed)

    return await _run(engine, workspace=workspace, connection=connection, kind=kind, act=act)


async def backfill(
    engine: Engine, *, workspace: int, connection: str | UUID, feed: str, span: Span, confirmed: bool = False
) -> Run:
    """Read a span of one feed again, without moving its live cursor; raises FeedMissing and what `synchronise` does.

    `confirmed` says that a person has agreed to many changes.
    """

    async def act(work: Work) -> None:
        troubles = await reread(work, feed=feed, span=span, confirmed=confirmed)
        await _second_chance(work)
        _raise(troubles)

    return await _run(engine, workspace=workspace, connection=connection, kind="backfill", act=act)


async def resync(engine: Engine, *, workspace: int, connection: str | UUID, confirmed: bool = False) -> Run:
    """Read everything a system holds again and compare its ids, so that what was missed is known and gone is gone.

    The live cursors stay; nothing is written there. `confirmed` says that a person has agreed to many changes.
    """

    async def act(work: Work) -> None:
        troubles = await reread(work, span=WHOLE, confirmed=confirmed)
        await _second_chance(work)
        _raise(troubles)
        await sweep(work, confirmed=confirmed)

    return await _run(engine, workspace=workspace, connection=connection, kind="resync", act=act)


async def take_again(
    engine: Engine,
    *,
    workspace: int,
    connection: str | UUID,
    wanted: Mapping[str, frozenset[str]],
    confirmed: bool = False,
) -> Run:
    """Take in single records as a system holds them now, by type and external id; nothing is written there.

    What is not there any more is deleted here. Raises what `synchronise` does.
    """

    async def act(work: Work) -> None:
        troubles = await reread_some(work, wanted, confirmed=confirmed)
        await _second_chance(work)
        _raise(troubles)

    return await _run(engine, workspace=workspace, connection=connection, kind="backfill", act=act)


async def map_again(engine: Engine, *, workspace: int, connection: str | UUID, type_name: str) -> Run:
    """Map again what was received of a type, with the mapping that is in force; nothing is read from the system.

    Raises what `synchronise` does.
    """

    async def act(work: Work) -> None:
        await replay(work, type_name)
        await _second_chance(work)

    return await _run(engine, workspace=workspace, connection=connection, kind="backfill", act=act)


async def _run(
    engine: Engine, *, workspace: int, connection: str | UUID, kind: Kind, act: Callable[[Work], Awaitable[None]]
) -> Run:
    """Do something with a connection that nobody else does anything with meanwhile, and return how it went."""
    found = await _connection(engine, workspace, connection)
    if found.status == Status.PAUSED:
        raise ConnectionPaused(f"{found.name!r} is paused: {found.reason}", fix=f"isthmus sync resume {found.name}")
    async with (
        alone(engine, workspace=workspace, name=found.name),
        recorded(
            engine,
            workspace=workspace,
            actor=f"sync:{found.name}",
            kind=kind,
            about=found.name,
            connection_id=found.id,
            pipeline=found.options.pipeline,
        ) as progress,
    ):
        work = await _work(engine, workspace, found, progress)
        async with _told(work):
            await act(work)
    async with engine.store.database.transaction(work.scope()) as tx:
        run = await run_of(tx, progress.id)
    assert run is not None
    return run


async def planned(engine: Engine, *, workspace: int, connection: str | UUID, limit: int = 1_000) -> list[Planned]:
    """Return what a push would write now, field by field, without writing."""
    found = await _connection(engine, workspace, connection)
    progress = Progress(id=found.id, kind="push")
    work = await _work(engine, workspace, found, progress)
    return [each async for each in plan(work, limit=limit)]


async def retry(engine: Engine, *, workspace: int, connection: str | UUID, code: str | None = None) -> Retried:
    """Try again what was rejected from a connection, mapped anew with the connector as it is now."""
    found = await _connection(engine, workspace, connection)
    work = await _work(engine, workspace, found, Progress(id=found.id, kind="pull"))
    remap = remapping(engine.store, work.connector, system=found.name, feeds=work.feeds)
    done, _ = await retry_rejects(engine.store, work.scope(), system=found.name, code=code, remap=remap)
    return done


async def _pull(work: Work, *, confirmed: bool) -> None:
    """Pull, read again what is due for it, then try rows again that waited for a record they point to.

    Raises what is wrong with single feeds when the others are done: nothing is deleted or written meanwhile, since what
    is known of the system has a gap.
    """
    async with work.engine.store.database.transaction(work.scope()) as tx:
        states = await feed_states(tx, work.connection.id)
    troubles = await pull(work, confirmed=confirmed)
    troubles += await read_again(work, confirmed=confirmed)
    await _second_chance(work)
    if not troubles:
        # What was read from the beginning a moment ago needs no comparing of ids yet.
        new = [feed.name for feed in work.feeds if feed.name not in states or states[feed.name].cursor is None]
        async with work.engine.store.database.transaction(work.scope()) as tx:
            await swept(tx, work.connection.id, new)
    _raise(troubles)


async def _second_chance(work: Work) -> None:
    """Try rows again that waited for a record they point to, and note on the others which run met them."""
    work.progress.begin(None)
    done, result = await retry_rejects(work.engine.store, work.scope(), system=work.connection.name, code=UNKNOWN_LINK)
    work.progress.rejected = max(0, work.progress.rejected - done.stored)
    work.progress.add(result)
    async with work.engine.store.database.transaction(work.scope()) as tx:
        await stamp_run(tx, run_id=work.progress.id, system=work.connection.name)


def _raise(troubles: Sequence[ConnectorError]) -> None:
    """Raise what is wrong with single feeds, if anything is."""
    if len(troubles) == 1:
        raise troubles[0]
    if troubles:
        raise ConnectorError(" ".join(each.detail for each in troubles), fix=troubles[0].fix)


@asynccontextmanager
async def _told(work: Work) -> AsyncGenerator[None]:
    """Say on the connection how the run goes and how it ended; trouble with the system ends here."""
    await _say(work, Status.RUNNING)
    try:
        yield
    except ConnectorError as error:
        status, retry_at = Status.NEEDS_ATTENTION, None
        if isinstance(error, TooLong):
            status, retry_at = Status.RETRYING, error.retry_at
        elif isinstance(error, Throttled):
            status = Status.RETRYING
            retry_at = work.engine.clock.now() + timedelta(seconds=error.retry_after_s)
        work.progress.status, work.progress.error = status, str(error)
        await _say(work, status, reason=str(error), retry_at=retry_at)
    except BaseException as error:
        with suppress(DatabaseAway):
            await _say(work, Status.NEEDS_ATTENTION, reason=words_of(error))
        raise
    else:
        rows = await _rejected(work)
        refused = work.progress.rejected
        if rows or refused:
            await _say(work, Status.DEGRADED, reason=f"{max(rows, refused):,} rejected; see why, mend it and retry.")
        else:
            await _say(work, Status.HEALTHY, reason=_news(work))


def _news(work: Work) -> str:
    """Return what the system sends that no connector reads yet, kept with its records as received; and its notes."""
    shown = sorted(work.progress.news)
    told = [f"New there, kept and not read yet: {', '.join(shown[:NEWS_MAX])}."] if shown else []
    return " ".join(told + sorted(work.progress.notes)[:NEWS_MAX])


async def _say(work: Work, status: Status, *, reason: str = "", retry_at: datetime | None = None) -> None:
    async with work.engine.store.database.transaction(work.scope()) as tx:
        await set_status(tx, work.connection.id, status, reason=reason, retry_at=retry_at)


async def _rejected(work: Work) -> int:
    async with work.engine.store.database.transaction(work.scope()) as tx:
        cursor = await tx.connection.execute(
            "select count(*) from rejected"
            " where workspace = current_workspace() and system = %s and settled_at is null",
            (work.connection.name,),
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _flows(work: Work) -> dict[str, Flow]:
    async with work.engine.store.database.transaction(work.scope()) as tx:
        return await in_force(tx, work.connection.id)


async def _connection(engine: Engine, workspace: int, connection: str | UUID) -> Connection:
    scope = engine.scope(workspace=workspace, actor="sync:engine", cause="sync")
    async with engine.store.database.transaction(scope) as tx:
        return await connection_of(tx, connection)


async def _work(engine: Engine, workspace: int, connection: Connection, progress: Progress) -> Work:
    connector = engine.connectors.get(connection.connector)
    if connector is None:
        known = ", ".join(engine.connectors) or "none"
        raise UnknownConnector(f"There is no connector {connection.connector!r}.", fix=f"There are: {known}.")
    scope = engine.scope(workspace=workspace, actor=f"sync:{connection.name}", cause=str(progress.id))
    async with engine.store.database.transaction(scope) as tx:
        settings = await all_settings(tx, engine.store.vault, connection)
        flows = await in_force(tx, connection.id)
    return Work(
        engine=engine,
        workspace=workspace,
        connection=connection,
        connector=flowing(connector.adapted(settings), flows),
        settings=settings,
        progress=progress,
    )
