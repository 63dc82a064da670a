"""What the steps of playbooks do for accounts: an intervention stands for each run, and tasks are its steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString, Protocol
from uuid import UUID

import msgspec

from isthmus.domains.success.messages import ACTIVITY, NOBODY, addressee, obstacle
from isthmus.domains.success.playbooks import ACCOUNT, CUES, ENDS, STANDARDS
from isthmus.domains.success.records import INTERVENTION, InterventionStatus, InterventionStep
from isthmus.domains.success.settings import SuccessSettings
from isthmus.kernel.marks import LINE_MAX, Json
from isthmus.store.records import Stored, find
from isthmus.stream.workflows.advance import Crew
from isthmus.stream.workflows.definition import Escalate, Notify, Send, Task
from isthmus.stream.workflows.sight import Latest
from isthmus.stream.workflows.subject import At, Effects, Made, Subject, Subjects
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, arrive, edit_many, settings_of
from isthmus.sync.messages import chosen, deliverers
from isthmus.sync.runs import Engine

PURPOSE = "service"
NOTIFIED, ESCALATED = "isthmus.success.intervention.notified.v1", "isthmus.success.intervention.escalated.v1"
OVER = (InterventionStatus.COMPLETED, InterventionStatus.CANCELLED)
_TELL: LiteralString = """
insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
values (current_workspace(), %s, 'success.intervention', array[%s::uuid], array[%s::uuid], array[%s::bigint], '{}', %s,
        %s, %s)
