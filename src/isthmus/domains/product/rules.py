"""What product means by adopted, and by feedback that makes sense. No input, no output, no clock."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from isthmus.domains.product.records import FeedbackKind
from isthmus.kernel.errors import Fault

ADOPTION_DAYS = 28
USERS_SHARE_MIN, USES_A_WEEK_MIN, SUCCESS_SHARE_MIN = 0.70, 5.0, 0.80
UNDER_USED_BELOW = 0.30
CASE_STUDY_FROM = 8.0
SCORED = (FeedbackKind.NPS, FeedbackKind.CSAT, FeedbackKind.CES)
_WEEKS = ADOPTION_DAYS / 7


class Usage(Struct, frozen=True, kw_only=True):
    """How an account used one feature in the last 28 days; `judged` uses said whether they succeeded."""

    feature_id: UUID
    name: str
    essential: bool
    users: int
    uses: int
    judged: int
    successes: int


class Adoption(Struct, frozen=True, kw_only=True):
    """The adoption of a feature: the share of the account's users who used it in 28 days.

    `adopted` is the milestone: at least 70 % of users, 5 uses a week and 80 % success; uses that do not say whether
    they succeeded cannot confirm it.
    """

    feature_id: UUID
    name: str
    essential: bool
    users: int
    users_share: float
    uses_a_week: float
    success_share: float | None
    adopted: bool


def adoption(usage: Usage, *, users: int) -> Adoption:
    """Return the adoption of a feature by an account with `users` users."""
    share = usage.users / users if users else 0.0
    success = usage.successes / usage.judged if usage.judged else None
    weekly = usage.uses / _WEEKS
    return Adoption(
        feature_id=usage.feature_id,
        name=usage.name,
        essential=usage.essential,
        users=usage.users,
        users_share=share,
        uses_a_week=weekly,
        success_share=success,
        adopted=share >= USERS_SHARE_MIN
        and weekly >= USES_A_WEEK_MIN
        and success is not None
        and success >= SUCCESS_SHARE_MIN,
    )


def essential_share(adoptions: Sequence[Adoption]) -> float | None:
    """Return which share of the essential features is adopted; None when no feature is essential."""
    essential = [each.adopted for each in adoptions if each.essential]
    return sum(essential) / len(essential) if essential else None


def feedback_faults(*, kind: FeedbackKind, score: float | None, body: str | None) -> tuple[Fault, ...]:
    """Return what is wrong with an item: a score that is missing, or nothing said at all."""
    if kind in SCORED and score is None:
        detail = f"A {kind.upper()} answer needs its score, on a scale of 0 to 10."
        return (Fault(pointer="/score", code="required", detail=detail),)
    if kind not in SCORED and not (body or "").strip():
        return (Fault(pointer="/body", code="required", detail="Say what was said."),)
    return ()
