"""What success means by healthy, at risk and ready to grow. No input, no output, no clock."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType

from msgspec import Struct

from isthmus.domains.success.records import HealthReason, Risk
from isthmus.kernel.money import Money

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "usage_frequency": 0.25,
        "feature_adoption": 0.20,
        "engagement_trend": 0.15,
        "support_health": 0.15,
        "payment_stability": 0.15,
        "marketing_engagement": 0.10,
    }
)
WINDOW_DAYS = 28
WORKING_DAYS = 20
FLAT_SCORE = 75.0
NEUTRAL = 50.0
SCORE_DROP_MAX = 20.0
DECLINE_MAX = 0.50
FLAT_WITHIN = 0.05
ESSENTIAL_SHARE_MIN = 0.30
USERS_SHARE_MIN, USES_MIN, SUCCESS_SHARE_MIN = 0.70, 5 * WINDOW_DAYS // 7, 0.80
SEATS_SHARE_MIN = QUOTA_SHARE_MIN = 0.80
_OPEN_POINTS, _URGENT_POINTS, _ESCALATED_POINTS, _FAILED_POINTS, _ENGAGED_POINTS = 10.0, 15.0, 40.0, 10.0, 20.0


class FeatureUse(Struct, frozen=True, kw_only=True):
    """How an essential feature was used in 28 days; `judged` uses said whether they succeeded."""

    users_share: float
    uses: int
    judged: int
    successes: int

    @property
    def adopted(self) -> bool:
        """The milestone: at least 70 % of users, 5 uses a week, 80 % success."""
        often = self.uses >= USES_MIN and self.users_share >= USERS_SHARE_MIN
        return often and self.judged > 0 and self.successes >= SUCCESS_SHARE_MIN * self.judged


class Inputs(Struct, frozen=True, kw_only=True):
    """What is known of an account.

    Usage windows are 28 days, `recent_30`/`earlier_30` are uses in the last 30 days and the 30 before. `features` are
    the essential ones. Tickets are None when no support desk is known at all. Invoices count when due in the last 365
    days; `late_90` and `failed_90` are of the last 90. `engaged_45` counts responses to marketing in 45 days,
    `email_45` those to e-mail; `touched` and `emailed` tell whether the account was ever reached (by e-mail).
    """

    used: bool = False
    active_days: int = 0
    uses: int = 0
    uses_before: int = 0
    recent_30: int = 0
    earlier_30: int = 0
    features: tuple[FeatureUse, ...] = ()
    open_tickets: int | None = None
    urgent_tickets: int = 0
    escalated_tickets: int = 0
    invoices_due: int = 0
    invoices_on_time: int = 0
    late_90: int = 0
    failed_90: int = 0
    touched: bool = False
    emailed: bool = False
    engaged_45: int = 0
    email_45: int = 0
    best_score_30: float | None = None


class Trigger(Struct, frozen=True, kw_only=True):
    """Something that puts the account at risk."""

    risk: Risk
    reason: str


class Health(Struct, frozen=True, kw_only=True):
    """The score of 0 to 100, its sub-scores, what was missing, the weights that counted, and what moved it most."""

    score: float | None
    sub_scores: dict[str, float]
    missing: list[str]
    weights: dict[str, float]
    reasons: list[HealthReason]
    risk: Risk
    triggers: list[Trigger]


def health(given: Inputs) -> Health:
    """Return the health of an account: the weighted mean of the sub-scores that have an input.

    A missing one gives its weight to the others in proportion. Without any input there is no score.
    """
    found = {name: (score, why) for name, score, why in _sub_scores(given) if score is not None}
    whole = sum(WEIGHTS[name] for name in found)
    weights = {name: WEIGHTS[name] / whole for name in WEIGHTS if name in found}
    score = round(sum(weights[name] * found[name][0] for name in weights), 2) if found else None
    reasons = [
        HealthReason(points=round(weights[name] * (found[name][0] - NEUTRAL), 2), reason=found[name][1])
        for name in weights
    ]
    triggers = list(_triggers(given, score))
    risks = {each.risk for each in triggers}
    return Health(
        score=score,
        sub_scores={name: round(found[name][0], 2) for name in weights},
        missing=[name for name in WEIGHTS if name not in found],
        weights={name: round(each, 4) for name, each in weights.items()},
        reasons=sorted(reasons, key=lambda each: -abs(each.points)),
        risk=Risk.HIGH if Risk.HIGH in risks else Risk.MEDIUM if risks else Risk.LOW,
        triggers=triggers,
    )


def _sub_scores(given: Inputs) -> Iterator[tuple[str, float | None, str]]:
    days = f"Active on {given.active_days} of the last {WINDOW_DAYS} days"
    yield "usage_frequency", _most(100 * given.active_days / WORKING_DAYS) if given.used else None, days
    shares = [each.users_share for each in given.features if given.used]
    mean = 100 * sum(shares) / len(shares) if shares else None
    yield "feature_adoption", mean, f"{mean or 0:.0f} % of users on average use each essential feature"
    trend = f"{given.uses} uses in {WINDOW_DAYS} days, {given.uses_before} in those before"
    yield "engagement_trend", _trend(given), trend
    tickets = f"{given.open_tickets or 0} open tickets, {given.escalated_tickets} escalated"
    yield "support_health", _support(given), tickets
    paid = f"{given.invoices_on_time} of {given.invoices_due} invoices paid in time, {given.failed_90} payments failed"
    yield "payment_stability", _payment(given), paid
    engaged = _most(_ENGAGED_POINTS * given.engaged_45) if given.touched else None
    yield "marketing_engagement", engaged, f"{given.engaged_45} responses in 45 days"


def _trend(given: Inputs) -> float | None:
    """Return 75 for use that stays the same, in proportion for more or less, at most 100."""
    if not given.used:
        return None
    if not given.uses_before:
        return 100.0 if given.uses else 0.0
    return _most(FLAT_SCORE * given.uses / given.uses_before)


def _support(given: Inputs) -> float | None:
    if given.open_tickets is None:
        return None
    lost = _OPEN_POINTS * given.open_tickets + _URGENT_POINTS * given.urgent_tickets
    return max(0.0, 100.0 - lost - (_ESCALATED_POINTS if given.escalated_tickets else 0.0))


def _payment(given: Inputs) -> float | None:
    if not given.invoices_due:
        return None
    return max(0.0, 100 * given.invoices_on_time / given.invoices_due - _FAILED_POINTS * given.failed_90)


def _most(score: float) -> float:
    return min(100.0, score)


def _triggers(given: Inputs, score: float | None) -> Iterator[Trigger]:
    best = given.best_score_30
    if score is not None and best is not None and best - score > SCORE_DROP_MAX:
        yield Trigger(risk=Risk.HIGH, reason=f"The score fell by {best - score:.0f} points within 30 days.")
    if given.uses_before and given.uses < (1 - DECLINE_MAX) * given.uses_before:
        lost = 1 - given.uses / given.uses_before
        yield Trigger(risk=Risk.HIGH, reason=f"Usage fell by {lost:.0%} against the {WINDOW_DAYS} days before.")
    if given.escalated_tickets:
        yield Trigger(risk=Risk.HIGH, reason=f"{given.escalated_tickets} support tickets are escalated.")
    if given.emailed and not given.email_45:
        yield Trigger(risk=Risk.HIGH, reason="Nobody reacted to an e-mail for 45 days.")
    if given.earlier_30 and abs(given.recent_30 - given.earlier_30) <= FLAT_WITHIN * given.earlier_30:
        yield Trigger(risk=Risk.MEDIUM, reason="Usage has been flat for 60 days.")
    adopted = sum(each.adopted for each in given.features)
    if given.used and given.features and adopted < ESSENTIAL_SHARE_MIN * len(given.features):
        reason = f"{adopted} of {len(given.features)} essential features are adopted."
        yield Trigger(risk=Risk.MEDIUM, reason=reason)
    if given.late_90:
        yield Trigger(risk=Risk.MEDIUM, reason=f"{given.late_90} invoices were late within 90 days.")


class Seats(Struct, frozen=True, kw_only=True):
    """A running subscription."""

    plan: str
    quantity: int
    used: int
    yearly: Money | None


class Quota(Struct, frozen=True, kw_only=True):
    """How much of a feature's limit was used in the last 28 days."""

    feature: str
    limit: int
    used: int


