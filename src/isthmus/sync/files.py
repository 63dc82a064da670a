"""Importing files: rows become observations through a mapping, in batches; there is a dry run, and rejects keep lines.

An import again of the same file changes nothing: its rows are known by their ids or digests, and say the same.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import LiteralString, cast

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Fault
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.columns import Columns
from isthmus.store.database import Scope
from isthmus.store.observation import Link, Observation
from isthmus.store.prepare import Reject
from isthmus.store.put import PutResult
from isthmus.store.rejected import keep_rejects
from isthmus.sync.cells import ABSENT, Absent, Bad, column_of, moments, plain
from isthmus.sync.ingest import Interval, Store, put_stream
from isthmus.sync.mappings import CUSTOM, FileMapping, Proposal, check, propose
from isthmus.sync.readers import BadLine, Batch, Reader, reader_of
from isthmus.sync.runs import Engine, Progress, Run, recorded, run_of

SHOWN_REJECTS_MAX = 20
SAMPLES = 3
_DIGEST_BYTES = 16
_LINES: LiteralString = """
update rejected r set reason = 'Line ' || told.line || ': ' || r.reason, run_id = %(run)s
from unnest(%(ids)s::text[], %(lines)s::bigint[]) as told(external_id, line)
where r.workspace = current_workspace() and r.system = %(system)s and r.type = %(type)s
  and r.external_id = told.external_id and r.run_id is null and r.settled_at is null
"""
_SUPERSEDED: LiteralString = """
update rejected r set settled_at = %(now)s
from run where run.workspace = current_workspace() and run.id = r.run_id and run.kind = 'import'
  and run.about = %(about)s and r.workspace = current_workspace() and r.system = %(system)s and r.type = %(type)s
  and r.settled_at is null
"""


class RejectedLine(Struct, frozen=True, kw_only=True):
    """A row of a file that cannot be stored, and why."""

    line: int
    reason: str


class DryRun(Struct, frozen=True, kw_only=True):
    """What an import would do: rows that can be stored and that cannot, the first of these, and samples of those."""

    rows: int
    good: int
    rejected: int
    rejects: tuple[RejectedLine, ...]
    samples: tuple[dict[str, Json], ...]


@dataclass(slots=True)
class _Ready:
    """A batch of observations, or columns of them, with the lines they come from, and rows that never became one."""

    said: list[Observation] | Columns
    lines: Sequence[int]
    rejects: list[tuple[int, Reject]] = field(default_factory=list[tuple[int, Reject]])

    @property
    def observations(self) -> list[Observation]:
        """What was said, one by one."""
        if isinstance(self.said, Columns):
            return [self.said.observation(position) for position in range(len(self.said))]
        return self.said

    @property
    def ids(self) -> list[str]:
        """Whom it was said of."""
        if isinstance(self.said, Columns):
            return list(self.said.external_ids)
        return [each.external_id for each in self.said]


def propose_mapping(store: Store, path: Path, *, type_name: str, system: str, encoding: str = "utf-8") -> Proposal:
    """Return the mapping that a file's header suggests, with the first values of each column; raises FileUnusable."""
    reader = reader_of(path, encoding=encoding)
    first = next(reader.batches(reader.header), None)
    count = min(SAMPLES, len(first.lines)) if first else 0
    rows = [[first.columns[name][n] for name in reader.header] for n in range(count)] if first else []
    found = propose(store.schema[type_name], system=system, header=reader.header, samples=rows)
    return msgspec.structs.replace(found, mapping=msgspec.structs.replace(found.mapping, encoding=encoding))


