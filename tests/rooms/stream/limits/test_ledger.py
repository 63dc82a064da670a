"""The ledger equals what was let in, whoever is killed when."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

from isthmus.app.engines import Engines
from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Database, Scope
from isthmus.stream.limits.ledger import Ledger, day_of
from isthmus.stream.limits.tally import Tally
from tests.conftest import NOW

_USED: LiteralString = """
select coalesce(sum(used), 0) from limit_ledger where workspace = current_workspace() and subject = %s
"""


async def used(database: Database, scope: Scope, subject: str) -> int:
    """Return what the ledger says."""
    async with database.transaction(scope) as tx:
        row = await (await tx.connection.execute(_USED, (subject,))).fetchone()
    return int(row[0]) if row else 0


def worker(engines: Engines, file: Path, workspace: int, cap: int) -> "subprocess.Popen[bytes]":
    """Start a worker that counts."""
    command = [sys.executable, "-m", "tests.rooms.stream.limits.counting"]
    arguments = [engines.postgres.app.conninfo, str(file), str(workspace), str(cap)]
    return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE)


async def said(worker: "subprocess.Popen[bytes]", calls: int) -> int:
    """Wait until a worker has let in some calls, and return how many."""
    assert worker.stdout is not None
    assert len(await asyncio.to_thread(worker.stdout.read, calls)) == calls
    return calls


async def test_a_worker_killed_at_any_moment_leaves_a_ledger_that_equals_what_it_let_in(
    engines: Engines, database: Database, scope: Scope, tmp_path: Path
) -> None:
    chance, file, let_in = random.Random(4), tmp_path / "use", 0
    workers = [worker(engines, file, scope.workspace, 10**9) for _ in range(4)]
    for each in workers:
        let_in += await said(each, 300)
        await asyncio.sleep(chance.random())
        each.kill()
        let_in += len(each.communicate()[0])
    kills = len(workers)
    ledger = Ledger(database, Tally(file, holder=uuid4(), parts=8), FrozenClock(NOW))
    await ledger.flush()
    # A worker that is killed between counting and saying so has counted one more than it could say.
    for subject in ("key_test", "quota:daily:all"):
        assert 0 <= await used(database, scope, subject) - let_in <= kills
    await ledger.close()


async def test_workers_together_never_use_more_than_the_quota_and_killed_ones_give_back_what_they_held(
    engines: Engines, database: Database, scope: Scope, tmp_path: Path
) -> None:
    file, cap = tmp_path / "use", 1_500
    workers = [worker(engines, file, scope.workspace, cap) for _ in range(3)]
    await asyncio.sleep(1.2)
    workers[0].kill()
    let_in = len(workers[0].communicate()[0])
    for _ in range(600):
        await asyncio.sleep(0.1)
        if await used(database, scope, "quota:daily:all") >= cap:
            break
    await asyncio.sleep(1.5)
    for each in workers[1:]:
        each.kill()
        let_in += len(each.communicate()[0])
    assert cap - 1 <= let_in <= cap
    assert await used(database, scope, "quota:daily:all") == cap


async def test_a_total_that_is_written_twice_stays_the_same(database: Database, scope: Scope, tmp_path: Path) -> None:
    tally = Tally(tmp_path / "use", holder=uuid4(), parts=2)
    ledger = Ledger(database, tally, FrozenClock(NOW))
    tally.words[tally.place(scope.workspace, "key_test", day_of(NOW))] += 5
    await ledger.flush()
    await ledger.flush(last=True)
    assert await used(database, scope, "key_test") == 5
    await ledger.close()


async def test_what_finds_no_place_is_counted_for_the_workspace(
    database: Database, scope: Scope, tmp_path: Path
) -> None:
    tally = Tally(tmp_path / "use", holder=uuid4(), parts=2)
    ledger = Ledger(database, tally, FrozenClock(NOW))
    for number in range(9_000):
        tally.words[tally.place(scope.workspace, f"key_{number}", day_of(NOW))] += 1
    await ledger.flush()
    others = await used(database, scope, "other")
    assert others > 0
    async with database.transaction(scope) as tx:
        sql = "select sum(used) from limit_ledger where workspace = current_workspace()"
        row = await (await tx.connection.execute(sql)).fetchone()
    assert row is not None
    assert int(row[0]) == 9_000
    await ledger.close()
