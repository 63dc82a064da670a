"""Rows that a program tells line by line, as pages with a cursor that is the program's own state.

What it tells is put into Singer's messages, https://hub.meltano.com/singer/spec: SCHEMA comes before a stream's rows,
RECORD is a row, STATE stands for all that was told before it, and ACTIVATE_VERSION says that rows of other versions are
gone.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from isthmus.kernel.layouts import WHOLE_MAX, stamp_moment, truth
from isthmus.kernel.marks import Json
from isthmus.sync.connector import (
    Change,
    ConnectorError,
    FeedTrouble,
    Leave,
    NotAsDocumented,
    Outcome,
    Page,
    Raw,
    Written,
)
from isthmus.sync.programs import Program, Running
from isthmus.sync.streams import DELETED, WITHIN, Stream

IDS_PER_PAGE, PAGE_ROWS_MAX, QUIET_S_MAX = 5_000, 5_000, 86_400
_PIPES = (
    "A program is spoken with over pipes, so that the proxy of the suite cannot stand before it; see its own tests."
)
_READS = "A program that reads takes nothing back, so that nothing of ours is ever written there."
_NO_PROXY = (
    *("too_many_requests", "server_errors", "resets", "truncated_answers", "slow_answers", "expired_token"),
    *("skewed_date_header", "garbage_answers", "storm"),
)
_NO_WRITES = (
    *(
        "new_record_is_made",
        "write_is_read_back",
        "only_named_fields_are_written",
        "null_clears",
        "same_key_makes_once",
    ),
    *("stale_version_overwrites_nothing", "gone_record_is_told", "refusal_stops_no_other", "answers_keep_their_order"),
    *("record_is_deleted_there", "version_after_a_write_is_current", "what_we_say_is_what_it_holds"),
    *("edit_here_is_written_once", "both_sides_edit", "record_made_here_is_made_there_once", "deletion_here_is_made"),
    *("plan_writes_nothing", "without_leave_nothing_is_sent", "skewed_clock_is_survived"),
)
READ_ONLY_CANNOT: Mapping[str, str] = {str(each): _PIPES for each in _NO_PROXY} | {
    str(each): _READS for each in _NO_WRITES
}
"""Checks of the suite that what is only read, and by a program, cannot be put to."""
_VERSION_BYTES = 12


class Message(Struct, frozen=True, kw_only=True):
    """A line of a program, as Singer's messages are; what else it holds is passed over.

    One of ours, NOTE, has in `value` a sentence for the status of the connection.
    """

    type: str
    stream: str = ""
    record: dict[str, Json] | None = None
    value: Json = None


class Place(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a stream was read: the program's last state, and a digest of how the stream was read.

    `taken` counts rows of a reading that has not ended, so that no two pages of it have one cursor; they are read again
    from the state.
    """

    state: Json = None
    mapped: str = ""
    taken: int = 0

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place that a cursor tells; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=Place)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConnectorError("The cursor is not one of a program.", fix="Read the feed from the start.") from error

    def text(self) -> str:
        """Return the cursor."""
        return msgspec.json.encode(self).decode()


class Telling(Protocol):
    """What starts a program for one stream."""

    @property
    def quiet(self) -> Program:
        """The program, for words about it."""
        ...

    async def check(self, streams: Mapping[str, Stream]) -> str:
        """Return what the program is and what it offers; raises ConnectorError."""
        ...

    async def told(self, name: str, stream: Stream, *, state: Json) -> Running:
        """Return it, to be run for a stream from a state; raises ConnectorError."""
        ...

    def heard(self, lines: AsyncIterable[bytes], name: str, stream: Stream) -> AsyncIterator[Message]:
        """Yield the messages that its lines mean, when it is run for a stream; raises ConnectorError."""
        ...


def message_of(line: bytes, program: Program) -> Message:
    """Return the message of a line; raises NotAsDocumented."""
    try:
        return msgspec.json.decode(line, type=Message)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise NotAsDocumented(
            f"{program.title} told a line that is no message: {program.shown(line.decode('utf-8', 'replace'))}",
            fix="Have it write its log to standard error, and only messages to standard output.",
        ) from error


