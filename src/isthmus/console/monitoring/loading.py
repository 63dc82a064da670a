"""Filling the page of monitoring from the minutes that are kept, the objectives and the alerts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from isthmus.console.monitoring.drawing import columns, lines, round_top
from isthmus.console.monitoring.views import AlertRow, Charts, Moment, Monitoring, SpanView, Sum
from isthmus.console.status import Badge
from isthmus.gateway import Services
from isthmus.gateway.histogram import quantile
from isthmus.gateway.monitoring.minutes import Cell, Step, steps
from isthmus.gateway.monitoring.objectives import objectives
from isthmus.kernel.ids import text_of
from isthmus.store.database import Scope, Transaction
from isthmus.stream.alerts.state import ALERT_PREFIX, Alert, alerts, unresolved

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SPANS = (
    SpanView(hours=3, label="3 hours", step=5 * MINUTE, step_label="5 min"),
    SpanView(hours=24, label="24 hours", step=30 * MINUTE, step_label="30 min"),
    SpanView(hours=168, label="7 days", step=4 * HOUR, step_label="4 hours"),
    SpanView(hours=720, label="30 days", step=12 * HOUR, step_label="12 hours"),
)
ROUTES_MAX, KEYS_MAX, OVER_MAX = 12, 8, 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BADGES = {
    ("page", "open"): Badge(tone="bad", icon="needs-attention", word="open"),
    ("warning", "open"): Badge(tone="warn", icon="degraded", word="open"),
}
_ACKNOWLEDGED = Badge(tone="busy", icon="running", word="acknowledged")
_RESOLVED = Badge(tone="good", icon="healthy", word="over")


async def load(services: Services, scope: Scope, *, hours: int, titles: Mapping[str, str], may_act: bool) -> Monitoring:
    """Return the page's content for the last so many hours; `titles` name rules for people."""
    spans = tuple(replace(each, chosen=each.hours == hours) for each in SPANS)
    span = next(each for each in spans if each.chosen)
    now = scope.now
    ends = _ceiling(now, span.step)
    since = ends - timedelta(hours=hours)
    standing = await objectives(services.database, scope)
    async with services.database.transaction(scope) as tx:
        every = await steps(tx, "all", since=since, until=ends, step=span.step)
        summed = {
            kind: _sums(await steps(tx, kind, since=since, until=ends, step=timedelta(hours=hours)), now - since)
            for kind in ("domain", "route", "key")
        }
        open_ones = await unresolved(tx)
        over = await alerts(tx, status="resolved", before=None, limit=OVER_MAX)
        workspace = await _name(tx)
    whole = Cell()
    for each in every:
        whole.add(each.cell)
    return Monitoring(
        now=now,
        since=since,
        workspace=workspace,
        spans=spans,
        whole=_sum("all", whole, now - since),
        charts=_charts(every, since=since, ends=ends, step=span.step),
        objectives=tuple(standing.data),
        alerts=tuple(_row(each, titles, viewer=scope.actor) for each in open_ones),
        over=tuple(_row(each, titles, viewer=scope.actor) for each in over),
        domains=tuple(summed["domain"]),
        routes=tuple(summed["route"][:ROUTES_MAX]),
        keys=tuple(summed["key"][:KEYS_MAX]),
        may_act=may_act,
    )


def _ceiling(now: datetime, step: timedelta) -> datetime:
    """Return the end of the step that is going on: steps begin where the clock's round times are, in UTC."""
    past = (now - _EPOCH) % step
    return now - past + step


def _charts(every: Iterable[Step], *, since: datetime, ends: datetime, step: timedelta) -> Charts:
    by_time = {each.at: each.cell for each in every}
    count = round((ends - since) / step)
    moments = tuple(_moment(since + index * step, by_time) for index in range(count))
    slowest = max((each.p95 or 0.0 for each in moments), default=0.0)
    most = max((each.calls for each in moments), default=0)
    latency_top, calls_top = round_top(slowest), round_top(most)
    return Charts(
        latency=lines(
            [("p95", [each.p95 for each in moments]), ("p50", [each.p50 for each in moments])], top=latency_top
        ),
        latency_top_ms=latency_top,
        calls=columns([each.calls for each in moments], [each.failed for each in moments], top=calls_top),
        calls_top=calls_top,
        moments=moments,
    )


def _moment(at: datetime, by_time: Mapping[datetime, Cell]) -> Moment:
    cell = by_time.get(at, Cell())
    return Moment(at=at, calls=cell.calls, failed=cell.failed, p50=_milli(cell, 0.5), p95=_milli(cell, 0.95))


def _sums(found: Sequence[Step], length: timedelta) -> list[Sum]:
    by_name: dict[str, Cell] = {}
    for each in found:
        by_name.setdefault(each.name, Cell()).add(each.cell)
    every = [_sum(name, cell, length) for name, cell in by_name.items()]
    return sorted(every, key=lambda each: (-each.calls, each.name))


def _sum(name: str, cell: Cell, length: timedelta) -> Sum:
    return Sum(
        name=name,
        calls=cell.calls,
        refused=cell.refused,
        failed=cell.failed,
        p50=_milli(cell, 0.5),
        p95=_milli(cell, 0.95),
        p99=_milli(cell, 0.99),
        busy=cell.micros / 1e6 / length.total_seconds(),
    )


def _milli(cell: Cell, share: float) -> float | None:
    found = quantile(cell.counts, share)
    return None if found is None else found / 1000


def _row(alert: Alert, titles: Mapping[str, str], *, viewer: str) -> AlertRow:
    actor = alert.acknowledged_by or ""
    badge = _RESOLVED if alert.status == "resolved" else _BADGES.get((alert.severity, alert.status), _ACKNOWLEDGED)
    return AlertRow(
        id=text_of(ALERT_PREFIX, alert.id),
        title=titles.get(alert.rule, alert.rule),
        about=alert.about,
        reason=alert.reason,
        badge=badge,
        opened_at=alert.opened_at,
        seen_at=alert.seen_at,
        resolved_at=alert.resolved_at,
        acknowledged_by="you" if actor == viewer else actor,
        open=alert.status == "open",
    )


async def _name(tx: Transaction) -> str:
    cursor = await tx.connection.execute("select name from workspace where id = %s", (tx.scope.workspace,))
    row = await cursor.fetchone()
    return str(row[0]) if row else ""
