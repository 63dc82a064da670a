"""What sales means by won, by a good lead, and by whose lead it is. No input, no output, no clock."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from msgspec import Struct

from isthmus.domains import EMAIL_MAX, EMAIL_PATTERN
from isthmus.domains.sales.records import CaptureKind, DealStage, Lead, LeadStatus, ScoreReason
from isthmus.kernel.errors import Fault
from isthmus.kernel.marks import LINE_MAX, Json

MQL_THRESHOLD = 60
REASONS_MAX = 5
LEAD_REQUIRED = ("email", "first_name", "company")
STAGES = tuple(DealStage)
CLOSED_LEADS = (LeadStatus.CONVERTED, LeadStatus.DISQUALIFIED)
CLOSED_STAGES = (DealStage.CLOSED_WON, DealStage.CLOSED_LOST)
STAGE_PROBABILITY = dict(zip(STAGES, (0.10, 0.25, 0.50, 0.75, 1.0, 0.0), strict=True))

BASE_POINTS = 20
FREE_MAIL = frozenset(
    {
        *("gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "yahoo.com", "icloud.com"),
        *("gmx.de", "gmx.net", "web.de", "proton.me", "protonmail.com", "mail.ru", "qq.com", "163.com", "aol.com"),
        "freemail.example",
    }
)
_SENIORITY = (
    (25, "decides on budgets", re.compile(r"\b(chief|c[efimot]o|cmo|cro|founder|owner|president|vp|vice president)\b")),
    (18, "leads a department", re.compile(r"\b(director|head of|head|svp|evp|partner)\b")),
    (10, "leads a team", re.compile(r"\b(manager|lead|principal)\b")),
    (-20, "is not a buyer", re.compile(r"\b(student|intern|trainee|job ?seeker)\b")),
)
_SIZES = ((1000, 20), (200, 15), (50, 10), (10, 3), (1, -5))
_SOURCES = {
    CaptureKind.WEBINAR_REGISTRATION: 12,
    CaptureKind.FORM_SUBMISSION: 15,
    CaptureKind.EMAIL_SIGNUP: 4,
    CaptureKind.API: 5,
    CaptureKind.LIST_IMPORT: -8,
}
_ENGAGEMENT = {
    "submitted": (8, 16),
    "attended": (8, 16),
    "called": (8, 8),
    "clicked": (3, 9),
    "visited": (2, 8),
    "opened": (1, 3),
    "unsubscribed": (-25, -25),
    "bounced": (-30, -30),
}


def is_closed(stage: DealStage) -> bool:
    """Tell whether the stage is an end."""
    return stage in CLOSED_STAGES


def is_won(stage: DealStage) -> bool | None:
    """Return whether a deal in this stage was won; None while it is open."""
    return stage is DealStage.CLOSED_WON if is_closed(stage) else None


class Score(Struct, frozen=True, kw_only=True):
    """A lead's score of 0 to 100 with its largest contributions, largest first, and whether it qualifies (MQL)."""

    points: int
    reasons: tuple[ScoreReason, ...]
    qualified: bool


def score(
    lead: Lead,
    *,
    touches: Mapping[str, int],
    target_industries: frozenset[str] = frozenset(),
    threshold: int = MQL_THRESHOLD,
) -> Score:
    """Score a lead by stated points: fit (role, size, industry, address) and interest (capture, touches by kind).

    `touches` counts the lead's touches by kind. Every lead starts at 20; the sum is clamped to 0 to 100.
    """
    reasons = [*_fit(lead, target_industries=target_industries), *_interest(lead, touches=touches)]
    points = max(0, min(100, BASE_POINTS + sum(each.points for each in reasons)))
    largest = sorted(reasons, key=lambda each: (-abs(each.points), each.reason))[:REASONS_MAX]
    return Score(points=points, reasons=tuple(largest), qualified=points >= threshold)


def _fit(lead: Lead, *, target_industries: frozenset[str]) -> list[ScoreReason]:
    reasons: list[ScoreReason] = []
    title = (lead.title or "").lower()
    for points, why, pattern in _SENIORITY:
        if pattern.search(title):
            reasons.append(ScoreReason(points=points, reason=f"The role {why}"))
            break
    if lead.company_size is not None:
        points = next((points for least, points in _SIZES if (lead.company_size or 0) >= least), 0)
        if points:
            reasons.append(ScoreReason(points=points, reason=f"Company of {lead.company_size} people"))
    if lead.industry and lead.industry.casefold() in {each.casefold() for each in target_industries}:
        reasons.append(ScoreReason(points=10, reason=f"{lead.industry} is a target industry"))
    free = lead.email.rpartition("@")[2].lower() in FREE_MAIL
    reasons.append(ScoreReason(points=-15 if free else 8, reason="Private address" if free else "Business address"))
    return reasons


