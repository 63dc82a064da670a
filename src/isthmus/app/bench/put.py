"""How much more a put costs than a bare load of the same rows.

Bare: the rows of a Parquet file go by binary COPY into a staging table and by INSERT … ON CONFLICT into a table with a
primary key, without claims, events, audit or sealing. Ours: the same file through preparing, matching by handle,
sealing and merging. Rounds are interleaved: bare, ours, ours without sealing, ours again (which changes nothing).
"""

import asyncio
import os
import platform
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Protocol, cast
from uuid import UUID

import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.app.bench import Bar, Outcome
from isthmus.app.discovery import schema
from isthmus.app.engines import Engines, EngineSettings, PostgresAccess, start_engines
from isthmus.app.program import migrate_as_owner
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.store.columns import Columns
from isthmus.store.database import Database, Scope
from isthmus.store.put import PutResult
from isthmus.sync.ingest import BATCH_ROWS_MAX, Interval, Store, put_stream
from isthmus.vault import KeyStore, Vault, entropy

ROWS, QUICK_ROWS = 1_000_000, 50_000
ROUNDS, QUICK_ROUNDS = 3, 1
_MIB = 1024 * 1024
_AT = datetime(2026, 1, 1, tzinfo=UTC)
_COLUMNS = {
    "external_id": "text",
    "email": "text",
    "first_name": "text",
    "last_name": "text",
    "company": "text",
    "phone": "text",
    "title": "text",
    "country": "text",
    "region": "text",
    "industry": "text",
    "company_size": "int8",
    "status": "text",
    "source": "text",
    "captured_at": "text",
}


@dataclass(frozen=True)
class _Took:
    """Seconds on the wall and of this process's CPU."""

    wall: float
    cpu: float


class _Unsealed(Vault):
    """A vault that seals nothing, for the comparison only: what it is given is what it gives."""

    def create(self, *, workspace: int, subjects: Sequence[UUID]) -> None:
        """Make no keys."""

    def ensure(self, *, workspace: int, subjects: Sequence[UUID]) -> None:
        """Make no keys."""

    def holding(self, *, workspace: int, subjects: Iterable[UUID]) -> frozenset[UUID]:
        """Take every subject as present."""
        del workspace
        return frozenset(subjects)

    def seal_new(
        self, *, workspace: int, subjects: Sequence[bytes], columns: Sequence[Sequence[bytes]]
    ) -> list[list[bytes]]:
        """Return the values as they are."""
        del workspace, subjects
        return [list(values) for values in columns]

    def seal_columns(self, *, workspace: int, subjects: Sequence[bytes], values: Sequence[bytes]) -> list[bytes]:
        """Return the values as they are."""
        del workspace, subjects
        return list(values)

    def open_columns(
        self, *, workspace: int, subjects: Sequence[bytes], envelopes: Sequence[bytes]
    ) -> list[bytes | None]:
        """Return the values as they are."""
        del workspace, subjects
        return list(envelopes)


