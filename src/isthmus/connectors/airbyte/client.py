"""A connector of Airbyte as a program: spec, check, discover, and read for one stream at a time from its own state."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import cast

import msgspec

from isthmus.connectors.airbyte.layouts import TYPES, Configured
from isthmus.connectors.airbyte.protocol import Catalog, Hearing, Line, Offered, heard
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, FeedTrouble, Leave, NotAsDocumented
from isthmus.sync.programs import Program, Running, command_of, map_of, secrets_in, written
from isthmus.sync.streams import Stream, columns_lacking, streams_of
from isthmus.sync.taps import Message, TapSession, tapping

SETTING = "streams"


class Source:
    """Implements `Telling` of `isthmus.sync.taps`."""

    def __init__(self, settings: Mapping[str, str], home: Path, *, quiet_s: float) -> None:
        """Run the connector of the settings, with its files in a folder of ours; raises ConnectorError."""
        self._home, self._config = home, map_of(settings.get("config", ""), setting="config")
        command = command_of(settings.get("command", ""), setting="command")
        secrets = secrets_in(self._config)
        title = Path(command[0]).name
        self.quiet = Program(title=title, command=command, home=home, secrets=secrets, quiet_s=quiet_s)
        self._catalog: dict[str, Json] | None = None

    async def check(self, streams: Mapping[str, Stream]) -> str:
        """Return what the connector has, and what becomes of it; raises ConnectorError with its own words."""
        said = await self._said("check", "--config", await self._given("config", self._config))
        status = next((each.connection_status for each in said if each.connection_status is not None), None)
        if status is None:
            raise self._undocumented("check told no CONNECTION_STATUS")
        if status.status != "SUCCEEDED":
            lacking = await self._lacking()
            raise ConnectorError(
                f"{self.quiet.title} refuses its config: {self.quiet.shown(status.message or 'it said not why')}",
                fix=f"Give in `config`: {', '.join(lacking)}." if lacking else "Correct `config`.",
            )
        catalog = await self._discovered()
        there = _streams(catalog)
        for name, stream in streams.items():
            _offered(there, name, cast("Configured", stream))
        becomes = [f"{name} becomes {stream.type}" for name, stream in streams.items()]
        rest = [each.name for each in there if each.name not in {stream.stream or n for n, stream in streams.items()}]
        more = f"; not connected: {', '.join(rest)}" if rest else ""
        return f"{self.quiet.title}: {'; '.join(becomes) or 'no streams are mapped'}{more}"

    async def told(self, name: str, stream: Stream, *, state: Json) -> Running:
        """Return the connector, to be run for a stream from a state; raises FeedTrouble."""
        catalog = configured(await self._discovered(), name, cast("Configured", stream))
        arguments = ["--config", await self._given("config", self._config)]
        arguments += ["--catalog", await self._given("catalog", catalog)]
        if state is not None:
            arguments += ["--state", await self._given("state", state)]
        return Running(self._program("read", *arguments))

    def heard(self, lines: AsyncIterable[bytes], name: str, stream: Stream) -> AsyncIterator[Message]:
        """Yield what its lines mean for a stream; raises ConnectorError."""
        return heard(lines, self.quiet, name=name, stream=cast("Configured", stream))

    async def _discovered(self) -> dict[str, Json]:
        """Return the connector's catalog, asked for once."""
        if self._catalog is None:
            said = await self._said("discover", "--config", await self._given("config", self._config))
            found = next((each.catalog for each in said if each.catalog is not None), None)
            if found is None:
                raise self._undocumented("discover told no CATALOG")
            self._catalog = found
        return self._catalog

    async def _lacking(self) -> list[str]:
        """Return what the config must hold and does not, as the connector's `spec` says."""
        said = await self._said("spec")
        spec = next((each.spec for each in said if each.spec is not None), None)
        required = spec.connection_specification.get("required") if spec is not None else None
        return [str(each) for each in required if each not in self._config] if isinstance(required, list) else []

    async def _said(self, *arguments: str) -> list[Line]:
        program = self._program(*arguments)
        async with Running(program) as lines:
            return [each async for each in Hearing(program).lines(lines)]

    async def _given(self, name: str, value: Json) -> str:
        return await asyncio.to_thread(written, self._home, name, value)

    def _program(self, *arguments: str) -> Program:
        quiet = self.quiet
        return Program(
            title=quiet.title,
            command=(*quiet.command, *arguments),
            home=self._home,
            secrets=quiet.secrets,
            quiet_s=quiet.quiet_s,
        )

    def _undocumented(self, what: str) -> NotAsDocumented:
        return NotAsDocumented(f"{self.quiet.title} {what}.", fix="Is `command` a source of Airbyte?")


def configured(catalog: Mapping[str, Json], name: str, stream: Configured) -> dict[str, Json]:
    """Return the catalog that asks for one stream, as Airbyte writes one; raises FeedTrouble."""
    told = cast("list[Json]", catalog["streams"])
    there = _streams(catalog)
    offered = _offered(there, name, stream)
    cursor = (stream.cursor,) if stream.cursor is not None else offered.default_cursor_field
    entry: dict[str, Json] = {
        "stream": told[there.index(offered)],
        "sync_mode": _mode(offered, stream),
        "destination_sync_mode": "append",
        "primary_key": [[each] for each in stream.keys],
    }
    if cursor and not offered.source_defined_cursor:
        entry["cursor_field"] = list(cursor)
    return {"streams": [entry]}


def _mode(offered: Offered, stream: Configured) -> str:
    modes = offered.supported_sync_modes or ("full_refresh",)
    if stream.mode is None:
        return "incremental" if "incremental" in modes else "full_refresh"
    if stream.mode not in modes:
        raise FeedTrouble(
            f"{offered.name} cannot be read as {stream.mode}, only as {' or '.join(modes)}.", fix="Correct `mode`."
        )
    return stream.mode


def _streams(catalog: Mapping[str, Json]) -> tuple[Offered, ...]:
    try:
        return msgspec.convert(catalog, Catalog).streams
    except msgspec.ValidationError as error:
        raise NotAsDocumented(
            f"The connector's catalog has another form: {error}.", fix="Run it by hand with discover."
        ) from error


def _offered(there: tuple[Offered, ...], name: str, stream: Configured) -> Offered:
    """Return the stream that is meant; raises FeedTrouble when there is none, or when it lacks a column."""
    wanted = stream.stream or name
    found = [
        each
        for each in there
        if each.name == wanted and (stream.namespace is None or each.namespace == stream.namespace)
    ]
    if not found:
        names = ", ".join(each.name for each in there) or "none"
        raise FeedTrouble(f"The connector has no stream {wanted}; there are: {names}.", fix="Correct `streams`.")
    lacking = list(columns_lacking(stream, found[0].columns))
    # A schema of JSON allows other columns unless it forbids them, and most connectors name all they know.
    if lacking and set(lacking) & set(stream.keys):
        raise FeedTrouble(
            f"{wanted} has no column {', '.join(lacking)}; it names {', '.join(found[0].columns)}.",
            fix="Correct `streams`.",
        )
    return found[0]


def session(settings: Mapping[str, str], *, leave: Leave) -> AbstractAsyncContextManager[TapSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    streams = streams_of(settings.get(SETTING, "{}"), Configured, types=TYPES, setting=SETTING)
    return tapping(
        settings, streams, starting=lambda home, quiet_s: Source(settings, home, quiet_s=quiet_s), leave=leave
    )
