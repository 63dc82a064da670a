"""Routes of limits, quotas and use."""

from datetime import UTC, datetime
from typing import Annotated, LiteralString

from msgspec import Meta, Struct, field

from isthmus.gateway import Call, Page, Paging, Route
from isthmus.gateway.limit_rules import Limitation, LimitRule, LimitUnclear, Tier, read_limits, write_limits
from isthmus.gateway.limits import Limits
from isthmus.store.database import Transaction
from isthmus.stream.limits.ledger import month_of

_TAGS = ("access",)
_Period = Annotated[str, Meta(pattern="^[0-9]{6}([0-9]{2})?$", description="`YYYYMM` or `YYYYMMDD`, in UTC.")]
_USE: LiteralString = """
select l.subject, left(l.period, %(width)s) as period, sum(l.used)::bigint as used
from limit_ledger l
where l.workspace = current_workspace() and l.subject not like 'quota:%%' and length(l.period) = 8
  and l.period like %(like)s and (%(after)s::text is null or l.subject > %(after)s)
group by 1, 2 order by 1, 2 limit %(limit)s
"""
_QUOTAS: LiteralString = """
select l.subject, l.period, sum(l.used)::bigint from limit_ledger l
where l.workspace = current_workspace() and l.subject like 'quota:%%' and l.period in (%s, %s)
group by 1, 2 order by 1, 2
"""


class NewLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tier, all limits of the workspace's own, or both; what is left out stays as it is."""

    tier: Tier | None = None
    limits: list[LimitRule] | None = None


class LimitsView(Struct, frozen=True, kw_only=True):
    """The limits that hold: those of the tier, and those that the workspace set over them (`own`)."""

    tier: str
    sandbox: bool
    limits: list[LimitRule]
    own: list[str]


class UsageQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which month or day; without it the present month."""

    period: _Period | None = None


class UsageView(Struct, frozen=True, kw_only=True):
    """How many calls a caller made that were let through, by their cost."""

    subject: str
    period: str
    used: int


class QuotaView(Struct, frozen=True, kw_only=True):
    """How far a quota is used."""

    limit: str
    subject: str
    period: str
    used: int
    cap: int | None = None


class UsagePage(Page[UsageView], frozen=True, kw_only=True):
    """Use by caller, and the quotas of the present day and month."""

    quotas: list[QuotaView] = field(default_factory=list[QuotaView])


async def get_limits(call: Call) -> LimitsView:
    """Show the limits."""
    async with call.services.database.transaction(call.scope) as tx:
        return view_of(await read_limits(tx))


async def put_limits(call: Call) -> LimitsView:
    """Set the limits; within a second they hold on every worker."""
    wanted = call.body(NewLimits)
    async with call.services.database.transaction(call.scope) as tx:
        found = await write_limits(tx, tier=wanted.tier, rules=wanted.limits)
    here = call.services.others.get(Limits)
    if isinstance(here, Limits):
        here.forget(call.scope.workspace)
    return view_of(found)


async def get_usage(call: Call) -> UsagePage:
    """Show what was used."""
    wanted, after = call.query(UsageQuery), call.after()
    now = call.scope.now
    async with call.services.database.transaction(call.scope) as tx:
        rows = await read_use(tx, period=wanted.period or month_of(now), limit=wanted.limit + 1, after=after)
        quotas = await read_quotas(tx, now=now)
    page = call.page(rows, limit=wanted.limit, after=lambda row: row.subject)
    return UsagePage(data=page.data, next_cursor=page.next_cursor, has_more=page.has_more, quotas=quotas)


async def read_use(tx: Transaction, *, period: str, limit: int, after: str | None = None) -> list[UsageView]:
    """Return the use of a month or a day by caller, in the order of their names."""
    values = {"width": len(period), "like": f"{period}%", "limit": limit, "after": after}
    rows = await (await tx.connection.execute(_USE, values)).fetchall()
    return [UsageView(subject=row[0], period=row[1], used=row[2]) for row in rows]


async def read_quotas(tx: Transaction, *, now: datetime) -> list[QuotaView]:
    """Return how far the quotas of this day and month are used."""
    moment = now.astimezone(UTC)
    rules = (await read_limits(tx)).by_name
    rows = await (await tx.connection.execute(_QUOTAS, (f"{moment:%Y%m%d}", f"{moment:%Y%m}"))).fetchall()
    found: list[QuotaView] = []
    for text, period, used in rows:
        _, name, subject = str(text).split(":", 2)
        rule = rules.get(name)
        daily = len(period) == len("YYYYMMDD")
        cap = None if rule is None else rule.quota_day if daily else rule.quota_month
        found.append(QuotaView(limit=name, subject=subject, period=period, used=used, cap=cap))
    return found


def view_of(found: Limitation) -> LimitsView:
    """Return limits as they are shown."""
    return LimitsView(
        tier=found.tier,
        sandbox=found.sandbox,
        limits=sorted(found.by_name.values(), key=lambda each: each.name),
        own=[each.name for each in found.rules],
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/limits",
        permission="gateway:read",
        handler=get_limits,
        summary="Read the limits that hold",
        tags=_TAGS,
        response=LimitsView,
    ),
    Route(
        method="PUT",
        path="/api/v1/limits",
        permission="gateway:write",
        handler=put_limits,
        summary="Set the tier and the limits of the workspace's own",
        description="The list replaces the limits that were set before. Within a second they hold on every worker.",
        tags=_TAGS,
        body=NewLimits,
        response=LimitsView,
        request_example={
            "tier": "enterprise",
            "limits": [{"name": "exports", "scope": "caller", "count": 60, "seconds": 60, "burst": 10}],
        },
        errors=(LimitUnclear,),
    ),
    Route(
        method="GET",
        path="/api/v1/usage",
        permission="gateway:read",
        handler=get_usage,
        summary="Read how much each caller used, and the quotas",
        tags=_TAGS,
        query=UsageQuery,
        response=UsagePage,
    ),
)
