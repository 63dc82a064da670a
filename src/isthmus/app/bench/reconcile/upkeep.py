"""What keeping digests costs those who put records: leads are put with and without, in turns."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg

from isthmus.app.discovery import schema
from isthmus.app.engines import PostgresAccess
from isthmus.kernel.marks import Json
from isthmus.store.columns import Columns
from isthmus.store.database import Database, Scope
from isthmus.sync.ingest import BATCH_ROWS_MAX, Interval, Store, put_stream
from isthmus.sync.reconciling.held import fold
from isthmus.vault import KeyStore, Vault, entropy

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_TRIGGERS = ("digest_added", "digest_removed", "digest_moved")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What puts took, in seconds on the wall and of CPU, that of the database's connections among it."""

    wall: float
    cpu: float


async def pairs(
    postgres: PostgresAccess, home: Path, *, rows: int, rounds: int, say: Callable[[str], None]
) -> list[tuple[Cost, Cost]]:
    """Return for each round what the puts of so many leads took, kept and not kept.

    A round puts new leads, and then a fifth of them changed. What was appended is gathered within the time of the kept
    ones. The order within a round alternates; the first round warms up and is left out.
    """
    login = postgres.app
    database = Database(login.conninfo, password=login.password)
    await database.open()
    found: list[tuple[Cost, Cost]] = []
    try:
        for number in range(rounds + 1):
            took: dict[bool, Cost] = {}
            for kept in (True, False) if number % 2 else (False, True):
                _switch(postgres, kept=kept)
                keys = KeyStore(home / f"keys-{number}-{kept}.sqlite", kek=entropy(32))
                store = Store(schema(), database, Vault(keys))
                took[kept] = await _put(store, f"upkeep-{number}-{kept}", rows, kept=kept)
                keys.close()
                _clear(postgres)
            if number:
                found.append((took[True], took[False]))
                say(f"puts, round {number}: kept {took[True].wall:.2f} s, not kept {took[False].wall:.2f} s")
    finally:
        _switch(postgres, kept=True)
        await database.close()
    return found


async def _put(store: Store, slug: str, rows: int, *, kept: bool) -> Cost:
    scope = Scope(workspace=await _workspace(store.database, slug), actor="bench", cause="bench", now=datetime.now(UTC))
    began, before = time.perf_counter(), _cpu_s()
    for first, count, industry in ((0, rows, "software"), (0, rows // 5, "retail")):
        await put_stream(
            store,
            scope,
            store.schema["sales.lead"],
            _batches(first, count, industry),
            interval=Interval(since=None, until=scope.now),
            progress=lambda _: None,
        )
    if kept:
        async with store.database.transaction(scope) as tx:
            await fold(tx)
    return Cost(wall=time.perf_counter() - began, cpu=_cpu_s() - before)


def _cpu_s() -> float:
    """Return the CPU time of this process and all that it started and that still lives, in seconds."""
    own = psutil.Process()
    times = [each.cpu_times() for each in (own, *own.children(recursive=True))]
    return sum(each.user + each.system for each in times)


async def _batches(first: int, count: int, industry: str) -> AsyncIterator[Columns]:
    for start in range(first, first + count, BATCH_ROWS_MAX):
        numbers = range(start, min(start + BATCH_ROWS_MAX, first + count))
        fields: dict[str, list[Json]] = {
            "email": [f"user{n}@company{n % 20_000}.example" for n in numbers],
            "first_name": [f"First{n % 1_000}" for n in numbers],
            "last_name": [f"Last{n % 7_777}" for n in numbers],
            "company": [f"Company {n % 20_000}" for n in numbers],
            "country": ["DE" for _ in numbers],
            "industry": [industry for _ in numbers],
        }
        yield Columns(type="sales.lead", system="file", external_ids=[f"L{n}" for n in numbers], fields=fields, at=_AT)


async def _workspace(database: Database, slug: str) -> int:
    async with database.plain() as connection:
        cursor = await connection.execute(
            "insert into workspace (slug, name, created_at) values (%s, %s, now()) returning id", (slug, slug)
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _switch(postgres: PostgresAccess, *, kept: bool) -> None:
    with psycopg.connect(postgres.owner.conninfo, password=postgres.owner.password, autocommit=True) as connection:
        for name in _TRIGGERS:
            connection.execute(f"alter table ref {'enable' if kept else 'disable'} trigger {name}".encode())


def _clear(postgres: PostgresAccess) -> None:
    with psycopg.connect(postgres.owner.conninfo, password=postgres.owner.password, autocommit=True) as connection:
        connection.execute("truncate ref, claim, event_bundle, audit, sales_lead")
