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
_IDLE_FLUSHES = 5
_LATE = timedelta(hours=1)
"""For how long after a period calls may still be counted in it."""
_WRITE: LiteralString = """
insert into limit_ledger as l (workspace, subject, period, holder, used, granted, settled, at)
select current_workspace(), t.subject, t.period, %s, t.used, 0, %s, %s
from unnest(%s::text[], %s::text[], %s::bigint[]) as t(subject, period, used)
on conflict (workspace, subject, period, holder)
do update set used = greatest(l.used, excluded.used), settled = excluded.settled, at = excluded.at
"""
_LEASE: LiteralString = "select lease_quota(%s, %s, %s, %s, %s, %s, %s, %s)"
_RETURN: LiteralString = """
update limit_ledger set used = %s, granted = %s, at = %s
where workspace = current_workspace() and subject = %s and period = %s and holder = %s
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
    asking: "asyncio.Task[None] | None" = None


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
                quota.asking = asyncio.create_task(self._lease(quota, cost))
            await asyncio.shield(quota.asking)
        return True

    async def _lease(self, quota: Quota, cost: int) -> None:
        used = self.tally.words[quota.place]
        want = max(cost, min(_LEASE_MAX, quota.cap // _LEASE_SHARE))
        scope = self._scope(quota.workspace)
        arguments = (quota.subject, quota.period, self.tally.holder, used, want, cost, quota.cap, scope.now)
        try:
            async with self._database.transaction(scope) as tx:
                row = await (await tx.connection.execute(_LEASE, arguments)).fetchone()
            granted = int(row[0]) if row else 0
            quota.used_up = self.tally.words[quota.place] + cost > granted
            quota.granted = granted
        finally:
            quota.asking = None

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
            own = sorted((each.subject, each.period, each.used) for each in rows if each.workspace == workspace)
            columns = [list(column) for column in zip(*own, strict=True)]
            scope = self._scope(workspace)
            async with self._database.transaction(scope) as tx:
                await tx.connection.execute(_WRITE, (holder, settled, scope.now, *columns))

    async def _return_idle(self) -> None:
        """Give back what nobody used for a while, so that other workers can; ask again for what was used up."""
        words = self.tally.words
        for quota in list(self._quotas.values()):
            used = words[quota.place]
            quota.used_up = False
            quota.idle = quota.idle + 1 if used == quota.before else 0
            quota.before = used
            if quota.idle < _IDLE_FLUSHES or quota.granted <= used or quota.asking is not None:
                continue
            quota.granted = used
            scope = self._scope(quota.workspace)
            async with self._database.transaction(scope) as tx:
                returned = (used, used, scope.now, quota.subject, quota.period, self.tally.holder)
                await tx.connection.execute(_RETURN, returned)

    def _scope(self, workspace: int) -> Scope:
        return Scope(workspace=workspace, actor="limits", cause="ledger", now=self._clock.now())


def _key(row: Row) -> tuple[int, str, str]:
    return row.workspace, row.subject, row.period
