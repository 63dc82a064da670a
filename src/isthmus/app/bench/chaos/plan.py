"""What is done to the program, in which order: all of it follows from a seed."""

import random
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

KILLS = 200
SHORT_KILLS = 13


class Act(StrEnum):
    """One thing that happens to the program. Those from `api` to `valkey` are a SIGKILL."""

    API = "api"
    API_WORKER = "api_worker"
    RELAY = "relay"
    CONSUMER = "consumer"
    WORKER = "worker"
    JOB_WORKER = "job_worker"
    SUPERVISOR = "supervisor"
    POSTMASTER = "postmaster"
    VALKEY = "valkey"
    FLUSH = "flush"
    TRUNCATE = "truncate"
    DISK_FULL = "disk_full"


FAULTS = (Act.FLUSH, Act.TRUNCATE, Act.DISK_FULL)
VICTIMS = tuple(each for each in Act if each not in FAULTS)


class Plan(Struct, frozen=True, kw_only=True):
    """How much is done: `wait_s` lies between two acts, `settled_s` is how long everything may take to settle.

    With `hasty` the leases of the dead are ended when the writing is over, instead of waiting a minute for them.
    """

    seed: int
    kills: int
    writers: int = 8
    accounts: int = 20
    deals: int = 64
    wait_s: tuple[float, float] = (0.2, 0.7)
    settled_s: float = 240.0
    hasty: bool = False


def long_plan(seed: int, *, kills: int = KILLS) -> Plan:
    """Return the whole bench."""
    return Plan(seed=seed, kills=kills)


def short_plan(seed: int) -> Plan:
    """Return one that ends within a minute or so: every victim at least once, and every fault."""
    return Plan(seed=seed, kills=SHORT_KILLS, settled_s=90.0, hasty=True)


def acts(plan: Plan) -> Sequence[Act]:
    """Return what happens, in order: every victim at least once, the others at random, each fault once in between."""
    chance = random.Random(plan.seed)
    kills = [*VICTIMS, *(chance.choice(VICTIMS) for _ in range(plan.kills - len(VICTIMS)))]
    chance.shuffle(kills)
    # The faults lie apart, and something is killed before the first and after the last of them.
    share = len(kills) // (len(FAULTS) + 1)
    faults = list(FAULTS)
    chance.shuffle(faults)
    for number, fault in enumerate(faults, start=1):
        kills.insert(number * share + number - 1, fault)
    return kills
