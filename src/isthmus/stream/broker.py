"""The short tail of the log in Valkey: a stream for each workspace, whose ids are the events' own numbers.

Events that are sent together lie together, since what an entry costs (here and there, to send, keep and read) is many
times what an event in it does.

Valkey may be lost at any moment: PostgreSQL is the log, and what is missing here is read there.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol, TypeAlias, cast

import libvalkey
from msgspec import Struct
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from isthmus.kernel.errors import Unavailable

TAIL_EVENTS_MAX = 10_000
TOGETHER_MAX = 64
GROWN = "isthmus:grown"
"""The channel on which writers tell the relay in which workspaces they committed events."""
_ANSWER_S_MAX = 5.0
_Reply: TypeAlias = "int | bytes | list[_Reply] | None"

# An entry holds up to 64 events, under the number of the last; their types are told once where they are all the same.
# Entries are added only when the stream ends where the caller believes it does, so that a repeated or a raced call adds
# nothing twice and leaves no gap. The answer is where the stream ends now.
_APPEND = """
local last = 0
local found = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not found.err then
    for i = 1, #found, 2 do
        if found[i] == 'last-generated-id' then last = tonumber(string.match(found[i + 1], '^%d+')) end
    end
end
if last ~= tonumber(ARGV[1]) then return last end
for i = 3, #ARGV, 3 do
    last = tonumber(ARGV[i])
    redis.call('XADD', KEYS[1], 'MINID', '~', math.max(0, last - ARGV[2]), ARGV[i] .. '-0', 'types', ARGV[i + 1],
               'events', ARGV[i + 2])
end
return last
"""


class BrokerAway(Unavailable):
    """Valkey does not answer; everything goes on through PostgreSQL."""

    code, title = "broker-away", "The stream does not answer"


class Entry(Struct, frozen=True):
    """One event in the tail: `body` is its outside form in JSON."""

    seq: int
    type: str
    body: bytes


class _Connection(Protocol):
    def send_packed_command(self, command: bytes, *, check_health: bool = ...) -> Awaitable[None]: ...

    def read_response(self) -> Awaitable[_Reply]: ...

    def disconnect(self, *, nowait: bool = ...) -> Awaitable[None]: ...


class _Pool(Protocol):
    def get_connection(self, command_name: str) -> Awaitable[_Connection]: ...

    def release(self, connection: _Connection) -> Awaitable[None]: ...


class _Listener(Protocol):
    def subscribe(self, *channels: str) -> Awaitable[None]: ...

    def listen(self) -> AsyncGenerator[dict[str, str | bytes]]: ...

    def aclose(self) -> Awaitable[None]: ...


class Broker:
    """The streams of all workspaces in one Valkey. All methods raise BrokerAway."""

    def __init__(self, client: Valkey, *, events_max: int = TAIL_EVENTS_MAX) -> None:
        """`client` answers in bytes (the default); about `events_max` events are kept for each workspace.

        It has no `socket_timeout`: with one it can swallow a cancellation, in Python 3.11. Waits are bounded here.
        """
        self._client = client
        self.events_max = events_max

    async def append(self, workspace: int, entries: Sequence[Entry], *, follows: int) -> int:
        """Add entries if the stream ends at `follows`; returns where it ends now."""
        arguments: list[str | bytes | int] = [follows, self.events_max]
        for start in range(0, len(entries), TOGETHER_MAX):
            arguments += packed(entries[start : start + TOGETHER_MAX])
        return cast("int", await self._ask("EVAL", _APPEND, 1, _key(workspace), *arguments))

    async def last(self, workspace: int) -> int:
        """Return where the stream ends, 0 for none; entries trimmed since count."""
        return await self.append(workspace, (), follows=-1)

    async def drop(self, workspace: int) -> None:
        """Forget the stream, because it is not of this log."""
        await self._ask("DEL", _key(workspace))

    async def heard(self) -> AsyncGenerator[int]:
        """Yield the workspaces of which somebody tells that events were committed; 0 once it can be heard."""
        listener = cast("Callable[[], _Listener]", self._client.pubsub)()
        try:
            await listener.subscribe(GROWN)
            async with aclosing(listener.listen()) as messages:
                async for each in messages:
                    yield 0 if each["type"] == "subscribe" else int(each["data"])
        except (ValkeyError, OSError) as error:
            raise _away() from error
        finally:
            await listener.aclose()

    async def read(self, workspace: int, *, after: int, limit: int, wait_s: float) -> list[Entry]:
        """Return at most `limit` entries later than `after`, waiting up to `wait_s` for the first.

        There may be a gap before it.
        """
        block = max(1, round(wait_s * 1000))
        place = ("STREAMS", _key(workspace), f"{after}-0")
        reply = await self._ask("XREAD", "COUNT", -(-limit // TOGETHER_MAX), "BLOCK", block, *place, wait_s=wait_s)
        streams = cast("list[tuple[bytes, list[tuple[bytes, list[bytes]]]]]", reply or [])
        found = [
            each
            for _, kept in streams
            for entry_id, (_, types, _, events) in kept
            for each in unpacked(entry_id, types, events)
        ]
        # The first may lie together with what was read before.
        known = max(0, after + 1 - found[0].seq) if found else 0
        return found[known : known + limit]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, *command: str | bytes | int, wait_s: float = 0.0) -> _Reply:
        """Send one command; packed and read by libvalkey alone, which costs a third of the client's own way."""
        pool = cast("_Pool", self._client.connection_pool)
        try:
            async with asyncio.timeout(wait_s + _ANSWER_S_MAX):
                connection = await pool.get_connection(str(command[0]))
                try:
                    await connection.send_packed_command(libvalkey.pack_command(command), check_health=False)
                    return await connection.read_response()
                except BaseException:
                    # Whatever was on its way would be taken for the answer to the next command.
                    await connection.disconnect(nowait=True)
                    raise
                finally:
                    await pool.release(connection)
        except (ValkeyError, OSError, TimeoutError) as error:
            raise _away() from error


def packed(entries: Sequence[Entry]) -> tuple[int, str, bytes]:
    """Return the number, the types and the events of what lies together; JSON has no line breaks."""
    types = [each.type for each in entries]
    told = types[:1] if types.count(types[0]) == len(types) else types
    return entries[-1].seq, "\n".join(told), b"\n".join([each.body for each in entries])


def unpacked(own: bytes, types: bytes, events: bytes) -> list[Entry]:
    """Return the events that lie together in the stream, whose id and two fields are given."""
    last, bodies, kinds = int(own[: own.index(b"-")]), events.split(b"\n"), types.decode().split("\n")
    told = kinds * len(bodies) if len(kinds) == 1 else kinds
    return list(map(Entry, range(last + 1 - len(bodies), last + 1), told, bodies))


def _away() -> BrokerAway:
    return BrokerAway("Valkey does not answer.", fix="Run: isthmus doctor")


def _key(workspace: int) -> str:
    return f"isthmus:{{{workspace}}}"
