"""Files on a server of SFTP, over the program `ssh`: listed with their times, read in spans, renamed when whole."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO

from isthmus.connectors.files import packets
from isthmus.connectors.files.packets import NotSftp, Reading, Told, packet, text, u32, u64
from isthmus.connectors.files.places import WRITING, FileMoved, Found, Where, few, named
from isthmus.connectors.files.secure_shell import complaint, spoken
from isthmus.sync.connector import ConnectorError, Leave, NotAsDocumented

ANSWERS_S = 60
BLOCK_BYTES, BLOCKS_AT_ONCE = 32 << 10, 32
_VERSION = 3
_NOTHING = u32(0)


class Refused(ConnectorError):
    """The server refuses what was asked."""

    code, title = "sftp-refused", "The server of SFTP refuses what was asked"

    def __init__(self, detail: str, *, status: int, fix: str) -> None:
        """`status` is the protocol's number."""
        super().__init__(detail, fix=fix)
        self.number = status


class Remote:
    """Implements `Shelf`."""

    whole = False

    def __init__(self, where: Where, process: Process, leave: Leave) -> None:
        """Speak over the pipes of a program that was started."""
        self._where, self._process, self._leave = where, process, leave
        self._number = 0

    def here(self, file: Found) -> Path | None:
        """Return nothing: what is on a server has to be fetched."""
        del file

    async def check(self) -> str:
        """Return where it is and as whom we are there; raises ConnectorError."""
        await self._leave()
        told = await self._stat(self._where.path)
        if told is None or not told.is_folder:
            raise ConnectorError(
                f"There is no folder {self._where.path} for {self._where.user}.", fix="Correct `where`, or its rights."
            )
        return f"{self._where.user} at {self._where.words}"

    async def found(self) -> Sequence[Found]:
        """Return all plain files below the folder; links are not followed, hidden ones are left out."""
        await self._leave()
        found: list[Found] = []
        folders = [""]
        while folders:
            below = folders.pop()
            for name, told in await self._folder(self._path(below)):
                path = f"{below}/{name}" if below else name
                if name.startswith("."):
                    continue
                if told.is_folder:
                    folders.append(path)
                elif told.is_file:
                    found.append(Found(name=path, size=told.size, stamp=f"{told.changed:x}.{told.size:x}"))
            few(len(found))
        return sorted(found, key=lambda each: each.name)

    async def fetch(self, file: Found, into: Path, spans: Sequence[tuple[int, int]]) -> None:
        """Fetch spans in blocks, many at once."""
        try:
            handle = await self._handle(packets.OPEN, text(self._path(file.name)), u32(packets.TO_READ), _NOTHING)
        except Refused as error:
            if error.number == packets.NO_SUCH_FILE:
                raise FileMoved(f"{file.name} is gone.", fix="The next run looks again.") from error
            raise
        with into.open("r+b") as target:
            place = target.seek(0, 2)
            for first, end in spans:
                await self._span(file, handle, target, first=first, end=end, place=place)
                place += end - first
        await self._done(packets.CLOSE, text(handle))

    async def put(self, folder: str, tail: str, content: bytes, *, after: str) -> str:
        """Write a file under a hidden name, and rename it: its name has the server's time."""
        hidden, told = await self._write(folder, tail, content)
        name = named(folder, datetime.fromtimestamp(told.changed, UTC), tail, after=after)
        await self._rename(hidden, name)
        return name

    async def replace(self, name: str, content: bytes) -> None:
        """Write a file anew."""
        folder, _, last = name.rpartition("/")
        await self._rename((await self._write(folder, last, content))[0], name)

    async def begin(self) -> None:
        """Agree on the version; raises ConnectorError."""
        await self._leave()
        try:
            self._send(packet(packets.INIT, u32(_VERSION)))
            answer = await self._answer()
            version = answer.u32() if answer.kind == packets.VERSION else 0
        except (NotSftp, ConnectionError) as error:
            raise await complaint(self._process, self._where) from error
        if version < _VERSION:
            raise NotAsDocumented(f"{self._where.host} speaks no SFTP 3.", fix="Does `where` lead to a server of SFTP?")

    async def _span(self, file: Found, handle: bytes, target: IO[bytes], *, first: int, end: int, place: int) -> None:
        """Read the bytes from `first` to `end` and write them from `place` on; blocks may come in part."""
        left = [(at, min(BLOCK_BYTES, end - at)) for at in range(first, end, BLOCK_BYTES)]
        while left:
            some, left = left[:BLOCKS_AT_ONCE], left[BLOCKS_AT_ONCE:]
            await self._leave()
            answers = await self._asked([(packets.READ, text(handle) + u64(at) + u32(length)) for at, length in some])
            for (at, length), answer in zip(some, answers, strict=True):
                if answer.kind == packets.STATUS and answer.status()[0] == packets.EOF:
                    raise FileMoved(f"{file.name} became shorter while it was read.", fix="It is read again.")
                if answer.kind != packets.DATA:
                    raise self._refused(answer, file.name)
                block = answer.bytes()
                if not block or len(block) > length:
                    raise NotAsDocumented(f"{file.name} came in odd parts.", fix="Report it to the author.")
                target.seek(place + at - first)
                target.write(block)
                if len(block) < length:
                    left.append((at + len(block), length - len(block)))

    async def _write(self, folder: str, tail: str, content: bytes) -> tuple[str, Told]:
        """Write a hidden file, and return its name with what the server tells of it."""
        await self._leave()
        head = folder.strip("/")
        for above in [*reversed(PurePosixPath(head).parents), PurePosixPath(head)][1:] if head else ():
            if await self._stat(self._path(str(above))) is None:
                await self._done(packets.MKDIR, text(self._path(str(above))), _NOTHING)
        hidden = f"{head}/.{tail}{WRITING}" if head else f".{tail}{WRITING}"
        handle = await self._handle(packets.OPEN, text(self._path(hidden)), u32(packets.TO_WRITE_NEW), _NOTHING)
        blocks = [(at, content[at : at + BLOCK_BYTES]) for at in range(0, len(content), BLOCK_BYTES)]
        for start in range(0, len(blocks), BLOCKS_AT_ONCE):
            some = blocks[start : start + BLOCKS_AT_ONCE]
            for answer in await self._asked(
                [(packets.WRITE, text(handle) + u64(at) + text(each)) for at, each in some]
            ):
                self._good(answer, hidden)
        (answer,) = await self._asked([(packets.FSTAT, text(handle))])
        if answer.kind != packets.ATTRS:
            raise self._refused(answer, hidden)
        told = answer.told()
        await self._done(packets.CLOSE, text(handle))
        return hidden, told

    async def _rename(self, old: str, new: str) -> None:
        """Rename over what may be there; servers that are not OpenSSH's know only how to rename to where nothing is."""
        names = text(self._path(old)) + text(self._path(new))
        (answer,) = await self._asked([(packets.EXTENDED, text(packets.POSIX_RENAME) + names)])
        if answer.kind == packets.STATUS and answer.status()[0] == packets.OK:
            return
        await self._asked([(packets.REMOVE, text(self._path(new)))])
        await self._done(packets.RENAME, names)

    async def _folder(self, path: str) -> list[tuple[str, Told]]:
        handle = await self._handle(packets.OPENDIR, text(path))
        found: list[tuple[str, Told]] = []
        while True:
            (answer,) = await self._asked([(packets.READDIR, text(handle))])
            if answer.kind != packets.NAME:
                break
            found += answer.names()
        if answer.status()[0] != packets.EOF:
            raise self._refused(answer, path)
        await self._done(packets.CLOSE, text(handle))
        return found

    async def _stat(self, path: str) -> Told | None:
        (answer,) = await self._asked([(packets.STAT, text(path))])
        return answer.told() if answer.kind == packets.ATTRS else None

    async def _handle(self, kind: int, *parts: bytes) -> bytes:
        (answer,) = await self._asked([(kind, b"".join(parts))])
        if answer.kind != packets.HANDLE:
            raise self._refused(answer, "the folder, or a file in it,")
        return answer.bytes()

    async def _done(self, kind: int, *parts: bytes) -> None:
        (answer,) = await self._asked([(kind, b"".join(parts))])
        self._good(answer, "it")

    async def _asked(self, requests: Sequence[tuple[int, bytes]]) -> list[Reading]:
        """Send requests and return their answers in order; answers may come in any."""
        first = self._number
        self._number += len(requests)
        found: dict[int, Reading] = {}
        try:
            for number, (kind, body) in enumerate(requests, start=first):
                self._send(packet(kind, u32(number), body))
            while len(found) < len(requests):
                answer = await self._answer()
                found[answer.u32()] = answer
        except ConnectionError as error:
            raise await complaint(self._process, self._where) from error
        except NotSftp as error:
            raise NotAsDocumented(f"{self._where.host} answered with {error}.", fix="Does it speak SFTP?") from error
        return [found[number] for number in range(first, first + len(requests))]

    def _send(self, said: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(said)

    async def _answer(self) -> Reading:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(ANSWERS_S):
                await self._process.stdin.drain()
                length = int.from_bytes(await self._process.stdout.readexactly(4))
                if not 0 < length <= packets.PACKET_BYTES_MAX:
                    raise NotSftp("no packet")
                return Reading(await self._process.stdout.readexactly(length))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(str(error)) from error
        except TimeoutError as error:
            raise ConnectorError(
                f"{self._where.host} does not answer.", fix="Is it overloaded, or the network between?"
            ) from error

    def _good(self, answer: Reading, what: str) -> None:
        if answer.kind != packets.STATUS:
            raise NotAsDocumented(f"{self._where.host} answered with kind {answer.kind}.", fix="Does it speak SFTP?")
        self._ok(answer.status(), what)

    def _refused(self, answer: Reading, what: str) -> ConnectorError:
        if answer.kind != packets.STATUS:
            return NotAsDocumented(f"{self._where.host} answered with kind {answer.kind}.", fix="Does it speak SFTP?")
        return self._trouble(answer.status(), what)

    def _ok(self, status: tuple[int, str], what: str) -> None:
        if status[0] != packets.OK:
            raise self._trouble(status, what)

    def _trouble(self, status: tuple[int, str], what: str) -> Refused:
        number, reason = status
        if number == packets.NO_SUCH_FILE:
            return Refused(f"There is no such folder: {self._where.words}.", status=number, fix="Correct `where`.")
        if number == packets.PERMISSION_DENIED:
            fix = f"Give {self._where.user} the right to it there."
            return Refused(f"{what} may not be used.", status=number, fix=fix)
        said = f"The server refuses it: {reason or number}."
        return Refused(said, status=number, fix="Is there room, and does the folder exist?")

    def _path(self, below: str) -> str:
        return f"{self._where.path.rstrip('/')}/{below}" if below else self._where.path


@asynccontextmanager
async def sftp(where: Where, *, key: str, host_key: str, leave: Leave) -> AsyncGenerator[Remote]:
    """Open a place on a server of SFTP; raises ConnectorError."""
    async with spoken(where, key=key, host_key=host_key) as process:
        remote = Remote(where, process, leave)
        await remote.begin()
        yield remote
