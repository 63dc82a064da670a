"""The ledger of use: who used how much in which day and month, exact even when workers are killed.

A worker counts in its part of the `Tally` and writes the running totals down each second, under its own name; the same
total written twice stays the same. Of a quota a worker takes some in advance, so that all together never use more.
"""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
import psycopg
import structlog
from msgspec import Struct

from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database, Scope
from isthmus.stream.limits.tally import Row, Tally

TIDY_S, FLUSH_S = 1.0, 5.0
_log = structlog.get_logger("isthmus.stream.limits")
_LEASE_SHARE = 50
_LEASE_MAX = 10_000
_IDLE_TURNS, _IDLE_TURNS_MAX = 5, 600
_HELD_SHARE = 1_000
"""A share of a quota below one part in so many keeps nobody else from using it, and is returned only after long."""
_LATE = timedelta(hours=1)
"""For how long after a period calls may still be counted in it."""
_WRITE: LiteralString = """
insert into limit_ledger as l (workspace, subject, period, holder, used, granted, settled, at)
select current_workspace(), t.subject, t.period, %s, t.used, 0, %s, %s
from jsonb_to_recordset(%s::text::jsonb) as t(subject text, period text, used bigint)
on conflict (workspace, subject, period, holder)
do update set used = greatest(l.used, excluded.used), settled = excluded.settled, at = excluded.at
"""
_LEASE: LiteralString = """
select lease_quota(t.subject, t.period, %s, t.used, t.want, t.least, t.cap, %s)
from unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
    as t(subject, period, used, want, least, cap)
"""
_RETURN: LiteralString = """
update limit_ledger l set used = t.used, granted = t.used, at = %s
from unnest(%s::text[], %s::text[], %s::bigint[]) as t(subject, period, used)
where l.workspace = current_workspace() and l.subject = t.subject and l.period = t.period and l.holder = %s
"""


class Quota(Struct, kw_only=True):
    """What this worker may still use of a quota: its own running total may grow up to `granted`."""

    workspace: int
    subject: str
    period: str
    cap: int
    place: int
    granted: int = 0
    used_up: bool = False
    idle: int = 0
    before: int = 0
    asking: "asyncio.Future[None] | None" = None


def day_of(now: datetime) -> str:
    """Return the key of a day in UTC, `YYYYMMDD`."""
    return f"{now.year:04}{now.month:02}{now.day:02}"


def month_of(now: datetime) -> str:
    """Return the key of a month in UTC, `YYYYMM`."""
    return f"{now.year:04}{now.month:02}"


