"""Rules over named gauges, as they are declared, and which of them hold. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["page", "warning"]


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """How something stands now: `about` names the thing, `reason` says it in words for people."""

    name: str
    about: str
    value: float
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An alert is due for every thing whose gauge is over the threshold."""

    name: str
    gauge: str
    threshold: float
    severity: Severity
    title: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was looked at: gauges, and the names of all that were read, also of those that had nothing to say."""

    gauges: Sequence[Gauge]
    names: frozenset[str]


def holding(rules: Iterable[Rule], reading: Reading) -> list[tuple[Rule, Gauge]]:
    """Return the rules that hold, each with the gauge it holds for."""
    return [
        (rule, gauge)
        for rule in rules
        for gauge in reading.gauges
        if gauge.name == rule.gauge and gauge.value > rule.threshold
    ]
