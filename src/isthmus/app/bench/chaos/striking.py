"""Killing at random, and the three faults: the stream flushed, the tail of its file cut off, the disk full."""

import asyncio
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from isthmus.app.bench.chaos.cast import Cast
from isthmus.app.bench.chaos.plan import FAULTS, Act, Plan, acts
from isthmus.app.bench.chaos.writing import Told
from isthmus.app.engines import running_engines
from isthmus.app.engines.access import ValkeyAccess
from isthmus.app.engines.liveness import head_of, working_in

CUT_BYTES = 13
"""Less than any command takes, so that the last one is broken in the middle."""
_BREATH_S_MAX, _LOOK_S = 20.0, 0.05
_VICTIM_S_MAX = 120.0
_FULL_S = 1.5
_CHUNK = 1 << 20


class _Commands(Protocol):
    def execute_command(self, *args: str) -> Awaitable[object]: ...


@dataclass
class Struck:
    """What was done: how often each thing, and when (seconds since the epoch)."""

    counts: Counter[Act] = field(default_factory=Counter[Act])
    moments: list[tuple[Act, float]] = field(default_factory=list[tuple[Act, float]])
    breathless: int = 0


@dataclass(kw_only=True)
class Striker:
    """Does what a plan says to the processes of a cast; `disk` is where the disk is one's own and may be filled."""

    plan: Plan
    cast: Cast
    told: Told
    say: Callable[[str], None]
    disk: Path | None
    struck: Struck = field(default_factory=Struck)

    async def strike(self) -> Struck:
        """Do it all. Between two acts it is waited until something was written, so that something is there to lose."""
        chance = random.Random(self.plan.seed + 1)
        order = [each for each in acts(self.plan) if each is not Act.DISK_FULL or self.disk is not None]
        for number, act in enumerate(order, start=1):
            await asyncio.sleep(chance.uniform(*self.plan.wait_s))
            await self._breath()
            await self._do(act, chance)
            self.struck.counts[act] += 1
            self.struck.moments.append((act, time.time()))
            if number % 10 == 0 or number == len(order):
                self.say(f"{number} of {len(order)} acts, {self.told.writes:,} writes acknowledged")
        return self.struck

    async def _breath(self) -> None:
        before, over = self.told.writes, time.monotonic() + _BREATH_S_MAX
        while self.told.writes == before:
            if time.monotonic() > over:
                self.struck.breathless += 1
                return
            await asyncio.sleep(_LOOK_S)

    async def _do(self, act: Act, chance: random.Random) -> None:
        match act:
            case Act.FLUSH:
                await self._flush()
            case Act.TRUNCATE:
                await self._truncate()
            case Act.DISK_FULL:
                await self._fill()
            case _:
                await self._kill(act, chance)

    async def _kill(self, act: Act, chance: random.Random) -> None:
        assert act not in FAULTS
        over = time.monotonic() + _VICTIM_S_MAX
        while not self.cast.kill(act, chance.randrange):
            if time.monotonic() > over:
                raise NobodyThere(act)
            await asyncio.sleep(_LOOK_S)

    async def _flush(self) -> None:
        """Empty Valkey."""
        over = time.monotonic() + _VICTIM_S_MAX
        while time.monotonic() < over:
            access = await asyncio.to_thread(self._valkey)
            if access is not None:
                client = Valkey(**access.arguments)
                try:
                    await cast("_Commands", client).execute_command("FLUSHALL")
                except (ValkeyError, OSError):
                    await asyncio.sleep(_LOOK_S)
                else:
                    return
                finally:
                    await client.aclose()
            await asyncio.sleep(_LOOK_S)
        raise NobodyThere(Act.FLUSH)

    def _valkey(self) -> ValkeyAccess | None:
        found = running_engines(settings=self.cast.settings.engines)
        return found.valkey if found is not None else None

    async def _truncate(self) -> None:
        """Kill Valkey, and cut its file before anybody starts it again."""
        over = time.monotonic() + _VICTIM_S_MAX
        while not self._cut():
            if time.monotonic() > over:
                raise NobodyThere(Act.VALKEY)
            await asyncio.sleep(_LOOK_S)

    def _cut(self) -> bool:
        """Do it while whoever watches over Valkey is held; tells whether Valkey was there."""
        directory = self.cast.home.valkey
        supervisors = [each.running.pid for each in self.cast.of(Act.SUPERVISOR) if each.running is not None]
        for pid in supervisors:
            _signal(pid, signal.SIGSTOP)
        try:
            alive = head_of(working_in(directory, program="valkey-server"))
            if alive is None:
                return False
            _signal(alive, signal.SIGKILL)
            while working_in(directory, program="valkey-server"):
                time.sleep(_LOOK_S / 10)
            newest = max((directory / "appendonlydir").glob("*.incr.aof"), key=lambda file: file.stat().st_mtime)
            os.truncate(newest, max(0, newest.stat().st_size - CUT_BYTES))
            return True
        finally:
            for pid in supervisors:
                _signal(pid, signal.SIGCONT)

    async def _fill(self) -> None:
        """Fill the disk, leave it full for a while, and make room again."""
        assert self.disk is not None
        ballast = self.disk / "ballast"
        over = time.monotonic() + _FULL_S
        try:
            while time.monotonic() < over:
                await asyncio.to_thread(fill, ballast)
                await asyncio.sleep(_LOOK_S)
        finally:
            ballast.unlink(missing_ok=True)


class NobodyThere(Exception):
    """Nobody with that part came to life in time."""

    def __init__(self, act: Act) -> None:
        """Name the part."""
        super().__init__(f"no {act} came to life within {_VICTIM_S_MAX:.0f} s")


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def fill(ballast: Path) -> None:
    """Let a file grow until no byte is free."""
    with ballast.open("ab") as sink:
        handle, at = sink.fileno(), ballast.stat().st_size
        free = shutil.disk_usage(ballast.parent).free
        with suppress(OSError):
            if free > _CHUNK:
                os.posix_fallocate(handle, at, free - _CHUNK // 2)
            while True:
                os.write(handle, bytes(4096))
