"""The gauges that rules look at, for one workspace. Each reader says which gauges it read, and how they stand."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, timedelta
from typing import LiteralString, TypeAlias

from isthmus.app.alerting.rules import (
    BUDGET,
    CONSENT,
    DEAD_EVENTS,
    DEAD_JOBS,
    DISCREPANCY,
    ERRORS,
    FOUND,
    LATE,
    LATENCY,
    LIMITS,
    OBSERVED,
    RELAY,
    SCHEDULE,
    THREAT,
    WEBHOOK,
    WITHHELD,
    burn_gauge,
)
from isthmus.app.program import Program
from isthmus.gateway.histogram import quantile
from isthmus.gateway.limit_rules import read_limits
from isthmus.gateway.monitoring.minutes import Sums, steps, sums
from isthmus.gateway.monitoring.slo import LENGTHS, OBJECTIVES, Objective, burns
from isthmus.gateway.tracing import NOBODY
from isthmus.kernel.period import period
from isthmus.kernel.status import Status
from isthmus.store.database import Scope, Transaction
from isthmus.stream.alerts.rules import Gauge, Reading
from isthmus.stream.jobs.schedules import schedules
from isthmus.stream.webhooks.endpoints import endpoint_text, endpoints
from isthmus.sync.discrepancies import agreements
from isthmus.sync.feeds import freshness
from isthmus.sync.grants import endings

CALLS_MIN = 20
"""Of fewer calls in five minutes neither a quantile nor a share says much."""
RECENT = timedelta(minutes=5)
_STILL = frozenset({Status.PAUSED, Status.PENDING})
_REFUSALS: LiteralString = """
select network, sum(coalesce((details->>'count')::bigint, 1)) from audit
where workspace = current_workspace() and action = 'call.denied' and at >= %s and network is not null
group by 1 order by 2 desc limit 20
"""
_THREATS: LiteralString = """
select detector, subject, mode, reason, hits from threat
where workspace = current_workspace() and last_seen >= %s and released_at is null order by last_seen desc limit 20
"""
_QUOTAS: LiteralString = """
select subject, period, sum(used)::bigint from limit_ledger
where workspace = current_workspace() and subject like 'quota:%%' and period in (%s, %s)
group by 1, 2 order by 1, 2
"""
_DEAD_EVENTS: LiteralString = """
select consumer, count(*) from parked where workspace = current_workspace() group by 1 order by 1
"""
_DEAD_JOBS: LiteralString = """
select kind, count(*) from job where workspace = current_workspace() and status = 'needs attention'
group by 1 order by 1
"""
_UNSTAMPED: LiteralString = """
select at from event_bundle where workspace = current_workspace() and first is null order by id limit 1
"""
Reader: TypeAlias = Callable[[Program, Transaction], Awaitable[Reading]]


async def traffic(program: Program, tx: Transaction) -> Reading:
    """Read latency and errors of the last five minutes, by domain."""
    del program
    now = tx.scope.now
    gauges: list[Gauge] = []
    for step in await steps(tx, "domain", since=now - RECENT, until=now, step=timedelta(days=1)):
        cell = step.cell
        p95 = quantile(cell.counts, 0.95)
        if p95 is not None and cell.timed >= CALLS_MIN:
            reason = f"p95 is {p95 / 1000:.0f} ms over {cell.timed} calls in 5 min"
            gauges.append(Gauge(name=LATENCY, about=step.name, value=p95 / 1000, reason=reason))
        if cell.calls >= CALLS_MIN:
            reason = f"{cell.failed} of {cell.calls} calls failed in 5 min"
            gauges.append(Gauge(name=ERRORS, about=step.name, value=cell.failed / cell.calls, reason=reason))
    return Reading(gauges=gauges, names=frozenset({LATENCY, ERRORS}))


async def budgets_of_errors(program: Program, tx: Transaction) -> Reading:
    """Read how fast error budgets burn."""
    gauges: list[Gauge] = []
    names: set[str] = set()
    for objective in OBJECTIVES:
        for burn in burns(objective, await lengths(program, tx, objective)):
            name = burn_gauge(objective.name, burn.window.name)
            names.add(name)
            if burn.alarming:
                rate = min(burn.long_rate, burn.short_rate)
                reason = f"{burn.long_rate:.1f} times over {_said(burn.window.long)}, {burn.bad} bad"
                gauges.append(Gauge(name=name, about=objective.name, value=rate, reason=reason))
    return Reading(gauges=gauges, names=frozenset(names))


async def lengths(program: Program, tx: Transaction, objective: Objective) -> Mapping[timedelta, Sums]:
    """Return the sums of an objective over every stretch of time that matters; probes are those of the installation."""
    now = tx.scope.now
    if not objective.installation:
        return {each: await sums(tx, objective.kind, objective.about, since=now - each, until=now) for each in LENGTHS}
    scope = Scope(workspace=NOBODY, actor="monitoring", cause="gauges", now=now)
    async with program.database.transaction(scope) as own:
        return {each: await sums(own, objective.kind, objective.about, since=now - each, until=now) for each in LENGTHS}


async def streams(program: Program, tx: Transaction) -> Reading:
    """Read how long streams are overdue."""
    del program
    now = tx.scope.now
    gauges = [
        Gauge(
            name=LATE,
            about=f"{each.connection}/{each.feed}",
            value=(now - each.next_at).total_seconds(),
            reason=f"due {_said(now - each.next_at)} ago; the connection is {each.status}",
        )
        for each in await freshness(tx)
        if each.next_at is not None and each.status not in _STILL and each.next_at < now
    ]
    return Reading(gauges=gauges, names=frozenset({LATE}))


async def quotas(program: Program, tx: Transaction) -> Reading:
    """Read how much of each quota of the day and the month is used."""
    del program
    now = tx.scope.now.astimezone(UTC)
    rules = (await read_limits(tx)).by_name
    gauges: list[Gauge] = []
    for text, span, used in await (await tx.connection.execute(_QUOTAS, (f"{now:%Y%m%d}", f"{now:%Y%m}"))).fetchall():
        _, name, subject = str(text).split(":", 2)
        rule = rules.get(name)
        cap = None if rule is None else rule.quota_day if len(span) == len("YYYYMMDD") else rule.quota_month
        if cap is not None:
            about = " ".join(each for each in (name, subject, span) if each)
            reason = f"{used} of {cap} calls are used"
            gauges.append(Gauge(name=LIMITS, about=about, value=used / cap, reason=reason))
    return Reading(gauges=gauges, names=frozenset({LIMITS}))


async def threats(program: Program, tx: Transaction) -> Reading:
    """Read how many calls were refused in five minutes, by the network they came from."""
    del program
    rows = await (await tx.connection.execute(_REFUSALS, (tx.scope.now - RECENT,))).fetchall()
    gauges = [
        Gauge(name=THREAT, about=str(network), value=float(count), reason=f"{count} calls refused in 5 min")
        for network, count in rows
    ]
    return Reading(gauges=gauges, names=frozenset({THREAT}))


async def found_threats(program: Program, tx: Transaction) -> Reading:
    """Read what detectors found in five minutes, in this workspace and about networks from which nobody was known."""
    since = tx.scope.now - RECENT
    rows = await (await tx.connection.execute(_THREATS, (since,))).fetchall()
    scope = Scope(workspace=NOBODY, actor="monitoring", cause="gauges", now=tx.scope.now)
    async with program.database.transaction(scope) as own:
        rows += await (await own.connection.execute(_THREATS, (since,))).fetchall()
    gauges = [
        Gauge(
            name=FOUND if mode == "enforce" else OBSERVED,
            about=f"{detector} {subject}",
            value=float(hits),
            reason=str(reason),
        )
        for detector, subject, mode, reason, hits in rows
    ]
    return Reading(gauges=gauges, names=frozenset({FOUND, OBSERVED}))


async def webhooks(program: Program, tx: Transaction) -> Reading:
    """Read how long endpoints fail, and which are stopped for want of rights."""
    del program
    now, gauges = tx.scope.now, list[Gauge]()
    for each in await endpoints(tx):
        about = endpoint_text(each.id)
        if each.withheld_at is not None:
            gauges.append(Gauge(name=WITHHELD, about=about, value=1.0, reason=each.withheld))
        elif each.failing_since is not None and each.paused_at is None:
            failing = now - each.failing_since
            reason = f"fails for {_said(failing)}: {each.reason}"
            gauges.append(Gauge(name=WEBHOOK, about=about, value=failing.total_seconds(), reason=reason))
    return Reading(gauges=gauges, names=frozenset({WEBHOOK, WITHHELD}))


async def consents(program: Program, tx: Transaction) -> Reading:
    """Read which connections a person has to consent to again, because the vendor refused or will soon."""
    del program
    gauges: list[Gauge] = []
    for each in await endings(tx):
        ends = f"the consent ends on {each.ends_at:%Y-%m-%d}" if each.ends_at is not None else "the consent ended"
        reason = (
            f"{each.reason if each.refused_at else ends}; consent again: isthmus connect authorize {each.connection}"
        )
        gauges.append(Gauge(name=CONSENT, about=each.connection, value=1.0, reason=reason))
    return Reading(gauges=gauges, names=frozenset({CONSENT}))


async def dead_letters(program: Program, tx: Transaction) -> Reading:
    """Read how many events, by consumer, and jobs, by kind, failed and wait for a person."""
    del program
    gauges: list[Gauge] = []
    for consumer, count in await (await tx.connection.execute(_DEAD_EVENTS)).fetchall():
        reason = f"{count} events wait; see them: isthmus events dlq"
        gauges.append(Gauge(name=DEAD_EVENTS, about=str(consumer), value=float(count), reason=reason))
    for kind, count in await (await tx.connection.execute(_DEAD_JOBS)).fetchall():
        reason = f"{count} jobs wait; see them: isthmus jobs ls --status 'needs attention'"
        gauges.append(Gauge(name=DEAD_JOBS, about=str(kind), value=float(count), reason=reason))
    return Reading(gauges=gauges, names=frozenset({DEAD_EVENTS, DEAD_JOBS}))


async def relaying(program: Program, tx: Transaction) -> Reading:
    """Read how long the oldest event waits for its number."""
    del program
    row = await (await tx.connection.execute(_UNSTAMPED)).fetchone()
    waits = timedelta() if row is None else max(timedelta(), tx.scope.now - row[0])
    gauge = Gauge(name=RELAY, about="relay", value=waits.total_seconds(), reason=f"the oldest waits {_said(waits)}")
    return Reading(gauges=[gauge], names=frozenset({RELAY}))


async def overdue(program: Program, tx: Transaction) -> Reading:
    """Read how long schedules are overdue, which nobody makes jobs for."""
    del program
    now = tx.scope.now
    gauges = [
        Gauge(
            name=SCHEDULE,
            about=each.name,
            value=(now - each.next_at).total_seconds(),
            reason=f"due {_said(now - each.next_at)} ago; does the scheduler run?",
        )
        for each in await schedules(tx)
        if each.next_at is not None and not each.paused and each.next_at < now
    ]
    return Reading(gauges=gauges, names=frozenset({SCHEDULE}))


async def disagreements(program: Program, tx: Transaction) -> Reading:
    """Read the share of fields on which two systems differ, by record type."""
    gauges: list[Gauge] = []
    for record_type in program.store.schema:
        found = await agreements(tx, program.store, record_type.name)
        compared, differing = sum(each.compared for each in found), sum(each.differing for each in found)
        if compared:
            reason = f"{differing} of {compared} compared fields differ"
            gauges.append(Gauge(name=DISCREPANCY, about=record_type.name, value=differing / compared, reason=reason))
    return Reading(gauges=gauges, names=frozenset({DISCREPANCY}))


async def budgets(program: Program, tx: Transaction) -> Reading:
    """Read how much of this year's, quarter's and month's budgets is used, by category."""
    from isthmus.app.discovery import catalog
    from isthmus.domains.finance.metrics import budget_of
    from isthmus.domains.finance.rules import parts_of

    del program
    now = tx.scope.now
    gauges: list[Gauge] = []
    for name in (f"{now.year}", f"{now.year}-Q{(now.month + 2) // 3}", f"{now.year}-{now.month:02}"):
        wanted = period(name)
        found = await budget_of(tx, catalog(), wanted=wanted, months=_within(name, parts_of), now=now)
        for currency in found.currencies:
            for line in (currency.total, *currency.by_category):
                if line.used is not None and line.budget is not None:
                    about = f"{name} {line.name} {currency.currency}"
                    reason = f"{line.used:.0%} of {line.budget.amount} {currency.currency} is spent"
                    gauges.append(Gauge(name=BUDGET, about=about, value=line.used, reason=reason))
    return Reading(gauges=gauges, names=frozenset({BUDGET}))


def _within(name: str, parts: Callable[[str], list[str]]) -> list[str]:
    return [name, *(inner for part in parts(name) for inner in _within(part, parts))]


def _said(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


QUICK: Sequence[Reader] = (
    *(traffic, budgets_of_errors, streams, quotas, threats, found_threats),
    *(webhooks, dead_letters, relaying, overdue, consents),
)
SLOW: Sequence[Reader] = (disagreements, budgets)
"""Those that read much are asked every ten minutes only."""