def _interest(lead: Lead, *, touches: Mapping[str, int]) -> list[ScoreReason]:
    reasons: list[ScoreReason] = []
    if lead.source is not None:
        reasons.append(ScoreReason(points=_SOURCES[lead.source], reason=f"Came by {lead.source.replace('_', ' ')}"))
    if lead.phone:
        reasons.append(ScoreReason(points=5, reason="Left a phone number"))
    if lead.expected_value is not None and lead.expected_value.amount > 0:
        reasons.append(ScoreReason(points=5, reason="Named a budget"))
    for kind, (each, bound) in _ENGAGEMENT.items():
        count = touches.get(kind, 0)
        if count > 0:
            points = max(bound, each * count) if each < 0 else min(bound, each * count)
            reasons.append(ScoreReason(points=points, reason=f"{count} × {kind}"))
    return reasons


def status_after(score: Score, *, status: LeadStatus) -> LeadStatus:
    """Return the status a scored lead has: a new or worked lead that qualifies becomes qualified, others stay."""
    return LeadStatus.QUALIFIED if score.qualified and status in (LeadStatus.NEW, LeadStatus.WORKING) else status


class Territory(Struct, frozen=True, kw_only=True):
    """One territory: who takes leads that meet every condition it states; an empty condition is met by all.

    `companies` are the named accounts. Sizes are in people, both ends included. `owners` share the leads in turn.
    """

    name: str
    owners: tuple[str, ...]
    countries: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    industries: frozenset[str] = frozenset()
    companies: frozenset[str] = frozenset()
    size_min: int | None = None
    size_max: int | None = None


class Assignment(Struct, frozen=True, kw_only=True):
    """Whose lead it is and why; `territory` is absent when the fallback owner got it."""

    owner_id: str
    reason: str
    territory: str | None = None


def assign(
    lead: Lead,
    *,
    territories: Sequence[Territory],
    loads: Mapping[str, int],
    load_max: int,
    turns: Mapping[str, int],
    fallback_owner_id: str,
) -> Assignment:
    """Give a lead to the first territory that fits and has somebody below `load_max` open leads.

    Within a territory owners take turns: `turns` counts the leads it was given, which the caller keeps. When every
    fitting territory is full, or none fits, the fallback owner gets it, whatever their load: a lead is never left
    without an owner.
    """
    full: list[str] = []
    for territory in territories:
        if not _fits(lead, territory=territory):
            continue
        owners = territory.owners
        for offset in range(len(owners)):
            owner = owners[(turns.get(territory.name, 0) + offset) % len(owners)]
            if loads.get(owner, 0) < load_max:
                return Assignment(owner_id=owner, reason=f"Territory {territory.name}", territory=territory.name)
        full.append(territory.name)
    reason = f"Everybody in {', '.join(full)} has {load_max} open leads" if full else "No territory fits"
    return Assignment(owner_id=fallback_owner_id, reason=reason)


def _fits(lead: Lead, *, territory: Territory) -> bool:
    conditions = (
        (territory.countries, lead.country),
        (territory.regions, lead.region),
        (territory.industries, lead.industry),
        (territory.companies, lead.company),
    )
    for wanted, value in conditions:
        if wanted and (value is None or value.casefold() not in {each.casefold() for each in wanted}):
            return False
    size = lead.company_size
    if territory.size_min is not None and (size is None or size < territory.size_min):
        return False
    return territory.size_max is None or (size is not None and size <= territory.size_max)


def lead_faults(fields: Mapping[str, Json]) -> tuple[Fault, ...]:
    """Return what is wrong with a captured lead, one sentence for each field; none when it may go on."""
    faults = [
        Fault(
            pointer=f"/{name}", code="required", detail=f"{name} is missing. A lead needs {', '.join(LEAD_REQUIRED)}."
        )
        for name in LEAD_REQUIRED
        if not str(fields.get(name) or "").strip()
    ]
    email = fields.get("email")
    if email and not (isinstance(email, str) and len(email) <= EMAIL_MAX and re.match(EMAIL_PATTERN, email.strip())):
        detail = "email is not an e-mail address. Send one such as ada@company.example."
        faults.append(Fault(pointer="/email", code="invalid-email", detail=detail))
    for name in ("first_name", "company"):
        value = fields.get(name)
        if isinstance(value, str) and len(value) > LINE_MAX:
            detail = f"{name} has {len(value)} characters. At most {LINE_MAX} are kept."
            faults.append(Fault(pointer=f"/{name}", code="too-long", detail=detail))
    return (*faults, *_money_faults(fields.get("expected_value")))


def _money_faults(value: Json) -> tuple[Fault, ...]:
    if not isinstance(value, dict):
        return ()
    pointer = "/expected_value/amount"
    try:
        amount = Decimal(str(value.get("amount")))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        return (Fault(pointer=pointer, code="invalid-money", detail='The amount is not a number. Send "1200.00".'),)
    if amount < 0:
        return (
            Fault(
                pointer=pointer,
                code="negative-money",
                detail="The amount is below zero. Send zero or more, or leave it out.",
            ),
        )
    return ()


def name_key(*, first_name: Json, last_name: Json, company: Json) -> tuple[str, str] | None:
    """Return what two captures of one human have in common beside the address; None without a full name.

    A first name alone would make one lead of every Anna in a company.
    """
    parts = [" ".join(str(each or "").casefold().split()) for each in (first_name, last_name, company)]
    return (f"{parts[0]} {parts[1]}", parts[2]) if all(parts) else None
