"""A source of dlt as a program: our teller, run by the Python in which the person who connects installed dlt."""

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from isthmus.connectors.dlt.layouts import TYPES
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, FeedTrouble, Leave, NotAsDocumented
from isthmus.sync.programs import Program, Running, command_of, map_of, secrets_in, written
from isthmus.sync.streams import Stream, columns_lacking, streams_of
from isthmus.sync.taps import Message, TapSession, messages, tapping

SETTING = "streams"
TELLER = Path(__file__).with_name("teller.py")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,199}")
_SOURCE = re.compile(r"[\w.]+:\w+")
# Programs act on these before ours has a word.
_OURS = ("HOME", "TMPDIR", "PATH", "IFS", "DLT_DATA_DIR", "RUNTIME__DLTHUB_TELEMETRY")
_OURS_BEGIN = ("LD_", "PYTHON")


class Offered(Struct, frozen=True, kw_only=True):
    """A resource of a source: its name, the columns that it names before it is read, and those of its first row."""

    stream: str
    columns: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


class _Catalog(Struct, frozen=True, kw_only=True):
    streams: tuple[Offered, ...]


class Source:
    """Implements `Telling` of `isthmus.sync.taps`."""

    def __init__(self, settings: Mapping[str, str], home: Path, *, quiet_s: float) -> None:
        """Run the source of the settings, with its files in a folder of ours; raises ConnectorError."""
        self._home = home
        self._asked: dict[str, Json] = {
            "source": _source(settings.get("source", "")),
            "arguments": map_of(settings.get("arguments", ""), setting="arguments"),
            "folder": str(_folder(settings.get("folder", ""), home)),
        }
        secrets = map_of(settings.get("environment", ""), setting="environment")
        self.quiet = Program(
            title=f"dlt {self._asked['source']}",
            command=command_of(settings.get("python", ""), setting="python"),
            home=home,
            folder=_folder(settings.get("folder", ""), home),
            secrets=secrets_in([self._asked["arguments"], secrets]),
            quiet_s=quiet_s,
            environment=_variables(secrets) | {"DLT_DATA_DIR": str(home), "RUNTIME__DLTHUB_TELEMETRY": "false"},
        )

    async def check(self, streams: Mapping[str, Stream]) -> str:
        """Return the resources that the source has, and what becomes of them; raises ConnectorError."""
        wanted = {name: stream.stream or name for name, stream in streams.items()}
        there = {each.stream: each for each in await self._discovered(list(wanted.values()))}
        if absent := sorted(set(wanted.values()) - there.keys()):
            raise FeedTrouble(
                f"The source has no resource {', '.join(absent)}; there are: {', '.join(there) or 'none'}.",
                fix="Correct `streams`.",
            )
        becomes = [_becomes(name, stream, there[wanted[name]]) for name, stream in streams.items()]
        rest = sorted(there.keys() - set(wanted.values()))
        more = f"; not connected: {', '.join(rest)}" if rest else ""
        return f"{self.quiet.title}: {'; '.join(becomes) or 'no streams are mapped'}{more}"

    async def told(self, name: str, stream: Stream, *, state: Json) -> Running:
        """Return the teller, to be run for a resource from a state of dlt's."""
        return await self._run({"do": "read", "stream": stream.stream or name, "state": state})

    def heard(self, lines: AsyncIterable[bytes], name: str, stream: Stream) -> AsyncIterator[Message]:
        """Yield the messages of its lines; raises NotAsDocumented."""
        del name, stream
        return messages(lines, self.quiet)

    async def _discovered(self, look: list[str]) -> tuple[Offered, ...]:
        """Return all resources; of those to look at the first row is read, so that a wrong key is found out."""
        async with await self._run({"do": "discover", "look": cast("Json", look)}) as found:
            said = b"".join([line async for line in found])
        try:
            return msgspec.json.decode(said, type=_Catalog).streams
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise NotAsDocumented(
                f"{self.quiet.title} told no catalog: {self.quiet.shown(said.decode('utf-8', 'replace'))}",
                fix="Is `python` a Python, and not a program around one that prints?",
            ) from error

    async def _run(self, more: dict[str, Json]) -> Running:
        asked = await asyncio.to_thread(written, self._home, "asked", cast("Json", {**self._asked, **more}))
        quiet = self.quiet
        return Running(
            Program(
                title=quiet.title,
                command=(*quiet.command, "-I", str(TELLER), asked),
                home=quiet.home,
                folder=quiet.folder,
                secrets=quiet.secrets,
                quiet_s=quiet.quiet_s,
                environment=quiet.environment,
            )
        )


def _becomes(name: str, stream: Stream, offered: Offered) -> str:
    """Return what becomes of a resource; raises FeedTrouble when its first row lacks the key."""
    there = (*offered.columns, *offered.seen)
    lacking = [each for each in columns_lacking(stream, there) if offered.seen]
    if unkeyed := [each for each in lacking if each in stream.keys]:
        raise FeedTrouble(
            f"{name} has no column {', '.join(unkeyed)} in its first row; it has {', '.join(offered.seen)}.",
            fix="Correct `key` in `streams`.",
        )
    without = f", though its first row has no {', '.join(lacking)}" if lacking else ""
    return f"{name} becomes {stream.type}{without}"


def _source(text: str) -> str:
    if not _SOURCE.fullmatch(text.strip()):
        raise ConnectorError(
            "`source` names no source of dlt.",
            fix="Give it as module:name, such as dlt.sources.rest_api:rest_api_source.",
        )
    return text.strip()


def _folder(text: str, home: Path) -> Path:
    if not text.strip():
        return home
    folder = Path(text.strip())
    if not folder.is_absolute() or not folder.is_dir():
        raise ConnectorError(
            f"There is no folder {folder}.", fix="Give `folder` with its absolute path, or leave it out."
        )
    return folder


def _variables(given: Mapping[str, Json]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(value, str) or not _VARIABLE.fullmatch(name) or name in _OURS or name.startswith(_OURS_BEGIN):
            raise ConnectorError(
                f"`environment` has {name[:80]}, which cannot be given.",
                fix='Give names of dlt with texts, such as {"SOURCES__REST_API__TOKEN": "…"}.',
            )
        found[name] = value
    return found


def session(settings: Mapping[str, str], *, leave: Leave) -> AbstractAsyncContextManager[TapSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    streams = streams_of(settings.get(SETTING, "{}"), Stream, types=TYPES, setting=SETTING)
    return tapping(
        settings, streams, starting=lambda home, quiet_s: Source(settings, home, quiet_s=quiet_s), leave=leave
    )
