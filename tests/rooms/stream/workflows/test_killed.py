"""Workers are killed in the middle of steps: each step is done once, in its order, and every run comes to its end."""

import asyncio
import os
import secrets
import signal
import sys
from asyncio.subprocess import DEVNULL
from datetime import timedelta
from pathlib import Path
from random import Random

from isthmus.app.discovery import schema
from isthmus.app.engines import Engines
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Database, Scope
from isthmus.stream.jobs.queue import LEASE_S
from isthmus.stream.workflows.runs import runs, start
from isthmus.stream.workflows.shelf import workflow_of
from isthmus.sync.ingest import Store
from isthmus.vault import KeyStore, Vault
from tests.rooms.domains.desk import Desk, said

LEADS, KILLS = 12, 2
STEPS: Json = [
    {"kind": "task", "title": "First"},
    {"kind": "notify", "text": "Second"},
    {"kind": "task", "title": "Third"},
    {"kind": "notify", "text": "Fourth"},
]
EFFECTS = """
select (select count(*) from sales_activity where workspace = current_workspace())
     + (select count(*) from event where workspace = current_workspace() and type = 'isthmus.sales.lead.notified.v1')
"""


async def effects(desk: Desk) -> int:
    """How much was done."""
    async with desk.store.database.transaction(desk.now) as tx:
        row = await (await tx.connection.execute(EFFECTS)).fetchone()
    return int(row[0]) if row else 0


async def killed(engines: Engines, desk: Desk, place: tuple[Path, bytes], *, after: int) -> None:
    """Start a worker, and kill it when it has done some more."""
    given = (engines.postgres.app.conninfo, str(place[0]), place[1].hex(), str(desk.scope.workspace))
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.rooms.stream.workflows.dying", *given, desk.clock.now().isoformat()),
        stdin=DEVNULL,
        stdout=DEVNULL,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
    )
    try:
        wanted = await effects(desk) + after
        async with asyncio.timeout(60):
            while await effects(desk) < wanted:
                assert worker.returncode is None
                await asyncio.sleep(0.002)
    finally:
        worker.send_signal(signal.SIGKILL)
        await worker.wait()


async def test_each_step_is_done_once_though_workers_are_killed_in_the_middle(
    engines: Engines, database: Database, scope: Scope, tmp_path: Path
) -> None:
    place = (tmp_path / "workflow-keys.sqlite", secrets.token_bytes(32))
    keys = KeyStore(place[0], kek=place[1])
    desk, chance = Desk.of(Store(schema(), database, Vault(keys)), scope), Random(11)
    made = await desk.put(
        *(said("sales.lead", f"L{n}", email=f"n{n}@mill.example", first_name="N", company="Mill") for n in range(LEADS))
    )
    wanted = {"subject": "sales.lead", "title": "Chase", "steps": STEPS}
    assert (await desk.call("PUT", "/api/v1/workflows/chase", wanted)).status == 200
    async with database.transaction(desk.now) as tx:
        await start(tx, await workflow_of(tx, "chase"), [uuid_of("lead", each) for each in made])
    for _ in range(KILLS):
        await killed(engines, desk, place, after=chance.randint(1, 12))
        desk.clock.move(timedelta(seconds=LEASE_S + 1))
    assert 0 < await effects(desk) < 4 * LEADS
    await desk.steps()
    async with database.transaction(desk.now) as tx:
        found = await runs(tx, name="chase", limit=LEADS + 1)
    assert {each.state for each in found} == {"done"}
    assert {tuple(entry.what for entry in each.log) for each in found} == {("First", "Second", "Third", "Fourth")}
    assert (len(found), await effects(desk)) == (LEADS, 4 * LEADS)
    keys.close()
