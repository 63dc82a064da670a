"""A claim reads what it takes, whatever the planner believes; what a wrong clock wished for at a pace is done too."""

import asyncio
from uuid import UUID

import psycopg

from isthmus.app.engines import Engines
from isthmus.kernel.status import Status
from isthmus.store.database import Scope
from isthmus.stream.jobs.job import Pace, Wish
from isthmus.stream.jobs.queue import Holder, claim, enqueue
from tests.rooms.stream.jobs.shop import LEASE_S, Shop

WANTED = 2_000
_READ = """
select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables where relname = 'job'
"""


async def test_a_claim_in_a_workspace_that_statistics_do_not_know_reads_no_more_than_it_takes(
    shop: Shop, second: Scope, engines: Engines
) -> None:
    async with shop.database.transaction(second) as tx:
        await enqueue(tx, [Wish(kind="nothing")] * WANTED)
    await asyncio.to_thread(analyze, engines)
    await shop.want(*[Wish(kind="nothing")] * WANTED)
    async with shop.database.transaction(shop.scope) as tx:
        holder = Holder(id=UUID(int=shop.workspace << 64 | 1), worker="w", lease_s=LEASE_S)
        taken = await claim(tx, holder, ["nothing"], limit=10)
        row = await (await tx.connection.execute(_READ)).fetchone()
    assert len(taken) == 10
    assert row is not None
    assert row[0] < WANTED / 10


def analyze(engines: Engines) -> None:
    """Let the planner learn what is there now."""
    owner = engines.postgres.owner
    with psycopg.connect(owner.conninfo, password=owner.password, autocommit=True) as connection:
        connection.execute("analyze job")


async def test_a_job_with_a_pace_that_a_clock_far_ahead_wished_for_is_done_now(shop: Shop) -> None:
    shop.later(days=400)
    (own,) = await shop.want(Wish(kind="nothing", key="crm", pace=Pace(at_once=2)))
    assert own is not None
    shop.later(days=-400)
    worker = shop.worker()
    await worker.drain()
    assert (await shop.job(own)).status == Status.PENDING
    await worker.mend()
    await worker.drain()
    assert (await shop.job(own)).status == Status.HEALTHY
