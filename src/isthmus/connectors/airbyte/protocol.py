"""Airbyte's protocol: what its connectors say line by line, and what that means for one stream. Pure.

https://docs.airbyte.com/understanding-airbyte/airbyte-protocol. A line that is no message is one of a log. STATE stands
for all that was told before it: of a stream, of all streams together (GLOBAL), or in a form of old (LEGACY).
"""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from isthmus.connectors.airbyte.layouts import Configured
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, NotAsDocumented
from isthmus.sync.programs import Program, ProgramFailed
from isthmus.sync.streams import DELETED
from isthmus.sync.taps import Message

CAPTURED_DELETION = "_ab_cdc_deleted_at"
"""The column in which connectors that read a database's log say when a row was deleted."""
CONFIG_CHANGED = (
    "The connector changed its own config, such as for a token that is good once, and that is not kept: give the"
    " connection a key that stays, if the next run is refused."
)
_FIXES = {
    "config_error": "Correct `config`.",
    "transient_error": "It is tried again with the next run.",
}
_FIX = "Run the connector by hand with the same config, and mend what it names."
_LOUD = frozenset({"ERROR", "FATAL"})


class Record(Struct, frozen=True, kw_only=True):
    """A row of a stream."""

    stream: str
    data: dict[str, Json]
    namespace: str | None = None


class Descriptor(Struct, frozen=True, kw_only=True):
    """Which stream is meant."""

    name: str
    namespace: str | None = None


class Fault(Struct, frozen=True, kw_only=True):
    """What went wrong: `message` is for people, `failure_type` says whose it is to mend."""

    message: str = ""
    internal_message: str | None = None
    failure_type: str | None = None
    stream_descriptor: Descriptor | None = None


class Status(Struct, frozen=True, kw_only=True):
    """How far a stream is: STARTED, RUNNING, COMPLETE or INCOMPLETE."""

    stream_descriptor: Descriptor
    status: str


class Trace(Struct, frozen=True, kw_only=True):
    """A word on the run: an ERROR, a STREAM_STATUS; others are passed over."""

    type: str
    error: Fault | None = None
    stream_status: Status | None = None


class Log(Struct, frozen=True, kw_only=True):
    """A line of the connector's log."""

    level: str = "INFO"
    message: str = ""


class Connection(Struct, frozen=True, kw_only=True):
    """Whether the config works."""

    status: str
    message: str | None = None


class Offered(Struct, frozen=True, kw_only=True):
    """A stream that a connector has, as its catalog tells it."""

    name: str
    json_schema: dict[str, Json] = {}
    supported_sync_modes: tuple[str, ...] = ()
    source_defined_cursor: bool | None = None
    default_cursor_field: tuple[str, ...] | None = None
    source_defined_primary_key: tuple[tuple[str, ...], ...] | None = None
    namespace: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it has; none when it names none, or may have others."""
        properties = self.json_schema.get("properties")
        return tuple(properties) if isinstance(properties, dict) else ()


class Catalog(Struct, frozen=True, kw_only=True):
    """What a connector can read; the streams also as they were told, to be handed back."""

    streams: tuple[Offered, ...] = ()


class Specification(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a config must hold, as JSON Schema."""

    connection_specification: dict[str, Json] = {}


class Line(Struct, frozen=True, kw_only=True, rename={"connection_status": "connectionStatus"}):
    """A message; of its parts the one is there that `type` names."""

    type: str
    record: Record | None = None
    state: dict[str, Json] | None = None
    log: Log | None = None
    trace: Trace | None = None
    spec: Specification | None = None
    catalog: dict[str, Json] | None = None
    control: dict[str, Json] | None = None
    connection_status: Connection | None = None


def line_of(text: bytes, program: Program) -> Line | None:
    """Return the message of a line; None of one that is no message. Raises NotAsDocumented."""
    if not text.lstrip().startswith(b"{"):
        return None
    try:
        # Messages in JSON of others, such as of a log, have no `type` of ours, or none at all.
        kind = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("type")
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    if kind is None:
        return None
    try:
        return msgspec.json.decode(text, type=Line)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        shown = program.shown(text.decode("utf-8", "replace"))
        raise NotAsDocumented(
            f"{program.title} told a message of another form ({error}): {shown}",
            fix="Is `command` a source of Airbyte, of a version that speaks the protocol 0.2 or later?",
        ) from error