class Ledger:
    """The counts of one worker and their way into the database. `run` writes them down."""

    def __init__(self, database: Database, tally: Tally, clock: Clock) -> None:
        """`tally` is the worker's own."""
        self._database = database
        self.tally = tally
        self._clock = clock
        self._quotas: dict[tuple[int, str, str], Quota] = {}
        self._written: dict[tuple[int, str, str], int] = {}
        self._wanted: dict[int, list[tuple[Quota, int]]] = {}
        self._leasing: dict[int, asyncio.Task[None]] = {}

    def quota(self, workspace: int, subject: str, period: str, *, cap: int) -> Quota:
        """Return this worker's share of a quota."""
        key = (workspace, subject, period)
        found = self._quotas.get(key)
        if found is None or found.cap != cap:
            granted = found.granted if found else 0
            place = self.tally.place(workspace, subject, period)
            found = Quota(workspace=workspace, subject=subject, period=period, cap=cap, place=place, granted=granted)
            self._quotas[key] = found
        return found

    def use(self, quota: Quota, *, cost: int) -> bool:
        """Use some of what was granted; False when `more` must be asked for first."""
        words = self.tally.words
        if words[quota.place] + cost > quota.granted:
            return False
        words[quota.place] += cost
        return True

    async def more(self, quota: Quota, *, cost: int) -> bool:
        """Ask the ledger for more, for all who wait together; False when the quota is used up. Raises DatabaseAway."""
        while not self.use(quota, cost=cost):
            if quota.used_up:
                return False
            if quota.asking is None:
                self._ask(quota, cost)
            if quota.asking is not None:
                await asyncio.shield(quota.asking)
        return True

    def _ask(self, quota: Quota, cost: int) -> None:
        quota.asking = asyncio.get_running_loop().create_future()
        self._wanted.setdefault(quota.workspace, []).append((quota, cost))
        if quota.workspace not in self._leasing:
            self._leasing[quota.workspace] = asyncio.create_task(self._lease_all(quota.workspace))

    async def _lease_all(self, workspace: int) -> None:
        """Take shares for all of a workspace's quotas that lack one, in one question while another is under way."""
        wanted: list[tuple[Quota, int]] = []
        try:
            # All workers lock quotas in the same order.
            while wanted := sorted(self._wanted.pop(workspace, ()), key=lambda each: _order(each[0])):
                await self._lease(workspace, wanted)
                for quota, _ in wanted:
                    _answer(quota, None)
        except BaseException as error:
            for quota, _ in (*wanted, *self._wanted.pop(workspace, ())):
                _answer(quota, error)
            if not isinstance(error, Unavailable | psycopg.Error):
                raise
            _log.warning("no share of a quota", error=type(error).__name__)
        finally:
            del self._leasing[workspace]

    async def _lease(self, workspace: int, wanted: Sequence[tuple[Quota, int]]) -> None:
        words, scope = self.tally.words, self._scope(workspace)
        asked = [
            (each.subject, each.period, words[each.place], max(cost, min(_LEASE_MAX, each.cap // _LEASE_SHARE)), cost)
            for each, cost in wanted
        ]
        columns = [list(column) for column in zip(*asked, strict=True)]
        arguments = (self.tally.holder, scope.now, *columns, [each.cap for each, _ in wanted])
        async with self._database.transaction(scope) as tx:
            rows = await (await tx.connection.execute(_LEASE, arguments)).fetchall()
        for (quota, cost), row in zip(wanted, rows, strict=True):
            quota.granted = int(row[0])
            quota.used_up = words[quota.place] + cost > quota.granted

    async def run(self) -> None:
        """Write down until cancelled, what killed workers left behind too.

        What this worker counted outlives it in the file of the counts, so that it need not be written at once.
        """
        for turn in itertools.count(1):
            await asyncio.sleep(TIDY_S)
            try:
                await (self.flush() if turn % (FLUSH_S // TIDY_S) == 0 else self._tidy())
            except (Unavailable, psycopg.Error) as error:
                # Nothing is lost: totals are written whole the next time.
                _log.warning("use not written down", error=type(error).__name__)

    async def flush(self, *, last: bool = False) -> None:
        """Write down what changed, and what killed workers counted; raises DatabaseAway."""
        rows = self.tally.rows(written={} if last else self._written)
        await self._write(self.tally.holder, rows, settled=last)
        self._written |= {_key(each): each.used for each in rows}
        now = self._clock.now()
        before = now - _LATE
        self._forget(frozenset({day_of(now), month_of(now), day_of(before), month_of(before)}))
        await self._tidy()

    async def _tidy(self) -> None:
        """Return what is idle, and write what killed workers counted; raises DatabaseAway."""
        await self._return_idle()
        for holder, left in self.tally.abandoned():
            await self._write(holder, left, settled=True)

    async def close(self) -> None:
        """Write everything down; raises DatabaseAway, and then the next worker does it."""
        await self.flush(last=True)
        self.tally.close()

    def _forget(self, periods: frozenset[str]) -> None:
        """Free what belongs to periods that are over, once it was written."""
        old = {key for key in self._written if key[2] not in periods}
        if old:
            self.tally.drop(periods)
            self._written = {key: used for key, used in self._written.items() if key not in old}
            self._quotas = {key: each for key, each in self._quotas.items() if key[2] in periods}

    async def _write(self, holder: UUID, rows: Sequence[Row], *, settled: bool) -> None:
        for workspace in sorted({each.workspace for each in rows}):
            own = sorted((each for each in rows if each.workspace == workspace), key=_row_order)
            scope = self._scope(workspace)
            async with self._database.transaction(scope) as tx:
                # One document costs a tenth of what arrays do, whose items are written one by one.
                await tx.connection.execute(_WRITE, (holder, settled, scope.now, msgspec.json.encode(own).decode()))

    async def _return_idle(self) -> None:
        """Give back what nobody used for a while, so that other workers can; ask again for what was used up."""
        words, idle = self.tally.words, dict[int, list[Quota]]()
        for quota in self._quotas.values():
            used = words[quota.place]
            quota.used_up = False
            quota.idle = quota.idle + 1 if used == quota.before else 0
            quota.before = used
            if quota.idle >= _IDLE_TURNS and quota.granted > used and quota.asking is None:
                much = (quota.granted - used) * _HELD_SHARE > quota.cap
                if much or quota.idle >= _IDLE_TURNS_MAX:
                    quota.granted = used
                    idle.setdefault(quota.workspace, []).append(quota)
        for workspace, quotas in idle.items():
            scope = self._scope(workspace)
            returned = [
                list(column) for column in zip(*[(q.subject, q.period, q.granted) for q in quotas], strict=True)
            ]
            async with self._database.transaction(scope) as tx:
                await tx.connection.execute(_RETURN, (scope.now, *returned, self.tally.holder))

    def _scope(self, workspace: int) -> Scope:
        return Scope(workspace=workspace, actor="limits", cause="ledger", now=self._clock.now())


def _order(quota: Quota) -> tuple[str, str]:
    return quota.subject, quota.period


def _row_order(row: Row) -> tuple[str, str]:
    return row.subject, row.period


def _answer(quota: Quota, failed: BaseException | None) -> None:
    """Wake whoever waits for a share."""
    asking, quota.asking = quota.asking, None
    if asking is None or asking.done():
        return
    if failed is None:
        asking.set_result(None)
    elif isinstance(failed, asyncio.CancelledError):
        asking.cancel()
    else:
        asking.set_exception(failed)
        asking.exception()  # It is read here for the case that all who waited went away.


def _key(row: Row) -> tuple[int, str, str]:
    return row.workspace, row.subject, row.period
