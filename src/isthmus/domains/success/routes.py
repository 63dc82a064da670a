"""Customer success over HTTP: health, expansion, interventions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from isthmus.analytics import Catalog
from isthmus.domains import Custom, Moment, Name
from isthmus.domains.success.metrics import ExpansionView, HealthView, account_health, expansion
from isthmus.domains.success.playbooks import playbook
from isthmus.domains.success.records import INTERVENTION, InterventionStatus
from isthmus.domains.success.workflows import crew_of
from isthmus.gateway import Call, Route
from isthmus.kernel.errors import Fault, NotFound
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Line
from isthmus.kernel.money import Money
from isthmus.store.database import Transaction
from isthmus.store.records import find
from isthmus.stream.workflows.runs import RUN_PREFIX, AlreadyRuns
from isthmus.stream.workflows.shelf import Workflow, WorkflowPaused
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Reference, aliases, arrive_structs, committed, edit_many, refusal, resolve

BASE = "/api/v1/integrations/success"
ACCOUNT = "sales.account"
STEPS_MAX = 100


class AccountMissing(NotFound):
    """There is no account with this id, or the caller may not see it."""

    code, title = "account-missing", "There is no such account"


@dataclass(frozen=True)
class _Held:
    store: Store


class NewStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step."""

    title: Name
    due_at: Moment | None = None
    completed_at: Moment | None = None


class NewIntervention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be done for an account, by whom, in which steps, until when."""

    playbook: Name
    account_id: str
    owner_id: Name
    external_id: Name | None = None
    status: InterventionStatus = InterventionStatus.ACTIVE
    trigger: Line | None = None
    person_id: str | None = None
    steps: Annotated[list[NewStep], Meta(max_length=STEPS_MAX)] = []
    started_at: Moment | None = None
    due_at: Moment | None = None
    expected_value: Money | None = None
    custom: Custom = {}


class InterventionStored(Struct, frozen=True, kw_only=True):
    """Where the intervention is; `run` is the run of the playbook that was begun for it."""

    id: str
    link: str
    created: bool
    run: str | None = None


async def show_health(call: Call) -> HealthView:
    """Answer how an account is."""
    async with call.services.database.transaction(call.scope) as tx:
        ids, text = await _account(tx, call)
        return await account_health(tx, call.services.of(Catalog), ids=ids, account_id=text, now=call.scope.now)


async def show_expansion(call: Call) -> ExpansionView:
    """Answer where an account may grow."""
    async with call.services.database.transaction(call.scope) as tx:
        ids, text = await _account(tx, call)
        return await expansion(tx, call.services.of(Catalog), ids=ids, account_id=text, now=call.scope.now)


async def store_intervention(call: Call) -> InterventionStored:
    """Start, or propose, an intervention."""
    given = call.body(NewIntervention)
    started = given.started_at or call.scope.now
    faults: list[Fault] = []
    if given.due_at is not None and given.due_at < started:
        detail = f"It is due on {given.due_at:%Y-%m-%d}, before it starts."
        faults.append(Fault(pointer="/due_at", code="due-before-start", detail=detail))
    if given.expected_value is not None and given.expected_value.amount < 0:
        detail = "A value cannot be below zero. Leave it out."
        faults.append(Fault(pointer="/expected_value/amount", code="negative-money", detail=detail))
    if faults:
        raise refusal(faults)

    async def work(tx: Transaction) -> InterventionStored:
        store = call.services.of(Store)
        if given.status is InterventionStatus.ACTIVE and not given.steps and given.external_id is None:
            workflow = await playbook(tx, given.playbook)
            if workflow is not None:
                return await _begun(tx, call, given, workflow)
        also = {"started_at": started.isoformat()} if given.status is InterventionStatus.ACTIVE else None
        (arrived,) = await arrive_structs(tx, store, INTERVENTION.name, [given], once=str(call.once), also=also)
        if arrived.record_id is None:
            raise AssertionError
        own = text_of(INTERVENTION.prefix, arrived.record_id)
        return InterventionStored(id=own, link=f"/api/v1/interventions/{own}", created=not arrived.repeated)

    return await committed(call.services.of(Store), call.scope, work)


async def _begun(tx: Transaction, call: Call, given: NewIntervention, workflow: Workflow) -> InterventionStored:
    """Begin a playbook; its steps are those of the intervention, and come in their time."""
    store = call.services.of(Store)
    wanted = [Reference("/account_id", ACCOUNT, given.account_id)]
    wanted += [Reference("/person_id", "sales.person", given.person_id)] if given.person_id else []
    found = await resolve(tx, store.schema, wanted)
    account = found[ACCOUNT, given.account_id]
    run = await crew_of(_Held(store)).begin(tx, workflow, account, cue="", owner=given.owner_id, by_hand=True)
    if run is None or run.own_record is None:
        raise AssertionError
    names = ("trigger", "started_at", "due_at", "expected_value", "custom")
    said = {name: value for name, value in msgspec.to_builtins(given).items() if name in names and value}
    if given.person_id:
        said["person_id"] = str(found["sales.person", given.person_id])
    if said:
        await edit_many(tx, store, INTERVENTION.name, {run.own_record: said})
    own = text_of(INTERVENTION.prefix, run.own_record)
    return InterventionStored(
        id=own, link=f"/api/v1/interventions/{own}", created=True, run=text_of(RUN_PREFIX, run.id)
    )


async def _account(tx: Transaction, call: Call) -> tuple[Sequence[UUID], str]:
    """Return the ids under which others may name the account in the path, and its own; raises AccountMissing."""
    account_type = call.services.schema[ACCOUNT]
    account = call.record_id("tenant_id", account_type)
    stored = (await find(tx, call.services.vault, account_type, [account])).get(account)
    if stored is None or stored.deleted_at is not None:
        raise AccountMissing("There is no account with this id.", fix="List them: GET /api/v1/accounts")
    own = stored.merged_into or account
    return await aliases(tx, ACCOUNT, own), text_of(account_type.prefix, own)


_TAGS = ("success",)
ROUTES = (
    Route(
        method="GET",
        path=f"{BASE}/health/{{tenant_id}}",
        permission="success:read",
        handler=show_health,
        shared=True,
        summary="The health of an account, with its reasons",
        tags=_TAGS,
        response=HealthView,
        errors=(AccountMissing,),
    ),
    Route(
        method="GET",
        path=f"{BASE}/expansion/{{tenant_id}}",
        permission="success:read",
        handler=show_expansion,
        shared=True,
        summary="Where an account may grow",
        tags=_TAGS,
        response=ExpansionView,
        errors=(AccountMissing,),
    ),
    Route(
        method="POST",
        path=f"{BASE}/interventions",
        permission="success:write",
        handler=store_intervention,
        status=201,
        summary="Start an intervention",
        description="Without steps and `external_id`, the name of a playbook begins it: its tasks become the steps.",
        tags=_TAGS,
        body=NewIntervention,
        response=InterventionStored,
        request_example={
            "playbook": "Usage decline",
            "account_id": "acct_01JD3Q4B8M0000000000000000",
            "owner_id": "eva",
            "steps": [{"title": "Call the champion"}],
        },
        errors=(AlreadyRuns, WorkflowPaused),
    ),
)
