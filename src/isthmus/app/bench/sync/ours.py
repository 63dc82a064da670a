"""Our side of the loads: a file imported, and a table of another database pulled, with everything on."""

import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec
import psutil

from isthmus.app.bench.sync.peers import Took, database_cpu_s
from isthmus.app.bench.sync.rows import KEY, TABLE, columns_of
from isthmus.app.clock import SystemClock
from isthmus.app.discovery import schema
from isthmus.app.engines import PostgresAccess
from isthmus.connectors.sql import CONNECTOR
from isthmus.store.database import Database
from isthmus.sync.connections import connect
from isthmus.sync.files import import_file, propose_mapping
from isthmus.sync.ingest import Store
from isthmus.sync.running import synchronise
from isthmus.sync.runs import Engine, Run
from isthmus.vault import KeyStore, Vault, entropy

SYSTEM, CONNECTION, TYPE = "file", "shop", "sales.lead"
_MIB = 1024 * 1024
_LOOK_S = 0.2


@dataclass
class Memory:
    """What this process held while something went on, in mebibytes, a figure every so often."""

    seen: list[float] = field(default_factory=list[float])

    @property
    def growth(self) -> float:
        """How much more its second half held at most than its first: 1 is as much."""
        half = len(self.seen) // 2
        return max(self.seen[half:]) / max(self.seen[:half]) if half else 1.0


@dataclass(frozen=True)
class Side:
    """One workspace of one round."""

    engine: Engine
    workspace: int

    async def load(self, file: Path, *, created: int = 0, changed: int = 0) -> Took:
        """Import a file; raises AssertionError when it did not do what it should."""
        mapping = propose_mapping(self.engine.store, file, type_name=TYPE, system=SYSTEM).mapping
        with _measured() as took:
            run = await import_file(
                self.engine, workspace=self.workspace, actor="user:bench", path=file, mapping=mapping
            )
        _check(run, created=created, changed=changed)
        return took()

    async def connect(self, table: Path, source: Path) -> None:
        """Connect the table of another database."""
        fields = {name: name for name in columns_of(source) if name != KEY}
        layout = {"type": TYPE, "key": KEY, "updated_at": "updated_at", "settles_s": None, "fields": fields}
        tables = msgspec.json.encode({TABLE: layout}).decode()
        settings = {"file": str(table), "tables": tables, "overlap_s": "0"}
        scope = self.engine.scope(workspace=self.workspace, actor="user:bench", cause="bench")
        async with self.engine.store.database.transaction(scope) as tx:
            await connect(tx, self.engine.store.vault, CONNECTOR, name=CONNECTION, settings=settings)

    async def pull(self, *, created: int = 0, changed: int = 0) -> Took:
        """Pull what changed there; raises AssertionError when that is not what it should be."""
        with _measured() as took:
            run = await synchronise(
                self.engine, workspace=self.workspace, connection=CONNECTION, parts=("pull",), confirmed=True
            )
        _check(run, created=created, changed=changed)
        return took()


@asynccontextmanager
async def opened(postgres: PostgresAccess, home: Path, slug: str) -> AsyncGenerator[Side]:
    """Open a workspace of its own."""
    database = Database(postgres.app.conninfo, password=postgres.app.password)
    keys = KeyStore(home / f"{slug}.sqlite", kek=entropy(32))
    await database.open()
    try:
        async with database.plain() as connection:
            cursor = await connection.execute(
                "insert into workspace (slug, name, created_at) values (%s, %s, now()) returning id", (slug, slug)
            )
            row = await cursor.fetchone()
        store = Store(schema(), database, Vault(keys))
        engine = Engine(store=store, clock=SystemClock(), chance=Random(7), connectors={CONNECTOR.name: CONNECTOR})
        yield Side(engine, int(row[0]) if row else 0)
    finally:
        await database.close()
        keys.close()


@contextmanager
def watched() -> Generator[Memory]:
    """Look at what this process holds for as long as the block goes on."""
    memory, over = Memory(), threading.Event()
    own = psutil.Process()

    def look() -> None:
        while not over.wait(_LOOK_S):
            memory.seen.append(own.memory_info().rss / _MIB)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield memory
    finally:
        over.set()
        looking.join()


class _Measuring:
    def __init__(self) -> None:
        self._began, self._own, self._database = time.perf_counter(), time.process_time(), database_cpu_s()
        self._took: Took | None = None

    def __call__(self) -> Took:
        if self._took is None:
            used = time.process_time() - self._own + database_cpu_s() - self._database
            self._took = Took(wall=time.perf_counter() - self._began, cpu=used)
        return self._took


@contextmanager
def _measured() -> Generator[_Measuring]:
    measuring = _Measuring()
    yield measuring
    measuring()


def _check(run: Run, *, created: int, changed: int) -> None:
    if (run.created, run.changed, run.rejected) != (created, changed, 0):
        message = f"created {run.created}, changed {run.changed}, rejected {run.rejected}; not {created}, {changed}, 0"
        raise AssertionError(message)
