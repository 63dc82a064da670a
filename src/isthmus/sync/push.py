"""Pushing: what is held here goes to a system that holds something else, under the condition that it has not moved.

Each write is noted before it is made and its answer becomes that system's claim, so that the echo dies in the next pull
and a program killed in between neither writes twice nor makes a record twice.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from isthmus.store.database import Transaction
from isthmus.store.fold import GONE
from isthmus.sync.answers import entry_of, take_in, unanswered
from isthmus.sync.connections import connection_of
from isthmus.sync.connector import ConnectorError, Feed, Outcome, Session, Written
from isthmus.sync.fuse import FUSE, Fuse, FuseTripped
from isthmus.sync.landing import look_again
from isthmus.sync.ledger import Fingerprints, note
from isthmus.sync.planning import Planned, Planner, writes
from isthmus.sync.pull import Work, in_a_known_form, pull_feed, transacted
from isthmus.sync.queue import (
    PAGE_ROWS_MAX,
    Candidates,
    changed_page,
    deletions_waiting,
    every_page,
    forget_pending,
    is_forgotten,
    look_at_all,
    mark_pushed,
    pending_page,
)

MOVED_ROUNDS_MAX = 3
WAITS = "A record it points to is not known there yet."
CONFIRM = "The deletion waits for a person to confirm it."
MOVES = "It moved there again and again while it was being written."
_ZERO = ("", UUID(int=0))
Again = dict[tuple[str, UUID], str]


@dataclass(slots=True)
class _Round:
    """What one pass over some records left to do: what moved there meanwhile, and what has to wait, with the reason."""

    moved: list[UUID] = field(default_factory=list[UUID])
    later: dict[UUID, str] = field(default_factory=dict[UUID, str])


@dataclass(frozen=True, kw_only=True)
class Pusher:
    """Writes to one system."""

    work: Work
    planner: Planner
    session: Session

    async def push(self, candidates: Candidates) -> Again:
        """Write what differs for some records, feed by feed; returns those to look at again, with the reason."""
        again: Again = {}
        for feed in self.work.feeds:
            for name in feed.writes:
                records = candidates.get(name, [])
                for start in range(0, len(records), feed.write_rows_max):
                    left = await self._settle(feed, name, records[start : start + feed.write_rows_max])
                    again |= {(name, record): reason for record, reason in left.items()}
        return again

    async def _settle(self, feed: Feed, name: str, records: Sequence[UUID]) -> dict[UUID, str]:
        """Write, take in what moved there meanwhile, and plan that again."""
        later: dict[UUID, str] = {}
        left = list(records)
        for attempt in range(MOVED_ROUNDS_MAX):
            done = await self._write(feed, name, left)
            later |= done.later
            left = done.moved
            if not left:
                return later
            if attempt < MOVED_ROUNDS_MAX - 1:
                await pull_feed(self.work, feed)
        return later | dict.fromkeys(left, MOVES)

    async def _write(self, feed: Feed, name: str, records: Sequence[UUID]) -> _Round:
        """Plan, note, write, and keep the answers. What may have been made there already is pulled before."""
        done = _Round()
        began = self.work.engine.clock.now()

        async def prepare(tx: Transaction) -> list[Planned]:
            planned = await self.planner.plan(tx, feed, name, records)
            unknown = await unanswered(tx, self.work, feed, planned)
            done.moved = sorted(unknown)
            done.later = {
                each.change.record_id: CONFIRM if GONE in each.waits else WAITS for each in planned if each.waits
            }
            ready = [each for each in planned if writes(each) and each.change.record_id not in unknown]
            prints = Fingerprints.of(self.work.engine.store.vault, tx.scope.workspace)
            entries = [entry_of(each, prints=prints, at=tx.scope.now) for each in ready if each.kind != "delete"]
            await note(tx, *entries, connection_id=self.work.connection.id, type_name=name)
            return ready

        ready = await transacted(self.work, prepare)
        if ready:
            self.work.progress.begin(feed.name)
            answers = await self._ask(feed, ready)
            await take_in(self.work, feed, name, list(zip(ready, answers, strict=True)), since=began)
            for each, answer in zip(ready, answers, strict=True):
                if answer.outcome == Outcome.MOVED:
                    done.moved.append(each.change.record_id)
                elif answer.outcome == Outcome.FAILED:
                    done.later[each.change.record_id] = answer.reason or "The system could not write it now."
        return done

    async def _ask(self, feed: Feed, ready: Sequence[Planned]) -> list[Written]:
        with in_a_known_form(feed.name):
            answers = await self.session.write(feed.name, [each.change for each in ready])
        if len(answers) != len(ready):
            raise ConnectorError(
                f"{feed.name} answered {len(answers)} of {len(ready)} writes.",
                fix="Report this to the author of the connector; nothing is written twice.",
            )
        return answers


async def push(work: Work, *, fuse: Fuse = FUSE, confirmed: bool = False) -> None:
    """Push what changed since the last push; raises ConnectorError, and what was not written is looked at again.

    Raises FuseTripped at the end when so much would be deleted there that a person has to agree: the rest is written.
    """
    types = tuple(name for feed in work.feeds for name in feed.writes)
    if not types or not work.connection.options.push:
        return
    await _look_at_forgotten(work, types)
    tripped = None if confirmed else await _tripped(work, types, fuse)
    planner = Planner(
        store=work.engine.store, connection=work.connection, connector=work.connector, deletes=tripped is None
    )

    async def once() -> None:
        async with work.session() as session:
            pusher = Pusher(work=work, planner=planner, session=session)
            await _push_changed(work, pusher, types)
            await _push_pending(work, pusher)

    await work.retried(once, moved=lambda: work.progress.written)
    if tripped is not None:
        raise tripped


async def _look_at_forgotten(work: Work, types: Sequence[str]) -> None:
    """Have every record looked at where the log has forgotten what changed since the last push."""
    async with work.engine.store.database.transaction(work.scope()) as tx:
        connection = await connection_of(tx, work.connection.id)
        if await is_forgotten(tx, connection):
            await look_at_all(tx, connection, [work.engine.store.schema[name] for name in types])


async def _push_changed(work: Work, pusher: Pusher, types: Sequence[str]) -> None:
    """Look at records with events, page by page; how far is kept after each."""
    for stamped in (True, False):
        async with work.engine.store.database.transaction(work.scope()) as tx:
            after = (await connection_of(tx, work.connection.id)).pushed_seq if stamped else 0
        while True:
            async with work.engine.store.database.transaction(work.scope()) as tx:
                page, last = await _page(tx, work, types, after=after, stamped=stamped)
            if last is None:
                break
            again = await pusher.push(page)
            async with work.engine.store.database.transaction(work.scope()) as tx:
                await _remember(tx, work, again)
                if stamped:
                    await mark_pushed(tx, work.connection, seq=last)
            after = last


async def _page(
    tx: Transaction, work: Work, types: Sequence[str], *, after: int, stamped: bool
) -> tuple[Candidates, int | None]:
    writable = work.connector.writable
    return await changed_page(
        tx, work.connection, types, writable=writable, after=after, stamped=stamped, limit=_looked_at_once(work)
    )


def _looked_at_once(work: Work) -> int:
    """Return how many events or records are looked at together: as many as a feed takes changes at once."""
    return max([PAGE_ROWS_MAX, *(feed.write_rows_max for feed in work.feeds)])


async def _push_pending(work: Work, pusher: Pusher) -> None:
    """Look at records again that no event tells of."""
    after = _ZERO
    while True:
        async with work.engine.store.database.transaction(work.scope()) as tx:
            looked = await pending_page(tx, work.connection, after=after, limit=_looked_at_once(work))
        if not looked:
            return
        page: Candidates = {}
        for name, record, _ in looked:
            page.setdefault(name, []).append(record)
        again = await pusher.push(page)
        async with work.engine.store.database.transaction(work.scope()) as tx:
            await forget_pending(tx, work.connection, looked)
            await _remember(tx, work, again)
        after = looked[-1][:2]


async def _remember(tx: Transaction, work: Work, again: Again) -> None:
    for (name, record), reason in again.items():
        await look_again(tx, connection_id=work.connection.id, type_name=name, records=[record], reason=reason)


async def _tripped(work: Work, types: Sequence[str], fuse: Fuse) -> FuseTripped | None:
    if not work.connection.options.delete:
        return None
    async with work.engine.store.database.transaction(work.scope()) as tx:
        connection = await connection_of(tx, work.connection.id)
        for name in types:
            waiting, living = await deletions_waiting(tx, connection, work.engine.store.schema[name])
            if not fuse.holds(waiting, living=living):
                return FuseTripped(
                    f"{waiting:,} of {living:,} {name} would be deleted in {work.connection.name!r}. None was.",
                    fix=f"If that is right, confirm it: isthmus sync run {work.connection.name} --confirm-deletes",
                )
    return None


async def plan(work: Work, *, limit: int = 1_000) -> AsyncGenerator[Planned]:
    """Yield what a push would write now, at most `limit` writes, and write nothing."""
    types = tuple(name for feed in work.feeds for name in feed.writes)
    planner = Planner(store=work.engine.store, connection=work.connection, connector=work.connector)
    found = 0
    seen: set[UUID] = set()
    async for page in _looked_at(work, types):
        for feed in work.feeds:
            for name in feed.writes:
                records = [record for record in page.get(name, []) if record not in seen]
                async with work.engine.store.database.transaction(work.scope()) as tx:
                    planned = await planner.plan(tx, feed, name, records) if records else []
                for each in planned:
                    if writes(each):
                        yield each
                        found += 1
                        if found >= limit:
                            return
        seen.update(record for records in page.values() for record in records)


async def _looked_at(work: Work, types: Sequence[str]) -> AsyncGenerator[Candidates]:
    database = work.engine.store.database
    async with database.transaction(work.scope()) as tx:
        forgotten = await is_forgotten(tx, work.connection)
    for name in types if forgotten else ():
        async for records in _every(work, name):
            yield {name: records}
    for stamped in () if forgotten else (True, False):
        last: int | None = work.connection.pushed_seq if stamped else 0
        while last is not None:
            async with database.transaction(work.scope()) as tx:
                page, last = await _page(tx, work, types, after=last, stamped=stamped)
            yield page
    after = _ZERO
    while True:
        async with database.transaction(work.scope()) as tx:
            looked = await pending_page(tx, work.connection, after=after, limit=_looked_at_once(work))
        if not looked:
            return
        pending: Candidates = {}
        for name, record, _ in looked:
            pending.setdefault(name, []).append(record)
        yield pending
        after = looked[-1][:2]


async def _every(work: Work, name: str) -> AsyncGenerator[list[UUID]]:
    after = UUID(int=0)
    while True:
        async with work.engine.store.database.transaction(work.scope()) as tx:
            records = await every_page(tx, work.engine.store.schema[name], after=after)
        if not records:
            return
        yield records
        after = records[-1]
