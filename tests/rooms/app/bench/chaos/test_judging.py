"""Each thing that may not be is found where it is planted, and nothing is found where all is well."""

import dataclasses
from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest

from isthmus.app.bench.chaos.judging import (
    CHANGED,
    CREATED,
    Acknowledged,
    Effect,
    Found,
    Written,
    faults,
    inversions,
    value_of,
)

DEAL, LEAD, CLOSED, JOB = (UUID(int=number) for number in range(1, 5))
ACCOUNT = UUID(int=9)
TOLD = Acknowledged(deals={DEAL: 2}, leads=frozenset({LEAD, CLOSED}), closed=frozenset({CLOSED}), jobs=1)


def written(seq: int, kind: str, record: UUID, account: UUID | None = None) -> Written:
    """An event as it should be."""
    return Written(seq, 100 + seq, kind, record, account, seq, audited=True)


EVENTS = [
    written(1, CREATED, LEAD),
    written(2, CHANGED, DEAL, ACCOUNT),
    written(3, CREATED, CLOSED),
    written(4, CHANGED, DEAL, ACCOUNT),
]
WELL = Found(
    events=EVENTS,
    effects=[Effect(10 + each.seq, each.seq, each.record_id, each.account_id) for each in EVENTS if each.seq],
    deals={DEAL: [(2, value_of(1)), (4, value_of(2))]},
    leads=frozenset({LEAD, CLOSED}),
    follow_ups={LEAD: "running", CLOSED: "cancelled"},
    tasks={LEAD: 1},
    delivered={f"1-{each.id}": 1 for each in EVENTS},
    message_ids={each.seq: f"1-{each.id}" for each in EVENTS if each.seq},
    job_steps={(JOB, "one"): 1, (JOB, "two"): 1, (JOB, "three"): 1},
    jobs=1,
    unfinished=0,
    head=4,
    tail=4,
    strayed=0,
)


@dataclasses.dataclass(frozen=True)
class Planted:
    """A fault, and how it is made."""

    fault: str
    make: Callable[[], Found]


def wrong(**changes: object) -> Callable[[], Found]:
    """Return what makes all that is well with something changed."""
    return lambda: msgspec.structs.replace(WELL, **changes)


def events(*kept: Written) -> Callable[[], Found]:
    """Return what makes other events."""
    return wrong(events=kept)


EFFECT = WELL.effects[1]
PLANTED = [
    Planted("writes_lost", events(*EVENTS[:3])),
    Planted("writes_lost", events(*EVENTS[1:])),
    Planted("writes_lost", wrong(leads=frozenset({LEAD}))),
    Planted("writes_twice", events(*EVENTS, written(5, CHANGED, DEAL, ACCOUNT))),
    Planted("writes_twice", events(*EVENTS, written(5, CREATED, LEAD))),
    Planted("writes_twice", wrong(leads=frozenset({LEAD, CLOSED, JOB}))),
    Planted("records_disordered", wrong(deals={DEAL: [(2, value_of(2)), (4, value_of(1))]})),
    Planted("records_disordered", wrong(deals={DEAL: [(4, value_of(1)), (2, value_of(2))]})),
    Planted("events_unstamped", events(*EVENTS[:3], msgspec.structs.replace(EVENTS[3], seq=None))),
    Planted("sequence_gaps", events(*EVENTS[:3], msgspec.structs.replace(EVENTS[3], seq=5))),
    Planted("audit_missing", events(*EVENTS[:3], msgspec.structs.replace(EVENTS[3], audited=False))),
    Planted("effects_missing", wrong(effects=WELL.effects[1:])),
    Planted("effects_twice", wrong(effects=[*WELL.effects, Effect(99, 4, DEAL, ACCOUNT)])),
    Planted("effects_of_nothing", wrong(effects=[*WELL.effects, Effect(99, 5, DEAL, ACCOUNT)])),
    Planted("inversions", wrong(effects=[*WELL.effects, msgspec.structs.replace(EFFECT, place=99)])),
    Planted("webhooks_missing", wrong(delivered={"1-101": 1, "1-102": 1, "1-103": 1})),
    Planted("webhooks_of_nothing", wrong(delivered={**WELL.delivered, "1-999": 1})),
    Planted("jobs_lost", wrong(jobs=0)),
    Planted("jobs_twice", wrong(jobs=2)),
    Planted("job_steps_missing", wrong(job_steps={(JOB, "one"): 1, (JOB, "two"): 1})),
    Planted("job_steps_twice", wrong(job_steps={**WELL.job_steps, (JOB, "two"): 2})),
    Planted("follow_ups_wrong", wrong(tasks={LEAD: 2})),
    Planted("follow_ups_wrong", wrong(tasks={})),
    Planted("follow_ups_wrong", wrong(follow_ups={LEAD: "running", CLOSED: "running"})),
    Planted("unfinished", wrong(unfinished=-1)),
    Planted("tail_behind", wrong(tail=3)),
    Planted("tail_strayed", wrong(strayed=1)),
]


def test_nothing_is_found_where_all_is_well() -> None:
    assert not any(faults(TOLD, WELL).values())


@pytest.mark.parametrize("planted", PLANTED, ids=lambda each: each.fault)
def test_what_may_not_be_is_found(planted: Planted) -> None:
    assert faults(TOLD, planted.make())[planted.fault] != 0


def test_every_fault_is_planted_somewhere() -> None:
    assert {each.fault for each in PLANTED} | {"writes_contested"} == set(faults(TOLD, WELL))
    assert faults(msgspec.structs.replace(TOLD, contested=1), WELL)["writes_contested"] == 1


def test_effects_of_different_accounts_may_stand_in_any_order() -> None:
    one, other = Effect(1, 8, DEAL, ACCOUNT), Effect(2, 7, LEAD, None)
    assert inversions([one, other]) == 0
    assert inversions([one, msgspec.structs.replace(other, account_id=ACCOUNT)]) == 1
