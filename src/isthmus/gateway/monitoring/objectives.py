"""The objectives of service as they stand: what was attained in 30 days, and what is left of the error budgets."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from isthmus.gateway.monitoring.minutes import Sums, sums
from isthmus.gateway.monitoring.slo import LENGTHS, OBJECTIVES, PERIOD, Objective, burns, remaining
from isthmus.store.database import Database, Scope

INSTALLATION = 0
"""The workspace under which stands what belongs to none."""


class BurnView(Struct, frozen=True, kw_only=True):
    """How fast a budget burns over two windows; 1 uses it up exactly in 30 days."""

    window: str
    factor: float
    long_hours: float
    short_hours: float
    long_rate: float
    short_rate: float
    alarming: bool


class ObjectiveView(Struct, frozen=True, kw_only=True):
    """An objective; `attained` is the share of good ones in 30 days, `remaining` what is left of the error budget."""

    name: str
    title: str
    target: float
    attained: float | None
    remaining: float
    counted: int
    burns: list[BurnView]


class ObjectiveViews(Struct, frozen=True, kw_only=True):
    """All objectives."""

    as_of: datetime
    data: list[ObjectiveView]


async def objectives(database: Database, scope: Scope) -> ObjectiveViews:
    """Return all objectives of a workspace; probes are those of the installation."""
    found: list[ObjectiveView] = []
    for objective in OBJECTIVES:
        of = Scope(
            workspace=INSTALLATION if objective.installation else scope.workspace, actor="", cause="", now=scope.now
        )
        async with database.transaction(of) as tx:
            by_length = {
                each: await sums(tx, objective.kind, objective.about, since=scope.now - each, until=scope.now)
                for each in LENGTHS
            }
        found.append(_objective(objective, by_length))
    return ObjectiveViews(as_of=scope.now, data=found)


def _objective(objective: Objective, by_length: Mapping[timedelta, Sums]) -> ObjectiveView:
    whole = by_length[PERIOD]
    counted = whole.calls if objective.judges == "failed" else whole.timed
    left = remaining(objective, whole)
    return ObjectiveView(
        name=objective.name,
        title=objective.title,
        target=objective.target,
        attained=1 - (1 - left) * objective.allowed if counted else None,
        remaining=left,
        counted=counted,
        burns=[
            BurnView(
                window=each.window.name,
                factor=each.window.factor,
                long_hours=each.window.long / timedelta(hours=1),
                short_hours=each.window.short / timedelta(hours=1),
                long_rate=each.long_rate,
                short_rate=each.short_rate,
                alarming=each.alarming,
            )
            for each in burns(objective, by_length)
        ],
    )
