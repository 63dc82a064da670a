"""Files in a folder of this machine."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from isthmus.connectors.files.places import WRITING, FileMoved, Found, Where, few, named
from isthmus.sync.connector import ConnectorError, Leave

CHUNK_BYTES = 1 << 20


class Folder:
    """Implements `Shelf`."""

    whole = False

    def __init__(self, where: Where, leave: Leave) -> None:
        """Look at a folder when asked."""
        self._root, self._leave = Path(where.path), leave

    def here(self, file: Found) -> Path:
        """Return the path of a file."""
        return self._root / file.name

    async def check(self) -> str:
        """Return where it is; raises ConnectorError when it is not there, or is not for us."""
        await self._leave()
        await asyncio.to_thread(self._there)
        return str(self._root)

    async def found(self) -> Sequence[Found]:
        """Return all files that lie there; links that lead out of the folder are not followed."""
        await self._leave()
        return await asyncio.to_thread(self._found)

    async def fetch(self, file: Found, into: Path, spans: Sequence[tuple[int, int]]) -> None:
        """Copy spans of a file."""
        await self._leave()
        await asyncio.to_thread(self._fetch, file, into, spans)

    async def put(self, folder: str, tail: str, content: bytes, *, after: str) -> str:
        """Write a file under a hidden name, and rename it: its name has the file system's time."""
        await self._leave()
        return await asyncio.to_thread(self._put, folder, tail, content, after)

    async def replace(self, name: str, content: bytes) -> None:
        """Write a file anew."""
        await self._leave()
        await asyncio.to_thread(self._replace, name, content)

    def _there(self) -> None:
        if not self._root.is_dir() or not os.access(self._root, os.R_OK | os.X_OK):
            raise ConnectorError(
                "There is no such folder on this machine that isthmus may read.", fix="Correct `folder`, or its rights."
            )

    def _found(self) -> list[Found]:
        self._there()
        found: list[Found] = []
        for here, folders, names in os.walk(self._root):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            for name in names:
                path = Path(here, name)
                try:
                    told = path.stat() if path.resolve().is_relative_to(self._root.resolve()) else None
                except OSError:
                    continue
                if told is not None and path.is_file():
                    below = path.relative_to(self._root).as_posix()
                    stamp = f"{told.st_ino:x}.{told.st_mtime_ns:x}.{told.st_size:x}"
                    found.append(Found(name=below, size=told.st_size, stamp=stamp))
            few(len(found))
        return sorted(found, key=lambda each: each.name)

    def _fetch(self, file: Found, into: Path, spans: Sequence[tuple[int, int]]) -> None:
        try:
            with (self._root / file.name).open("rb") as source, into.open("ab") as target:
                for first, end in spans:
                    source.seek(first)
                    left = end - first
                    while left and (chunk := source.read(min(left, CHUNK_BYTES))):
                        target.write(chunk)
                        left -= len(chunk)
                    if left:
                        raise FileMoved(f"{file.name} became shorter while it was read.", fix="It is read again.")
        except FileNotFoundError as error:
            raise FileMoved(f"{file.name} is gone.", fix="The next run looks again.") from error
        except PermissionError as error:
            raise ConnectorError(f"{file.name} may not be read.", fix="Give isthmus the right to read it.") from error

    def _put(self, folder: str, tail: str, content: bytes, after: str) -> str:
        hidden = self._write(folder, tail, content)
        at = datetime.fromtimestamp(hidden.stat().st_mtime, UTC)
        name = named(folder, at, tail, after=after)
        hidden.rename(self._root / name)
        return name

    def _replace(self, name: str, content: bytes) -> None:
        folder, _, last = name.rpartition("/")
        self._write(folder, last, content).rename(self._root / name)

    def _write(self, folder: str, tail: str, content: bytes) -> Path:
        self._there()
        home = self._root / folder
        try:
            home.mkdir(parents=True, exist_ok=True)
            hidden = home / f".{tail}{WRITING}"
            with hidden.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConnectorError(
                f"Nothing can be written to {folder or 'the folder'} ({error.strerror}).",
                fix="Give isthmus the right to write there, and room.",
            ) from error
        return hidden


@asynccontextmanager
async def folder(where: Where, *, leave: Leave) -> AsyncGenerator[Folder]:
    """Open a folder."""
    yield Folder(where, leave)
