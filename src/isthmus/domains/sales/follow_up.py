"""Follow-ups: small durable workflows on leads. A step's effect commits with its advance, so it happens once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.audit.trace import trace
from isthmus.domains import Moment
from isthmus.domains.sales.records import LeadStatus
from isthmus.domains.sales.settings import Condition, FollowUpDefinition, Notify, Task, Wait
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, IsthmusError
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.store.records import Stored, find
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, arrive
from isthmus.vault import entropy

TICK_ROWS_MAX = 200
NOTIFIED = "isthmus.sales.lead.notified.v1"
_COLUMNS: LiteralString = """
select id, lead_id, definition, state, position, due_at, started_at, ended_at, reason, log from follow_up
where workspace = current_workspace()
"""
_START: LiteralString = """
insert into follow_up (workspace, id, lead_id, definition, state, due_at, started_at)
values (current_workspace(), %s, %s, %s, 'running', %s, %s)
on conflict (workspace, lead_id) where state in ('running', 'paused') do nothing
"""
_KEEP: LiteralString = """
update follow_up set state = %s, position = %s, due_at = %s, ended_at = %s, reason = %s, log = %s
where workspace = current_workspace() and id = %s
"""
_CANCEL: LiteralString = """
update follow_up set state = 'cancelled', due_at = null, ended_at = %s, reason = %s
where workspace = current_workspace() and lead_id = any(%s) and state in ('running', 'paused')
"""
_TELL: LiteralString = """
insert into event (workspace, type, record_type, record_id, account_id, hlc, changed, actor, cause, at)
values (current_workspace(), %s, 'sales.lead', %s, %s, %s, '{}', %s, %s, %s)
"""


class NoFollowUp(Conflicting):
    """The lead has no follow-up in the state that the change needs."""

    code, title = "no-follow-up", "There is no such follow-up"


class Entry(Struct, frozen=True, kw_only=True):
    """One thing that was done, or decided."""

    at: Moment
    step: str
    what: str


class FollowUp(Struct, frozen=True, kw_only=True):
    """A follow-up as it stands: `position` is the step that comes next, at `due_at`."""

    id: UUID
    lead_id: UUID
    definition: FollowUpDefinition
    state: str
    position: int
    due_at: datetime | None
    started_at: datetime
    ended_at: datetime | None
    reason: str
    log: list[Entry]


async def start(tx: Transaction, lead_ids: Sequence[UUID], definition: FollowUpDefinition) -> None:
    """Start a follow-up on each lead that has none running; its first step is due at once."""
    text = msgspec.json.encode(definition).decode()
    now = tx.scope.now
    ids = mint_many(unix_ms=milliseconds(now), count=len(lead_ids), entropy=entropy(len(lead_ids) * ENTROPY_BYTES))
    rows = [(own, each, text, now, now) for own, each in zip(ids, lead_ids, strict=True)]
    async with tx.connection.cursor() as cursor:
        await cursor.executemany(_START, rows)


async def cancel(tx: Transaction, lead_ids: Sequence[UUID], *, reason: str) -> int:
    """End what runs or rests on these leads; returns how many follow-ups that were."""
    return (await tx.connection.execute(_CANCEL, (tx.scope.now, reason, list(lead_ids)))).rowcount


async def latest(tx: Transaction, lead_ids: Sequence[UUID]) -> dict[UUID, FollowUp]:
    """Return the last follow-up of each lead that ever had one."""
    query = _COLUMNS + " and lead_id = any(%s) order by lead_id, started_at, id"
    cursor = await tx.connection.execute(query, (list(lead_ids),))
    return {each.lead_id: each for each in map(_follow_up, await cursor.fetchall())}


async def pause(tx: Transaction, lead_id: UUID) -> None:
    """Let a follow-up rest; raises NoFollowUp."""
    await _turn(tx, lead_id, given="running", wanted="paused")


async def resume(tx: Transaction, lead_id: UUID) -> None:
    """Let a resting follow-up go on where it was: what fell due meanwhile is done at once. Raises NoFollowUp."""
    await _turn(tx, lead_id, given="paused", wanted="running")


async def _turn(tx: Transaction, lead_id: UUID, *, given: str, wanted: str) -> None:
    changed = await tx.connection.execute(
        "update follow_up set state = %s where workspace = current_workspace() and lead_id = %s and state = %s",
        (wanted, lead_id, given),
    )
    if changed.rowcount != 1:
        raise NoFollowUp(f"No follow-up of this lead is {given}.", fix="Read the lead to see how it stands.")
    details = {"before": given, "after": wanted}
    await trace(tx, action=f"follow_up.{wanted}", resource="sales.lead", record_id=lead_id, details=details)


async def workspaces_with_work(store: Store, *, now: datetime) -> list[int]:
    """Return the workspaces in which a follow-up, or a look at the CRM, is due."""
    async with store.database.plain() as connection:
        cursor = await connection.execute("select workspaces_with_due_follow_ups(%s)", (now,))
        return [int(row[0]) for row in await cursor.fetchall()]


async def advance_due(store: Store, scope: Scope, *, limit: int = TICK_ROWS_MAX) -> int:
    """Advance follow-ups of a workspace that are due at `scope.now`; returns how many. Several workers may do so."""
    async with store.database.transaction(scope) as tx:
        query = _COLUMNS + " and state = 'running' and due_at <= %s order by due_at limit %s for update skip locked"
        cursor = await tx.connection.execute(query, (scope.now, limit))
        due = [_follow_up(row) for row in await cursor.fetchall()]
        leads = await find(tx, store.vault, store.schema["sales.lead"], [each.lead_id for each in due])
        for each in due:
            run = _Run(tx, store, each, leads.get(each.lead_id))
            try:
                async with tx.connection.transaction():
                    await run.advance()
            except IsthmusError as error:
                await _keep(tx, msgspec.structs.replace(each, state="paused", reason=error.detail))
        return len(due)


@dataclass
class _Run:
    """One follow-up on its way through the steps that are due now."""

    tx: Transaction
    store: Store
    follow_up: FollowUp
    lead: Stored | None

    async def advance(self) -> None:
        lead, own, now = self.lead, self.follow_up, self.tx.scope.now
        if lead is None or lead.deleted_at is not None or lead.merged_into is not None:
            await self._end("cancelled", "The lead is gone.")
            return
        steps = own.definition.steps
        for position in range(own.position, len(steps)):
            match steps[position]:
                case Wait(hours=hours):
                    self._log("wait", f"Waits {hours:g} hours")
                    own = self.follow_up
                    due_at = now + timedelta(hours=hours)
                    await _keep(self.tx, msgspec.structs.replace(own, position=position + 1, due_at=due_at))
                    return
                case Condition(status=wanted):
                    status = LeadStatus(str(lead.values.get("status") or LeadStatus.NEW))
                    if status not in wanted:
                        self._log("condition", f"The lead is {status}")
                        await self._end("done", f"The lead is {status}, so nothing more is to be done.")
                        return
                case Task() as task:
                    await self._task(task, position, lead)
                case Notify(text=text):
                    self._log("notify", text)
                    await self._tell(lead)
        await self._end("done", "All steps are done.")

    def _log(self, step: str, what: str) -> None:
        entry = Entry(at=self.tx.scope.now, step=step, what=what)
        self.follow_up = msgspec.structs.replace(self.follow_up, log=[*self.follow_up.log, entry])

    async def _task(self, task: Task, position: int, lead: Stored) -> None:
        now = self.tx.scope.now
        fields: dict[str, Json] = {
            "kind": "task",
            "subject": task.title,
            "completed": False,
            "outbound": True,
            "due_at": (now + timedelta(hours=task.due_hours)).isoformat(),
            "lead_id": str(lead.id),
            **{name: lead.values.get(name) for name in ("owner_id", "person_id", "account_id")},
        }
        arrival = Arrival(external_id=f"follow-up:{self.follow_up.id}:{position}", fields=fields)
        await arrive(self.tx, self.store, "sales.activity", [arrival])
        self._log("task", task.title)

    async def _tell(self, lead: Stored) -> None:
        scope = self.tx.scope
        account = lead.values.get("account_id")
        row = (NOTIFIED, lead.id, account, lead.hlc, scope.actor, scope.cause, scope.now)
        await self.tx.connection.execute(_TELL, row)

    async def _end(self, state: str, reason: str) -> None:
        ended = msgspec.structs.replace(
            self.follow_up,
            state=state,
            reason=reason,
            position=len(self.follow_up.definition.steps),
            due_at=None,
            ended_at=self.tx.scope.now,
        )
        await _keep(self.tx, ended)


async def _keep(tx: Transaction, each: FollowUp) -> None:
    log = msgspec.json.encode(each.log).decode()
    row = (each.state, each.position, each.due_at, each.ended_at, each.reason, log, each.id)
    await tx.connection.execute(_KEEP, row)


def _follow_up(row: tuple[object, ...]) -> FollowUp:
    return msgspec.convert(dict(zip(FollowUp.__struct_fields__, row, strict=True)), FollowUp)
