"""Changes from PostgreSQL's log, in the order of commits: each table has a replication slot, read with `pgoutput`.

A slot is advanced only to where our own cursor stands already, so that what was not stored is told again.
"""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import cast

from isthmus.connectors.sql.cursor import Place
from isthmus.connectors.sql.doors import Door, Row
from isthmus.connectors.sql.faults import Missing
from isthmus.connectors.sql.pgoutput import (
    UNCHANGED,
    Cell,
    Changed,
    Commit,
    Message,
    NotPgoutput,
    Relation,
    Truncated,
    decoded,
    lsn_number,
    lsn_text,
)
from isthmus.connectors.sql.postgresql import Postgres
from isthmus.connectors.sql.sheet import Sheet
from isthmus.sync.connector import ConnectorError, FeedTrouble, NotAsDocumented, Page, Raw

_SLOT = (
    "select confirmed_flush_lsn::text, coalesce(wal_status, ''),"
    " pg_wal_lsn_diff(pg_current_wal_flush_lsn(), confirmed_flush_lsn)::bigint,"
    " pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn)::bigint"
    " from pg_replication_slots where slot_name = %s and database = current_database()"
)
_PEEK = (
    "select data from pg_logical_slot_peek_binary_changes(%s, null, %s::int, 'proto_version', '1',"
    " 'publication_names', %s)"
)
_PUBLISHED = "select 1 from pg_publication_tables where pubname = %s and schemaname = %s and tablename = %s"
_PLACE = (
    "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where c.oid = to_regclass(%s)"
)
_WORD = re.compile(r"[^a-z0-9]+")
_LOST = "lost"


