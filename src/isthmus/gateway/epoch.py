"""The number under which a workspace's keys, sessions, roles and policies stand, followed by every worker.

A trigger raises it in the transaction of the change (`raise_gate_epoch`, for any table with a column `workspace`), and
one task of each worker reads all of them four times a second. Who remembers something about a workspace keeps the
number beside it, and asks again when it differs or when the numbers themselves are old.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import structlog

from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database

EVERY_S = 0.25
FRESH = timedelta(seconds=0.75)
_ALL: LiteralString = "select workspace, epoch from gate_epochs()"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_log = structlog.get_logger("isthmus.gateway.epoch")


class Epoch:
    """The numbers of all workspaces as they were last read; one for each worker.

    `numbers` are all of them; the next reading makes new ones and leaves these as they are. They are fresh before the
    moment `until`.
    """

    def __init__(self, database: Database) -> None:
        """Nothing is read before `watch` runs; until then nothing is fresh."""
        self._database = database
        self.numbers: Mapping[int, int] = {}
        self.until = _LONG_AGO
        self._renewing: asyncio.Task[None] | None = None

    def of(self, workspace: int) -> int:
        """Return the number of a workspace; 0 until something changed in it."""
        return self.numbers.get(workspace, 0)

    def fresh(self, *, now: datetime) -> bool:
        """Tell whether the numbers are recent enough that a change would have been seen."""
        return now < self.until

    async def read(self, *, now: datetime) -> None:
        """Read all numbers as of `now`, a moment before the reading; raises DatabaseAway."""
        async with self._database.plain(beside=True) as connection:
            rows = await (await connection.execute(_ALL)).fetchall()
        self.numbers, self.until = {int(workspace): int(epoch) for workspace, epoch in rows}, now + FRESH

    async def renew(self, *, now: datetime) -> None:
        """Read the numbers if they are old, because nobody came to it; all who ask meanwhile wait for one reading.

        Raises DatabaseAway.
        """
        if self.fresh(now=now):
            return
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self.read(now=now))
            self._renewing.add_done_callback(_heard)
        await asyncio.shield(self._renewing)

    async def watch(self, now: Callable[[], datetime]) -> None:
        """Follow the numbers until it is cancelled; while the database is away they grow old and are not trusted."""
        while True:
            try:
                await self.read(now=now())
            except Unavailable as error:
                _log.warning("epochs not read", code=error.code)
            await asyncio.sleep(EVERY_S)


def _heard(turn: "asyncio.Task[None]") -> None:
    """Read the error of a reading whose callers all went away."""
    if not turn.cancelled():
        turn.exception()