class MakingFailed(IsthmusError):
    """The process that makes the file to load ended with an error."""

    code, title = "bench-file-unmade", "The file to load could not be made"

    def __init__(self, exitcode: int) -> None:
        """Tell how it ended; a negative code is the signal that killed it."""
        ended = f"was killed by signal {-exitcode}" if exitcode < 0 else f"failed with exit code {exitcode}"
        super().__init__(
            f"The process that makes the file to load {ended}.",
            fix="Read what it printed above; it needs room in the directory for temporary files, and memory.",
        )


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with engines and a file of its own."""
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if quick else (ROWS, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        file = home / "leads.parquet"
        make_file(file, rows)
        settings = EngineSettings(data_dir=home / "data", want_valkey=False)
        with start_engines(settings=settings, entropy=entropy, now=lambda: datetime.now(UTC)) as engines:
            migrate_as_owner(engines.postgres)
            return asyncio.run(_rounds(engines, home, file, rows=rows, rounds=rounds, say=say))


class _Column(Protocol):
    """What we use of a column of Arrow, which has no types of its own."""

    def to_pylist(self) -> list[Json]: ...


class _Batch(Protocol):
    """What we use of a batch of Arrow."""

    def column(self, i: str, /) -> _Column: ...


def _batches(file: Path) -> Iterator[_Batch]:
    """Return the file in batches of the size that a put stores at once."""
    reader = pq.ParquetFile(file)
    return cast("Iterator[_Batch]", reader.iter_batches(batch_size=BATCH_ROWS_MAX))  # pyright: ignore[reportUnknownMemberType] - Arrow ships no types.


def make_file(path: Path, rows: int) -> None:
    """Write a file of so many rows; raises MakingFailed."""
    # In a process of its own, so that the memory which that takes does not hide what a put takes.
    making = get_context("spawn").Process(target=write_file, args=(path, rows))
    making.start()
    making.join()
    if making.exitcode:
        raise MakingFailed(making.exitcode)


def write_file(path: Path, rows: int) -> None:
    """Write it in this process."""
    numbers = range(rows)
    columns: dict[str, list[str] | list[int]] = {
        "external_id": [f"L{n}" for n in numbers],
        "email": [f"User{n}.Name@company{n % 20_000}.example" for n in numbers],
        "first_name": [f"First{n % 1_000}" for n in numbers],
        "last_name": [f"Last{n % 7_777}" for n in numbers],
        "company": [f"Company {n % 20_000}" for n in numbers],
        "phone": [f"+49 30 {n:08d}" for n in numbers],
        "title": ["Head of Operations"] * rows,
        "country": ["DE"] * rows,
        "region": ["Berlin"] * rows,
        "industry": ["software"] * rows,
        "company_size": [n % 1_000 + 1 for n in numbers],
        "status": ["new"] * rows,
        "source": ["list_import"] * rows,
        "captured_at": ["2026-01-01T00:00:00Z"] * rows,
    }
    table = pa.table(columns)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - Arrow ships no types.
    pq.write_table(table, path, row_group_size=50_000)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - as above.


async def _rounds(
    engines: Engines, home: Path, file: Path, *, rows: int, rounds: int, say: Callable[[str], None]
) -> Outcome:
    took: dict[str, list[_Took]] = {name: [] for name in ("bare", "sealed", "again", "unsealed")}
    base_mib = _resident_mib()
    peak_mib = 0.0
    login = engines.postgres.app
    database = Database(login.conninfo, password=login.password)
    await database.open()
    for number in range(rounds):
        vaults = {
            "sealed": Vault(KeyStore(home / f"keys-{number}.sqlite", kek=entropy(32))),
            "unsealed": _Unsealed(KeyStore(home / f"none-{number}.sqlite", kek=entropy(32))),
        }
        took["bare"].append(await asyncio.to_thread(_bare, engines.postgres, file))
        say(f"round {number + 1}: bare {took['bare'][-1].wall:.1f} s")
        workspaces: dict[str, int] = {}
        for name in ("sealed", "again", "unsealed"):
            kind = "sealed" if name == "again" else name
            store = Store(schema(), database, vaults[kind])
            if kind not in workspaces:
                workspaces[kind] = await _workspace(database, f"{kind}-{number}")
            result, one = await _ours(store, workspaces[kind], file)
            _check(name, result, rows)
            took[name].append(one)
            peak_mib = max(peak_mib, _resident_mib())
            say(f"round {number + 1}: {name} {one.wall:.1f} s, {rows / one.wall:,.0f} rows/s")
        await asyncio.to_thread(_clear, engines.postgres)
    await database.close()
    return _outcome(engines.postgres, took, rows=rows, rounds=rounds, extra_mib=max(0.0, peak_mib - base_mib))


def _check(name: str, result: PutResult, rows: int) -> None:
    expected = (0, rows) if name == "again" else (rows, 0)
    if (result.created, result.unchanged) != expected:
        message = f"{name}: created {result.created}, unchanged {result.unchanged}, expected {expected}"
        raise AssertionError(message)


def _bare(postgres: PostgresAccess, file: Path) -> _Took:
    shape = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    names = ", ".join(_COLUMNS)
    updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "external_id")
    login = postgres.owner
    with psycopg.connect(login.conninfo, password=login.password) as connection:
        connection.execute("drop table if exists bare")
        connection.execute(
            f"create table bare (workspace integer, {shape}, primary key (workspace, external_id))".encode()
        )
        connection.execute(f"create temp table bare_stage ({shape}) on commit delete rows".encode())
        connection.commit()
        start, cpu = time.perf_counter(), time.process_time()
        for batch in _batches(file):
            values = [batch.column(name).to_pylist() for name in _COLUMNS]
            with connection.cursor().copy(f"copy bare_stage ({names}) from stdin (format binary)".encode()) as copy:
                copy.set_types(list(_COLUMNS.values()))
                for row in zip(*values, strict=True):
                    copy.write_row(row)
            connection.execute(
                f"insert into bare (workspace, {names}) select 1, {names} from bare_stage "  # noqa: S608 - constants.
                f"on conflict (workspace, external_id) do update set {updates}".encode()
            )
            connection.commit()
        return _Took(time.perf_counter() - start, time.process_time() - cpu)


async def _ours(store: Store, workspace: int, file: Path) -> tuple[PutResult, _Took]:
    now = datetime.now(UTC)
    scope = Scope(workspace=workspace, actor="bench", cause="bench", now=now)
    start, cpu = time.perf_counter(), time.process_time()
    result = await put_stream(
        store,
        scope,
        store.schema["sales.lead"],
        _columns(file),
        interval=Interval(since=None, until=now),
        progress=lambda _: None,
    )
    return result, _Took(time.perf_counter() - start, time.process_time() - cpu)


async def _columns(file: Path) -> AsyncIterator[Columns]:
    names = [name for name in _COLUMNS if name != "external_id"]
    batches = _batches(file)

    def following() -> Columns | None:
        batch = next(batches, None)
        if batch is None:
            return None
        ids = cast("list[str]", batch.column("external_id").to_pylist())
        fields = {name: batch.column(name).to_pylist() for name in names}
        return Columns(type="sales.lead", system="file", external_ids=ids, fields=fields, at=_AT)

    while (columns := await asyncio.to_thread(following)) is not None:
        yield columns


async def _workspace(database: Database, slug: str) -> int:
    async with database.plain() as connection:
        cursor = await connection.execute(
            "insert into workspace (slug, name, created_at) values (%s, %s, now()) returning id", (slug, slug)
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _clear(postgres: PostgresAccess) -> None:
    """Empty what the round wrote, so that every round starts alike."""
    login = postgres.owner
    with psycopg.connect(login.conninfo, password=login.password, autocommit=True) as connection:
        connection.execute("truncate ref, claim, event_bundle, audit, sales_lead, bare")
        connection.execute("checkpoint") if _may_checkpoint(connection) else None


def _may_checkpoint(connection: psycopg.Connection) -> bool:
    row = connection.execute("select pg_has_role('pg_checkpoint', 'member')").fetchone()
    return bool(row and row[0])


def _resident_mib() -> float:
    own = psutil.Process(os.getpid()).memory_info().rss / _MIB
    return max(own, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _outcome(
    postgres: PostgresAccess, took: dict[str, list[_Took]], *, rows: int, rounds: int, extra_mib: float
) -> Outcome:
    walls = {name: median(each.wall for each in all_) for name, all_ in took.items()}
    figures: dict[str, float] = {"rows": rows, "memory_over_baseline_mib": round(extra_mib, 1)}
    for name, all_ in took.items():
        figures[f"{name}_wall_s"] = round(walls[name], 2)
        figures[f"{name}_wall_s_min"] = round(min(each.wall for each in all_), 2)
        figures[f"{name}_wall_s_max"] = round(max(each.wall for each in all_), 2)
        figures[f"{name}_cpu_s"] = round(median(each.cpu for each in all_), 2)
    bars = {
        "sealed_to_bare": Bar(value=round(walls["sealed"] / walls["bare"], 2), limit=6.0),
        "unsealed_to_bare": Bar(value=round(walls["unsealed"] / walls["bare"], 2), limit=4.0),
        "again_to_first": Bar(value=round(walls["again"] / walls["sealed"], 2), limit=0.5),
        "memory_over_baseline_mib": Bar(value=round(extra_mib, 1), limit=1024.0),
    }
    peers = {
        "bare COPY + INSERT ON CONFLICT (psycopg)": psycopg.__version__,
        "PostgreSQL": str(postgres.version),
        "Python": platform.python_version(),
    }
    return Outcome(bench="put", rounds=rounds, figures=figures, bars=bars, peers=peers)
