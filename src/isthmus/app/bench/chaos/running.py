"""The bench put together, inside of its own ground: the program started, written to, struck, settled and judged."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp
import psycopg
from msgspec import Struct

from isthmus.app.bench.chaos.cast import Cast
from isthmus.app.bench.chaos.hearing import Receiver, receiver
from isthmus.app.bench.chaos.judging import faults
from isthmus.app.bench.chaos.parts import CAREFUL, make_tables
from isthmus.app.bench.chaos.plan import FAULTS, Act, Plan
from isthmus.app.bench.chaos.preparing import (
    ChaosFailed,
    engines_of,
    free_port,
    prepare,
    register,
    until,
    want_jobs,
)
from isthmus.app.bench.chaos.settling import Ground
from isthmus.app.bench.chaos.striking import Striker, Struck
from isthmus.app.bench.chaos.writing import Deal, Told, Writer, session_of
from isthmus.app.program import Program, opened
from isthmus.app.reacting import reactions
from isthmus.app.settings import Settings
from isthmus.app.up import is_ready
from isthmus.kernel.errors import Unavailable
from isthmus.kernel.ids import uuid_of

WORKSPACE = "chaos"


class Report(Struct, frozen=True, kw_only=True):
    """What came of it: what was done, what was found wrong (all zero when all is well), and figures.

    `ends` holds, by process, the exit codes of those that ended without being killed.
    """

    seed: int
    struck: dict[str, int]
    faults: dict[str, int]
    figures: dict[str, float]
    ends: dict[str, list[int]]


async def run(plan: Plan, home: Path, *, disk: Path | None, say: Callable[[str], None]) -> Report:
    """Run a plan on a directory; `disk` is where the file system is one's own, if it is. Raises ChaosFailed."""
    settings = Settings(
        data_dir=home / "site",
        port=free_port(),
        workspace=WORKSPACE,
        log_level="warning",
        outbound_allow="127.0.0.0/8",
    )
    cast = Cast(settings)
    up = ("isthmus.app.cli", "up", "--role", "scheduler", "--workspace", WORKSPACE)
    cast.add_program(Act.SUPERVISOR, "up", *up, leashed=False)
    watching = asyncio.create_task(cast.watch())
    try:
        say(f"seed {plan.seed}: starting")
        engines = await engines_of(settings)
        async with opened(settings, engines, connections_max=4) as program, receiver() as hearing:
            make_tables(engines.postgres)
            key, deals = await prepare(program, plan)
            for act, name in ((Act.API, "api"), (Act.RELAY, "relay"), (Act.RELAY, "relay"), (Act.WORKER, "worker")):
                cast.add_program(act, f"{name}-{len(cast.members)}", "isthmus.app.role", name)
            cast.add_parts(engines.postgres.app, program.workspace)
            await until(lambda: is_ready(settings.address), why="The API does not answer.")
            told = Told(deals=[Deal(id=each) for each in deals])
            striker = Striker(plan=plan, cast=cast, told=told, say=say, disk=disk)
            scene = _Scene(plan=plan, program=program, striker=striker, receiver=hearing, told=told)
            return await scene.play(key)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await cast.end()


