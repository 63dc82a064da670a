"""What a workspace may set for sales (`settings.sales`), with defaults under which every lead gets an owner."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from isthmus.domains import Name
from isthmus.domains.sales.records import LeadStatus
from isthmus.domains.sales.rules import MQL_THRESHOLD, Territory

STEPS_MAX = 50
Hours = Annotated[float, Meta(ge=0, le=24 * 365)]


class Wait(Struct, frozen=True, kw_only=True, tag="wait", tag_field="kind"):
    """Let time pass."""

    hours: Hours


class Condition(Struct, frozen=True, kw_only=True, tag="condition", tag_field="kind"):
    """Go on only while the lead is in one of these states; otherwise the follow-up is done."""

    status: tuple[LeadStatus, ...]


class Task(Struct, frozen=True, kw_only=True, tag="task", tag_field="kind"):
    """Give the owner something to do, due some hours later."""

    title: Name
    due_hours: Hours = 24.0


class Notify(Struct, frozen=True, kw_only=True, tag="notify", tag_field="kind"):
    """Tell subscribers that the lead needs somebody; the text is in the log of the follow-up."""

    text: Name


FollowUpStep: TypeAlias = Wait | Condition | Task | Notify
_OPEN = (LeadStatus.NEW, LeadStatus.WORKING, LeadStatus.QUALIFIED)
FIRST_CONTACT: tuple[FollowUpStep, ...] = (
    Task(title="Make first contact", due_hours=24),
    Wait(hours=72),
    Condition(status=_OPEN),
    Task(title="Try again by another way", due_hours=24),
    Wait(hours=168),
    Condition(status=_OPEN),
    Notify(text="No reply after two attempts: qualify out, or hand over to nurturing"),
)


class FollowUpDefinition(Struct, frozen=True, kw_only=True):
    """What is done after a capture; running follow-ups keep the version that they began with."""

    name: Name = "First contact"
    version: Annotated[int, Meta(ge=1)] = 1
    enabled: bool = True
    steps: Annotated[tuple[FollowUpStep, ...], Meta(max_length=STEPS_MAX)] = FIRST_CONTACT


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
