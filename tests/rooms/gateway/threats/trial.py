"""Traffic played through the real stage in its own time, and what came of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.gateway.threats.ladder import DETECTORS
from isthmus.gateway.threats.networks import NOBODY
from isthmus.gateway.threats.watch import Threats
from isthmus.kernel.errors import IsthmusError
from tests.factories.traffic import WORKSPACE, Attempt, Sent, Traffic

IN_TIME_S, HOSTILE_CALLS = 5.0, 20


@dataclass
class Tried:
    """Attempts found in time by kind, those there were, and normal calls that were touched."""

    found: Counter[str] = field(default_factory=Counter[str])
    made: Counter[str] = field(default_factory=Counter[str])
    missed: list[Attempt] = field(default_factory=list[Attempt])
    normal: int = 0
    touched: int = 0
    wrongly: Counter[str] = field(default_factory=Counter[str])

    def recall(self) -> Mapping[str, float]:
        """Return the share of attempts found in time, by kind."""
        return {kind: self.found[kind] / made for kind, made in self.made.items()}


def play(traffic: Traffic) -> Tried:
    """Play traffic with every detector enforced.

    An attempt is found when its detector named its subject at most five seconds after its twentieth call; a slow one
    when that happened before it ended. A normal call is touched when it is refused or tagged; calls that the owner of
    an attacked credential makes meanwhile count as neither.
    """
    stage = Threats(modes=dict.fromkeys(DETECTORS, "enforce"))
    attempts = {each.number: each for each in traffic.attempts}
    attacked = {each.subject for each in traffic.attempts}
    found_at: dict[int, float] = {}
    tried = Tried()
    for sent in traffic.calls:
        reasons = answered(stage, sent)
        if sent.attack:
            attempt = attempts[sent.attack]
            workspace = NOBODY if sent.actor.principal is None else WORKSPACE
            if (workspace, attempt.kind, attempt.subject) in stage.pending:
                found_at.setdefault(sent.attack, sent.at)
        elif sent.actor.subject not in attacked:
            tried.normal += 1
            if any(each.startswith("threat:") for each in reasons):
                tried.touched += 1
                tried.wrongly[f"{reasons[-1]} {sent.actor.agent}"] += 1
    for attempt in traffic.attempts:
        kind = f"slow {attempt.kind}" if attempt.slow else attempt.kind
        place = len(attempt.calls) - 1 if attempt.slow else min(HOSTILE_CALLS, len(attempt.calls)) - 1
        due = attempt.calls[place].at + (0 if attempt.slow else IN_TIME_S)
        tried.made[kind] += 1
        if found_at.get(attempt.number, due + 1) <= due:
            tried.found[kind] += 1
        else:
            tried.missed.append(attempt)
    return tried


def answered(stage: Threats, sent: Sent) -> list[str]:
    """Send one call through the stage and return the reasons that it was given."""
    asked, status = sent.asked(), sent.status
    principal, asked.principal = asked.principal, None
    try:
        stage.door(asked)
        asked.principal = principal
        if principal is not None or status != 401 or asked.route.permission is None:
            stage.admit(asked)
    except IsthmusError as error:
        status = error.status
    asked.principal = principal
    stage.ended(asked, status=status, micros=0)
    return asked.reasons
