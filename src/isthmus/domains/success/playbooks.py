"""Playbooks: the workflows on accounts that every workspace has, and what gives the cues that start them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TypeVar
from uuid import UUID

from isthmus.domains.success.records import Risk
from isthmus.store.database import Transaction
from isthmus.stream.workflows.advance import Crew, SubjectMissing
from isthmus.stream.workflows.definition import Definition, Escalate, Notify, Task, Wait
from isthmus.stream.workflows.shelf import Workflow, install, workflows
from isthmus.stream.workflows.subject import Run, Standard

Context = TypeVar("Context")
ACCOUNT = "sales.account"
HIGH_RISK, MEDIUM_RISK = f"risk.{Risk.HIGH}", f"risk.{Risk.MEDIUM}"
ESCALATED, NEW_CUSTOMER, RENEWAL = "ticket.escalated", "customer.new", "renewal.near"
RENEWAL_DAYS = 90
CUES: Mapping[str, str] = MappingProxyType(
    {
        HIGH_RISK: "The health of the account was found to be at high risk.",
        MEDIUM_RISK: "The health of the account was found to be at medium risk.",
        ESCALATED: "A support ticket of the account was escalated.",
        NEW_CUSTOMER: "The account became a customer, or a deal of it was won.",
        RENEWAL: f"A yearly subscription of the account ends within {RENEWAL_DAYS} days.",
    }
)
REPLIED, WITHDRAWN, WON, LOW_RISK = "reply", "withdrawal", "deal.won", f"risk.{Risk.LOW}"
ENDS: Mapping[str, str] = MappingProxyType(
    {
        REPLIED: "Somebody of the account got in touch.",
        WITHDRAWN: "The person of the intervention took consent to service or marketing back.",
        WON: "A deal of the account was won.",
        LOW_RISK: "The health of the account was found to be at low risk.",
    }
)
_DAY = 24.0
STANDARDS = (
    Standard(
        name="rescue",
        definition=Definition(
            title="Rescue",
            about="An account at high risk is called, and a plan is agreed on.",
            cues=(HIGH_RISK, ESCALATED),
            again_after_days=30,
            steps=(
                Task(title="Call the champion", due_hours=_DAY),
                Escalate(after_hours=_DAY),
                Task(title="Agree on a recovery plan", due_hours=5 * _DAY),
                Escalate(after_hours=2 * _DAY),
                Wait(hours=14 * _DAY),
                Task(title="Review the plan with the customer", due_hours=3 * _DAY),
                Notify(text="The rescue has run its course: look at the health of the account"),
            ),
        ),
    ),
    Standard(
        name="check-in",
        definition=Definition(
            title="Check-in",
            about="An account at medium risk is asked how it fares.",
            cues=(MEDIUM_RISK,),
            again_after_days=90,
            steps=(Task(title="Check in with the customer", due_hours=5 * _DAY), Escalate(after_hours=5 * _DAY)),
        ),
    ),
    Standard(
        name="onboarding",
        definition=Definition(
            title="Onboarding",
            about="A new customer is brought to its first value.",
            cues=(NEW_CUSTOMER,),
            again_after_days=3650,
            steps=(
                Task(title="Hold the kick-off", due_hours=2 * _DAY),
                Escalate(after_hours=2 * _DAY),
                Wait(hours=5 * _DAY),
                Task(title="Train the first users", due_hours=7 * _DAY),
                Wait(hours=21 * _DAY),
                Task(title="Review the first value with the customer", due_hours=7 * _DAY),
                Escalate(after_hours=7 * _DAY),
            ),
        ),
    ),
    Standard(
        name="renewal",
        definition=Definition(
            title="Renewal",
            about="A renewal is prepared before the subscription ends.",
            cues=(RENEWAL,),
            again_after_days=180,
            steps=(
                Task(title="Confirm who decides on the renewal", due_hours=7 * _DAY),
                Escalate(after_hours=7 * _DAY),
                Wait(hours=14 * _DAY),
                Task(title="Send the renewal proposal", due_hours=7 * _DAY),
                Escalate(after_hours=3 * _DAY),
                Wait(hours=21 * _DAY),
                Task(title="Close the renewal", due_hours=7 * _DAY),
                Escalate(after_hours=0),
            ),
        ),
    ),
)


async def playbooks(tx: Transaction) -> list[Workflow]:
    """Return the workflows on accounts, with the standard ones."""
    await install(tx, ACCOUNT, STANDARDS)
    return [each for each in await workflows(tx) if each.subject_type == ACCOUNT]


async def playbook(tx: Transaction, name: str) -> Workflow | None:
    """Return the playbook of a name or a title, or None."""
    wanted = name.strip().casefold()
    found = await playbooks(tx)
    return next((each for each in found if wanted in (each.name, each.definition.title.casefold())), None)


async def cued(tx: Transaction, crew: Crew[Context], accounts: Sequence[UUID], *, cue: str) -> list[Run]:
    """Begin what a cue starts for accounts that are there, unless it runs, or began lately; returns what began."""
    begun: list[Run] = []
    for workflow in await playbooks(tx):
        if cue not in workflow.definition.cues or workflow.paused:
            continue
        for account in accounts:
            with suppress(SubjectMissing):
                run = await crew.begin(tx, workflow, account, cue=cue, by_hand=False)
                begun += [run] if run is not None else []
    return begun
