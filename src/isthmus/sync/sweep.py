"""Sweeping: records that a system no longer has are found by comparing all its ids with what is known here.

Absence counts only when the whole list was read, and a fuse stands before it: a source that answers empty, partly or
with other ids deletes nothing. What little is missing is asked for once more before it counts: by its id where the
system can be asked so, else by a second list. A list that lacked what is there is not believed at all.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.hlc import COUNTER_MAX, stamp
from isthmus.store.database import Transaction
from isthmus.store.observation import Observation
from isthmus.sync.connector import ConnectorError, Feed, Fetching
from isthmus.sync.feeds import feed_states, swept
from isthmus.sync.fuse import FUSE, Fuse, FuseTripped
from isthmus.sync.ingest import Interval
from isthmus.sync.landing import land_observations
from isthmus.sync.pull import Work, in_a_known_form, spoken, transacted

BATCH_ROWS_MAX, ASKED_MAX = 5_000, 100
_STAGE: LiteralString = """
create temporary table if not exists id_there (type text, external_id text) on commit delete rows
"""
_COPY: LiteralString = "copy id_there (type, external_id) from stdin"
_VANISHED: LiteralString = """
select r.type, r.external_id from ref r
where r.workspace = current_workspace() and r.type = any(%(types)s) and r.system = %(system)s and not r.deleted
  and greatest(r.seen, r.hlc) <= %(until)s and r.digest is not null
  and not exists (select from id_there t where t.type = r.type and t.external_id = r.external_id)
"""
_LIVING: LiteralString = """
select type, count(*) from ref
where workspace = current_workspace() and type = any(%s) and system = %s and not deleted group by type
"""


class ListNotWhole(ConnectorError):
    """The list of ids lacked a record that is there."""

    status, code, title = 409, "list-not-whole", "The list of ids is not whole"


async def sweep(work: Work, *, fuse: Fuse = FUSE, confirmed: bool = False) -> None:
    """Put tombstones for what a system no longer has; `confirmed` says that a person has seen how much that is.

    Raises FuseTripped and ListNotWhole, and then nothing was deleted.
    """
    feeds, types = _swept_whole(work.feeds)
    if not types:
        return
    work.progress.begin(None)
    began = work.engine.clock.now()
    ids = {feed.name: await _ids(work, feed) for feed in feeds}

    async def vanished(tx: Transaction) -> list[tuple[str, str]]:
        await tx.connection.execute(_STAGE)
        async with tx.connection.cursor().copy(_COPY) as copy:
            for feed in feeds:
                for name in types & set(feed.types):
                    for external_id in ids[feed.name]:
                        await copy.write_row((name, external_id))
        await tx.connection.execute("analyze id_there")
        until = stamp(milliseconds(began), COUNTER_MAX)
        given = {"types": list(types), "system": work.connection.name, "until": until}
        found = await (await tx.connection.execute(_VANISHED, given)).fetchall()
        living = dict(await (await tx.connection.execute(_LIVING, (list(types), work.connection.name))).fetchall())
        if not confirmed:
            _check(work, fuse, found, living)
        return [(name, external_id) for name, external_id in found]

    gone = await transacted(work, vanished)
    if not confirmed:
        await _ask_again(work, feeds, gone)
    for start in range(0, len(gone), BATCH_ROWS_MAX):
        await _bury(work, gone[start : start + BATCH_ROWS_MAX], until=began)
    async with work.engine.store.database.transaction(work.scope()) as tx:
        await swept(tx, work.connection.id, [feed.name for feed in feeds])


def _swept_whole(feeds: Sequence[Feed]) -> tuple[list[Feed], set[str]]:
    """Return the record types whose feeds can all list their ids, and those feeds; absence elsewhere says nothing."""
    blind = {name for feed in feeds if not feed.deletes for name in feed.types}
    types = {name for feed in feeds for name in feed.types} - blind
    return [feed for feed in feeds if types & set(feed.types)], types


def _check(work: Work, fuse: Fuse, found: Sequence[tuple[str, str]], living: dict[str, int]) -> None:
    for name, count in living.items():
        vanishing = sum(each == name for each, _ in found)
        if not fuse.holds(vanishing, living=count):
            raise FuseTripped(
                f"{vanishing:,} of {count:,} {name} would be deleted, because {work.connection.name!r} no longer lists"
                " them. Nothing was deleted.",
                fix=f"If that is right, confirm it: isthmus sync run {work.connection.name} --confirm-deletes",
            )


async def _ask_again(work: Work, feeds: Sequence[Feed], gone: Sequence[tuple[str, str]]) -> None:
    """Ask for what a list lacked, or for records spread over it when these are many; raises ListNotWhole."""
    for feed in feeds:
        missing = sorted({external_id for name, external_id in gone if name in feed.types})
        if not missing:
            continue
        asked = missing[:: -(-len(missing) // ASKED_MAX)]
        found = await work.retried(lambda feed=feed, asked=asked: _fetched(work, feed, asked), moved=lambda: None)
        if found is None:
            found = (await _ids(work, feed)).intersection(missing)
        if found:
            raise ListNotWhole(
                f"{feed.name} lists {len(missing):,} records no more, and yet {min(found)} is there."
                " Nothing was deleted.",
                fix="It is tried again with the next run; if that stays so, the list of ids there is not whole.",
            )


async def _fetched(work: Work, feed: Feed, asked: Sequence[str]) -> set[str] | None:
    """Return which of these are there; nothing when the session cannot be asked by id."""
    async with work.session() as session:
        if not isinstance(session, Fetching):
            return None
        with in_a_known_form(feed.name):
            return {row.external_id for row in await session.fetch(feed.name, asked) if not row.deleted}


async def _ids(work: Work, feed: Feed) -> set[str]:
    """Read all ids of a feed; on a fault in the middle the list is read anew, never used in part."""

    async def once() -> set[str]:
        found: set[str] = set()
        async with work.session() as session:
            with in_a_known_form(feed.name):
                async for some in session.ids(feed.name):
                    found.update(some)
        return found

    return await work.retried(once, moved=lambda: None)


async def _bury(work: Work, gone: Sequence[tuple[str, str]], *, until: datetime) -> None:
    observations = [
        Observation(type=name, system=work.connection.name, external_id=external_id, deleted=True)
        for name, external_id in gone
    ]

    async def put(tx: Transaction) -> None:
        landed = await land_observations(
            tx,
            work.engine.store,
            connection_id=work.connection.id,
            system=work.connection.name,
            observations=observations,
            interval=Interval(since=None, until=until),
        )
        await spoken(tx, work, landed)
        work.progress.add(landed.result)

    await transacted(work, put)


async def sweep_due(work: Work, *, every_s: int) -> bool:
    """Tell whether a feed has not been compared for that long."""
    now = work.engine.clock.now()
    async with work.engine.store.database.transaction(work.scope()) as tx:
        states = await feed_states(tx, work.connection.id)
    feeds = [states.get(feed.name) for feed in _swept_whole(work.feeds)[0]]
    return any(
        state is not None and (state.swept_at is None or now - state.swept_at >= timedelta(seconds=every_s))
        for state in feeds
    )