"""


class Storing(Protocol):
    """What beginning a playbook works with."""

    @property
    def store(self) -> Store:
        """The store."""
        ...


class Holding(Storing, Protocol):
    """What these steps work with."""

    @property
    def engine(self) -> Engine:
        """What running connections needs."""
        ...


@dataclass(frozen=True)
class AccountEffects:
    """The steps for accounts."""

    store: Store
    connectors: Mapping[str, Connector]

    async def begun(self, at: At, *, owner: str) -> UUID | None:
        """Write the intervention down, with all tasks that are to come."""
        settings = await settings_of(at.tx, "success", SuccessSettings)
        tasks = [InterventionStep(title=each.title) for each in at.run.definition.steps if isinstance(each, Task)]
        fields: dict[str, Json] = {
            "playbook": at.run.name,
            "status": str(InterventionStatus.ACTIVE),
            "account_id": str(at.record.id),
            "owner_id": owner or at.record.values.get("owner_id") or settings.owner,
            "steps": msgspec.to_builtins(tasks),
            "started_at": at.tx.scope.now.isoformat(),
            **({"trigger": CUES[at.run.cue]} if at.run.cue in CUES else {}),
        }
        arrival = Arrival(external_id=f"playbook:{at.run.id}", fields=fields)
        (done,) = await arrive(at.tx, self.store, INTERVENTION.name, [arrival])
        return done.record_id

    async def task(self, at: At, step: Task) -> Made:
        """Say when the step of the intervention is due."""
        due_at = at.tx.scope.now + timedelta(hours=step.due_hours)
        own = await self._intervention(at)
        if own is None:
            raise AssertionError
        steps = steps_of(own)
        place = next((n for n, each in enumerate(steps) if each.title == step.title and each.due_at is None), None)
        new = InterventionStep(title=step.title, due_at=due_at, owner_id=step.owner or None)
        if place is None:
            steps = [*steps, new]
        else:
            new = msgspec.structs.replace(new, completed_at=steps[place].completed_at)
            steps = [*steps[:place], new, *steps[place + 1 :]]
        await self._edit(at, own, {"steps": msgspec.to_builtins(steps), "due_at": due_at.isoformat()})
        return Made(position=at.position, record=own.id, title=step.title, due_at=due_at)

    async def tasks(self, given: Sequence[tuple[At, Task]]) -> list[Made]:
        """Say it of many, one after another."""
        return [await self.task(at, step) for at, step in given]

    async def is_done(self, at: At, made: Made) -> bool:
        """Tell whether the step is completed, or nothing is left of it."""
        own = await self._intervention(at)
        if own is None or own.values.get("status") in OVER:
            return True
        return all(each.completed_at is not None for each in steps_of(own) if each.title == made.title)

    async def send(self, at: At, step: Send) -> str:
        """Write a message to the person down, which the connection delivers once; say why where it may not go."""
        connection, why = chosen(
            await deliverers(at.tx, self.connectors, message=ACTIVITY), through=step.through, message=ACTIVITY
        )
        if connection is None:
            return f"Not sent: {why}"
        own = await self._intervention(at)
        person = await addressee(at.tx, self.store, account=at.record, intervention=own)
        if person is None:
            return f"Not sent: {NOBODY}"
        reason = await obstacle(at.tx, self.store, person, purpose=step.purpose or PURPOSE)
        if reason is not None:
            return f"Not sent: {reason}"
        fields: dict[str, Json] = {
            "kind": "email",
            "subject": step.subject,
            "body": step.text,
            "completed": False,
            "outbound": True,
            "at": at.tx.scope.now.isoformat(),
            "account_id": str(at.record.id),
            "person_id": str(person.id),
            "owner_id": (own or at.record).values.get("owner_id"),
        }
        await arrive(at.tx, self.store, ACTIVITY, [Arrival(external_id=f"playbook:{at.key}", fields=fields)])
        return f"{step.subject} (by {connection})"

    async def notify(self, at: At, step: Notify) -> str:
        """Tell subscribers."""
        await self._tell(at, NOTIFIED)
        return step.text

    async def escalate(self, at: At, step: Escalate, made: Made) -> str:
        """Tell subscribers, and give the intervention to somebody else where that is wanted."""
        settings = await settings_of(at.tx, "success", SuccessSettings)
        to = step.to or settings.lead
        own = await self._intervention(at)
        if own is not None:
            edit: dict[str, Json] = {"escalated_at": at.tx.scope.now.isoformat()}
            await self._edit(at, own, {**edit, **({"owner_id": to} if step.reassign else {})})
        await self._tell(at, ESCALATED)
        return f"{made.title} is not done; {f'it goes to {to}' if step.reassign else f'{to} is told'}."

    async def ended(self, at: At, *, state: str, reason: str) -> None:
        """Close the intervention when all is done or the run was cancelled; open tasks keep it open."""
        own = await self._intervention(at)
        if own is None or own.values.get("status") in OVER:
            return
        now = at.tx.scope.now.isoformat()
        if state == "cancelled":
            status = str(InterventionStatus.CANCELLED)
            await self._edit(at, own, {"status": status, "finished_at": now, "outcome": reason[:LINE_MAX]})
        elif all_done(own):
            await self._edit(at, own, {"status": str(InterventionStatus.COMPLETED), "finished_at": now})

    async def _intervention(self, at: At) -> Stored | None:
        if at.run.own_record is None:
            return None
        found = (await find(at.tx, self.store.vault, INTERVENTION, [at.run.own_record])).get(at.run.own_record)
        return None if found is None or found.deleted_at is not None else found

    async def _edit(self, at: At, own: Stored, edit: dict[str, Json]) -> None:
        await edit_many(at.tx, self.store, INTERVENTION.name, {own.id: edit})

    async def _tell(self, at: At, event: str) -> None:
        own, scope = await self._intervention(at), at.tx.scope
        if own is not None:
            row = (event, own.id, at.record.id, own.hlc, scope.actor, scope.cause, scope.now)
            await at.tx.connection.execute(_TELL, row)
            at.tx.grown.add(scope.workspace)


def steps_of(intervention: Stored) -> list[InterventionStep]:
    """Return the steps of an intervention."""
    return msgspec.convert(intervention.values.get("steps") or [], list[InterventionStep])


def all_done(intervention: Stored) -> bool:
    """Tell whether there are steps and all are completed."""
    steps: Sequence[InterventionStep] = steps_of(intervention)
    return bool(steps) and all(each.completed_at is not None for each in steps)


def account_effects(holding: Holding) -> Effects:
    """Return what does the steps."""
    return AccountEffects(holding.store, holding.engine.connectors)


def _beginning(storing: Storing) -> Effects:
    """Return what begins playbooks, and takes no step further."""
    return AccountEffects(storing.store, {})


WORKFLOWS: tuple[Subject[Holding], ...] = (
    Subject(
        type=ACCOUNT,
        can=frozenset({"wait", "condition", "task", "send", "notify", "escalate"}),
        effects=account_effects,
        cues=CUES,
        ends=ENDS,
        latest={"health": Latest(type="success.health_snapshot", by="account_id", at="at")},
        standards=STANDARDS,
        keeps=INTERVENTION.name,
    ),
)
_BEGUN: Subject[Storing] = Subject(type=ACCOUNT, can=frozenset(), effects=_beginning, keeps=INTERVENTION.name)


def crew_of(storing: Storing) -> Crew[Storing]:
    """Return who begins runs on accounts; workers, who hold the connections as well, take them forward."""
    store = storing.store
    return Crew(schema=store.schema, vault=store.vault, subjects=Subjects[Storing].of((_BEGUN,)), context=storing)