async def messages(lines: AsyncIterable[bytes], program: Program) -> AsyncIterator[Message]:
    """Yield the messages of a program that tells them as Singer's taps do; raises NotAsDocumented."""
    async for line in lines:
        if line.strip():
            yield message_of(line, program)


def raw_of(stream: Stream, record: Mapping[str, Json]) -> Raw:
    """Return a row as the engine takes it; one without a key has the digest of what it says as its id."""
    body = {name: _plain(value) for name, value in record.items() if stream.reads(name)}
    for column in stream.columns:
        if WITHIN in column and column not in record:
            body.update((column, _plain(value)) for value in _parts(record, column))
    version = blake2b(msgspec.json.encode(body, order="sorted"), digest_size=_VERSION_BYTES).hexdigest()
    parts = [body.get(name) for name in stream.keys]
    if any(part in (None, "") or isinstance(part, dict | list | bool) for part in parts):
        return Raw(external_id=f"without key {version}", body=body, version=version)
    gone = truth(body.get(stream.deleted or DELETED))
    stamp = body.get(stream.updated_at) if stream.updated_at is not None else None
    return Raw(
        external_id=_joined([str(part) for part in parts]),
        body={} if gone else body,
        at=stamp_moment(stamp, zone=ZoneInfo(stream.zone)) if stamp is not None else None,
        version=version,
        deleted=gone,
    )


def _parts(record: Mapping[str, Json], column: str) -> list[Json]:
    """Return the value of `address__city` in the map `address`; none when the row says nothing of it."""
    if column in record:
        return [record[column]]
    cuts = [at for at in range(1, len(column) - 1) if column.startswith(WITHIN, at)]
    for at in cuts:
        whole, part = column[:at], column[at + len(WITHIN) :]
        value = record.get(whole)
        if isinstance(value, dict) and (found := _parts(value, part)):
            return found
        if whole in record and value is None:
            return [None]
    return []


def _joined(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)