@dataclass
class Hearing:
    """What a run of a connector said besides rows: the troubles, and how the streams ended."""

    program: Program
    faults: list[Fault] = field(default_factory=list[Fault])
    loud: str = ""
    ended: dict[tuple[str | None, str], str] = field(default_factory=dict[tuple[str | None, str], str])

    async def lines(self, lines: AsyncIterable[bytes]) -> AsyncIterator[Line]:
        """Yield the messages of a run; raises ProgramFailed with what the connector itself said of its trouble."""
        try:
            async for text in lines:
                said = line_of(text, self.program)
                if said is None:
                    continue
                self._noted(said)
                yield said
        except ProgramFailed as error:
            raise (self.trouble() or error) from error
        if trouble := self.trouble():
            raise trouble

    def trouble(self) -> ConnectorError | None:
        """Return what went wrong, in the connector's words; nothing when it said of nothing."""
        if not self.faults:
            return None
        fault = self.faults[0]
        # The message is often the same for all troubles, and the other one names what it was.
        said = " ".join(dict.fromkeys(filter(None, (fault.message, fault.internal_message)))) or self.loud
        of = f" in {fault.stream_descriptor.name}" if fault.stream_descriptor is not None else ""
        detail = f"{self.program.title} failed{of}: {self.program.shown(said) or 'it said not why'}"
        return ProgramFailed(detail, fix=_FIXES.get(fault.failure_type or "", _FIX))

    def _noted(self, said: Line) -> None:
        if said.log is not None and said.log.level in _LOUD:
            self.loud = said.log.message
        if said.trace is None:
            return
        if said.trace.type == "ERROR" and said.trace.error is not None:
            self.faults.append(said.trace.error)
        elif said.trace.stream_status is not None:
            of = said.trace.stream_status.stream_descriptor
            self.ended[of.namespace, of.name] = said.trace.stream_status.status


async def heard(
    lines: AsyncIterable[bytes], program: Program, *, name: str, stream: Configured
) -> AsyncIterator[Message]:
    """Yield what a run of one stream says, in the messages of taps; raises ConnectorError."""
    hearing, wanted = Hearing(program), (stream.namespace, stream.stream or name)
    async for said in hearing.lines(lines):
        if said.record is not None and (said.record.namespace, said.record.stream) in (wanted, (None, wanted[1])):
            yield Message(type="RECORD", stream=name, record=_row(said.record.data))
        elif said.type == "STATE" and said.state is not None and _about(said.state, wanted[1]):
            yield Message(type="STATE", value=_state(said.state))
        elif said.type == "CONTROL" and (said.control or {}).get("type") == "CONNECTOR_CONFIG":
            yield Message(type="NOTE", value=CONFIG_CHANGED)
    unfinished = [each for (_, each), status in hearing.ended.items() if status != "COMPLETE"]
    if unfinished:
        raise ProgramFailed(
            f"{program.title} ended, and says not that {', '.join(unfinished)} is complete"
            f"{f': {program.shown(hearing.loud)}' if hearing.loud else ''}.",
            fix=_FIX,
        )


def _row(row: Mapping[str, Json]) -> dict[str, Json]:
    if row.get(CAPTURED_DELETION) is None:
        return dict(row)
    return {**row, DELETED: row[CAPTURED_DELETION]}


def _about(state: Mapping[str, Json], name: str) -> bool:
    """Tell whether a state is that of a stream, or of all."""
    of = state.get("stream")
    described = of.get("stream_descriptor") if isinstance(of, dict) else None
    return not isinstance(described, dict) or described.get("name") == name


def _state(state: dict[str, Json]) -> Json:
    """Return a state as it is given back: a list of what was told, or in the form of old as it is."""
    if state.get("type") in ("STREAM", "GLOBAL"):
        return [state]
    return state.get("data")
