"""Journeys and what comes of them, with the true cause of every sale.

Journeys are competing risks. Every touch of channel c adds the hazard `w_c / τ · exp(-age / τ)` to a baseline.
Both grow with the account's fit, and fit accounts are also touched more often, which is what misleads rules of credit.
A buyer decides when the summed hazard reaches an exponential draw, and the chance that channel c was the cause is its
part of the hazard at that moment. So the true share of revenue of every channel, and of no channel at all, is known.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from isthmus.connectors.demo.world import (
    BASELINE,
    BASELINE_PER_DAY,
    HORIZON_DAYS,
    LOST_SHARE,
    MEMORY_DAYS,
    OPEN_SHARE,
    OPEN_STAGES,
    WAYS,
    WON_SHARE,
    Campaign,
    Company,
    Contact,
    Human,
    Sale,
)

LAST_COMMITMENT_DAY = HORIZON_DAYS - 14.0


def make_contacts(
    rng: Random, *, humans: Sequence[Human], campaigns: Sequence[Campaign], start: datetime
) -> tuple[Contact, ...]:
    """Return the touches of all accounts in order of time; fit accounts get more of them."""
    of: dict[int, list[Human]] = {}
    for human in humans:
        of.setdefault(human.company.number, []).append(human)
    by_channel: dict[str, list[Campaign]] = {}
    for campaign in campaigns:
        by_channel.setdefault(campaign.channel, []).append(campaign)
    contacts: list[Contact] = []
    for people in of.values():
        firm = people[0].company
        opens_day = rng.uniform(0, HORIZON_DAYS * 0.5)
        for channel, way in WAYS.items():
            mean = way.touches * (0.5 + 0.5 * min(firm.fit, 3.0))
            for _ in range(max(0, round(rng.gauss(mean, math.sqrt(mean))))):
                human = rng.choice(people)
                campaign = rng.choice(by_channel[channel]) if channel in by_channel else None
                at = start + timedelta(seconds=round(rng.uniform(opens_day, HORIZON_DAYS) * 86_400) - 1)
                contacts.append(Contact(firm, human, channel, campaign, rng.choice(way.kinds), at))
    contacts.sort(key=lambda each: (each.at, each.human.number))
    return tuple(contacts)


def _hazard(firm: Company, touches: Sequence[Contact], *, start: datetime, day: float) -> float:
    """Return the summed hazard of an account until that day, before it is scaled to the wanted number of wins."""
    summed = BASELINE_PER_DAY * day
    for touch in touches:
        age = day - (touch.at - start).total_seconds() / 86_400
        if age > 0:
            summed += WAYS[touch.channel].weight * (1 - math.exp(-age / MEMORY_DAYS))
    return summed * firm.fit


def _causes(touches: Sequence[Contact], *, start: datetime, day: float) -> tuple[tuple[str, float], ...]:
    """Return the share of every cause in the hazard of that day; the shares sum to one."""
    parts = {BASELINE: BASELINE_PER_DAY}
    for touch in touches:
        age = day - (touch.at - start).total_seconds() / 86_400
        weight = WAYS[touch.channel].weight
        if age > 0 and weight:
            part = weight / MEMORY_DAYS * math.exp(-age / MEMORY_DAYS)
            parts[touch.channel] = parts.get(touch.channel, 0.0) + part
    whole = sum(parts.values())
    return tuple((name, part / whole) for name, part in sorted(parts.items()))


def _first_at(low: float, high: float, *, reaching: float, of: Callable[[float], float]) -> float:
    """Return where the rising function `of` reaches a value, between `low` and `high`."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if of(middle) < reaching else (low, middle)
    return high


