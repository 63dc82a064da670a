"""What was acknowledged held against what was found: everything counted here must be zero."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from uuid import UUID

from msgspec import Struct

CREATED = "isthmus.sales.lead.created.v1"
CHANGED = "isthmus.sales.deal.changed.v1"


class Written(Struct, frozen=True):
    """An event as its table holds it; `seq` None was never stamped, `audited` tells whether the audit log has it."""

    seq: int | None
    id: int
    type: str
    record_id: UUID
    account_id: UUID | None
    hlc: int
    audited: bool


class Effect(Struct, frozen=True):
    """What a consumer did for an event; `place` tells the order in which effects were written."""

    place: int
    seq: int
    record_id: UUID
    account_id: UUID | None


class Acknowledged(Struct, frozen=True, kw_only=True):
    """What callers were told is done: how often each deal was changed, leads, and which of these were closed.

    `contested` counts answers that tell of a change that nobody made.
    """

    deals: Mapping[UUID, int]
    leads: frozenset[UUID]
    closed: frozenset[UUID]
    jobs: int
    contested: int = 0

    @property
    def writes(self) -> int:
        """How many they are."""
        return sum(self.deals.values()) + len(self.leads) + len(self.closed)


class Found(Struct, frozen=True, kw_only=True):
    """What is there in the end.

    `deals` are the values that the trail of each holds, in its order, with the place of each. `follow_ups` are the
    states of those of leads, `tasks` how many tasks the first step of each has made.
    `delivered` counts by message id what the receiver took, and `message_ids` holds those of the events to be told.
    `tail` and `head` are where the stream in Valkey and the log end; `strayed` entries of the stream are of no event.
    """

    events: Sequence[Written]
    effects: Sequence[Effect]
    deals: Mapping[UUID, Sequence[tuple[int, str]]]
    leads: frozenset[UUID]
    follow_ups: Mapping[UUID, str]
    tasks: Mapping[UUID, int]
    delivered: Mapping[str, int]
    message_ids: Mapping[int, str]
    job_steps: Mapping[tuple[UUID, str], int]
    jobs: int
    unfinished: int
    head: int
    tail: int
    strayed: int


STEPS = 3
"""How many steps a job has."""


def value_of(number: int) -> str:
    """Return what a deal holds after so many changes."""
    return f"change {number}"


def faults(told: Acknowledged, found: Found) -> dict[str, int]:
    """Count everything that may not be."""
    return {
        **_writes(told, found),
        **_log(found),
        **_effects(found),
        **_webhooks(found),
        **_jobs(told, found),
        "follow_ups_wrong": sum(_is_wrong(told, found, lead) for lead in told.leads),
        "unfinished": found.unfinished,
        "tail_behind": abs(found.head - found.tail),
        "tail_strayed": found.strayed,
    }


def _writes(told: Acknowledged, found: Found) -> dict[str, int]:
    """Hold acknowledged writes against records and events: none lost, none twice, each record in its order."""
    changed = Counter(each.record_id for each in found.events if each.type == CHANGED)
    created = Counter(each.record_id for each in found.events if each.type == CREATED)
    lost = sum(max(0, count - changed[deal]) for deal, count in told.deals.items())
    twice = sum(max(0, changed[deal] - count) for deal, count in told.deals.items())
    disordered = 0
    for deal, count in told.deals.items():
        trail = found.deals.get(deal, ())
        hlcs = [each.hlc for each in found.events if each.record_id == deal and each.type == CHANGED]
        wanted = [value_of(number) for number in range(1, count + 1)]
        disordered += [value for _, value in trail] != wanted or hlcs != [hlc for hlc, _ in trail]
    return {
        "writes_lost": lost + len(told.leads - found.leads) + sum(not created[lead] for lead in told.leads),
        "writes_twice": twice + len(found.leads - told.leads) + sum(created[lead] > 1 for lead in told.leads),
        "records_disordered": disordered,
        "writes_contested": told.contested,
    }


def _log(found: Found) -> dict[str, int]:
    stamped = [each.seq for each in found.events if each.seq is not None]
    return {
        "events_unstamped": len(found.events) - len(stamped),
        "sequence_gaps": sum(seq != place for place, seq in enumerate(sorted(stamped), start=1)),
        "audit_missing": sum(not each.audited for each in found.events),
    }


def _effects(found: Found) -> dict[str, int]:
    seqs = Counter(each.seq for each in found.effects)
    stamped = {each.seq for each in found.events if each.seq is not None}
    return {
        "effects_missing": len(stamped - seqs.keys()),
        "effects_twice": sum(count - 1 for count in seqs.values()),
        "effects_of_nothing": len(seqs.keys() - stamped),
        "inversions": inversions(found.effects),
    }


def inversions(effects: Sequence[Effect]) -> int:
    """Count neighbours in the effects of one account, or of one record without one, that stand the wrong way round."""
    by_key: dict[UUID, list[int]] = defaultdict(list)
    for each in sorted(effects, key=lambda effect: effect.place):
        by_key[each.account_id or each.record_id].append(each.seq)
    return sum(later < earlier for seqs in by_key.values() for earlier, later in pairwise(seqs))


def _webhooks(found: Found) -> dict[str, int]:
    wanted = set(found.message_ids.values())
    return {
        "webhooks_missing": len(wanted - found.delivered.keys()),
        "webhooks_of_nothing": len(found.delivered.keys() - wanted),
    }


def _jobs(told: Acknowledged, found: Found) -> dict[str, int]:
    return {
        "jobs_lost": max(0, told.jobs - found.jobs),
        "jobs_twice": max(0, found.jobs - told.jobs),
        "job_steps_missing": max(0, found.jobs * STEPS - len(found.job_steps)),
        "job_steps_twice": sum(count - 1 for count in found.job_steps.values()),
    }


def _is_wrong(told: Acknowledged, found: Found, lead: UUID) -> bool:
    """Tell whether the follow-up of a lead is not what it must be: ended when it was closed, else begun once."""
    state, tasks = found.follow_ups.get(lead), found.tasks.get(lead, 0)
    return state != "cancelled" or tasks > 1 if lead in told.closed else state != "running" or tasks != 1
