"""Endpoints served: events written down for them as the log grows, and sent. Several programs may do so at once."""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import LiteralString
from uuid import UUID

import psycopg
import structlog

from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import IsthmusError, Unavailable
from isthmus.store.database import Database, Scope
from isthmus.store.schema import Schema
from isthmus.stream.consume import consume
from isthmus.stream.envelope import MEDIA_TYPE, envelope_json, message_id_of
from isthmus.stream.event import Event, events_at
from isthmus.stream.topics import Topics
from isthmus.stream.webhooks.claiming import BATCH, Batch, Sent, Taken, claim, settle
from isthmus.stream.webhooks.deliveries import delivering
from isthmus.stream.webhooks.endpoints import EndpointMissing, endpoint_of
from isthmus.stream.webhooks.sending import Answered, Sender
from isthmus.stream.webhooks.signing import headers_of
from isthmus.vault import Vault

POLL_S = 0.05
RETRY_S = 0.5
WAITING_MAX = 200
FLYING_MAX, SWIFT_S = 4 * BATCH, 1.0
GATHER_S = 0.02
FORGOTTEN = "The log has forgotten the event."
_BEHIND: LiteralString = "select workspace, endpoint_id from webhooks_behind(%s)"
_DUE: LiteralString = "select workspace, endpoint_id from webhooks_due(%s)"
_Place = tuple[int, UUID]
_log = structlog.get_logger("isthmus.stream.webhooks")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What serving endpoints needs; `chance` moves retries apart."""

    database: Database
    vault: Vault
    schema: Schema
    topics: Topics
    sender: Sender
    clock: Clock
    chance: Random

    def scope(self, workspace: int) -> Scope:
        """Return the scope of work for endpoints of a workspace, of this moment."""
        return Scope(workspace=workspace, actor="system:webhooks", cause="webhooks", now=self.clock.now())


@dataclass
class Webhooks:
    """Serves the endpoints of all workspaces."""

    serving: Serving
    poll_s: float = POLL_S
    _flying: dict[_Place, int] = field(default_factory=dict[_Place, int])
    _swift: dict[_Place, int] = field(default_factory=dict[_Place, int])
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _landed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Write down and send until cancelled; losses of the database are waited out."""
        try:
            while True:
                self._landed.clear()
                try:
                    moved = await self.read() + await self.begin()
                except (Unavailable, psycopg.OperationalError, psycopg.InterfaceError):
                    await asyncio.sleep(RETRY_S)
                    continue
                if not moved:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self.poll_s):
                            await self._landed.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Give up what is on its way; its leases end, and somebody else sends it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.serving.sender.close()

    async def read(self) -> int:
        """Write down what endpoints are to be told that stand behind the log; returns how many events were taken."""
        taken = 0
        for workspace, endpoint in await self._places(_BEHIND, (WAITING_MAX,)):
            with _each_for_itself(endpoint):
                taken += await self._read(workspace, endpoint)
        return taken

    async def begin(self) -> int:
        """Begin to send what is due; returns how many deliveries."""
        begun = 0
        for place in await self._places(_DUE, (self.serving.clock.now(),)):
            room = self._swift.get(place, BATCH) - self._flying.get(place, 0)
            batch = await self._claim(place, room) if room > 0 else None
            if batch is not None:
                begun += len(batch.taken)
                self._flying[place] = self._flying.get(place, 0) + len(batch.taken)
                task = asyncio.create_task(self._send(place, batch))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
        return begun

    async def idle(self) -> None:
        """Wait until nothing is on its way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._landed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # What it took comes again when its lease ends.
            _log.warning("webhooks not settled", error=type(error).__name__)

    async def _places(self, query: LiteralString, given: Sequence[object]) -> list[_Place]:
        async with self.serving.database.plain() as connection:
            rows = await (await connection.execute(query, given, prepare=True)).fetchall()
        return [(int(workspace), endpoint) for workspace, endpoint in rows]

    async def _read(self, workspace: int, endpoint: UUID) -> int:
        serving = self.serving
        scope = serving.scope(workspace)
        async with serving.database.transaction(scope) as tx:
            try:
                found = await endpoint_of(tx, endpoint)
            except EndpointMissing:
                return 0
        types = serving.topics.chosen(found.chosen, areas=found.areas)
        telling = delivering(found, types, vault=serving.vault, schema=serving.schema)
        return await consume(serving.database, telling, scope)

    async def _claim(self, place: _Place, room: int) -> Batch | None:
        workspace, endpoint = place
        batch = None
        with _each_for_itself(endpoint):
            async with self.serving.database.transaction(self.serving.scope(workspace)) as tx:
                batch = await claim(tx, self.serving.vault, endpoint, limit=room)
        return batch

    async def _send(self, place: _Place, batch: Batch) -> None:
        """Send a batch, and write down in groups how its deliveries went, none waiting for the slowest."""
        workspace, endpoint = place
        calls: set[asyncio.Task[Sent]] = set()
        settled, began = 0, self.serving.clock.now()
        try:
            events = await self._events(workspace, batch)
            calls = {
                asyncio.create_task(self._call(workspace, batch, each, events.get(each.seq))) for each in batch.taken
            }
            while calls:
                done, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                if calls:
                    more, calls = await asyncio.wait(calls, timeout=GATHER_S)
                    done |= more
                sent = [each.result() for each in done]
                async with self.serving.database.transaction(self.serving.scope(workspace)) as tx:
                    await settle(tx, self.serving.vault, endpoint, sent, chance=self.serving.chance)
                settled += len(sent)
                self._learn(place, sent, began=began)
                self._free(place, len(sent))
        finally:
            for each in calls:
                each.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            self._free(place, len(batch.taken) - settled)

    def _learn(self, place: _Place, sent: Sequence[Sent], *, began: datetime) -> None:
        """Have more on its way to an endpoint that takes all of it at once, and no more than a batch to others."""
        swift = (self.serving.clock.now() - began).total_seconds() < SWIFT_S and all(
            each.answered.taken for each in sent
        )
        self._swift[place] = min(FLYING_MAX, 2 * self._swift.get(place, BATCH)) if swift else BATCH

    def _free(self, place: _Place, count: int) -> None:
        left = self._flying.get(place, 0) - count
        if left > 0:
            self._flying[place] = left
        else:
            self._flying.pop(place, None)
        self._landed.set()

    async def _events(self, workspace: int, batch: Batch) -> Mapping[int, Event]:
        async with self.serving.database.transaction(self.serving.scope(workspace)) as tx:
            found = await events_at(tx.connection, [each.seq for each in batch.taken])
        return {each.seq: each for each in found}

    async def _call(self, workspace: int, batch: Batch, taken: Taken, event: Event | None) -> Sent:
        now = self.serving.clock.now()
        if event is None:
            return Sent(taken=taken, at=now, answered=Answered(status=None, took_ms=0, failure=FORGOTTEN, called=False))
        body = envelope_json(event, workspace=workspace, schema=self.serving.schema)
        own = message_id_of(event, workspace=workspace)
        signed = headers_of(own, body, batch.secrets, batch.endpoint.kind, now=now)
        headers = {**signed, "content-type": MEDIA_TYPE}
        answered = await self.serving.sender.send(batch.endpoint.url, body, headers)
        return Sent(taken=taken, at=now, answered=answered)


@contextmanager
def _each_for_itself(endpoint: UUID) -> Generator[None]:
    """Let what is wrong with one endpoint, such as a secret that cannot be opened, keep back no other."""
    try:
        yield
    except Unavailable:
        raise
    except IsthmusError as error:
        _log.warning("webhook not served", endpoint=str(endpoint), code=error.code)
