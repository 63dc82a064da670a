"""Alerts as they are kept: opened, seen again, acknowledged, silenced, resolved."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.audit.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.store.database import Transaction
from isthmus.stream.alerts.rules import Gauge, Reading, Rule, holding
from isthmus.vault import entropy

ALERT_PREFIX, SILENCE_PREFIX = "alrt", "slnc"
SETTLED = timedelta(minutes=5)
"""An alert is resolved when its rule has not held for this long, so that what comes and goes is one alert."""
TOLD_AGAIN = timedelta(hours=4)
ANYTHING = "*"
_LOCK: LiteralString = "select pg_try_advisory_xact_lock(hashtextextended('alerts:' || current_workspace()::text, 0))"
_SELECT: LiteralString = """
select id, rule, about, severity, status, value, threshold, reason, opened_at, seen_at, acknowledged_at,
       acknowledged_by, resolved_at, told_at
from alert where workspace = current_workspace()
"""
_OPEN: LiteralString = """
insert into alert (workspace, id, rule, about, severity, status, value, threshold, reason, opened_at, seen_at)
values (current_workspace(), %s, %s, %s, %s, 'open', %s, %s, %s, %s, %s)
"""
_SEEN: LiteralString = """
update alert set value = %s, reason = %s, seen_at = %s where workspace = current_workspace() and id = %s
"""
_RESOLVE: LiteralString = """
update alert set status = 'resolved', resolved_at = %s where workspace = current_workspace() and id = any(%s)
"""
_TOLD: LiteralString = "update alert set told_at = %s where workspace = current_workspace() and id = any(%s)"
_SILENCES: LiteralString = """
select id, rule, about, reason, created_at, created_by, until from alert_silence
where workspace = current_workspace() and until > %s order by id
"""
_ACKNOWLEDGE: LiteralString = """
update alert set status = 'acknowledged', acknowledged_at = %s, acknowledged_by = %s
where workspace = current_workspace() and id = %s and status = 'open'
"""
_SILENCE: LiteralString = """
insert into alert_silence (workspace, id, rule, about, reason, created_at, created_by, until)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s)
"""


class AlertMissing(NotFound):
    """There is no such alert."""

    code, title = "alert-missing", "There is no such alert"


class AlertOver(Conflicting):
    """The alert is resolved."""

    code, title = "alert-over", "The alert is over"


class Alert(Struct, frozen=True, kw_only=True):
    """A rule that holds or held about something; `value` is the newest one that was over the threshold."""

    id: UUID
    rule: str
    about: str
    severity: str
    status: str
    value: float
    threshold: float
    reason: str
    opened_at: datetime
    seen_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    told_at: datetime | None


class Silence(Struct, frozen=True, kw_only=True):
    """Nobody is told of alerts of a rule about a thing until a moment; `*` stands for every rule or thing."""

    id: UUID
    rule: str
    about: str
    reason: str
    created_at: datetime
    created_by: str
    until: datetime

    def covers(self, alert: Alert) -> bool:
        """Tell whether nobody shall hear of an alert."""
        return self.rule in {ANYTHING, alert.rule} and self.about in {ANYTHING, alert.about}


@dataclass(frozen=True, kw_only=True)
class News:
    """What people have to be told: alerts of one rule that opened, or stay open untouched, or are over."""

    rule: str
    alerts: tuple[Alert, ...]
    resolved: bool


async def evaluate(tx: Transaction, rules: Sequence[Rule], reading: Reading) -> list[News] | None:
    """Open, renew and resolve alerts by what the gauges say; None when another program is doing so at this moment.

    What is returned has been marked as told, in the transaction: whoever commits it sends it.
    """
    now = tx.scope.now
    locked = await (await tx.connection.execute(_LOCK)).fetchone()
    if locked is None or not locked[0]:
        return None
    known = {(each.rule, each.about): each for each in await unresolved(tx)}
    held = {(rule.name, gauge.about): (rule, gauge) for rule, gauge in holding(rules, reading)}
    for place, (rule, gauge) in held.items():
        await _hold(tx, known.get(place), rule, gauge)
    read = {rule.name for rule in rules if rule.gauge in reading.names} | {
        each.rule for each in known.values() if each.rule not in {rule.name for rule in rules}
    }
    over = [
        each
        for place, each in known.items()
        if place not in held and each.rule in read and now - each.seen_at >= SETTLED
    ]
    await tx.connection.execute(_RESOLVE, (now, [each.id for each in over]))
    silences = await silenced(tx)
    due = [each for each in await unresolved(tx) if _is_due(each, now)]
    news = [*_grouped(_loud(due, silences), resolved=False)]
    news += _grouped((each for each in _loud(over, silences) if each.told_at is not None), resolved=True)
    await tx.connection.execute(_TOLD, (now, [each.id for group in news for each in group.alerts]))
    return news


async def unresolved(tx: Transaction) -> list[Alert]:
    """Return alerts that are open or acknowledged, the newest first."""
    return await _alerts(tx, _SELECT + " and status <> 'resolved' order by id desc", ())


async def alerts(tx: Transaction, *, status: str | None, before: UUID | None, limit: int) -> list[Alert]:
    """Return alerts, the newest first, below the id `before`."""
    where: LiteralString = (
        " and (%s::text is null or status = %s) and (%s::uuid is null or id < %s) order by id desc limit %s"
    )
    return await _alerts(tx, _SELECT + where, (status, status, before, before, limit))


async def alert_of(tx: Transaction, alert_id: UUID) -> Alert:
    """Return one alert; raises AlertMissing."""
    found = await _alerts(tx, _SELECT + " and id = %s", (alert_id,))
    if not found:
        raise AlertMissing("There is no such alert.", fix="List them: isthmus alerts ls --all")
    return found[0]


async def acknowledge(tx: Transaction, alert_id: UUID) -> Alert:
    """Say that somebody looks after an alert, so that it is not told again; raises AlertMissing and AlertOver."""
    before = await alert_of(tx, alert_id)
    if before.status == "resolved":
        raise AlertOver("The alert is resolved.", fix="There is nothing left to acknowledge.")
    cursor = await tx.connection.execute(_ACKNOWLEDGE, (tx.scope.now, tx.scope.actor, alert_id))
    if cursor.rowcount:
        details = {"rule": before.rule, "about": before.about, "before": before.status, "after": "acknowledged"}
        await trace(tx, action="alert.acknowledged", resource="alert", record_id=alert_id, details=details)
    return await alert_of(tx, alert_id)


async def silence(tx: Transaction, *, rule: str, about: str, until: datetime, reason: str) -> Silence:
    """Tell nobody of such alerts until a moment."""
    scope = tx.scope
    made = Silence(
        id=mint(unix_ms=milliseconds(scope.now), entropy=entropy(ENTROPY_BYTES)),
        rule=rule,
        about=about,
        reason=reason,
        created_at=scope.now,
        created_by=scope.actor,
        until=until,
    )
    await tx.connection.execute(_SILENCE, (made.id, rule, about, reason, made.created_at, made.created_by, until))
    details = {"rule": rule, "about": about, "until": until.isoformat(), "reason": reason}
    await trace(tx, action="alert.silenced", resource="alert_silence", record_id=made.id, details=details)
    return made


async def silenced(tx: Transaction) -> list[Silence]:
    """Return the silences that hold now."""
    cursor = await tx.connection.execute(_SILENCES, (tx.scope.now,))
    return [Silence(**dict(zip(Silence.__struct_fields__, row, strict=True))) for row in await cursor.fetchall()]


async def _hold(tx: Transaction, known: Alert | None, rule: Rule, gauge: Gauge) -> None:
    now = tx.scope.now
    if known is not None:
        await tx.connection.execute(_SEEN, (gauge.value, gauge.reason, now, known.id))
        return
    own = mint(unix_ms=milliseconds(now), entropy=entropy(ENTROPY_BYTES))
    row = (own, rule.name, gauge.about, rule.severity, gauge.value, rule.threshold, gauge.reason, now, now)
    await tx.connection.execute(_OPEN, row)
    details = {"rule": rule.name, "about": gauge.about, "value": gauge.value, "threshold": rule.threshold}
    await trace(tx, action="alert.opened", resource="alert", record_id=own, details=details)


def _is_due(alert: Alert, now: datetime) -> bool:
    if alert.status != "open":
        return False
    return alert.told_at is None or now - alert.told_at >= TOLD_AGAIN


def _loud(found: Iterable[Alert], silences: Sequence[Silence]) -> list[Alert]:
    return [each for each in found if not any(silence.covers(each) for silence in silences)]


def _grouped(found: Iterable[Alert], *, resolved: bool) -> list[News]:
    groups: dict[str, list[Alert]] = {}
    for each in found:
        groups.setdefault(each.rule, []).append(each)
    return [News(rule=rule, alerts=tuple(each), resolved=resolved) for rule, each in groups.items()]


async def _alerts(tx: Transaction, query: LiteralString, values: tuple[object, ...]) -> list[Alert]:
    cursor = await tx.connection.execute(query, values)
    return [Alert(**dict(zip(Alert.__struct_fields__, row, strict=True))) for row in await cursor.fetchall()]
