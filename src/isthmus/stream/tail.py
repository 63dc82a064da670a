"""Reading the log as it grows: from the tail in Valkey while it is there, from PostgreSQL when not, and across gaps."""

import asyncio
from typing import Literal

from msgspec import Struct

from isthmus.store.database import Database
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker, BrokerAway, Entry
from isthmus.stream.envelope import envelopes_json
from isthmus.stream.event import events_after, head_of, within

EVENTS_MAX = 512
POLL_S = 0.05
WAIT_S_MAX = 0.5
POLLS_BETWEEN_TRIES = 20
ASKED_S_MAX = 0.5


class TailState(Struct, frozen=True):
    """Whether the tail in Valkey is `there`, `away`, or not used (`none`), and the last number in it."""

    place: Literal["there", "away", "none"]
    last: int = 0


class Tail:
    """The growing log of every workspace, in order and without gaps."""

    def __init__(self, *, database: Database, schema: Schema, broker: Broker | None, poll_s: float = POLL_S) -> None:
        """Without `broker` the log is looked at every `poll_s` seconds."""
        self._database, self._schema, self._broker, self._poll_s = database, schema, broker, poll_s
        self._polls_left = 0

    async def close(self) -> None:
        """Close the connections to the broker."""
        if self._broker is not None:
            await self._broker.close()

    async def state(self, workspace: int) -> TailState:
        """Ask whether the tail is there, for half a second at most; without it everything goes on from the log."""
        if self._broker is None:
            return TailState("none")
        try:
            async with asyncio.timeout(ASKED_S_MAX):
                return TailState("there", await self._broker.last(workspace))
        except (BrokerAway, TimeoutError):
            return TailState("away")

    async def head(self, workspace: int) -> int:
        """Return the number of the last stamped event."""
        async with self._database.plain() as connection, within(connection, workspace):
            return await head_of(connection)

    async def next(self, workspace: int, *, after: int) -> list[Entry]:
        """Return the entries that follow `after`, the first of them `after + 1`; none when nothing came for a while.

        Raises DatabaseAway.
        """
        if self._broker is not None and self._polls_left == 0:
            try:
                found = await self._broker.read(workspace, after=after, limit=EVENTS_MAX, wait_s=WAIT_S_MAX)
            except BrokerAway:
                self._polls_left = POLLS_BETWEEN_TRIES
            else:
                if found and found[0].seq == after + 1:
                    return _unbroken(found, after=after)
                # Nothing, or a gap: the log knows better. Nobody may be publishing, or the tail was trimmed or lost.
                return await self.kept(workspace, after=after)
        self._polls_left = max(0, self._polls_left - 1)
        found = await self.kept(workspace, after=after)
        if not found:
            await asyncio.sleep(self._poll_s)
        return found

    async def kept(self, workspace: int, *, after: int, limit: int = EVENTS_MAX) -> list[Entry]:
        """Return the entries that follow `after` in the log itself, without waiting."""
        async with self._database.plain() as connection, within(connection, workspace):
            events = await events_after(connection, after=after, limit=limit)
        bodies = envelopes_json(events, workspace=workspace, schema=self._schema)
        return [Entry(each.seq, each.type, body) for each, body in zip(events, bodies, strict=True)]


def _unbroken(found: list[Entry], *, after: int) -> list[Entry]:
    """Return the entries up to the first gap; what stands in the gap comes from the log with the next call."""
    if found[-1].seq == after + len(found):
        return found
    return [each for number, each in enumerate(found, after + 1) if each.seq == number]
