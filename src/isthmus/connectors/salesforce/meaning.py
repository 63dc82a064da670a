"""What the words of Salesforce's lists mean in ours, and which word of an organisation's own list means ours; pure.

Every organisation edits its lists; the standard words are known by name, others by what Salesforce itself says of them.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from isthmus.connectors.salesforce.wire import Row
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text

Means: TypeAlias = Callable[[str], str | None]
STANDARD_STAGES = {
    "prospecting": "qualification",
    "qualification": "qualification",
    "needs analysis": "needs_analysis",
    "value proposition": "needs_analysis",
    "id. decision makers": "needs_analysis",
    "perception analysis": "proposal",
    "proposal/price quote": "proposal",
    "negotiation/review": "negotiation",
    "closed won": "closed_won",
    "closed lost": "closed_lost",
}
# From which probability on, in percent, an open stage of an organisation's own is called so.
LIKELY = ((75, "negotiation"), (50, "proposal"), (20, "needs_analysis"))
LEAD_STATUSES = {
    "new": "new",
    "open": "new",
    "open - not contacted": "new",
    "contacted": "working",
    "working": "working",
    "working - contacted": "working",
    "nurturing": "working",
    "qualified": "qualified",
    "unqualified": "disqualified",
    "closed - not converted": "disqualified",
    "closed - converted": "converted",
    "converted": "converted",
}
CASE_STATUSES = {
    "new": "new",
    "working": "open",
    "in progress": "open",
    "escalated": "open",
    "waiting on customer": "pending",
    "response received": "open",
    "on hold": "on_hold",
    "closed": "closed",
    "solved": "solved",
    "resolved": "solved",
}
PRIORITIES = {"low": "low", "medium": "normal", "normal": "normal", "high": "high", "critical": "urgent"}
KINDS = {"question": "question", "problem": "problem", "incident": "incident", "task": "task"}
CAMPAIGN_STATUSES = {"planned": "planned", "in progress": "active", "completed": "completed", "aborted": "cancelled"}
CHANNELS = {
    "email": "email",
    "webinar": "webinar",
    "conference": "event",
    "trade show": "event",
    "advertisement": "display",
    "banner ads": "display",
    "referral program": "referral",
    "partners": "partner",
    "telemarketing": "sales_outreach",
}
SOURCES = {
    "web": "form_submission",
    "webinar": "webinar_registration",
    "purchased list": "list_import",
    "list": "list_import",
    "api": "api",
}
# Another word of ours that will do where an organisation's list has none for the first.
NEAR = {"solved": "closed", "closed": "solved", "on_hold": "pending", "pending": "open", "urgent": "high"}


def _low(value: Json) -> str:
    return (text(value) or "").lower()


def account_kind(value: Json) -> str | None:
    """Return what a company is to us; nothing where it is not told."""
    said = _low(value)
    if not said:
        return None
    if "former" in said:
        return "former_customer"
    for word, kind in (("customer", "customer"), ("partner", "partner"), ("prospect", "prospect")):
        if word in said:
            return kind
    return "partner" if said in ("reseller", "integrator") else "other"


def stage(name: Json, *, closed: bool, won: bool, likely: Json) -> str:
    """Return our stage: an end as Salesforce marks it, a standard stage by name, any other by its probability."""
    if closed:
        return "closed_won" if won else "closed_lost"
    known = STANDARD_STAGES.get(_low(name))
    if known is not None and not known.startswith("closed"):
        return known
    share = likely if isinstance(likely, int | float) and not isinstance(likely, bool) else 0
    return next((word for least, word in LIKELY if share >= least), "qualification")


def lead_status(value: Json, *, converted: bool) -> str:
    """Return where a lead stands."""
    if converted:
        return "converted"
    # Only Salesforce converts a lead, whatever a status is called.
    known = LEAD_STATUSES.get(_low(value), "working" if _low(value) else "new")
    return "qualified" if known == "converted" else known


def case_status(value: Json, *, closed: bool) -> str:
    """Return where a case stands."""
    known = CASE_STATUSES.get(_low(value))
    if closed:
        return known if known in ("solved", "closed") else "closed"
    return known if known is not None and known not in ("solved", "closed") else "open"


def priority(value: Json) -> str:
    """Return how urgent a case is."""
    return PRIORITIES.get(_low(value), "normal")


def campaign_status(value: Json, *, active: bool) -> str:
    """Return where a campaign stands; an unknown word is told by whether it is active."""
    return CAMPAIGN_STATUSES.get(_low(value), "active" if active else "planned")


def chosen(words: Sequence[str], means: Means, wanted: str) -> str | None:
    """Return the first word of an organisation's list that means what is wanted, or what is nearest to it."""
    for ours in (wanted, NEAR.get(wanted)):
        found = next((each for each in words if ours is not None and means(each) == ours), None)
        if found is not None:
            return found
    return None


def stage_word(stages: Sequence[Row], wanted: str) -> str | None:
    """Return an organisation's stage that means ours; of several the one that is called so, else the first."""
    meant = [
        str(each.get("ApiName"))
        for each in stages
        if each.get("IsActive") is True
        and stage(
            each.get("ApiName"),
            closed=each.get("IsClosed") is True,
            won=each.get("IsWon") is True,
            likely=each.get("DefaultProbability"),
        )
        == wanted
    ]
    same = (each for each in meant if each.lower().replace(" ", "_") == wanted)
    return next(same, meant[0] if meant else None)