@dataclass(slots=True)
class _Told:
    """What was gathered for the next page: rows, in the order of the log, and keys whose rows are read anew."""

    rows: list[Raw] = field(default_factory=list[Raw])
    again: list[str] = field(default_factory=list[str])
    emptied: bool = False

    def __len__(self) -> int:
        return len(self.rows) + len(self.again)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A replication slot: how far it was confirmed, whether its log is still there, and how many bytes wait in it.

    `kept_bytes` is what PostgreSQL cannot throw away: what waits, and what transactions that go on may still need.
    """

    confirmed: int
    status: str
    behind_bytes: int
    kept_bytes: int


class Capture:
    """Reads the log of one database through a publication; `prefix` begins the names of its slots.

    Log of more than `much_bytes` that is kept for one of them is told.
    """

    much_bytes = 1 << 30

    def __init__(self, door: Door, *, publication: str, prefix: str) -> None:
        """Speak over a door of PostgreSQL."""
        self._door, self._publication, self._prefix = door, publication, prefix

    def slot_of(self, table: str) -> str:
        """Return the name of a table's slot: readable, unique and at most 63 letters."""
        digest = blake2b(f"{self._publication} {table}".encode(), digest_size=4).hexdigest()
        word = _WORD.sub("_", f"{self._prefix}_{table}".lower())
        return f"{word[:54]}_{digest}"

    async def begin(self, sheet: Sheet) -> str:
        """Have the log kept from now on, and return the place; raises ConnectorError with what is missing."""
        await self._published(sheet.name)
        slot = await self._slot(sheet.name)
        if slot is not None and slot.status != _LOST:
            return lsn_text(slot.confirmed)
        if slot is not None:
            await self._drop(sheet.name)
        [(level, may)] = await self._door.rows(
            "select current_setting('wal_level'), rolreplication or rolsuper from pg_roles where rolname = current_user"
        )
        if level != "logical":
            raise ConnectorError(
                f"PostgreSQL keeps no logical log (wal_level is {level}).",
                fix="Set wal_level = logical there and restart it, or leave `publication` empty.",
            )
        if not may:
            raise ConnectorError("This user may not read the log.", fix="alter role … replication; for it, there.")
        [(lsn,)] = await self._door.rows(
            "select lsn::text from pg_create_logical_replication_slot(%s, 'pgoutput')", [self.slot_of(sheet.name)]
        )
        return str(lsn)

    async def keeps(self, table: str, place: Place) -> bool:
        """Tell whether the log from a place on is still kept; raises FeedTrouble when somebody else read it."""
        slot = await self._slot(table)
        if slot is None or slot.status == _LOST:
            return False
        if place.lsn is not None and slot.confirmed > lsn_number(place.lsn):
            raise FeedTrouble(
                f"The slot {self.slot_of(table)} was read by somebody else, and changes are missing here.",
                fix="Give each connection to this database a `slot` of its own.",
            )
        return True

    async def read(self, sheet: Sheet, place: Place, *, rows: int) -> AsyncIterator[Page]:
        """Yield what the log tells after a place; the last page stands where the log ended when it was looked at."""
        while True:
            await self._advance(sheet.name, place)
            [(flushed,)] = await self._door.rows("select pg_current_wal_flush_lsn()::text")
            found = await self._door.rows(_PEEK, [self.slot_of(sheet.name), rows, self._publication])
            if not found:
                ended = max(lsn_number(place.lsn or "0/0"), lsn_number(str(flushed)))
                cursor = Place(phase="log", lsn=lsn_text(ended)).text()
                yield Page(rows=(), cursor=cursor, more=False, note=await self._note(sheet.name))
                return
            async for page in self._pages(sheet, place, _messages(found), rows=rows):
                place = Place.parse(page.cursor)
                yield page

    async def _note(self, table: str) -> str:
        """Return how much log is kept for a table, when that is much or PostgreSQL will not keep it for long."""
        slot = await self._slot(table)
        if slot is None or (slot.kept_bytes < self.much_bytes and slot.status in ("reserved", "")):
            return ""
        what = "does not keep for long" if slot.status == "unreserved" else "keeps"
        return f"PostgreSQL {what} {slot.kept_bytes >> 20:,} MiB of its log for {table}; does a transaction stay open?"

    async def told(self, tables: Sequence[str]) -> str:
        """Return how far behind the slots are, for the check; raises Missing for a table that is not published."""
        behind = 0
        for table in tables:
            await self._published(table)
            slot = await self._slot(table)
            behind = max(behind, slot.behind_bytes if slot else 0)
        return f"; the log is read through {self._publication}, {behind:,} bytes behind"

    async def drop(self, tables: Sequence[str]) -> None:
        """Drop the slots of some tables, so that the database keeps no log for us any more."""
        for table in tables:
            if await self._slot(table) is not None:
                await self._drop(table)

    async def _pages(
        self, sheet: Sheet, place: Place, messages: Iterator[Message], *, rows: int
    ) -> AsyncIterator[Page]:
        """Yield pages of changes; one within a transaction remembers how many of its changes were told."""
        relations: dict[int, Relation] = {}
        own = await self._own(sheet.name)
        told = _Told()
        lsn, skip, count = place.lsn, place.skip, 0
        for message in messages:
            match message:
                case Relation():
                    relations[message.number] = message
                case Commit():
                    lsn, skip, count = lsn_text(message.end), 0, 0
                case Truncated() if any(_names(relations, each) == own for each in message.relations):
                    told.emptied = True
                case Changed() if _names(relations, message.relation) == own:
                    count += 1
                    if count > skip:
                        self._take(sheet, relations[message.relation], message, told)
                case _:
                    pass
            if len(told) >= rows:
                yield await self._page(sheet, told, Place(phase="log", lsn=lsn, skip=max(count, skip)))
                told = _Told()
        yield await self._page(sheet, told, Place(phase="log", lsn=lsn, skip=max(count, skip)))

    async def _page(self, sheet: Sheet, told: _Told, place: Place) -> Page:
        rows = told.rows + (await sheet.rows(told.again) if told.again else [])
        return Page(rows=tuple(rows), cursor=place.text(), more=True, emptied=told.emptied)

    def _take(self, sheet: Sheet, relation: Relation, change: Changed, told: _Told) -> None:
        key = sheet.table.key
        before = self._row(relation, change.old, [key]) if change.old is not None else None
        if change.kind == "delete":
            told.rows.append(_gone(before))
            return
        after = self._row(relation, change.new or (), sheet.read)
        number = after[sheet.read.index(key)]
        if before is not None and before[0] not in (None, UNCHANGED, number):
            told.rows.append(_gone(before))
        if any(each is UNCHANGED for each in after):
            told.again.append(str(number))
        else:
            told.rows.append(sheet.raw(after))

    def _row(self, relation: Relation, cells: Sequence[Cell], columns: Sequence[str]) -> Row:
        """Return values by column, as the driver reads the types of the log; raises FeedTrouble for one not there."""
        places = {name: (position, kind) for position, (name, kind) in enumerate(relation.columns)}
        gone = [name for name in columns if name not in places]
        if gone:
            raise FeedTrouble(
                f"The publication {self._publication} leaves out {', '.join(gone)} of {relation.name}.",
                fix="Publish the column there, or take it out of `tables`.",
            )
        loaded: list[object] = []
        for name in columns:
            position, kind = places[name]
            cell = cells[position]
            loaded.append(self._driven.loaded(cell, kind) if isinstance(cell, bytes) else cell)
        return tuple(loaded)

    @property
    def _driven(self) -> Postgres:
        assert isinstance(self._door.driven, Postgres)
        return self._door.driven

    async def _own(self, table: str) -> tuple[str, str]:
        found = await self._door.rows(_PLACE, [self._door.dialect.table(table).replace("%%", "%")])
        if not found:
            raise Missing(f"There is no table {table}.", fix="Correct `tables`.")
        return str(found[0][0]), str(found[0][1])

    async def _published(self, table: str) -> None:
        schema, name = await self._own(table)
        if not await self._door.rows(_PUBLISHED, [self._publication, schema, name]):
            raise Missing(
                f"The publication {self._publication!r} does not publish {table}.",
                fix=f"create publication {self._publication} for table {table}; or alter publication … add table.",
            )

    async def _slot(self, table: str) -> Slot | None:
        found = await self._door.rows(_SLOT, [self.slot_of(table)])
        if not found:
            return None
        confirmed, status, behind, keeps = found[0]
        return Slot(
            confirmed=lsn_number(str(confirmed)),
            status=str(status),
            behind_bytes=max(0, cast("int", behind or 0)),
            kept_bytes=max(0, cast("int", keeps or 0)),
        )

    async def _advance(self, table: str, place: Place) -> None:
        """Let the database forget what our cursor has passed."""
        slot = await self._slot(table)
        if slot is not None and place.lsn is not None and lsn_number(place.lsn) > slot.confirmed:
            await self._door.rows(
                "select pg_replication_slot_advance(%s, %s::pg_lsn)::text", [self.slot_of(table), place.lsn]
            )

    async def _drop(self, table: str) -> None:
        await self._door.rows("select pg_drop_replication_slot(%s)::text", [self.slot_of(table)])


def _messages(found: Sequence[Row]) -> Iterator[Message]:
    for (told,) in found:
        try:
            message = decoded(bytes(cast("bytes", told)))
        except NotPgoutput as error:
            raise NotAsDocumented(
                f"The log is in an unknown form: {error}.", fix="Report it, with the version."
            ) from error
        if message is not None:
            yield message


def _names(relations: dict[int, Relation], number: int) -> tuple[str, str] | None:
    found = relations.get(number)
    return (found.schema, found.name) if found else None


def _gone(before: Row | None) -> Raw:
    if not before or before[0] in (None, UNCHANGED):
        raise FeedTrouble(
            "The log tells of a deleted row without its key.", fix="Make the key the replica identity there."
        )
    return Raw(external_id=str(before[0]), body={}, deleted=True)