@dataclass(kw_only=True)
class _Scene:
    """One run, from the first write to the report."""

    plan: Plan
    program: Program
    striker: Striker
    receiver: Receiver
    told: Told

    async def play(self, key: str) -> Report:
        """Write, strike, settle, judge."""
        began, say = time.monotonic(), self.striker.say
        async with session_of(self.striker.cast.settings.address, key) as session:
            await register(session, self.receiver.url)
            first = await self._ground().head()
            struck, jobs = await self._struck(session)
            wrote_s = time.monotonic() - began
            say("waiting until nothing is left to be done")
            ground = self._ground()
            left = await ground.settled(hasty=self.plan.hasty, seconds=self.plan.settled_s)
            reader = self._writers(session)[0]
            follow_ups = {uuid_of("lead", each): await reader.follow_up(each) for each in self.told.leads}
        found = await ground.found(unfinished=left, told_after=first, follow_ups=follow_ups)
        healing = await ground.healing([moment for _, moment in struck.moments])
        slowest = dict(sorted(zip((act for act, _ in struck.moments), healing, strict=True), key=lambda each: each[1]))
        figures = {
            "kills": float(sum(count for act, count in struck.counts.items() if act not in FAULTS)),
            **{f"{act}_kills" if act not in FAULTS else str(act): float(struck.counts[act]) for act in Act},
            "writes": float(self.told.writes),
            "calls": float(self.told.calls),
            **{f"answers_{each or 'none'}": float(count) for each, count in sorted(self.told.answers.items())},
            "events": float(len(found.events)),
            "effects": float(len(found.effects)),
            "webhooks": float(sum(found.delivered.values())),
            "webhooks_repeated": float(sum(found.delivered.values()) - len(found.delivered)),
            "jobs": float(jobs),
            "careless_effects_twice": float(await ground.careless()),
            "heal_s_p50": round(median(healing), 2) if healing else 0.0,
            "heal_s_max": round(max(healing, default=0.0), 2),
            **{f"{act}_heal_s_max": round(slowest[act], 2) for act in Act if act in slowest},
            "acts_without_a_write_before": float(struck.breathless),
            "wrote_s": round(wrote_s, 1),
            "whole_s": round(time.monotonic() - began, 1),
        }
        return Report(
            seed=self.plan.seed,
            struck={str(act): count for act, count in struck.counts.items()},
            faults=faults(self.told.acknowledged(jobs=jobs), found),
            figures=figures,
            ends={each.name: each.ends for each in self.striker.cast.members if each.ends},
        )

    async def _struck(self, session: aiohttp.ClientSession) -> tuple[Struck, int]:
        """Write while the striker strikes; return what was done, and how many jobs were asked for."""
        stop = asyncio.Event()
        writers = [asyncio.create_task(each.write(stop)) for each in self._writers(session)]
        jobs = asyncio.create_task(want_jobs(self.program, stop))
        striking = asyncio.create_task(self.striker.strike())
        try:
            await asyncio.wait([striking, jobs, *writers], return_when=asyncio.FIRST_COMPLETED)
            if not striking.done():
                for each in (jobs, *writers):
                    if each.done():
                        each.result()
            struck = await striking
            stop.set()
            self.striker.say("the writers bring to an end what they have begun")
            await self._ended([jobs, *writers])
            return struck, await jobs
        finally:
            for each in (striking, jobs, *writers):
                each.cancel()
            await asyncio.gather(striking, jobs, *writers, return_exceptions=True)

    async def _ended(self, tasks: Sequence["asyncio.Task[int] | asyncio.Task[None]"]) -> None:
        """Wait for the writers, for whom leases of the dead may have to end; raises ChaosFailed."""
        over, ground = time.monotonic() + self.plan.settled_s, self._ground()
        while waiting := [each for each in tasks if not each.done()]:
            if time.monotonic() > over:
                raise ChaosFailed(f"{len(waiting)} writers did not come to an end.", fix="Run it again with its seed.")
            if self.plan.hasty:
                # The database may be on its way back from the last kill.
                with suppress(Unavailable, psycopg.Error):
                    await ground.hasten()
            await asyncio.wait(waiting, timeout=1.0)

    def _writers(self, session: aiohttp.ClientSession) -> list[Writer]:
        return [
            Writer(
                session=session,
                told=self.told,
                deals=self.told.deals[number :: self.plan.writers],
                number=number,
                chance=random.Random(self.plan.seed * 1_000 + number),
            )
            for number in range(self.plan.writers)
        ]

    def _ground(self) -> Ground:
        return Ground(
            database=self.program.database,
            settings=self.program.settings,
            workspace=self.program.workspace,
            receiver=self.receiver,
            behind=[CAREFUL, *(f"reactions:{domain}" for domain in reactions())],
        )
