"""What runs in processes of the bench's own: a consumer, a consumer that is made wrongly, and a worker of jobs."""

import asyncio
import os
from pathlib import Path
from typing import LiteralString

import psycopg

from isthmus.app.bench.jobs.ours import opened, work_until_killed
from isthmus.app.clock import SystemClock
from isthmus.app.engines.access import PostgresAccess, PostgresLogin
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database, Scope, Transaction
from isthmus.stream.consume import Consumer, run_consumers
from isthmus.stream.event import Event, events_after

CAREFUL, CARELESS = "chaos", "chaos-careless"
LEASE_S = 2.0
APART_S = 0.3
BATCH = 50
_TABLES: LiteralString = """
create table if not exists bench_effect (job_id uuid not null, step text not null);
create table if not exists chaos_effect (
    place bigint generated always as identity primary key, consumer text not null, seq bigint not null,
    record_id uuid not null, account_id uuid, told_at timestamptz not null,
    done_at timestamptz not null default clock_timestamp()
);
create table if not exists chaos_offset (seq bigint not null);
insert into chaos_offset select 0 where not exists (select from chaos_offset);
grant select, insert, update on bench_effect, chaos_effect, chaos_offset to isthmus_app;
"""
_EFFECT: LiteralString = """
insert into chaos_effect (consumer, seq, record_id, account_id, told_at) values (%s, %s, %s, %s, %s)
"""
_TRANSIENT = (psycopg.OperationalError, psycopg.InterfaceError, Unavailable)


def make_tables(postgres: PostgresAccess) -> None:
    """Make the tables that effects are written to; nothing in them is unique, so that what happens twice is seen."""
    owner = postgres.owner
    with psycopg.connect(owner.conninfo, password=owner.password, autocommit=True) as connection:
        connection.execute(_TABLES)


async def affect(tx: Transaction, event: Event, name: str = CAREFUL) -> None:
    """Write the row that is an event's effect."""
    row = (name, event.seq, event.record_id, event.account_id, event.at)
    await tx.connection.execute(_EFFECT, row, prepare=True)


def say_to(log: Path) -> None:
    """Let what this process says go to a file."""
    with log.open("ab") as sink:
        for stream in (1, 2):
            os.dup2(sink.fileno(), stream)


def consume_until_killed(log: Path, login: PostgresLogin) -> None:
    """Be a consumer as the product has them."""
    say_to(log)

    async def inside() -> None:
        database = await opened(login)
        await run_consumers(database, [Consumer(CAREFUL, affect)], clock=SystemClock())

    asyncio.run(inside())


def consume_carelessly(log: Path, login: PostgresLogin, workspace: int) -> None:
    """Be a consumer that commits its effects and only then, in another transaction, how far it is."""
    say_to(log)

    async def inside() -> None:
        database = await opened(login)
        while True:
            try:
                await take_carelessly(database, workspace)
            except _TRANSIENT:
                await asyncio.sleep(0.2)

    asyncio.run(inside())


async def take_carelessly(database: Database, workspace: int, *, apart_s: float = APART_S) -> int:
    """Take the next events; whoever dies in between does them again."""
    scope = Scope(workspace=workspace, actor="bench", cause="bench", now=SystemClock().now())
    async with database.transaction(scope) as tx:
        row = await (await tx.connection.execute("select seq from chaos_offset")).fetchone()
        offset = int(row[0]) if row else 0
        events = await events_after(tx.connection, after=offset, limit=BATCH)
        for each in events:
            await affect(tx, each, CARELESS)
    await asyncio.sleep(apart_s)
    if events:
        async with database.transaction(scope) as tx:
            await tx.connection.execute("update chaos_offset set seq = %s", (events[-1].seq,))
    return len(events)


def work_jobs(log: Path, login: PostgresLogin, name: str) -> None:
    """Be a worker of jobs in three steps."""
    say_to(log)
    work_until_killed(login, name, LEASE_S)
