"""What a workspace may set for sales (`settings.sales`), with defaults under which every lead gets an owner."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from isthmus.domains import Name
from isthmus.domains.sales.records import LeadStatus
from isthmus.domains.sales.rules import MQL_THRESHOLD, Territory
from isthmus.stream.workflows.definition import (
    STEPS_MAX,
    Clause,
    Condition,
    Definition,
    Escalate,
    Notify,
    Send,
    Step,
    Task,
    Wait,
)


class LeadCondition(Struct, frozen=True, kw_only=True, tag="condition", tag_field="kind"):
    """Go on only while the lead is in one of these states, or all of `where` holds; otherwise the follow-up is done."""

    status: tuple[LeadStatus, ...] = ()
    where: tuple[Clause, ...] = ()


FollowUpStep: TypeAlias = Wait | LeadCondition | Task | Notify | Send | Escalate
_OPEN = (LeadStatus.NEW, LeadStatus.WORKING, LeadStatus.QUALIFIED)
FIRST_CONTACT: tuple[FollowUpStep, ...] = (
    Task(title="Make first contact", due_hours=24),
    Wait(hours=72),
    LeadCondition(status=_OPEN),
    Task(title="Try again by another way", due_hours=24),
    Wait(hours=168),
    LeadCondition(status=_OPEN),
    Notify(text="No reply after two attempts: qualify out, or hand over to nurturing"),
)


class FollowUpDefinition(Struct, frozen=True, kw_only=True):
    """What is done after a capture; running follow-ups keep the version that they began with.

    An edit becomes the next version of the workflow `follow-up`, or `version` where that is higher; an edit of the
    workflow goes on from there, until these settings are edited again.
    """

    name: Name = "First contact"
    version: Annotated[int, Meta(ge=1)] = 1
    enabled: bool = True
    steps: Annotated[tuple[FollowUpStep, ...], Meta(max_length=STEPS_MAX)] = FIRST_CONTACT

    @property
    def definition(self) -> Definition:
        """The same as a version of a workflow."""
        return Definition(title=self.name, steps=tuple(_step(each) for each in self.steps))


def _step(step: FollowUpStep) -> Step:
    if not isinstance(step, LeadCondition):
        return step
    own = (Clause(field="status", comparison="one_of", value=[str(each) for each in step.status]),)
    return Condition(where=((*own, *step.where) if step.status or not step.where else step.where))


def shown(step: Step) -> FollowUpStep:
    """Return a step of the workflow in the words of a follow-up."""
    if not isinstance(step, Condition):
        return step
    own = [each for each in step.where if (each.field, each.comparison) == ("status", "one_of")]
    said = own[0].value if own else None
    status = tuple(LeadStatus(each) for each in said if isinstance(each, str)) if isinstance(said, list) else ()
    return LeadCondition(status=status, where=tuple(each for each in step.where if each not in own[:1]))


class SalesSettings(Struct, frozen=True, kw_only=True):
    """`load_max` is how many open leads an owner takes before others do; the fallback owner takes what nobody does.

    What a system or a file brings may be old: follow-ups begin on what was captured `follow_up_days` ago or later.
    """

    mql_threshold: Annotated[int, Meta(ge=0, le=100)] = MQL_THRESHOLD
    target_industries: frozenset[str] = frozenset()
    territories: tuple[Territory, ...] = ()
    load_max: Annotated[int, Meta(ge=1, le=10_000)] = 100
    fallback_owner: Name = "sales"
    follow_up: FollowUpDefinition = FollowUpDefinition()
    follow_up_days: Annotated[int, Meta(ge=0, le=3650)] = 30