async def dry_run(engine: Engine, *, workspace: int, path: Path, mapping: FileMapping) -> DryRun:
    """Read and check a whole file and store nothing; raises FileUnusable and MappingUnfit."""
    maker, reader = await asyncio.to_thread(_opened, engine.store, path, mapping)
    preparer = engine.store.preparer(mapping.type, workspace)
    counts = {"rows": 0, "good": 0, "rejected": 0}
    rejects: list[RejectedLine] = []
    samples: list[dict[str, Json]] = []
    until = engine.clock.now()
    async for ready in _batches(reader, maker):
        observations = ready.observations
        prepared = await asyncio.to_thread(preparer.prepare, observations, since=None, until=until)
        lines = {id(each): line for each, line in zip(observations, ready.lines, strict=True)}
        refused = ready.rejects + [(lines[id(each.observation)], each) for each in prepared.rejects]
        counts["rows"] += len(observations) + len(ready.rejects)
        counts["good"] += len(observations) - len(prepared.rejects)
        counts["rejected"] += len(refused)
        rejects += [
            RejectedLine(line=line, reason=each.reason) for line, each in sorted(refused, key=lambda each: each[0])
        ]
        del rejects[SHOWN_REJECTS_MAX:]
        samples += [each.fields for each in islice(observations, SAMPLES - len(samples))]
    return DryRun(**counts, rejects=tuple(rejects), samples=tuple(samples))


async def import_file(engine: Engine, *, workspace: int, actor: str, path: Path, mapping: FileMapping) -> Run:
    """Import a file and return the run; its progress can be watched like that of any other.

    Raises FileUnusable and MappingUnfit before anything is stored. Rows that cannot be stored are kept with their
    line and reason under the mapping's system, and can be retried.
    """
    maker, reader = await asyncio.to_thread(_opened, engine.store, path, mapping)
    async with recorded(
        engine, workspace=workspace, actor=actor, kind="import", about=path.name, pipeline=mapping.pipeline
    ) as progress:
        progress.total, progress.feed = reader.rows_total, path.name
        scope = engine.scope(workspace=workspace, actor=actor, cause=str(progress.id))
        await _supersede(engine, scope, path=path, mapping=mapping)
        keeper = _Keeper(engine=engine, workspace=workspace, actor=actor, mapping=mapping, progress=progress)

        async def batches() -> AsyncGenerator[Sequence[Observation] | Columns]:
            async for ready in _batches(reader, maker):
                await keeper.take(maker.record_type, ready)
                yield ready.said

        await put_stream(
            engine.store,
            scope,
            maker.record_type,
            batches(),
            interval=Interval(since=None, until=scope.now),
            progress=keeper.stored,
        )
        await keeper.tell_lines()
    async with engine.store.database.transaction(scope) as tx:
        run = await run_of(tx, progress.id)
    assert run is not None
    return run


@dataclass(kw_only=True)
class _Keeper:
    """Keeps what cannot be stored, with its line, and counts while batches go by."""

    engine: Engine
    workspace: int
    actor: str
    mapping: FileMapping
    progress: Progress
    waiting: list[_Ready] = field(default_factory=list[_Ready])
    told: list[_Ready] = field(default_factory=list[_Ready])
    unread: int = 0
    before: int = 0

    async def take(self, record_type: RecordType, ready: _Ready) -> None:
        """Take note of a batch that is about to be stored, and keep the rows that never became one."""
        self.waiting.append(ready)
        await self.tell_lines()
        if ready.rejects:
            self.unread += len(ready.rejects)
            rejects = [each for _, each in ready.rejects]
            ids = [each.observation.external_id for each in rejects]
            lines = [line for line, _ in ready.rejects]
            async with self.engine.store.database.transaction(self._scope()) as tx:
                await keep_rejects(tx, self.engine.store.vault, record_type, rejects)
                await tx.connection.execute(_LINES, self._told(ids) | {"lines": lines})

    def stored(self, total: PutResult) -> None:
        """Count what was stored; the oldest batch is done."""
        done = self.waiting.pop(0)
        if total.rejected > self.before:
            self.before = total.rejected
            self.told.append(done)
        self.progress.read += len(done.said) + len(done.rejects)
        self.progress.created, self.progress.changed = total.created, total.changed
        self.progress.unchanged, self.progress.conflicts = total.unchanged + total.claimed, total.opened_cases
        self.progress.rejected = total.rejected + self.unread

    async def tell_lines(self) -> None:
        """Write the line beside the reason of what the store rejected."""
        for ready in self.told:
            ids = ready.ids
            async with self.engine.store.database.transaction(self._scope()) as tx:
                await tx.connection.execute(_LINES, self._told(ids) | {"lines": list(ready.lines)})
        self.told.clear()

    def _told(self, ids: list[str]) -> dict[str, object]:
        given: dict[str, object] = {"run": self.progress.id, "system": self.mapping.system, "type": self.mapping.type}
        return given | {"ids": ids}

    def _scope(self) -> Scope:
        return self.engine.scope(workspace=self.workspace, actor=self.actor, cause=str(self.progress.id))


