"""A worker that counts calls against a quota until it is killed, and says each one that it let in.

`python -m tests.rooms.stream.limits.counting CONNINFO FILE WORKSPACE CAP`: one byte on stdout for each call let in.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Database
from isthmus.stream.limits.ledger import Ledger, day_of
from isthmus.stream.limits.tally import Tally

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


async def count(conninfo: str, file: Path, workspace: int, cap: int) -> None:
    """Use the quota for ever, with short rests."""
    database = Database(conninfo)
    await database.open()
    tally = Tally(file, holder=uuid4(), parts=8)
    ledger = Ledger(database, tally, FrozenClock(NOW))
    keeping = asyncio.create_task(ledger.run())
    quota = ledger.quota(workspace, "quota:daily:all", day_of(NOW), cap=cap)
    place = tally.place(workspace, "key_test", day_of(NOW))
    while not keeping.done():
        if ledger.use(quota, cost=1) or await ledger.more(quota, cost=1):
            tally.words[place] += 1
            os.write(1, b"x")
        await asyncio.sleep(0.0005)


if __name__ == "__main__":
    asyncio.run(count(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
