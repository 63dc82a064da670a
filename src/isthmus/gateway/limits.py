"""The stage of the decision that counts: calls in flight, rates from leases, quotas from the ledger, uses.

What decides a call lies in this program's memory, except when a lease or a share of a quota runs out.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from isthmus.auth.keytext import KEY_PREFIX
from isthmus.auth.principal import Principal
from isthmus.auth.trace import trace
from isthmus.gateway.decide import UNSAFE, Asked, Standing
from isthmus.gateway.errors import LimitReached, QuotaUsedUp, TooManyAtOnce
from isthmus.gateway.limit_rules import Limitation, LimitRule, Scope, matching, read_limits
from isthmus.gateway.routes import Route
from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import Unavailable
from isthmus.kernel.ids import text_of
from isthmus.store.database import Database
from isthmus.store.database import Scope as Name
from isthmus.stream.limits import Lease, Leases, Rate, Refusal
from isthmus.stream.limits.bucket import LimitsAway
from isthmus.stream.limits.ledger import Ledger, Quota, day_of, month_of
from isthmus.stream.limits.tally import COUNTS, Tally, flight

INTEGRATIONS = "/api/v1/integrations/"
REMEMBERED_S = 0.5
PLANS_MAX = 50_000
DAY_S, MONTH_S = 86_400, 2_592_000
_STREAM = "text/event-stream"
ADDRESS_RATE = Rate(count=200, seconds=1, burst=2_000)
"""For routes that prove who somebody is or change something for everybody, by the address of the unknown caller."""
_Place: TypeAlias = tuple[int, int | tuple[int, str]]
"""The caller, and the route; below `/up/` with the name of the upstream."""
_ADMITTED, _REFUSED, _DRY_RUN, _WAITED, _DRAWS, _ALONE, _CLOSED = range(len(COUNTS))


@dataclass(slots=True)
class _Plan:
    """What is counted for one caller on one route."""

    subject: str
    cost: int
    leases: tuple[Lease, ...]
    dry: tuple[tuple[LimitRule, tuple[Lease, ...]], ...]
    quotas: tuple[tuple[LimitRule, str], ...]
    caps: tuple[tuple[LimitRule, int], ...]
    policy: str
    policy_header: tuple[str, str] = ("ratelimit-policy", "")
    day: int = 0
    place: int = 0
    uses: tuple[Quota, ...] = ()


@dataclass(slots=True)
class _Book:
    """The limits of a workspace as they were last read."""

    limitation: Limitation
    read_at: float
    plans: dict[_Place, _Plan] = field(default_factory=dict[_Place, _Plan])
    reading: "asyncio.Task[None] | None" = None


class Limits:
    """The stage; one for each worker. `run` keeps leases, ledger and the news of outages."""

    def __init__(
        self, database: Database, leases: Leases, ledger: Ledger, *, clock: Clock, ticks: Callable[[], float]
    ) -> None:
        """`ticks` are seconds that never go back."""
        self._database, self._leases, self._ledger = database, leases, ledger
        self._clock, self._ticks = clock, ticks
        self._words, self._counts = ledger.tally.words, ledger.tally.counts
        self._books: dict[int, _Book] = {}
        self._flying: dict[int, list[int]] = {}
        self._met_away: set[int] = set()
        self._told_away: set[int] = set()

    @property
    def tally(self) -> Tally:
        """The counts."""
        return self._ledger.tally

    def admit(self, asked: Asked) -> Awaitable[None] | None:
        """Count the call; raises LimitReached, QuotaUsedUp, TooManyAtOnce and LimitsAway."""
        principal, route = asked.principal, asked.route
        if principal is None:
            changes = route.permission is None and route.method in UNSAFE
            return self._unknown(asked) if changes or route.guarded else None
        book = self._books.get(principal.workspace)
        if book is None:
            return self._first(asked, principal)
        if self._ticks() - book.read_at > REMEMBERED_S and book.reading is None:
            book.reading = asyncio.create_task(self._refresh(principal.workspace))
        plan = book.plans.get((principal.id.int, (id(route), asked.upstream) if route.tail else id(route)))
        if plan is None:
            plan = self._planned(book, principal, route, upstream=asked.upstream)
        return self._count(asked, principal, plan)

    def ended(self, asked: Asked, *, status: int, micros: int) -> None:
        """Count the call as no longer in flight."""
        del status, micros
        if self._flying:
            for place in self._flying.pop(id(asked), ()):
                self.tally.land(place)

    def refuses(self, asked: Asked) -> bool:
        """Tell whether a limit is known to have no permit left, so that `admit` refuses the call at once."""
        principal, route = asked.principal, asked.route
        book = None if principal is None or route.tail else self._books.get(principal.workspace)
        plan = None if principal is None or book is None else book.plans.get((principal.id.int, id(route)))
        return plan is not None and not plan.caps and self._leases.refuses(plan.leases, cost=plan.cost)

    def standing_for(self, asked: Asked) -> Standing | None:
        """Let calls pass that are the same while their leases and shares of quotas hold, and count each at once."""
        principal, route = asked.principal, asked.route
        book = None if principal is None or route.tail else self._books.get(principal.workspace)
        plan = None if principal is None or book is None else book.plans.get((principal.id.int, id(route)))
        if principal is None or book is None or plan is None or plan.caps or plan.dry:
            return None
        books, leases, workspace = self._books, self._leases, principal.workspace
        taken, cost, words, counts = plan.leases, plan.cost, self._words, self._counts
        policy = f"ratelimit-policy: {plan.policy}\r\n"
        named = {each: f'{policy}ratelimit: "{each.name}";r='.encode("latin-1") for each in taken}

        def passes(now: datetime) -> bool:
            if books.get(workspace) is not book or plan.day != now.toordinal() or leases.away_since is not None:
                return False
            ticks = self._ticks()
            if ticks - book.read_at > REMEMBERED_S and book.reading is None:
                book.reading = asyncio.create_task(self._refresh(workspace))
            for quota in plan.uses:
                if words[quota.place] + cost > quota.granted:
                    return False
            return leases.holds(taken, ticks, cost=cost)

        def count(now: datetime) -> bytes:
            del now
            for quota in plan.uses:
                words[quota.place] += cost
            words[plan.place] += cost
            counts[_ADMITTED] += 1
            if not taken:
                return b""
            nearest, left = leases.take_ready(taken, cost=cost)
            return b"%b%d;t=%d\r\n" % (named[nearest], left, (nearest.room - left) * nearest.gain_s + 0.999)

        return Standing(passes=passes, count=count)

    async def run(self) -> None:
        """Keep everything going until cancelled."""
        await asyncio.gather(self._leases.run(), self._ledger.run(), self._tell())

    async def close(self) -> None:
        """Write down what was counted."""
        await self._leases.close()
        with suppress(Unavailable):
            await self._ledger.close()

    def forget(self, workspace: int) -> None:
        """Read the limits of a workspace again, because they were changed here."""
        self._books.pop(workspace, None)

    def _count(self, asked: Asked, principal: Principal, plan: _Plan) -> Awaitable[None] | None:
        if plan.caps and asked.route.media != _STREAM:
            self._fly(asked, plan)
        try:
            taken = self._leases.take(plan.leases, cost=plan.cost) if plan.leases else None
        except LimitsAway:
            self._closed(principal)
            raise
        if taken is None and not plan.dry and (not plan.quotas or self._used(asked, plan)):
            self._admitted(asked, principal, plan)
            return None
        if isinstance(taken, Refusal):
            raise self._refused(asked, plan, taken)
        return self._slowly(asked, principal, plan, taken)

    async def _slowly(
        self, asked: Asked, principal: Principal, plan: _Plan, taken: "Awaitable[Refusal | None] | None"
    ) -> None:
        if taken is not None:
            self.tally.counts[_WAITED] += 1
            try:
                refusal = await taken
            except LimitsAway:
                self._closed(principal)
                raise
            if refusal is not None:
                raise self._refused(asked, plan, refusal)
        used: list[int] = []
        for rule, subject in plan.quotas:
            await self._use(asked, plan, rule, f"quota:{rule.name}:{subject}", used)
        for rule, leases in plan.dry:
            await self._try(asked, plan, rule, leases)
        self._admitted(asked, principal, plan)

    def _used(self, asked: Asked, plan: _Plan) -> bool:
        """Use every quota of a plan out of what this worker may use already; False, and nothing used, when it lacks."""
        if plan.day != asked.now.toordinal():
            return False
        words, cost = self._words, plan.cost
        for quota in plan.uses:
            if words[quota.place] + cost > quota.granted:
                return False
        for quota in plan.uses:
            words[quota.place] += cost
        return True

    def _admitted(self, asked: Asked, principal: Principal, plan: _Plan) -> None:
        day = asked.now.toordinal()
        if plan.day != day:
            plan.place, plan.day = self.tally.place(principal.workspace, plan.subject, day_of(asked.now)), day
            plan.uses = tuple(
                self._ledger.quota(principal.workspace, f"quota:{rule.name}:{subject}", period, cap=cap)
                for rule, subject in plan.quotas
                for cap, period in _periods(rule, asked.now)
            )
        self._words[plan.place] += plan.cost
        self._counts[_ADMITTED] += 1
        if self._leases.away_since is not None:
            self._counts[_ALONE] += 1
            self._met_away.add(principal.workspace)
        if plan.leases:
            asked.headers += (plan.policy_header, ("ratelimit", _remaining(plan.leases)))

    def _refused(self, asked: Asked, plan: _Plan, refusal: Refusal) -> LimitReached:
        lease, wait_s = refusal.lease, max(1, math.ceil(refusal.wait_s))
        self.tally.counts[_REFUSED] += 1
        asked.reasons.append(f"limit:{lease.name}")
        asked.headers.append(("ratelimit-policy", plan.policy))
        asked.headers.append(("ratelimit", f'"{lease.name}";r=0;t={wait_s}'))
        rate = lease.rate
        return LimitReached(
            f"The limit {lease.name!r} allows {rate.count} calls each {rate.seconds} s, {rate.room} at once.",
            fix=f"Wait {wait_s} s, as Retry-After says, and spread calls over time.",
            retry_after_s=wait_s,
        )

    def _fly(self, asked: Asked, plan: _Plan) -> None:
        """Count a call in flight for each cap, or for none."""
        flown: list[int] = []
        for rule, place in plan.caps:
            most = rule.concurrency or 0
            if self.tally.fly(place, most=most):
                flown.append(place)
            elif rule.dry_run:
                self._would_refuse(asked, rule)
            else:
                for each in flown:
                    self.tally.land(each)
                self.tally.counts[_REFUSED] += 1
                asked.reasons.append(f"limit:{rule.name}")
                raise TooManyAtOnce(
                    f"The limit {rule.name!r} allows {most} calls at the same time.",
                    fix="Wait for answers before you send more.",
                )
        self._flying[id(asked)] = flown

    async def _use(self, asked: Asked, plan: _Plan, rule: LimitRule, subject: str, used: list[int]) -> None:
        """Use the quotas of a day and of a month; `used` gathers what is undone when one of them refuses."""
        workspace = asked.principal.workspace if asked.principal else 0
        for cap, period in _periods(rule, asked.now):
            quota = self._ledger.quota(workspace, subject, period, cap=cap)
            if self._ledger.use(quota, cost=plan.cost) or await self._ledger.more(quota, cost=plan.cost):
                used.append(quota.place)
            elif rule.dry_run:
                self._would_refuse(asked, rule)
            else:
                self._leases.give_back(plan.leases, cost=plan.cost)
                for place in used:
                    self.tally.words[place] -= plan.cost
                raise self._used_up(asked, rule, cap, period)

    def _used_up(self, asked: Asked, rule: LimitRule, cap: int, period: str) -> QuotaUsedUp:
        daily = len(period) == len("YYYYMMDD")
        name, wait_s = "day" if daily else "month", _left(asked.now, period)
        self.tally.counts[_REFUSED] += 1
        asked.reasons.append(f"quota:{rule.name}")
        window = DAY_S if daily else MONTH_S
        asked.headers.append(("ratelimit-policy", f'"{rule.name}-{name}";q={cap};w={window}'))
        asked.headers.append(("ratelimit", f'"{rule.name}-{name}";r=0;t={wait_s}'))
        return QuotaUsedUp(
            f"The quota {rule.name!r} of {cap} calls a {name} is used up.",
            fix="Wait for the next period, or ask for a higher quota.",
            retry_after_s=wait_s,
        )

    async def _try(self, asked: Asked, plan: _Plan, rule: LimitRule, leases: tuple[Lease, ...]) -> None:
        """Count what a limit in a dry run would refuse."""
        with suppress(LimitsAway):
            taken = self._leases.take(leases, cost=plan.cost)
            found = taken if taken is None or isinstance(taken, Refusal) else await taken
            if found is not None:
                self._would_refuse(asked, rule)

    def _would_refuse(self, asked: Asked, rule: LimitRule) -> None:
        self.tally.counts[_DRY_RUN] += 1
        asked.reasons.append(f"limit:{rule.name}:dry-run")

    def _unknown(self, asked: Asked) -> Awaitable[None] | None:
        """Count a call of nobody known, by its address; without the store it is refused."""
        lease = self._leases.lease(f"address:{asked.client}", ADDRESS_RATE, name="address", away="fail_closed")
        plan = _Plan("", 1, (lease,), (), (), (), _policy((lease,)))
        taken = self._leases.take((lease,), cost=1)
        if taken is None:
            return None
        if isinstance(taken, Refusal):
            raise self._refused(asked, plan, taken)
        return self._asked_first(asked, plan, taken)

    async def _asked_first(self, asked: Asked, plan: _Plan, taken: "Awaitable[Refusal | None]") -> None:
        try:
            refusal = await taken
        except LimitsAway:
            self.tally.counts[_CLOSED] += 1
            raise
        if refusal is not None:
            raise self._refused(asked, plan, refusal)

    async def _first(self, asked: Asked, principal: Principal) -> None:
        await self._read(principal.workspace)
        waiting = self.admit(asked)
        if waiting is not None:
            await waiting

    async def _refresh(self, workspace: int) -> None:
        try:
            with suppress(Unavailable):
                await self._read(workspace)
        finally:
            if (book := self._books.get(workspace)) is not None:
                book.reading = None
                book.read_at = self._ticks()

    async def _read(self, workspace: int) -> None:
        """Read the limits of a workspace; plans are kept while they stay the same. Raises DatabaseAway."""
        name = Name(workspace=workspace, actor="limits", cause="read", now=self._clock.now())
        async with self._database.transaction(name) as tx:
            found = await read_limits(tx)
        book = self._books.get(workspace)
        if book is None or book.limitation != found:
            self._books[workspace] = _Book(found, self._ticks())

    def _planned(self, book: _Book, principal: Principal, route: Route, *, upstream: str) -> _Plan:
        subject = caller_of(principal)
        subjects: dict[Scope, str] = {"caller": subject, "workspace": ""}
        subjects["route"] = f"{route.method} {route.path}"
        if upstream:
            subjects["upstream"] = upstream
        if route.path.startswith(INTEGRATIONS):
            subjects["integration"] = route.path.removeprefix(INTEGRATIONS).partition("/")[0]
        rules = matching(book.limitation.by_name.values(), subjects=subjects)
        workspace = principal.workspace
        leases = [(rule, self._lease(workspace, rule, subjects)) for rule in rules if rule.rate is not None]
        counted = tuple(lease for rule, lease in leases if not rule.dry_run)
        plan = _Plan(
            subject=subject,
            cost=min([route.cost, *(each.rate.room for each in counted)]),
            leases=counted,
            dry=tuple((rule, (lease,)) for rule, lease in leases if rule.dry_run),
            quotas=tuple((rule, subjects[rule.scope]) for rule in rules if rule.quota_day or rule.quota_month),
            caps=tuple(
                (rule, flight(workspace, f"{rule.name}:{subjects[rule.scope]}")) for rule in rules if rule.concurrency
            ),
            policy=_policy(counted),
        )
        plan.policy_header = ("ratelimit-policy", plan.policy)
        if len(book.plans) >= PLANS_MAX:
            book.plans.clear()
        book.plans[principal.id.int, (id(route), upstream) if route.tail else id(route)] = plan
        return plan

    def _lease(self, workspace: int, rule: LimitRule, subjects: dict[Scope, str]) -> Lease:
        rate = rule.rate
        if rate is None:
            message = f"the limit {rule.name} has no rate"
            raise ValueError(message)
        # A limit that was changed begins with a full bucket.
        key = f"{{{workspace}}}:{rule.name}:{rate.count}/{rate.seconds}/{rate.room}:{subjects[rule.scope]}"
        return self._leases.lease(key, rate, name=rule.name, away=rule.away, away_s=rule.away_s)

    def _closed(self, principal: Principal) -> None:
        self.tally.counts[_CLOSED] += 1
        self._met_away.add(principal.workspace)

    async def _tell(self) -> None:
        """Write into the audit log of whoever met it that the store was away, and that it is back."""
        while True:
            await asyncio.sleep(REMEMBERED_S)
            self.tally.counts[_DRAWS] = self._leases.draws
            away = self._leases.away_since is not None
            told = self._met_away - self._told_away if away else self._told_away
            for workspace in sorted(told):
                with suppress(Unavailable):
                    await self._write(workspace, "limits.away" if away else "limits.back")
                    (self._told_away.add if away else self._told_away.discard)(workspace)
            if not away:
                self._met_away.clear()

    async def _write(self, workspace: int, action: str) -> None:
        name = Name(workspace=workspace, actor="limits", cause="store", now=self._clock.now())
        async with self._database.transaction(name) as tx:
            await trace(tx, action=action, resource="limits", record_id=None, details={"nodes": self._leases.nodes})


def caller_of(principal: Principal) -> str:
    """Return by which name a caller is limited and its use is counted: a key, a person, or a client."""
    if principal.kind == "key":
        return text_of(KEY_PREFIX, principal.id)
    if principal.user is not None:
        return f"user:{principal.user}"
    return f"client:{principal.client}" if principal.client else f"{principal.kind}:{principal.id}"


def _periods(rule: LimitRule, now: datetime) -> Iterator[tuple[int, str]]:
    """Yield the caps of a rule, and the periods that they hold in."""
    for cap, period in ((rule.quota_day, day_of(now)), (rule.quota_month, month_of(now))):
        if cap is not None:
            yield cap, period


def metrics(tally: Tally) -> Iterator[str]:
    """Yield the counts of all workers as lines of Prometheus."""
    about = {
        "admitted": "Calls that the limits let through.",
        "refused": "Calls that a limit or a quota refused.",
        "dry_run": "Refusals that a limit in a dry run would have made.",
        "waited": "Calls that had to ask the store of the limits.",
        "draws": "Questions to the store of the limits.",
        "alone": "Calls that were let through while the store was away.",
        "closed": "Calls that were refused because the store was away.",
    }
    for name, count in tally.totals().items():
        yield f"# HELP isthmus_limits_{name}_total {about[name]}"
        yield f"# TYPE isthmus_limits_{name}_total counter"
        yield f"isthmus_limits_{name}_total {count}"


def _policy(leases: tuple[Lease, ...]) -> str:
    """Return RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11)."""
    return ", ".join(
        f'"{each.name}";q={each.rate.count};w={each.rate.seconds};burst={each.rate.room}' for each in leases
    )


def _remaining(leases: tuple[Lease, ...]) -> str:
    """Return RateLimit of the limit that is nearest to its end; `t` is when it is whole again."""
    nearest, left = _nearest(leases)
    return f'"{nearest.name}";r={left};t={int((nearest.room - left) * nearest.gain_s + 0.999)}'


def _nearest(leases: tuple[Lease, ...]) -> tuple[Lease, int]:
    """Return the lease whose bucket is emptiest for its size, and how many permits there are."""
    nearest, left, least = leases[0], 0.0, 2.0
    for each in leases:
        there = each.permits + each.free
        if there < least * each.room:
            nearest, left, least = each, there, there / each.room
    return nearest, int(left)


def _left(now: datetime, period: str) -> int:
    """Return how many seconds are left of a day or month."""
    if len(period) == len("YYYYMMDD"):
        return DAY_S - (now.hour * 3600 + now.minute * 60 + now.second)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = first.replace(year=now.year + now.month // 12, month=now.month % 12 + 1)
    return math.ceil((following - now).total_seconds())
