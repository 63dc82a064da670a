"""A tap as a program: discovered, and run for one stream at a time from its own state."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import cast

import msgspec

from isthmus.connectors.singer.catalog import entries, named, names_of, selected
from isthmus.connectors.singer.layouts import TYPES, Tapped
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Leave, NotAsDocumented
from isthmus.sync.programs import Program, Running, command_of, map_of, secrets_in, written
from isthmus.sync.streams import Stream, streams_of
from isthmus.sync.taps import Message, TapSession, messages, tapping

SETTING = "streams"


class Tap:
    """Implements `Telling` of `isthmus.sync.taps`."""

    def __init__(self, settings: Mapping[str, str], home: Path, *, quiet_s: float) -> None:
        """Run the tap of the settings, with its files in a folder of ours; raises ConnectorError."""
        self._home, self._config = home, map_of(settings.get("config", ""), setting="config")
        command = command_of(settings.get("command", ""), setting="command")
        secrets = secrets_in(self._config)
        title = Path(command[0]).name
        self.quiet = Program(title=title, command=command, home=home, secrets=secrets, quiet_s=quiet_s)
        self._catalog: Json = None

    async def check(self, streams: Mapping[str, Stream]) -> str:
        """Return the streams that the tap has, and what becomes of them; raises ConnectorError."""
        catalog = await self._discovered()
        for name, stream in streams.items():
            selected(catalog, name, cast("Tapped", stream))
        becomes = [f"{name} becomes {stream.type}" for name, stream in streams.items()]
        mine = {stream.stream or name for name, stream in streams.items()}
        rest = [named(each) for each in entries(catalog) if not mine & names_of(each)]
        more = f"; not connected: {', '.join(rest)}" if rest else ""
        return f"{self.quiet.title}: {'; '.join(becomes) or 'no streams are mapped'}{more}"

    async def told(self, name: str, stream: Stream, *, state: Json) -> Running:
        """Return the tap, to be run for a stream from a state; raises FeedTrouble."""
        catalog, _ = selected(await self._discovered(), name, cast("Tapped", stream))
        given = await asyncio.to_thread(written, self._home, "catalog", catalog)
        arguments = ["--config", self._path("config"), "--catalog", given]
        if state is not None:
            arguments += ["--state", await asyncio.to_thread(written, self._home, "state", state)]
        return Running(self._program(arguments))

    def heard(self, lines: AsyncIterable[bytes], name: str, stream: Stream) -> AsyncIterator[Message]:
        """Yield the messages of its lines; raises NotAsDocumented."""
        del name, stream
        return messages(lines, self.quiet)

    async def _discovered(self) -> Json:
        """Return the tap's catalog, asked for once."""
        if self._catalog is None:
            await asyncio.to_thread(written, self._home, "config", self._config)
            program = self._program(["--config", self._path("config"), "--discover"])
            async with Running(program) as found:
                said = b"".join([line async for line in found])
            try:
                self._catalog = msgspec.json.decode(said, type=dict[str, Json])
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise NotAsDocumented(
                    f"{program.title} --discover told no catalog: {program.shown(said.decode('utf-8', 'replace'))}",
                    fix="Is `command` a tap of Singer, and nothing before it that prints?",
                ) from error
        return self._catalog

    def _program(self, arguments: list[str]) -> Program:
        quiet = self.quiet
        return Program(
            title=quiet.title,
            command=(*quiet.command, *arguments),
            home=self._home,
            secrets=quiet.secrets,
            quiet_s=quiet.quiet_s,
        )

    def _path(self, name: str) -> str:
        return str(self._home / f"{name}.json")


def session(settings: Mapping[str, str], *, leave: Leave) -> AbstractAsyncContextManager[TapSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    streams = streams_of(settings.get(SETTING, "{}"), Tapped, types=TYPES, setting=SETTING)
    return tapping(settings, streams, starting=lambda home, quiet_s: Tap(settings, home, quiet_s=quiet_s), leave=leave)
