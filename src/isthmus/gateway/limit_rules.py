"""The limits of a workspace: those of its tier, and what it set itself over them.

Tiers are per caller (a key, a client or a person), and ten times as much for the workspace as a whole. A sandbox has a
tenth of its tier. A limit that a workspace sets takes the place of the one of the same name; among limits of one scope
those that name a subject go before those for each.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, LiteralString, TypeAlias

from msgspec import Meta, Struct

from isthmus.auth.trace import trace
from isthmus.kernel.errors import Fault, Invalid
from isthmus.store.database import Transaction
from isthmus.stream.limits import Rate
from isthmus.stream.limits.leases import AWAY_S, Away

Scope: TypeAlias = Literal["caller", "workspace", "integration", "route", "upstream"]
Tier: TypeAlias = Literal["free", "professional", "enterprise"]
HOUR_S = 3600
WORKSPACE_SHARE = 10
_SANDBOX_SHARE = 10
_RULES_MAX = 200
TIERS: dict[Tier, Rate] = {
    "free": Rate(count=1_000, seconds=HOUR_S, burst=10),
    "professional": Rate(count=10_000, seconds=HOUR_S, burst=50),
    "enterprise": Rate(count=100_000, seconds=HOUR_S),
}
_Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
_READ: LiteralString = """
select name, scope, subject, count, seconds, burst, concurrency, quota_day, quota_month, dry_run, away, away_s
from limit_rule where workspace = current_workspace() order by name
"""
_TIER: LiteralString = """
select w.kind, t.tier from workspace w
left join limit_tier t on t.workspace = w.id where w.id = current_workspace()
"""
_SET_TIER: LiteralString = """
insert into limit_tier (workspace, tier, set_at, set_by) values (current_workspace(), %s, %s, %s)
on conflict (workspace) do update set tier = excluded.tier, set_at = excluded.set_at, set_by = excluded.set_by
"""
_CLEAR: LiteralString = "delete from limit_rule where workspace = current_workspace()"
_WRITE: LiteralString = """
insert into limit_rule (workspace, name, scope, subject, count, seconds, burst, concurrency, quota_day, quota_month,
                        dry_run, away, away_s, set_at, set_by)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class LimitUnclear(Invalid):
    """A limit cannot be what was asked for."""

    code, title = "limit-unclear", "The limit is not clear"


class LimitRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit: `count` calls each `seconds` with `burst` at once, calls in flight, and calls a day and a month.

    `subject` narrows the scope: a key's id (`key_…`), `user:…` or `client:…` of a caller; the domain of an integration;
    `GET /api/v1/…` of a route; the name of an upstream. Empty means each caller, each integration, each route, each
    upstream for itself. A dry run refuses nothing and counts what it would refuse. While the store of the limits is
    away, `fail_open_local` lets each worker give out its share for `away_s` seconds, `fail_closed` refuses at once.
    """

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,49}$")]
    scope: Scope
    subject: Annotated[str, Meta(max_length=200)] = ""
    count: _Count | None = None
    seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    burst: _Count | None = None
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    quota_day: _Count | None = None
    quota_month: _Count | None = None
    dry_run: bool = False
    away: Away = "fail_open_local"
    away_s: Annotated[int, Meta(ge=0, le=86_400)] = AWAY_S

    @property
    def rate(self) -> Rate | None:
        """The limit over time, if it has one."""
        if self.count is None or self.seconds is None:
            return None
        return Rate(count=self.count, seconds=self.seconds, burst=self.burst)


class Limitation(Struct, frozen=True, kw_only=True):
    """All limits of a workspace that hold."""

    tier: Tier
    sandbox: bool
    rules: tuple[LimitRule, ...]

    @property
    def by_name(self) -> dict[str, LimitRule]:
        """The limits by their names, those of the tier included."""
        return {each.name: each for each in (*tier_rules(self.tier, sandbox=self.sandbox), *self.rules)}


def tier_rules(tier: Tier, *, sandbox: bool = False) -> tuple[LimitRule, LimitRule]:
    """Return the limits of a tier: of each caller, and of the workspace."""
    rate, share = TIERS[tier], _SANDBOX_SHARE if sandbox else 1
    count = rate.count // share
    burst = None if rate.burst is None else max(1, rate.burst // (2 if sandbox else 1))
    whole = None if burst is None else burst * WORKSPACE_SHARE
    return (
        LimitRule(name="caller", scope="caller", count=count, seconds=HOUR_S, burst=burst),
        LimitRule(name="workspace", scope="workspace", count=count * WORKSPACE_SHARE, seconds=HOUR_S, burst=whole),
    )


async def read_limits(tx: Transaction) -> Limitation:
    """Return the limits of the workspace."""
    row = await (await tx.connection.execute(_TIER)).fetchone()
    rows = await (await tx.connection.execute(_READ)).fetchall()
    names = LimitRule.__struct_fields__
    kind, tier = row or ("live", None)
    rules = tuple(LimitRule(**dict(zip(names, each, strict=True))) for each in rows)
    return Limitation(tier=tier or "enterprise", sandbox=kind == "sandbox", rules=rules)


async def write_limits(tx: Transaction, *, tier: Tier | None, rules: Sequence[LimitRule] | None) -> Limitation:
    """Set the tier, all limits of the workspace's own, or both; returns what holds now. Raises LimitUnclear."""
    scope = tx.scope
    if tier is not None:
        await tx.connection.execute(_SET_TIER, (tier, scope.now, scope.actor))
        await trace(tx, action="limit.tier", resource="limits", record_id=None, details={"tier": tier})
    if rules is not None:
        check_rules(rules)
        await tx.connection.execute(_CLEAR)
        for each in rules:
            values = [getattr(each, name) for name in LimitRule.__struct_fields__]
            await tx.connection.execute(_WRITE, (*values, scope.now, scope.actor))
        names = [each.name for each in rules]
        await trace(tx, action="limit.set", resource="limits", record_id=None, details={"limits": names})
    return await read_limits(tx)


def check_rules(rules: Sequence[LimitRule]) -> None:
    """Raise LimitUnclear for limits that limit nothing, are named twice or say a window without a count."""
    faults: list[Fault] = []
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        at = f"/limits/{index}"
        if rule.name in seen:
            faults.append(_fault(f"{at}/name", f"There are two limits named {rule.name!r}."))
        seen.add(rule.name)
        if (rule.count is None) != (rule.seconds is None):
            faults.append(_fault(at, "A rate needs both `count` and `seconds`."))
        if rule.burst is not None and rule.count is None:
            faults.append(_fault(f"{at}/burst", "A burst needs a rate."))
        if all(each is None for each in (rule.count, rule.concurrency, rule.quota_day, rule.quota_month)):
            faults.append(_fault(at, "It limits nothing: give a rate, a concurrency or a quota."))
        if rule.scope == "workspace" and rule.subject:
            faults.append(_fault(f"{at}/subject", "A limit of the workspace has no subject."))
    if len(rules) > _RULES_MAX:
        faults.append(_fault("/limits", f"There are {len(rules)} limits, at most {_RULES_MAX}."))
    if faults:
        raise LimitUnclear("A limit is not clear.", fix="Mend what `errors` names.", faults=tuple(faults))


def matching(rules: Iterable[LimitRule], *, subjects: dict[Scope, str]) -> list[LimitRule]:
    """Return the rules that hold for a call; `subjects` says what each scope is for it."""
    found: list[LimitRule] = []
    every = list(rules)
    for scope, subject in subjects.items():
        own = [each for each in every if each.scope == scope]
        named = [each for each in own if each.subject and each.subject == subject]
        found += named or [each for each in own if not each.subject]
    return found


def _fault(pointer: str, detail: str) -> Fault:
    return Fault(pointer=pointer, code=LimitUnclear.code, detail=detail)