class Growth(Struct, frozen=True, kw_only=True):
    """What is known of an account's room to grow."""

    seats: tuple[Seats, ...] = ()
    quotas: tuple[Quota, ...] = ()
    new_departments: tuple[str, ...] = ()
    paid_requests: tuple[tuple[str, int], ...] = ()


class Signal(Struct, frozen=True, kw_only=True):
    """A sign that an account may want more.

    `strength` is 0 to 1 and ranks the signals; `value` is what a quarter more seats would bring a year, where that is
    known. It is no forecast.
    """

    kind: str
    strength: float
    evidence: str
    next_step: str
    value: Money | None = None


def signals(given: Growth) -> list[Signal]:
    """Return the signs that an account may want more, strongest first."""
    return sorted(_signals(given), key=lambda each: (-each.strength, each.kind, each.evidence))


def _signals(given: Growth) -> Iterator[Signal]:
    for each in given.seats:
        share = each.used / each.quantity if each.quantity else 0.0
        if share >= SEATS_SHARE_MIN:
            yield Signal(
                kind="seats",
                strength=min(1.0, share),
                evidence=f"{each.used} of {each.quantity} seats of {each.plan} are used ({share:.0%}).",
                next_step="Offer more seats before the last one is taken.",
                value=each.yearly and Money((each.yearly.amount / 4).quantize(Decimal("0.01")), each.yearly.currency),
            )
    for quota in given.quotas:
        share = quota.used / quota.limit if quota.limit else 0.0
        if share >= QUOTA_SHARE_MIN:
            reached = share >= 1
            yield Signal(
                kind="limit" if reached else "quota",
                strength=min(1.0, share),
                evidence=f"{quota.used} of {quota.limit} of {quota.feature} were used in 28 days ({share:.0%}).",
                next_step="Propose the plan without this limit."
                if reached
                else "Tell them before the limit is reached.",
            )
    for feature, count in given.paid_requests:
        yield Signal(
            kind="paid_feature",
            strength=min(1.0, 0.5 + 0.1 * count),
            evidence=f"{feature}, which is a paid feature, was asked for {count} times.",
            next_step=f"Show {feature} and agree on a trial.",
        )
    for department in given.new_departments:
        yield Signal(
            kind="department",
            strength=0.5,
            evidence=f"The first people of {department} appeared in the last 90 days.",
            next_step=f"Ask for an introduction to {department}.",
        )
