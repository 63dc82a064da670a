"""What product answers: which features an account has adopted."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.analytics import Catalog, Metric
from isthmus.domains.product.records import FEATURE
from isthmus.domains.product.rules import (
    ADOPTION_DAYS,
    UNDER_USED_BELOW,
    Usage,
    adoption,
    essential_share,
)
from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction

_USAGE: LiteralString = """
, used as (
    select e.feature_id_now as feature, count(distinct e.person_id_now) as users, count(*) as uses,
           count(e.success) as judged, count(*) filter (where e.success) as successes
    from "product.event" e
    where e.account_id = any(%(ids)s) and e.at > %(since)s and e.at <= %(now)s group by e.feature_id_now
)
select f.id, f.name, f.essential, coalesce(u.users, 0), coalesce(u.uses, 0), coalesce(u.judged, 0),
       coalesce(u.successes, 0)
from "product.feature" f left join used u on u.feature = f.id order by f.name, f.id
"""
_USERS: LiteralString = """
select count(distinct person_id_now), count(distinct person_id_now) filter (where at > %(since)s),
       count(*) filter (where at > %(since)s), max(at)
from "product.event" where account_id = any(%(ids)s) and at <= %(now)s
"""


class FeatureView(Struct, frozen=True, kw_only=True):
    """The adoption of one feature; see the description of the route for the milestone."""

    feature_id: str
    name: str
    essential: bool
    users: int
    users_share: float
    uses_a_week: float
    success_share: float | None
    adopted: bool


class ProductAnalytics(Struct, frozen=True, kw_only=True):
    """How an account uses the product. `users` are the people of whom any use was ever seen; windows are 28 days."""

    account_id: str
    as_of: datetime
    window_days: int
    users: int
    active_users: int
    events: int
    last_used_at: datetime | None
    essential_adopted_share: float | None
    under_used: bool | None
    features: list[FeatureView]


async def analytics(
    tx: Transaction, catalog: Catalog, *, ids: Sequence[UUID], account_id: str, now: datetime
) -> ProductAnalytics:
    """Return how an account uses the product; `ids` are all under which events may name it."""
    given = {"ids": list(ids), "now": now, "since": now - timedelta(days=ADOPTION_DAYS)}
    (totals,) = await catalog.rows(tx, ADOPTION, _USERS, given=given)
    users, active, events = (each if isinstance(each, int) else 0 for each in totals[:3])
    usage = [
        Usage(
            feature_id=row[0],
            name=str(row[1]),
            essential=bool(row[2]),
            **dict(zip(("users", "uses", "judged", "successes"), (_count(each) for each in row[3:]), strict=True)),
        )
        for row in await catalog.rows(tx, ADOPTION, _USAGE, given=given)
        if isinstance(row[0], UUID)
    ]
    adoptions = [adoption(each, users=users) for each in usage]
    share = essential_share(adoptions)
    last = totals[3]
    return ProductAnalytics(
        account_id=account_id,
        as_of=now,
        window_days=ADOPTION_DAYS,
        users=users,
        active_users=active,
        events=events,
        last_used_at=last if isinstance(last, datetime) else None,
        essential_adopted_share=share,
        under_used=None if share is None else share < UNDER_USED_BELOW,
        features=[
            FeatureView(
                feature_id=text_of(FEATURE.prefix, each.feature_id),
                name=each.name,
                essential=each.essential,
                users=each.users,
                users_share=each.users_share,
                uses_a_week=each.uses_a_week,
                success_share=each.success_share,
                adopted=each.adopted,
            )
            for each in adoptions
        ],
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


ADOPTION = Metric(
    name="product.adoption",
    reads={
        "product.event": ("account_id", "person_id", "feature_id", "at", "success"),
        "product.feature": ("name", "essential"),
    },
    compute=analytics,
    permission="product:read",
    meaning="Share of an account's users who used a feature in 28 days, uses a week, success, and the milestone.",
)
METRICS = (ADOPTION,)
