"""One node of the bench: calls come by chance at its speed, and each decision is written down at once.

It says `ready`, and begins at the moment (of the machine's monotonic clock) that it is told. A record is arrival and
decision on that clock, and whether the call was let in; at the end one more file says how often the store was asked.
"""

import asyncio
import json
import os
import random
import struct
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from isthmus.stream.lane import Lane, LaneAddress
from isthmus.stream.limits import Leases, Rate, Refusal
from isthmus.stream.limits.bucket import LimitsAway
from isthmus.stream.limits.valkey import ValkeyAuthority

RECORD = struct.Struct("dd?")
KEY = "bench"


class Task(Struct, frozen=True, kw_only=True):
    """What a node does: for `seconds`, `speed` calls a second.

    Its own clock goes `skew_s` seconds wrong, and in the middle it jumps by `jump_s`.
    """

    name: str
    socket: str
    rate: Rate
    speed: float
    seconds: float
    out: str
    seed: int
    skew_s: float = 0.0
    jump_s: float = 0.0


async def work(task: Task) -> dict[str, float]:
    """Offer calls and write down what became of them; return how often the store was asked."""
    lane = Lane(LaneAddress(socket_path=task.socket))
    await lane.open()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    start = float(await asyncio.to_thread(sys.stdin.readline))
    jumps_at = start + task.seconds / 2

    def ticks() -> float:
        now = time.monotonic()
        return now + task.skew_s + (task.jump_s if now >= jumps_at else 0.0)

    leases = Leases(ValkeyAuthority(lane), node=task.name, ticks=ticks)
    keeping = asyncio.create_task(leases.run())
    lease = leases.lease(KEY, task.rate)
    chance = random.Random(task.seed)
    out = os.open(task.out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    due, waited, cpu = start, 0, time.process_time()
    while True:
        due += chance.expovariate(task.speed)
        if due > start + task.seconds:
            break
        if (left := due - time.monotonic()) > 0:
            await asyncio.sleep(left)
        arrival = time.monotonic()
        try:
            taken = leases.take((lease,), cost=1)
            if taken is not None and not isinstance(taken, Refusal):
                waited += 1
                taken = await taken
        except LimitsAway:
            taken = Refusal(lease, 1.0)
        os.write(out, RECORD.pack(arrival, time.monotonic(), taken is None))
    told = {"draws": leases.draws, "waited": waited, "cpu_s": time.process_time() - cpu}
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await lane.close()
    return told


def main() -> None:
    """Do the task of the command line."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    told = asyncio.run(work(task))
    Path(f"{task.out}.end").write_text(json.dumps(told), encoding="ascii")
