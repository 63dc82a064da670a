"""Waiting until nothing is left to be done, and reading what is there then."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString, cast
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from isthmus.app.bench.chaos.hearing import Receiver
from isthmus.app.bench.chaos.judging import Effect, Found, Written
from isthmus.app.bench.chaos.parts import CAREFUL, CARELESS
from isthmus.app.clock import SystemClock
from isthmus.app.engines import running_engines
from isthmus.app.settings import Settings
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database, Scope
from isthmus.stream.broker import unpacked

_LOOK_S = 0.2
_STREAM = "isthmus:{{{workspace}}}"
_LEFT: LiteralString = """
select (select count(*) from event_bundle where workspace = current_workspace() and first is null)
     + (select count(*) from webhook_delivery where workspace = current_workspace() and done_at is null)
     + (select count(*) from job where workspace = current_workspace() and due_at <= clock_timestamp()
        and (status in ('pending', 'retrying', 'running') or kind like 'bench.%%' and status <> 'healthy'))
     + (select count(*) from parked where workspace = current_workspace())
     + (select count(*) from sales_lead l where l.workspace = current_workspace()
        and l.status not in ('disqualified', 'converted')
        and not exists (select from sales_activity a where a.workspace = l.workspace and a.lead_id = l.id))
     + (select count(*) from idempotency where workspace = current_workspace() and answer is null)
     + (select count(*) from consumers_behind(%s) b where b.workspace = current_workspace())
"""
_HASTEN: tuple[LiteralString, ...] = (
    """update webhook_delivery set due_at = clock_timestamp()
       where workspace = current_workspace() and done_at is null""",
    """update webhook_health set closed_until = clock_timestamp()
       where workspace = current_workspace() and closed_until is not null""",
    """update idempotency set leased_until = clock_timestamp()
       where workspace = current_workspace() and answer is null""",
)
_EVENTS: LiteralString = """
select e.seq, e.id, e.type, e.record_id, e.account_id, e.hlc,
       exists (select from audit a where a.workspace = e.workspace and a.record_id = e.record_id
               and a.request_id = e.cause)
from event e where e.workspace = current_workspace() order by e.id
"""
_EFFECTS: LiteralString = """
select place, seq, record_id, account_id from chaos_effect where consumer = %s order by place
"""
_DEALS: LiteralString = """
select record_id, hlc, fields ->> 'next_step' from claim
where workspace = current_workspace() and type = 'sales.deal' and system = 'isthmus' order by record_id, hlc
"""
_TASKS: LiteralString = """
select lead_id, count(*) from sales_activity where workspace = current_workspace() and lead_id is not null group by 1
"""
_HEALED: LiteralString = """
select extract(epoch from told_at), extract(epoch from done_at) from chaos_effect where consumer = %s
"""


@dataclass(kw_only=True)
class Ground:
    """Where everything is read; `behind` names the consumers that must have read the whole log."""

    database: Database
    settings: Settings
    workspace: int
    receiver: Receiver
    behind: Sequence[str]

    def scope(self) -> Scope:
        """Return the scope of reading."""
        return Scope(workspace=self.workspace, actor="bench", cause="bench", now=SystemClock().now())

    async def rows(self, query: LiteralString, given: Sequence[object] = ()) -> list[TupleRow]:
        """Return the rows of one query."""
        async with self.database.transaction(self.scope()) as tx:
            return await (await tx.connection.execute(query, given or None)).fetchall()

    async def hasten(self) -> None:
        """End the leases of the dead now, instead of waiting for them."""
        async with self.database.transaction(self.scope()) as tx:
            for each in _HASTEN:
                await tx.connection.execute(each)

    async def settled(self, *, hasty: bool, seconds: float) -> int:
        """Wait until nothing is left to be done; returns how much was left after `seconds`, 0 if nothing was."""
        over = time.monotonic() + seconds
        left = -1
        while left != 0 and time.monotonic() < over:
            try:
                if hasty:
                    await self.hasten()
                left = await self._left()
            except (Unavailable, psycopg.Error, ValkeyError, OSError):
                left = -1
            await asyncio.sleep(_LOOK_S)
        return left

    async def _left(self) -> int:
        (left,) = (await self.rows(_LEFT, (list(self.behind),)))[0]
        return int(left) + abs(await self.head() - (await self.tail())[0])

    async def head(self) -> int:
        """Return where the log ends."""
        rows = await self.rows("select seq from event_head where workspace = current_workspace()")
        return int(rows[0][0]) if rows else 0

    async def tail(self) -> tuple[int, Mapping[int, str]]:
        """Return where the stream ends, and the message id in each of its entries; it ends at -1 without Valkey."""
        running = await asyncio.to_thread(running_engines, settings=self.settings.engines)
        if running is None or running.valkey is None:
            return -1, {}
        client = Valkey(**running.valkey.arguments)
        try:
            entries = cast(
                "list[tuple[bytes, dict[bytes, bytes]]]",
                await client.xrange(_STREAM.format(workspace=self.workspace)),
            )
        finally:
            await client.aclose()
        found = [each for own, said in entries for each in unpacked(own, said[b"types"], said[b"events"])]
        told = {each.seq: str(json.loads(each.body)["id"]) for each in found}
        return max(told, default=0), told

    async def found(self, *, unfinished: int, told_after: int, follow_ups: Mapping[UUID, str]) -> Found:
        """Read everything; the webhook is told of events after `told_after`, and follow-ups were asked for."""
        events = [Written(*row) for row in await self.rows(_EVENTS)]
        deals: dict[UUID, list[tuple[int, str]]] = defaultdict(list)
        for record, hlc, value in await self.rows(_DEALS):
            deals[record].append((hlc, value))
        steps = await self.rows("select job_id, step, count(*) from bench_effect group by 1, 2")
        jobs = await self.rows("select count(*) from job where workspace = current_workspace() and kind like 'bench.%'")
        leads = await self.rows("select id from sales_lead where workspace = current_workspace()")
        messages = {each.seq: f"{self.workspace}-{each.id}" for each in events if each.seq is not None}
        to_tell = {seq: own for seq, own in messages.items() if seq > told_after}
        end, told = await self.tail()
        return Found(
            events=events,
            effects=[Effect(*row) for row in await self.rows(_EFFECTS, (CAREFUL,))],
            deals=deals,
            leads=frozenset(row[0] for row in leads),
            tasks={lead: int(count) for lead, count in await self.rows(_TASKS)},
            follow_ups=follow_ups,
            delivered=dict(self.receiver.taken),
            message_ids=to_tell,
            job_steps={(job, step): int(count) for job, step, count in steps},
            jobs=int(jobs[0][0]),
            unfinished=unfinished,
            head=await self.head(),
            tail=end,
            strayed=sum(messages.get(seq) != own for seq, own in told.items()),
        )

    async def careless(self) -> int:
        """Return how many effects the consumer that is made wrongly had more than once."""
        rows = await self.rows(
            "select count(*) - count(distinct seq) from chaos_effect where consumer = %s", (CARELESS,)
        )
        return int(rows[0][0])

    async def healing(self, moments: Sequence[float]) -> list[float]:
        """Return for each moment how long it took until something that was written after it had its effect."""
        rows = sorted((float(told), float(done)) for told, done in await self.rows(_HEALED, (CAREFUL,)))
        return [min((done for told, done in rows if told > moment), default=moment) - moment for moment in moments]
