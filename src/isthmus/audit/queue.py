"""Entries that no transaction of their own writes: denials and sensitive reads, gathered and committed in groups."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import LiteralString

import msgspec
import psycopg

from isthmus.audit.entry import Entry
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database, Scope

PACE_S = 0.4
GAP_S = 0.01
ROWS_MAX = 5_000
CLOSE_S_MAX = 5.0
_Key = tuple[object, ...]
_Waiting = tuple[Entry, asyncio.Future[None]]
_WRITE: LiteralString = """
insert into audit (workspace, at, actor, on_behalf_of, action, resource, record_id, request_id, purpose, network,
                   decision, details)
select scoped.workspace, at, actor, on_behalf_of, action, resource, record_id, request_id, purpose, network,
       decision, details
from scoped cross join jsonb_to_recordset(%s::text::jsonb) as given (at timestamptz, actor text, on_behalf_of text,
    action text, resource text, record_id uuid, request_id text, purpose text, network text, decision jsonb,
    details jsonb)
"""


class TraceRefused(Unavailable):
    """The audit log cannot be written, and what must be traced is not answered untraced."""

    code, title = "trace-refused", "The audit log cannot be written"


@dataclass(slots=True)
class Noted:
    """A denial and how often it came since the last write; `waiting` until that is under way."""

    entry: Entry
    count: int = 1
    waiting: bool = True


@dataclass
class _Group:
    """What waits in the name of one workspace."""

    kept: list[_Waiting] = field(default_factory=list[_Waiting])
    noted: dict[_Key, Noted] = field(default_factory=dict[_Key, Noted])


class AuditQueue:
    """Writes entries in groups. One for each program; its memory is bounded by `rows_max` entries.

    PostgreSQL takes no COPY through row-level security, so a group is one insert from one document for each workspace.
    """

    def __init__(self, database: Database, *, rows_max: int = ROWS_MAX, pace_s: float = PACE_S) -> None:
        """Nothing runs until there is something to write, and nothing runs after it is written."""
        self._database = database
        self._rows_max = rows_max
        self._pace_s = pace_s
        self._noted: dict[_Key, Noted] = {}
        self._kept: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self.dropped = 0
        self.written = 0

    @property
    def depth(self) -> int:
        """How many entries wait."""
        return len(self._noted) + len(self._kept)

    def note(self, entry: Entry) -> Noted | None:
        """Take an entry and return at once; alike ones become one with a count, and those beyond the bound are counted.

        For denials: a flood of them costs a row for each kind of it, twice a second. While what is returned waits,
        whoever is about to note the same again may count it up instead.
        """
        key = (entry.workspace, entry.actor, entry.action, entry.resource, entry.network, str(entry.decision))
        found = self._noted.get(key)
        if found is not None:
            found.count += 1
        elif self.depth >= self._rows_max:
            self.dropped += 1
        else:
            found = self._noted[key] = Noted(entry)
            self._wake()
        return found

    async def keep(self, entry: Entry) -> None:
        """Return once the entry is committed; raises TraceRefused, and then it is not."""
        if self.depth >= self._rows_max:
            raise TraceRefused("Too much waits for the audit log.", fix="Try again in a moment.")
        done = asyncio.get_running_loop().create_future()
        self._kept.append((entry, done))
        self._wake()
        self._wanted.set()
        await done

    async def close(self) -> None:
        """Write what waits, for a few seconds at most."""
        self._wanted.set()
        if self._writer is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S_MAX):
                    await asyncio.shield(self._writer)
            self._writer.cancel()

    def _wake(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        while self._noted or self._kept:
            if not self._kept:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace_s):
                        await self._wanted.wait()
            self._wanted.clear()
            groups: dict[int, _Group] = defaultdict(_Group)
            for waiting in self._kept:
                groups[waiting[0].workspace].kept.append(waiting)
            for key, each in self._noted.items():
                each.waiting = False
                groups[each.entry.workspace].noted[key] = each
            self._kept, self._noted = [], {}
            written = [await self._write(workspace, group) for workspace, group in groups.items()]
            await asyncio.sleep(GAP_S if all(written) else self._pace_s)

    async def _write(self, workspace: int, group: _Group) -> bool:
        rows = [*(entry for entry, _ in group.kept), *(_counted(each) for each in group.noted.values())]
        scope = Scope(workspace=workspace, actor="audit", cause="audit", now=rows[-1].at)
        try:
            await self._database.write(scope, _WRITE, (_document(rows),))
        except psycopg.DataError:
            # No later attempt could write it either.
            self.dropped += sum(each.count for each in group.noted.values())
            _refuse(group)
        except (Unavailable, psycopg.Error):
            _refuse(group)
            self._put_back(group)
            return False
        else:
            self.written += len(rows)
            for _, done in group.kept:
                if not done.done():
                    done.set_result(None)
        return True

    def _put_back(self, group: _Group) -> None:
        for key, each in group.noted.items():
            if (newer := self._noted.get(key)) is not None:
                newer.count += each.count
            elif self.depth < self._rows_max:
                self._noted[key], each.waiting = each, True
            else:
                self.dropped += each.count


def _refuse(group: _Group) -> None:
    for _, done in group.kept:
        if not done.done():
            done.set_exception(TraceRefused("The audit log cannot be written.", fix="Try again in a moment."))


def _counted(noted: Noted) -> Entry:
    if noted.count == 1:
        return noted.entry
    return replace(noted.entry, details={**(noted.entry.details or {}), "count": noted.count})


def _document(rows: Iterable[Entry]) -> str:
    return msgspec.json.encode(
        [
            {
                "at": row.at,
                "actor": row.actor,
                "on_behalf_of": row.on_behalf_of,
                "action": row.action,
                "resource": row.resource,
                "record_id": row.record_id,
                "request_id": row.request_id,
                "purpose": row.purpose,
                "network": row.network,
                "decision": row.decision,
                "details": row.details,
            }
            for row in rows
        ]
    ).decode()
