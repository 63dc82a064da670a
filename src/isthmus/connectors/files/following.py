"""Reading a kind of files on from a place: those that are new, that grew and that were replaced, by their names."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import msgspec

from isthmus.connectors.files.cursor import Going, Place, Seen
from isthmus.connectors.files.layouts import Drop
from isthmus.connectors.files.mapping import UNREADABLE
from isthmus.connectors.files.places import FileMoved, Found, Shelf
from isthmus.connectors.files.reading import Rows, tolerant
from isthmus.sync.connector import FeedTrouble, Page, Raw
from isthmus.sync.readers import kind_of

ENDS_BYTES = 4096
BAD_MAX, NAME_CHARACTERS_MAX = 500, 60
_DIGEST_BYTES = 9


@dataclass(kw_only=True)
class Following:
    """Reads files of one kind; `home` is a folder for what is fetched, `quiet_s` how long a whole file lies still."""

    shelf: Shelf
    drop: Drop
    home: Path
    quiet_s: float
    page_rows: int
    place: Place = field(default_factory=Place)
    notes: list[str] = field(default_factory=list[str])
    _emptied: bool = field(default=False, init=False)

    async def pages(self) -> AsyncIterator[Page]:
        """Yield what is new since the place, and at last a page without rows.

        Rows of small files share a page: what is kept of each file is in every cursor. What stands before a file that
        cannot be read is told before the trouble with it.
        """
        waiting: list[Raw] = []
        place, trouble = self.place, None
        try:
            async for some in self._new():
                if waiting and len(waiting) + len(some) > self.page_rows:
                    yield Page(rows=_last(waiting), cursor=place.text(), more=True)
                    waiting = []
                waiting += some
                place = self.place
        except FeedTrouble as error:
            trouble = error
        if waiting:
            yield Page(rows=_last(waiting), cursor=self.place.text(), more=True)
        if trouble is not None:
            raise trouble
        cursor, note = self.place.text(), " ".join(self.notes)
        yield Page(rows=(), cursor=cursor, more=False, emptied=self._emptied, note=note)

    async def _new(self) -> AsyncIterator[Sequence[Raw]]:
        """Yield rows of the files that are to be read, at most as many at once as a page has."""
        read = bad = 0
        for file in await self._ready():
            try:
                async for some in self._file(file):
                    yield some
            except FileMoved as error:
                # What comes behind it in the order of names waits with it.
                self.notes.append(str(error.detail))
                break
            read += 1
            bad += len(self.place.files[file.name].bad)
        if bad and self.drop.absent == "deleted":
            self.notes.append("The newest file has lines that cannot be read, so that nothing is deleted by it.")
        self._emptied = bool(read) and not bad and self.drop.absent == "deleted"

    async def living(self) -> dict[str, None]:
        """Return the keys of all rows that are not marked as deleted; raises FeedTrouble where that cannot be said."""
        files = self._chosen(await self.shelf.found())
        if self.drop.reads == "newest":
            await self._settled(files)
        found: dict[str, None] = {}
        for file in files:
            if file.size:
                await self._keys(file, found)
        return found

    async def _settled(self, files: Sequence[Found]) -> None:
        if not files:
            raise FeedTrouble(f"No file matches {self.drop.match}.", fix="Nothing is deleted until there is one.")
        if not await self._still(files):
            raise FeedTrouble(f"{files[-1].name} is still being written.", fix="The next run looks again.")

    async def _keys(self, file: Found, found: dict[str, None]) -> None:
        rows = Rows(self.drop, file.name, await self._laid(file, [(0, file.size)]))
        each = rows.batches()
        while (batch := await asyncio.to_thread(next, each, None)) is not None:
            for raw in batch:
                if UNREADABLE in raw.body:
                    if self.drop.absent == "deleted":
                        raise FeedTrouble(f"{raw.body[UNREADABLE]}.", fix="Nothing is deleted until it can be read.")
                elif raw.deleted:
                    found.pop(raw.external_id, None)
                else:
                    found[raw.external_id] = None

    async def _ready(self) -> list[Found]:
        """Return the files to read in the order of names, up to the first that is still being written."""
        files = self._chosen(await self.shelf.found())
        wanted = [each for each in files if not self._known(each)]
        if wanted and not self.shelf.whole:
            moving = {each.name for each in wanted} - {each.name for each in await self._still_of(wanted)}
            first = next((place for place, each in enumerate(wanted) if each.name in moving), len(wanted))
            if first < len(wanted):
                self.notes.append(f"{wanted[first].name} is still being written; it is read in the next run.")
            wanted = wanted[:first]
        if self.drop.reads == "changes":
            names = {each.name for each in files}
            kept = {name: seen for name, seen in self.place.files.items() if name in names}
            self.place = msgspec.structs.replace(self.place, files=kept)
        return wanted

    async def _still(self, files: Sequence[Found]) -> bool:
        return self.shelf.whole or len(await self._still_of(files)) == len(files)

    async def _still_of(self, files: Sequence[Found]) -> list[Found]:
        """Return the files that are, a while later, as they were."""
        await asyncio.sleep(self.quiet_s)
        later = {each.name: each.stamp for each in await self.shelf.found()}
        return [each for each in files if later.get(each.name) == each.stamp]

    def _chosen(self, files: Sequence[Found]) -> list[Found]:
        mine = sorted((each for each in files if self.drop.takes(each.name)), key=lambda each: each.name)
        return mine[-1:] if self.drop.reads == "newest" else mine

    def _known(self, file: Found) -> bool:
        seen = self.place.files.get(file.name)
        return seen is not None and seen.stamp == file.stamp

    async def _file(self, file: Found) -> AsyncIterator[Sequence[Raw]]:
        """Yield the rows of a file from where an earlier run was interrupted, and keep that it was read."""
        if file.size == 0 and self.drop.reads == "changes":
            self._keep(file, Seen(stamp=file.stamp))
            return
        seen = self.place.files.get(file.name)
        grew = seen is not None and await self._grew(file, seen)
        spans = [(0, seen.head), (seen.size, file.size)] if grew and seen else [(0, file.size)]
        shift = seen.lines - bool(seen.head) if grew and seen else 0
        path = await self._laid(file, spans)
        try:
            rows = await asyncio.to_thread(Rows, self.drop, file.name, path, shift=shift)
            async for some in self._rows(file, rows):
                yield some
        finally:
            if path != self.shelf.here(file):
                path.unlink(missing_ok=True)
        going = self.place.going
        ends, head = await self._ends(file, file.size)
        bad = ((seen.bad if grew and seen else ()) + (going.bad if going else ()))[:BAD_MAX]
        lines = rows.lines + shift
        before = self.place.files
        self._keep(file, Seen(stamp=file.stamp, size=file.size, ends=ends, head=head, lines=lines, bad=bad))
        if mended := self._mended(before, file, bad):
            yield mended

    def _mended(self, before: Mapping[str, Seen], file: Found, bad: Sequence[int]) -> tuple[Raw, ...]:
        """Return lines that could not be read and are no longer there: by another file, or by the newest one."""
        old = (
            before
            if self.drop.reads == "newest"
            else {name: each for name, each in before.items() if name == file.name}
        )
        ids = [(name, line) for name, seen in old.items() for line in seen.bad]
        gone = [each for each in ids if each[0] != file.name or each[1] not in bad]
        return tuple(Raw(external_id=f"{name}:{line}", body={}, deleted=True) for name, line in gone)

    async def _rows(self, file: Found, rows: Rows) -> AsyncIterator[Sequence[Raw]]:
        going = self.place.going
        if going is None or (going.name, going.stamp) != (file.name, file.stamp):
            going = Going(name=file.name, stamp=file.stamp, taken=0)
        number, each = 0, rows.batches()
        while (batch := await asyncio.to_thread(next, each, None)) is not None:
            left = batch[max(0, going.taken - number) :]
            number += len(batch)
            for start in range(0, len(left), self.page_rows):
                some = left[start : start + self.page_rows]
                lines = [int(raw.external_id.rpartition(":")[2]) for raw in some if UNREADABLE in raw.body]
                bad = (*going.bad, *lines)[:BAD_MAX]
                going = Going(name=file.name, stamp=file.stamp, taken=going.taken + len(some), bad=bad)
                self.place = msgspec.structs.replace(self.place, going=going)
                yield some

    def _keep(self, file: Found, seen: Seen) -> None:
        kept = {} if self.drop.reads == "newest" else dict(self.place.files)
        self.place = msgspec.structs.replace(self.place, files=kept | {file.name: seen}, going=None)

    async def _laid(self, file: Found, spans: Sequence[tuple[int, int]]) -> Path:
        """Return a path at which these parts of a file lie, one behind the other."""
        here = self.shelf.here(file)
        if here is not None and list(spans) == [(0, file.size)]:
            return here
        path = self.home / file.name.rpartition("/")[2][-NAME_CHARACTERS_MAX:]
        path.write_bytes(b"")
        await self.shelf.fetch(file, path, spans)
        return path

    async def _grew(self, file: Found, seen: Seen) -> bool:
        """Tell whether a file has only become longer: what it was is still its beginning, as far as its ends tell."""
        if not seen.ends or file.size <= seen.size:
            return False
        return (await self._ends(file, seen.size))[0] == seen.ends

    async def _ends(self, file: Found, size: int) -> tuple[str, int]:
        """Return a digest of the ends of the first bytes of a file, and how long the line with its columns is.

        Empty where it cannot be read on later: it is packed, its last line is not ended, or its first one is unclear.
        """
        kind, packed = kind_of(file.name)
        if kind == "parquet" or packed or size == 0 or not tolerant(self.drop):
            return "", 0
        path, part = self.home / "ends", min(size, ENDS_BYTES)
        path.write_bytes(b"")
        await self.shelf.fetch(file, path, [(0, part), (size - part, size)])
        said = await asyncio.to_thread(path.read_bytes)
        head = said[:part].find(b"\n") + 1 if kind == "csv" else 0
        if not said.endswith(b"\n") or (kind == "csv" and (head == 0 or said[:head].count(b'"') % 2)):
            return "", 0
        return blake2b(said, digest_size=_DIGEST_BYTES).hexdigest(), head


def _last(rows: Sequence[Raw]) -> tuple[Raw, ...]:
    """Return the last row of each key, in their order."""
    last = {raw.external_id: raw for raw in rows}
    return tuple(rows) if len(last) == len(rows) else tuple(raw for raw in rows if last[raw.external_id] is raw)
