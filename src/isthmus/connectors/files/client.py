"""A session with one place of files: pages of rows, ids, and changes as new files."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from isthmus.connectors.files.cursor import Place
from isthmus.connectors.files.folder import folder
from isthmus.connectors.files.following import Following
from isthmus.connectors.files.layouts import Drop, drops_of
from isthmus.connectors.files.places import OURS, Shelf, Where, where
from isthmus.connectors.files.s3 import s3
from isthmus.connectors.files.sftp import sftp
from isthmus.connectors.files.signing import Keys
from isthmus.connectors.files.writing import Row, answer, files_of, refusal, row_of
from isthmus.sync.connector import Change, ConnectorError, Leave, Outcome, Page, Written

IDS_PER_PAGE = 5_000
PAGE_ROWS_MAX = 5_000
QUIET_S_MAX = 600


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The settings of a connection, read."""

    where: Where
    drops: Mapping[str, Drop]
    settings: Mapping[str, str]
    page_rows: int
    quiet_s: float

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Wish":
        """Read settings; raises ConnectorError with the fix."""
        try:
            page_rows, quiet_s = int(settings.get("page_rows", "1000")), float(settings.get("quiet_s", "2"))
        except ValueError as error:
            raise ConnectorError("`page_rows` and `quiet_s` are numbers.", fix="Give 1000 and 2.") from error
        if not 0 < page_rows <= PAGE_ROWS_MAX or not 0 <= quiet_s <= QUIET_S_MAX:
            raise ConnectorError("`page_rows` or `quiet_s` is too small or too large.", fix="Give 1000 and 2.")
        return cls(
            where=where(settings),
            drops=drops_of(settings.get("files", "{}")),
            settings=settings,
            page_rows=page_rows,
            quiet_s=quiet_s,
        )

    def shelf(self, leave: Leave) -> AbstractAsyncContextManager[Shelf]:
        """Open the place."""
        given = self.settings
        match self.where.kind:
            case "folder":
                return folder(self.where, leave=leave)
            case "s3":
                keys = Keys(key_id=given.get("key_id", ""), secret=given.get("secret_key", ""))
                region, endpoint = given.get("region") or "us-east-1", given.get("endpoint", "")
                dice = Random(f"{self.where.words} {keys.key_id}")
                return s3(self.where, endpoint=endpoint, region=region, keys=keys, dice=dice, leave=leave)
            case "sftp":
                return sftp(self.where, key=given.get("key", ""), host_key=given.get("host_key", ""), leave=leave)


class FilesSession:
    """Implements `Session` of `isthmus.sync.connector`; the place is opened when it is first needed."""

    def __init__(self, wish: Wish, leave: Leave, stack: AsyncExitStack) -> None:
        """Speak with the place of the settings."""
        self._wish, self._leave, self._stack = wish, leave, stack
        self._shelf: Shelf | None = None
        self._home: Path | None = None
        self._last: dict[str, str] = {}

    async def check(self) -> str:
        """Return where the files are, and how many there are of each kind; raises ConnectorError."""
        shelf = await self._opened()
        told = await shelf.check()
        found = await shelf.found()
        kinds: list[str] = []
        for name, drop in self._wish.drops.items():
            mine = sorted(each.name for each in found if drop.takes(each.name))
            newest = f", the last is {mine[-1]}" if mine else ""
            back = f"; changes go to {drop.write}" if drop.write is not None else ""
            kinds.append(f"{name} becomes {drop.type} from {len(mine):,} files{newest}{back}")
        return f"{told}: {'; '.join(kinds) or f'no files are mapped; {len(found):,} lie there'}"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield the rows of files that are new, grew or were replaced, by their names."""
        following = await self._following(feed, cursor)
        async for page in following.pages():
            await self._leave()
            yield page

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the keys of all rows that lie there and are not marked as deleted."""
        living = list(await (await self._following(feed, None)).living())
        for start in range(0, len(living), IDS_PER_PAGE):
            yield living[start : start + IDS_PER_PAGE]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Hand changes over as new files; one answer for each. When they cannot be written, all are failed."""
        drop = self._known(feed)
        answers: dict[int, Written] = {}
        rows: list[tuple[Change, Row]] = []
        for place, change in enumerate(changes):
            reason = refusal(drop, feed, change)
            if reason:
                answers[place] = Written(outcome=Outcome.REFUSED, external_id=change.external_id, reason=reason)
            else:
                external_id, row = row_of(drop, change)
                rows.append((change, row))
                answers[place] = answer(change, external_id, row)
        try:
            for tail, content in files_of(drop, feed, rows):
                await self._hand_over(drop, tail, content)
        except ConnectorError as error:
            failed = {
                place: change for place, change in enumerate(changes) if answers[place].outcome != Outcome.REFUSED
            }
            for place, change in failed.items():
                answers[place] = Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=str(error))
        return [answers[place] for place in range(len(changes))]

    async def _hand_over(self, drop: Drop, tail: str, content: bytes) -> None:
        """Write a file, or write it anew where it lies already: an earlier attempt at the same changes made it."""
        shelf, folder_name = await self._opened(), (drop.write or "").strip("./")
        head = f"{folder_name}/" if folder_name else ""
        names = [each.name for each in await shelf.found() if each.name.startswith(head)]
        mine = sorted(name for name in names if OURS.fullmatch(name.removeprefix(head)))
        made = [name for name in mine if name.endswith(f"-{tail}")]
        if made:
            await shelf.replace(made[-1], content)
            return
        after = max([*mine[-1:], self._last.get(folder_name, "")])
        self._last[folder_name] = await shelf.put(folder_name, tail, content, after=after)

    async def _following(self, feed: str, cursor: str | None) -> Following:
        drop = self._known(feed)
        place = Place() if cursor is None else Place.parse(cursor)
        if place.mapped != drop.digest:
            place = Place(mapped=drop.digest)
        shelf = await self._opened()
        if self._home is None:
            home = await asyncio.to_thread(TemporaryDirectory[str], prefix="isthmus-files-")
            self._home = Path(self._stack.enter_context(home))
        return Following(
            shelf=shelf,
            drop=drop,
            home=self._home,
            quiet_s=self._wish.quiet_s,
            page_rows=self._wish.page_rows,
            place=place,
        )

    async def _opened(self) -> Shelf:
        if self._shelf is None:
            self._shelf = await self._stack.enter_async_context(self._wish.shelf(self._leave))
        return self._shelf

    def _known(self, feed: str) -> Drop:
        if feed not in self._wish.drops:
            there = ", ".join(self._wish.drops) or "none"
            raise ConnectorError(f"There are no files {feed!r} in `files`.", fix=f"There are: {there}.")
        return self._wish.drops[feed]


@asynccontextmanager
async def session(settings: Mapping[str, str], *, leave: Leave) -> AsyncGenerator[FilesSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    wish = Wish.of(settings)
    async with AsyncExitStack() as stack:
        yield FilesSession(wish, leave, stack)
