"""What the page of monitoring shows, as frozen values."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from isthmus.console.status import Badge
from isthmus.gateway.monitoring.objectives import ObjectiveView


@dataclass(frozen=True, kw_only=True)
class SpanView:
    """A stretch of time that can be chosen; its chart has a point for each `step`."""

    hours: int
    label: str
    step: timedelta
    step_label: str
    chosen: bool = False


@dataclass(frozen=True, kw_only=True)
class AlertRow:
    """An alert with its badge."""

    id: str
    title: str
    about: str
    reason: str
    badge: Badge
    opened_at: datetime
    seen_at: datetime
    resolved_at: datetime | None
    acknowledged_by: str
    open: bool


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One step of the charts, as the table below them shows it; latencies in milliseconds."""

    at: datetime
    calls: int
    failed: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True, kw_only=True)
class Sum:
    """What a route or key came to; `busy` is how many of its calls were being answered at a time, on average."""

    name: str
    calls: int
    refused: int
    failed: int
    p50: float | None
    p95: float | None
    p99: float | None
    busy: float

    @property
    def share_failed(self) -> float:
        """The share of answers that are errors of ours."""
        return self.failed / self.calls if self.calls else 0.0


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Latency and calls over time, with the values at their upper edges."""

    latency: Markup
    latency_top_ms: float
    calls: Markup
    calls_top: float
    moments: tuple[Moment, ...]


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """The whole page."""

    now: datetime
    since: datetime
    workspace: str
    spans: tuple[SpanView, ...]
    whole: Sum
    charts: Charts
    objectives: tuple[ObjectiveView, ...]
    alerts: tuple[AlertRow, ...]
    over: tuple[AlertRow, ...]
    domains: tuple[Sum, ...]
    routes: tuple[Sum, ...]
    keys: tuple[Sum, ...]
    may_act: bool

    @property
    def span(self) -> SpanView:
        """The stretch of time that was chosen."""
        return next(each for each in self.spans if each.chosen)

    @property
    def open(self) -> int:
        """How many alerts nobody looks after."""
        return sum(each.open for each in self.alerts)

    @property
    def headline(self) -> str:
        """How things are, in one sentence."""
        spent = [each.title for each in self.objectives if each.remaining < 0]
        if self.open:
            return f"{self.open} alert{'' if self.open == 1 else 's'} wait{'s' if self.open == 1 else ''} for somebody."
        if self.alerts:
            return "Somebody looks after everything that alarms."
        if spent:
            return f"Nothing alarms. The error budget is used up: {', '.join(spent)}."
        return "Nothing alarms, and every objective is within its error budget."
