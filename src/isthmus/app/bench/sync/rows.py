# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# The line above: Arrow ships no types; nothing of it leaves this file.
"""The leads that all sides load: in Parquet, as messages of Singer, and as a table of SQLite."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.app.bench.put import MakingFailed, write_file

KEY, TABLE, CHANGED = "external_id", "lead", "Changed"
_BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH = 50_000


@dataclass(frozen=True, kw_only=True)
class Files:
    """All leads and the changed ones, in Parquet and as messages of Singer."""

    whole: Path
    changed: Path
    whole_told: Path
    changed_told: Path


def files_in(home: Path) -> Files:
    """Name the files of a directory."""
    return Files(
        whole=home / "leads.parquet",
        changed=home / "changed.parquet",
        whole_told=home / "leads.jsonl",
        changed_told=home / "changed.jsonl",
    )


def make_files(home: Path, *, rows: int, changed: int) -> Files:
    """Write the files; of the leads every (rows / changed)th is changed. Raises MakingFailed."""
    # In a process of its own, so that the memory which that takes does not hide what an import takes.
    making = get_context("spawn").Process(target=write_files, args=(files_in(home), rows, changed))
    making.start()
    making.join()
    if making.exitcode:
        raise MakingFailed(making.exitcode)
    return files_in(home)


def write_files(files: Files, rows: int, changed: int) -> None:
    """Write the files in this process."""
    write_file(files.whole, rows)
    table = pq.read_table(files.whole)
    some = table.take(list(range(0, rows, rows // changed)))
    place = some.schema.get_field_index("title")
    some = some.set_column(place, "title", pa.array([CHANGED] * some.num_rows))
    pq.write_table(some, files.changed, row_group_size=_BATCH)
    _tell(files.whole, files.whole_told)
    _tell(files.changed, files.changed_told)


def _tell(file: Path, told: Path) -> None:
    """Write the rows of a file as a tap of Singer does."""
    reader = pq.ParquetFile(file)
    kinds = {name: "integer" if name == "company_size" else "string" for name in reader.schema_arrow.names}
    shape = {"properties": {name: {"type": [kind, "null"]} for name, kind in kinds.items()}}
    with told.open("w", encoding="utf-8") as lines:
        schema = {"type": "SCHEMA", "stream": TABLE, "schema": shape, "key_properties": [KEY]}
        lines.write(json.dumps(schema) + "\n")
        for batch in reader.iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist():
                lines.write(json.dumps({"type": "RECORD", "stream": TABLE, "record": row}) + "\n")


def make_table(path: Path, source: Path, *, rows: int) -> None:
    """Write the first leads of a file into a table of SQLite, each with the time of its last change."""
    names = [str(name) for name in pq.ParquetFile(source).schema_arrow.names]
    with closing(sqlite3.connect(path)) as connection, connection:
        shape = ", ".join(f"{name} {'text primary key' if name == KEY else ''}" for name in names)
        connection.execute(f"create table {TABLE} ({shape}, updated_at text not null)")
        marks = ", ".join("?" for _ in (*names, "updated_at"))
        connection.executemany(f"insert into {TABLE} values ({marks})", islice(_stamped(source, names), rows))  # noqa: S608 - constants.
        connection.execute(f"create index by_change on {TABLE} (updated_at, {KEY})")


def _stamped(source: Path, names: list[str]) -> Iterator[tuple[object, ...]]:
    number = 0
    for batch in pq.ParquetFile(source).iter_batches(batch_size=_BATCH):
        for row in zip(*(cast("list[object]", batch.column(name).to_pylist()) for name in names), strict=True):
            yield (*row, _stamp(number))
            number += 1


def _stamp(number: int) -> str:
    return (_BEGUN + timedelta(milliseconds=number)).strftime("%Y-%m-%d %H:%M:%S.%f")


def change_rows(path: Path, *, every: int) -> int:
    """Change one row in so many there; returns how many."""
    with closing(sqlite3.connect(path)) as connection, connection:
        keys = connection.execute(f"select {KEY} from {TABLE} where rowid % ? = 0", (every,)).fetchall()  # noqa: S608 - constants.
        update = f"update {TABLE} set title = ?, updated_at = ? where {KEY} = ?"  # noqa: S608 - constants.
        later = [(CHANGED, f"2026-02-01 00:00:{n % 60:02d}.{n // 60:06d}", key) for n, (key,) in enumerate(keys)]
        connection.executemany(update, later)
    return len(keys)


def columns_of(source: Path) -> list[str]:
    """Return the names of the columns of a file."""
    return [str(name) for name in pq.ParquetFile(source).schema_arrow.names]