def make_sales(
    rng: Random, *, firms: Sequence[Company], contacts: Sequence[Contact], start: datetime, now: datetime
) -> tuple[Sale, ...]:
    """Return the deals in order of opening: those won by their journeys, some lost, some open."""
    journeys: dict[int, list[Contact]] = {firm.number: [] for firm in firms}
    for contact in contacts:
        journeys[contact.company.number].append(contact)
    buyers = [firm for firm in firms if not firm.installed and journeys[firm.number]]
    until_end = {
        firm.number: _hazard(firm, journeys[firm.number], start=start, day=LAST_COMMITMENT_DAY) for firm in buyers
    }
    scale = _first_at(
        0.0,
        100.0,
        reaching=WON_SHARE * len(firms),
        of=lambda factor: sum(1 - math.exp(-factor * summed) for summed in until_end.values()),
    )
    drafts: list[Sale] = []
    for firm in buyers:
        draw = rng.expovariate(1.0) / scale
        if draw < until_end[firm.number]:
            drafts.append(_won(rng, journey=journeys[firm.number], firm=firm, draw=draw, start=start))
    reached = [firm for firm in firms if journeys[firm.number]]
    for ending, share in (("closed_lost", LOST_SHARE), ("", OPEN_SHARE)):
        for _ in range(round(share * len(firms))):
            firm = rng.choice(reached)
            drafts.append(_unwon(rng, journey=journeys[firm.number], firm=firm, ending=ending, now=now))
    drafts.sort(key=lambda sale: (sale.opened_at, sale.company.number))
    return tuple(dataclasses.replace(sale, number=number) for number, sale in enumerate(drafts, start=1))


def _won(rng: Random, *, journey: Sequence[Contact], firm: Company, draw: float, start: datetime) -> Sale:
    day = _first_at(
        0.0, LAST_COMMITMENT_DAY, reaching=draw, of=lambda until: _hazard(firm, journey, start=start, day=until)
    )
    committed_at = start + timedelta(seconds=round(day * 86_400))
    closed_at = committed_at + timedelta(hours=rng.randrange(24, 24 * 12))
    opened_at = committed_at - timedelta(hours=rng.randrange(24 * 12, 24 * 75))
    return Sale(
        number=0,
        company=firm,
        human=_buyer(rng, journey=journey, until=committed_at),
        campaign=_source(journey, until=opened_at),
        stage="closed_won",
        amount=_amount(rng, firm=firm),
        opened_at=opened_at,
        committed_at=committed_at,
        closed_at=closed_at,
        path=_path(rng, opened_at=opened_at, stages=OPEN_STAGES, until=committed_at, ending=("closed_won", closed_at)),
        causes=_causes(journey, start=start, day=day),
    )


def _unwon(rng: Random, *, journey: Sequence[Contact], firm: Company, ending: str, now: datetime) -> Sale:
    age_h = rng.randrange(24 * 20, 24 * 300) if ending else rng.randrange(24 * 2, 24 * 90)
    opened_at = now - timedelta(hours=age_h)
    closed_at = opened_at + timedelta(hours=rng.randrange(24 * 5, age_h)) if ending else None
    stages = OPEN_STAGES[: rng.randrange(1, len(OPEN_STAGES) + 1)]
    end = (ending, closed_at) if closed_at is not None else None
    return Sale(
        number=0,
        company=firm,
        human=_buyer(rng, journey=journey, until=now),
        campaign=_source(journey, until=opened_at),
        stage=ending or stages[-1],
        amount=_amount(rng, firm=firm),
        opened_at=opened_at,
        committed_at=None,
        closed_at=closed_at,
        path=_path(rng, opened_at=opened_at, stages=stages, until=closed_at or now, ending=end),
    )


def _buyer(rng: Random, *, journey: Sequence[Contact], until: datetime) -> Human:
    return rng.choice([contact.human for contact in journey if contact.at <= until] or [journey[0].human])


def _source(journey: Sequence[Contact], *, until: datetime) -> Campaign | None:
    """Return the campaign that last touched the account before the deal was opened, as sales would note it."""
    return next((each.campaign for each in reversed(journey) if each.campaign and each.at <= until), None)


def _amount(rng: Random, *, firm: Company) -> Decimal:
    size = 6_000 + 900 * math.sqrt(firm.employees)
    return Decimal(round(size * math.exp(rng.gauss(0, 0.45)) / 50) * 50)


def _path(
    rng: Random,
    *,
    opened_at: datetime,
    stages: Sequence[str],
    until: datetime,
    ending: tuple[str, datetime] | None,
) -> tuple[tuple[str, datetime], ...]:
    whole_s = (until - opened_at).total_seconds()
    cuts = sorted(rng.uniform(0.05, 0.95) for _ in stages[1:])
    entered = [opened_at, *(opened_at + timedelta(seconds=round(whole_s * cut)) for cut in cuts)]
    path = list(zip(stages, entered, strict=True))
    return (*path, ending) if ending else tuple(path)
