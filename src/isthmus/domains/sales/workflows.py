"""What the steps of workflows do for leads: tasks and messages are activities, and subscribers hear of the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString, Protocol
from uuid import UUID

from isthmus.domains.sales.follow_up import LATEST, LEAD, NAME, STEPS
from isthmus.domains.sales.messages import ACTIVITY, obstacle
from isthmus.domains.sales.settings import FollowUpDefinition, SalesSettings
from isthmus.kernel.marks import Json
from isthmus.store.records import find
from isthmus.stream.workflows.definition import Escalate, Notify, Send, Task
from isthmus.stream.workflows.subject import At, Effects, Made, Standard, Subject
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, arrive, edit_many, settings_of
from isthmus.sync.messages import chosen, deliverers
from isthmus.sync.runs import Engine

PURPOSE = "sales"
NOTIFIED, ESCALATED = "isthmus.sales.lead.notified.v1", "isthmus.sales.lead.escalated.v1"
_TELL: LiteralString = """
insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
values (current_workspace(), %s, 'sales.lead', array[%s::uuid], array[%s::uuid], array[%s::bigint], '{}', %s,
        %s, %s)
"""


class Holding(Protocol):
    """What these steps work with."""

    @property
    def store(self) -> Store:
        """The store."""
        ...

    @property
    def engine(self) -> Engine:
        """What running connections needs."""
        ...


@dataclass(frozen=True)
class LeadEffects:
    """The steps for leads."""

    store: Store
    connectors: Mapping[str, Connector]

    async def begun(self, at: At, *, owner: str) -> UUID | None:
        """Nothing more than the run is needed."""
        del at, owner
        return None

    async def task(self, at: At, step: Task) -> Made:
        """Write the task down as an activity that is not completed."""
        (made,) = await self.tasks([(at, step)])
        return made

    async def tasks(self, given: Sequence[tuple[At, Task]]) -> list[Made]:
        """Write tasks down as activities that are not completed, all at once."""
        due = [at.tx.scope.now + timedelta(hours=step.due_hours) for at, step in given]
        fields: list[dict[str, Json]] = [
            {
                "kind": "task",
                "subject": step.title,
                "completed": False,
                "outbound": True,
                "due_at": due_at.isoformat(),
                **({"owner_id": step.owner} if step.owner else {}),
            }
            for (_, step), due_at in zip(given, due, strict=True)
        ]
        records = await self._activities([(at, own) for (at, _), own in zip(given, fields, strict=True)])
        return [
            Made(position=at.position, record=record, title=step.title, due_at=due_at)
            for (at, step), record, due_at in zip(given, records, due, strict=True)
        ]

    async def is_done(self, at: At, made: Made) -> bool:
        """Tell whether the activity is completed, or gone."""
        found = await find(at.tx, self.store.vault, self.store.schema[ACTIVITY], [made.record])
        task = found.get(made.record)
        return task is None or task.deleted_at is not None or task.values.get("completed") is not False

    async def send(self, at: At, step: Send) -> str:
        """Write the message down as an activity, which the connection delivers once; say why where it may not go."""
        connection, why = chosen(
            await deliverers(at.tx, self.connectors, message=ACTIVITY), through=step.through, message=ACTIVITY
        )
        if connection is None:
            return f"Not sent: {why}"
        reason = await obstacle(at.tx, self.store, at.record, purpose=step.purpose or PURPOSE)
        if reason is not None:
            return f"Not sent: {reason}"
        fields: dict[str, Json] = {
            "kind": "email",
            "subject": step.subject,
            "body": step.text,
            "completed": False,
            "outbound": True,
            "at": at.tx.scope.now.isoformat(),
        }
        await self._activities([(at, fields)])
        return f"{step.subject} (by {connection})"

    async def notify(self, at: At, step: Notify) -> str:
        """Tell subscribers."""
        await self._tell(at, NOTIFIED)
        return step.text

    async def escalate(self, at: At, step: Escalate, made: Made) -> str:
        """Tell subscribers, and give the task and the lead to somebody else where that is wanted."""
        settings = await settings_of(at.tx, "sales", SalesSettings)
        to = step.to or settings.fallback_owner
        await self._tell(at, ESCALATED)
        if not step.reassign:
            return f"{made.title} is not done; {to} is told."
        await edit_many(at.tx, self.store, ACTIVITY, {made.record: {"owner_id": to}})
        await edit_many(at.tx, self.store, LEAD, {at.record.id: {"owner_id": to}})
        return f"{made.title} is not done; it goes to {to}."

    async def ended(self, at: At, *, state: str, reason: str) -> None:
        """Nothing stands for the run."""
        del at, state, reason

    async def _activities(self, given: Sequence[tuple[At, dict[str, Json]]]) -> list[UUID]:
        arrivals: list[Arrival] = []
        for at, fields in given:
            lead, external_id = at.record, f"follow-up:{at.key}"
            links = {name: lead.values.get(name) for name in ("owner_id", "person_id", "account_id")}
            own: dict[str, Json] = {"lead_id": str(lead.id), **links, **fields}
            arrivals.append(Arrival(external_id=external_id, fields=own))
            at.tx.causes[external_id] = at.tx.scope.cause
        records: list[UUID] = []
        for done in await arrive(given[0][0].tx, self.store, ACTIVITY, arrivals):
            if done.record_id is None:
                raise AssertionError(done.faults)
            records.append(done.record_id)
        return records

    async def _tell(self, at: At, event: str) -> None:
        scope, lead = at.tx.scope, at.record
        row = (event, lead.id, lead.values.get("account_id"), lead.hlc, scope.actor, scope.cause, scope.now)
        await at.tx.connection.execute(_TELL, row)
        at.tx.grown.add(scope.workspace)


def lead_effects(holding: Holding) -> Effects:
    """Return what does the steps."""
    return LeadEffects(holding.store, holding.engine.connectors)


WORKFLOWS: tuple[Subject[Holding], ...] = (
    Subject(
        type=LEAD,
        can=STEPS,
        effects=lead_effects,
        cues={"captured": "A lead was captured; the workflow follow-up alone follows it."},
        latest=LATEST,
        standards=(Standard(name=NAME, definition=FollowUpDefinition().definition),),
    ),
)
