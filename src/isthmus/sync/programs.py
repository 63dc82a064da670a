"""Programs that a person installed on this machine, run as sources of lines.

They run as processes of their own, without a shell, with nothing of our environment, and end when we do. What they say
of their troubles is told shortly, without the secrets that they were given.
"""

import asyncio
import os
import shlex
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

import msgspec

from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, FeedTrouble

LINE_BYTES_MAX = 16 << 20
SAID_LINES, SAID_CHARACTERS_MAX = 40, 240
ENDS_S = 5
HIDDEN = "•••"
_SECRET_CHARACTERS = 4
_GUARD = Path(__file__).with_name("guard.py")
_TROUBLE = ("error", "exception", "critical", "fatal", "refused", "denied")


class ProgramFailed(FeedTrouble):
    """A program ended with an error, hung, or told something else than it should."""

    code, title = "program-failed", "A program that reads for us failed"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program with its arguments; `home` is its folder and `secrets` are hidden in what is told of it.

    `quiet_s` is how many seconds it may say nothing, and `environment` what it gets besides the little that all get.
    """

    title: str
    command: tuple[str, ...]
    home: Path
    folder: Path | None = None
    secrets: tuple[str, ...] = ()
    quiet_s: float = 300.0
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def shown(self, text: str) -> str:
        """Return a text of the program, short and without secrets."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        text = " ".join(text.split())
        return text if len(text) <= SAID_CHARACTERS_MAX else f"{text[:SAID_CHARACTERS_MAX]}…"


def command_of(text: str, *, setting: str) -> tuple[str, ...]:
    """Return the words of a command, which begins with the absolute path of a program; raises ConnectorError."""
    try:
        command = tuple(shlex.split(text))
    except ValueError as error:
        raise ConnectorError(f"`{setting}` cannot be read: {error}.", fix="Close every quote.") from error
    if not command or not Path(command[0]).is_absolute():
        raise ConnectorError(
            f"`{setting}` begins with no absolute path.", fix=f"Give `{setting}` such as /opt/taps/bin/tap-jsonl."
        )
    if not (Path(command[0]).is_file() and os.access(command[0], os.X_OK)):
        raise ConnectorError(
            f"There is no program {command[0]} that may be run.", fix=f"Install it, or correct `{setting}`."
        )
    return command


def map_of(text: str, *, setting: str) -> dict[str, Json]:
    """Return the map that a setting holds in JSON, empty when it holds nothing; raises ConnectorError."""
    try:
        return msgspec.json.decode(text.strip() or "{}", type=dict[str, Json])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConnectorError(
            f"`{setting}` is no map in JSON.", fix=f'Give `{setting}` as {{"key": "…"}}, as the program takes it.'
        ) from error


def written(home: Path, name: str, value: Json) -> str:
    """Write a value as JSON into a folder, for us alone, and return its path."""
    path = home / f"{name}.json"
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(value))
    return str(path)


def secrets_in(value: Json) -> tuple[str, ...]:
    """Return the texts of a value that are long enough to be hidden, as they may be written, the longest first."""
    found: set[str] = set()
    for text in _texts(value):
        if len(text) >= _SECRET_CHARACTERS:
            found |= {text, quote(text, safe=""), msgspec.json.encode(text).decode()[1:-1]}
    return tuple(sorted(found, key=lambda each: (-len(each), each)))


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


class Running:
    """A program that runs, as a context that ends it; iterated, it yields its lines.

    The lines raise ProgramFailed when it ends with an error, or says nothing for too long.
    """

    def __init__(self, program: Program) -> None:
        """Begin in the context."""
        self._program = program
        self._said: deque[bytes] = deque(maxlen=SAID_LINES)

    async def __aenter__(self) -> Self:
        """Start it."""
        program = self._program
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_GUARD), *program.command),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=LINE_BYTES_MAX,
            cwd=program.folder or program.home,
            env=_environment(program.home) | dict(program.environment),
            start_new_session=True,
        )
        self._listening = asyncio.create_task(_listen(self._process, self._said))
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it, with all that it started."""
        await _ended(self._process)
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening

    def __aiter__(self) -> Self:
        """Yield its lines."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next line; raises ProgramFailed."""
        program, process = self._program, self._process
        assert process.stdout is not None
        try:
            async with asyncio.timeout(program.quiet_s):
                if line := await process.stdout.readline():
                    return line
                code = await process.wait()
        except TimeoutError as error:
            raise ProgramFailed(
                f"{program.title} said nothing for {program.quiet_s:g} seconds, and was ended.",
                fix="Run it by hand to see what it waits for; give a larger `quiet_s` if it needs longer.",
            ) from error
        except ValueError as error:
            raise ProgramFailed(
                f"{program.title} told a line of more than {LINE_BYTES_MAX >> 20} MiB.",
                fix="Leave out the column that is so large.",
            ) from error
        if not code:
            raise StopAsyncIteration
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDS_S):
                await asyncio.shield(self._listening)
        raise ProgramFailed(
            f"{program.title} ended with {code}: {_complaint(program, self._said)}",
            fix="Run it by hand with the same settings, and mend what it names.",
        )


def _environment(home: Path) -> dict[str, str]:
    """Return all that a program gets: nothing of ours, where keys may stand."""
    return {"HOME": str(home), "TMPDIR": str(home), "PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}


def _complaint(program: Program, said: Sequence[bytes]) -> str:
    """Return the last line that speaks of a trouble, or the last one."""
    spoken = [line for each in said if (line := each.decode("utf-8", "replace").strip())]
    named = [line for line in spoken if any(word in line.lower() for word in _TROUBLE)]
    return program.shown([*spoken[-1:], *named[-1:]][-1]) if spoken else "it said not why"


async def _listen(process: Process, said: deque[bytes]) -> None:
    """Keep the last that a program says of its troubles; a part of what is too long for a line counts as one."""
    assert process.stderr is not None
    rest = b""
    while some := await process.stderr.read(1 << 16):
        *whole, rest = (rest + some).split(b"\n")
        said.extend(whole)
        rest = rest[-(1 << 16) :]
    said.append(rest)


async def _ended(process: Process) -> None:
    """End a program and what it started: its guard does so when it is not listened to any more."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(ENDS_S):
            # What nobody reads would keep its pipe open, and the process unended.
            while await process.stdout.read(1 << 16):
                pass
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