async def _supersede(engine: Engine, scope: Scope, *, path: Path, mapping: FileMapping) -> None:
    """Settle what earlier imports of this file could not store: all of it is read again."""
    async with engine.store.database.transaction(scope) as tx:
        given = {"now": scope.now, "about": path.name, "system": mapping.system, "type": mapping.type}
        await tx.connection.execute(_SUPERSEDED, given)


def _opened(store: Store, path: Path, mapping: FileMapping) -> tuple["_Maker", Reader]:
    record_type = store.schema[mapping.type]
    reader = reader_of(path, encoding=mapping.encoding, delimiter=mapping.delimiter)
    check(mapping, record_type, reader.header)
    changed_at = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    return _Maker(mapping=mapping, record_type=record_type, name=path.name, changed_at=changed_at), reader


async def _batches(reader: Reader, maker: "_Maker") -> AsyncGenerator[_Ready]:
    """Yield observations in batches; reading and converting is done beside the event loop."""
    read = reader.batches(maker.mapping.columns)

    def next_one(read: Iterator[Batch]) -> _Ready | None:
        batch = next(read, None)
        return maker.make(batch) if batch is not None else None

    while (ready := await asyncio.to_thread(next_one, read)) is not None:
        yield ready


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """Makes observations of batches, a column at a time."""

    mapping: FileMapping
    record_type: RecordType
    name: str
    changed_at: datetime

    def make(self, batch: Batch) -> _Ready:
        """Return the observations of a batch; a row with a cell that cannot be read becomes a reject."""
        mapping, count = self.mapping, len(batch.lines)
        names = list(mapping.fields)
        columns = [
            column_of(
                self.record_type.field(name), source, batch.columns, count=count, blank_is_null=mapping.blank_is_null
            )
            for name, source in mapping.fields.items()
        ]
        ids = self._ids(batch, count)
        times = moments(mapping.at, batch.columns[mapping.at.columns[0]]) if mapping.at and mapping.at.columns else None
        kinds = {kind for column in columns for kind in set(map(type, column))}
        if self._plain and not kinds & {Absent, Bad}:
            return self._whole(batch, columns, ids, times)
        rows: list[dict[str, object]] = [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
        if Absent in kinds:
            rows = [{name: cell for name, cell in row.items() if cell is not ABSENT} for row in rows]
        ats = [at or self.changed_at for at in times] if times else [self.changed_at] * count
        ready = _Ready([], batch.lines)
        if Bad in kinds:
            bad = {n for n, row in enumerate(rows) if any(cell.__class__ is Bad for cell in row.values())}
            ready.rejects = [(batch.lines[n], self._unreadable(ids[n], rows[n], ats[n])) for n in sorted(bad)]
            ready.lines = [line for n, line in enumerate(batch.lines) if n not in bad]
            kept = [row for n, row in enumerate(zip(rows, ids, ats, strict=True)) if n not in bad]
        else:
            kept = list(zip(rows, ids, ats, strict=True))
        ready.said = self._observations(cast("list[tuple[dict[str, Json], str, datetime]]", kept))
        ready.rejects += [(each.line, self._broken(each)) for each in batch.bad]
        return ready

    @cached_property
    def _plain(self) -> bool:
        """Whether the mapping names fields alone: no links to other records, and no fields of the customer's own."""
        declared = [self.record_type.field(name) for name in self.mapping.fields]
        return all(each is not None and each.to is None for each in declared)

    def _whole(
        self,
        batch: Batch,
        columns: Sequence[Sequence[object]],
        ids: Sequence[str],
        times: Sequence[datetime | None] | None,
    ) -> _Ready:
        """Return a batch all of whose cells can be read, by column."""
        fields = dict(zip(self.mapping.fields, cast("Sequence[Sequence[Json]]", columns), strict=True))
        at = [each or self.changed_at for each in times] if times else self.changed_at
        kind, system = self.mapping.type, self.mapping.system
        said = Columns(type=kind, system=system, external_ids=ids, fields=fields, at=at)
        return _Ready(said, batch.lines, [(each.line, self._broken(each)) for each in batch.bad])

    def _observations(self, rows: Sequence[tuple[dict[str, Json], str, datetime]]) -> list[Observation]:
        kind, system = self.mapping.type, self.mapping.system
        names = self.mapping.fields
        links = [name for name in names if (each := self.record_type.field(name)) is not None and each.to is not None]
        custom = [name for name in names if name.startswith(CUSTOM)]
        made = [
            Observation(type=kind, system=system, external_id=external_id, fields=fields, at=at)
            for fields, external_id, at in rows
        ]
        if links:
            made = [_with_links(each, links) for each in made]
        return [_with_custom(each, custom) for each in made] if custom else made

    def _ids(self, batch: Batch, count: int) -> list[str]:
        """Return what each row is known by: its id, or where it has none a digest of its values."""
        own = batch.columns[self.mapping.id_column] if self.mapping.id_column else [None] * count
        given = [str(each).strip() if each is not None else "" for each in own]
        if all(given):
            return given
        rows = zip(*(batch.columns[name] for name in self.mapping.columns), strict=True)
        digests = [blake2b(repr(row).encode(), digest_size=_DIGEST_BYTES).hexdigest() for row in rows]
        return [each or digest for each, digest in zip(given, digests, strict=True)]

    def _unreadable(self, external_id: str, fields: dict[str, object], at: datetime) -> Reject:
        bad = {name: cell for name, cell in fields.items() if isinstance(cell, Bad)}
        faults = tuple(
            Fault(pointer=f"/{name}", code="unreadable-cell", detail=f"{_capital(cell.reason)}.")
            for name, cell in bad.items()
        )
        kept = {name: plain(cell.value if isinstance(cell, Bad) else cell) for name, cell in fields.items()}
        mapping = self.mapping
        observation = Observation(type=mapping.type, system=mapping.system, external_id=external_id, fields=kept, at=at)
        return Reject(observation, faults)

    def _broken(self, bad: BadLine) -> Reject:
        mapping = self.mapping
        observation = Observation(
            type=mapping.type,
            system=mapping.system,
            external_id=f"{self.name}:{bad.line}",
            fields={"cells": list(bad.cells)},
            at=self.changed_at,
        )
        return Reject(observation, (Fault(pointer="/", code="unreadable-line", detail=f"{_capital(bad.reason)}."),))


def _capital(reason: str) -> str:
    return reason[:1].upper() + reason[1:]


def _with_links(observation: Observation, names: Sequence[str]) -> Observation:
    """Turn fields that point to other records into links; without a value they say that there is none."""
    links = {
        name: Link(external_id=str(given)) for name in names if (given := observation.fields.get(name)) is not None
    }
    fields = {name: value for name, value in observation.fields.items() if name not in links}
    return msgspec.structs.replace(observation, fields=fields, links=links)


def _with_custom(observation: Observation, names: Sequence[str]) -> Observation:
    """Gather `custom.…` fields in the field `custom`."""
    fields = dict(observation.fields)
    own = {name.removeprefix(CUSTOM): fields.pop(name) for name in names if name in fields}
    return msgspec.structs.replace(observation, fields=fields | ({"custom": own} if own else {}))
