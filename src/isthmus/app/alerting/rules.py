"""The rules of alerts, as the product promises them. Thresholds stand here and nowhere else."""

from isthmus.gateway.monitoring.slo import OBJECTIVES, WINDOWS
from isthmus.stream.alerts.rules import Rule

LATENCY, ERRORS, LIMITS = "latency.p95_ms", "errors.share", "limits.use"
LATE, DISCREPANCY, THREAT, BUDGET = "stream.overdue_s", "discrepancy.share", "threat.refusals", "budget.used"
REFUSALS_MAX = 100
WEBHOOK, WITHHELD, DEAD_EVENTS, DEAD_JOBS = (
    "webhook.failing_s",
    "webhook.withheld",
    "dead_letters.events",
    "dead_letters.jobs",
)
RELAY, SCHEDULE = "relay.lag_s", "schedule.overdue_s"
FOUND, OBSERVED = "threat.found", "threat.observed"
CONSENT = "connection.consent"


def burn_gauge(objective: str, window: str) -> str:
    """Return the name of the gauge of how fast a budget burns."""
    return f"burn.{objective}.{window}"


DECLARED = (
    Rule(name="latency", gauge=LATENCY, threshold=500, severity="page", title="Answers are slow (p95 over 500 ms)"),
    Rule(name="errors", gauge=ERRORS, threshold=0.05, severity="page", title="Over 5 % of answers are errors of ours"),
    Rule(name="limits", gauge=LIMITS, threshold=0.9, severity="warning", title="Over 90 % of a limit is used"),
    Rule(name="stream-late", gauge=LATE, threshold=300, severity="warning", title="A stream is late"),
    Rule(
        name="discrepancy",
        gauge=DISCREPANCY,
        threshold=0.0005,
        severity="warning",
        title="Systems disagree on over 0.05 % of fields",
    ),
    Rule(
        name="threat", gauge=THREAT, threshold=REFUSALS_MAX, severity="page", title="Many refused calls from one place"
    ),
    Rule(name="threat-found", gauge=FOUND, threshold=0, severity="page", title="A caller is held back as a threat"),
    Rule(name="threat-observed", gauge=OBSERVED, threshold=0, severity="warning", title="A threat was observed"),
    Rule(name="webhook", gauge=WEBHOOK, threshold=300, severity="warning", title="A webhook fails for over 5 minutes"),
    Rule(
        name="webhook-withheld",
        gauge=WITHHELD,
        threshold=0,
        severity="warning",
        title="A webhook is stopped: whoever chose what it is told may not read it",
    ),
    Rule(name="dead-events", gauge=DEAD_EVENTS, threshold=0, severity="warning", title="Events failed and wait"),
    Rule(name="dead-jobs", gauge=DEAD_JOBS, threshold=0, severity="warning", title="Jobs failed and wait"),
    Rule(name="relay-lag", gauge=RELAY, threshold=30, severity="page", title="Events wait over 30 s for their number"),
    Rule(name="schedule-missed", gauge=SCHEDULE, threshold=300, severity="warning", title="A schedule was missed"),
    Rule(
        name="consent",
        gauge=CONSENT,
        threshold=0,
        severity="warning",
        title="A connection's consent was refused, or ends within a week",
    ),
    Rule(name="budget", gauge=BUDGET, threshold=1.0, severity="warning", title="A budget is overrun"),
)
BURNING = tuple(
    Rule(
        name=f"burn-{objective.name}-{window.name}",
        gauge=burn_gauge(objective.name, window.name),
        threshold=window.factor,
        severity=window.urgency,
        title=f"{objective.title}: the error budget burns over {window.factor:g} times too fast",
    )
    for objective in OBJECTIVES
    for window in WINDOWS
)
RULES = (*DECLARED, *BURNING)