def _plain(value: Json) -> Json:
    """Return a value as it can be stored: numbers that have no room as numbers are told as text."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > WHOLE_MAX:
        return str(value)
    return None if isinstance(value, float) and not isfinite(value) else value


async def paged(
    messages: AsyncIterable[Message], stream: Stream, *, names: frozenset[str], place: Place, page_rows: int
) -> AsyncIterator[Page]:
    """Yield pages of the rows of a stream, and at last one without rows.

    A cursor holds a state only when all rows that were told before it are in that page or an earlier one; rows that
    were told before a trouble come before the trouble.
    """
    waiting: list[Raw] = []
    trouble, emptied, note = None, False, ""
    try:
        async for each in messages:
            if each.type == "STATE":
                place = msgspec.structs.replace(place, state=each.value)
            elif each.type == "RECORD" and each.stream in names and each.record is not None:
                if len(waiting) == page_rows:
                    place = msgspec.structs.replace(place, taken=place.taken + page_rows)
                    yield Page(rows=_last(waiting), cursor=place.text(), more=True)
                    waiting = []
                waiting.append(raw_of(stream, each.record))
            elif each.type == "NOTE":
                note = str(each.value)
            else:
                emptied = emptied or _empties(each, stream, names=names)
    except ConnectorError as error:
        trouble = error
    if waiting:
        place = msgspec.structs.replace(place, taken=place.taken + len(waiting))
        yield Page(rows=_last(waiting), cursor=place.text(), more=True)
    if trouble is not None:
        raise trouble
    place = msgspec.structs.replace(place, taken=0)
    yield Page(rows=(), cursor=place.text(), more=False, emptied=emptied, note=note)


def _empties(message: Message, stream: Stream, *, names: frozenset[str]) -> bool:
    """Tell whether a message says that what else was known of the stream may be gone; raises NotAsDocumented."""
    if message.type == "BATCH":
        raise NotAsDocumented("The program tells of batches in files.", fix="Take `batch_config` away.")
    return message.type == "ACTIVATE_VERSION" and message.stream in names and stream.absent == "deleted"


def _last(rows: Sequence[Raw]) -> tuple[Raw, ...]:
    """Return the last row of each key, in their order."""
    last = {raw.external_id: raw for raw in rows}
    return tuple(raw for raw in rows if last[raw.external_id] is raw)


class TapSession:
    """Implements `Session` of `isthmus.sync.connector` for a program that is only read."""

    def __init__(self, telling: Telling, streams: Mapping[str, Stream], *, page_rows: int, leave: Leave) -> None:
        """Read streams of a program."""
        self._telling, self._streams = telling, streams
        self._page_rows, self._leave = page_rows, leave

    async def check(self) -> str:
        """Return what the program offers; raises ConnectorError."""
        await self._leave()
        return await self._telling.check(self._streams)

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield what the program tells of a stream since its state of then."""
        stream = self._known(feed)
        place = Place() if cursor is None else Place.parse(cursor)
        if place.mapped != stream.digest:
            place = Place(mapped=stream.digest)
        await self._leave()
        names = frozenset({feed, stream.stream or feed})
        async with await self._telling.told(feed, stream, state=place.state) as told:
            heard = self._telling.heard(told, feed, stream)
            async for page in paged(heard, stream, names=names, place=place, page_rows=self._page_rows):
                await self._leave()
                yield page

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the keys of all that a reading without a state tells, but for rows that are marked as deleted."""
        living: dict[str, None] = {}
        async for page in self.read(feed, cursor=None):
            for raw in page.rows:
                if raw.deleted:
                    living.pop(raw.external_id, None)
                else:
                    living[raw.external_id] = None
        found = list(living)
        for start in range(0, len(found), IDS_PER_PAGE):
            yield found[start : start + IDS_PER_PAGE]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Refuse: a program that reads takes nothing."""
        self._known(feed)
        reason = "It is only read."
        return [Written(outcome=Outcome.REFUSED, external_id=each.external_id, reason=reason) for each in changes]

    def _known(self, feed: str) -> Stream:
        if feed not in self._streams:
            there = ", ".join(self._streams) or "none"
            raise ConnectorError(f"There is no stream {feed!r} in the settings.", fix=f"There are: {there}.")
        return self._streams[feed]


def bounds(settings: Mapping[str, str]) -> tuple[int, float]:
    """Return `page_rows` and `quiet_s`; raises ConnectorError."""
    try:
        page_rows, quiet_s = int(settings.get("page_rows", "1000")), float(settings.get("quiet_s", "300"))
    except ValueError as error:
        raise ConnectorError("`page_rows` and `quiet_s` are numbers.", fix="Give 1000 and 300.") from error
    if not 0 < page_rows <= PAGE_ROWS_MAX or not 0 < quiet_s <= QUIET_S_MAX:
        raise ConnectorError("`page_rows` or `quiet_s` is too small or too large.", fix="Give 1000 and 300.")
    return page_rows, quiet_s


@asynccontextmanager
async def tapping(
    settings: Mapping[str, str],
    streams: Mapping[str, Stream],
    *,
    starting: Callable[[Path, float], Telling],
    leave: Leave,
) -> AsyncGenerator[TapSession]:
    """Open a session with a program that `starting` returns, for a folder of its own and the seconds it may be quiet.

    Raises ConnectorError when the settings cannot be right.
    """
    page_rows, quiet_s = bounds(settings)
    folder = await asyncio.to_thread(TemporaryDirectory[str], prefix="isthmus-tap-", ignore_cleanup_errors=True)
    with folder as home:
        try:
            telling = starting(Path(home), quiet_s)
        except FeedTrouble as error:
            raise ConnectorError(error.detail, fix=error.fix) from error
        yield TapSession(telling, streams, page_rows=page_rows, leave=leave)
