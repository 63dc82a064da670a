"""What the program is given before anything dies: a key, deals of many accounts, somebody who is told of everything."""

import asyncio
import socket
import time
from collections.abc import Callable
from datetime import timedelta

import aiohttp
import psycopg

from isthmus.app.bench.chaos.plan import Plan
from isthmus.app.bench.jobs.ours import THREE
from isthmus.app.discovery import domain_names
from isthmus.app.engines import RunningEngines, running_engines
from isthmus.app.program import Program
from isthmus.app.running import found
from isthmus.app.settings import Settings
from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway.limit_rules import LimitRule, write_limits
from isthmus.kernel.errors import IsthmusError, Unavailable
from isthmus.kernel.ids import text_of
from isthmus.store.observation import Link, Observation
from isthmus.stream.jobs.job import Wish
from isthmus.stream.jobs.queue import enqueue
from isthmus.sync.ingest import Interval, put

START_S_MAX = 240.0
_LOOK_S = 0.1
_JOBS_EVERY_S, _AGAIN_S = 0.1, 0.2
_PLENTY = 1_000_000_000


class ChaosFailed(IsthmusError):
    """The program did not start, or the writers could not bring to an end what they had begun."""

    code, title = "chaos-failed", "The bench could not be run"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def until(ready: Callable[[], bool], *, why: str) -> None:
    """Wait until something is so; raises ChaosFailed with `why` it never was."""
    over = time.monotonic() + START_S_MAX
    while not await asyncio.to_thread(ready):
        if time.monotonic() > over:
            raise ChaosFailed(why, fix="Read the logs that it names.")
        await asyncio.sleep(_LOOK_S)


async def engines_of(settings: Settings) -> RunningEngines:
    """Return the engines, once the program that starts them has migrated them; raises ChaosFailed."""
    await until(lambda: found(settings.data_dir) is not None, why="The engines did not start.")
    engines = running_engines(settings=settings.engines)
    if engines is None:
        raise ChaosFailed("The engines did not stay.", fix="Run it again.")
    return engines


async def prepare(program: Program, plan: Plan) -> tuple[str, list[str]]:
    """Make a key that may do everything and is hardly limited, and deals; return its text and their ids."""
    scope = program.scope(actor="bench", cause="bench")
    async with program.database.transaction(scope) as tx:
        wish = KeyWish(name="bench", roles=("owner",))
        _, text = await create_key(tx, wish, domains=domain_names(), giver=None)
        rules = [LimitRule(name=name, scope="caller", count=_PLENTY, seconds=3600) for name in ("caller", "daily")]
        rules.append(LimitRule(name="workspace", scope="workspace", count=_PLENTY, seconds=3600))
        await write_limits(tx, tier="enterprise", rules=rules)
    accounts = [
        Observation(type="sales.account", system="bench", external_id=f"a{n}", fields={"name": f"Account {n}"})
        for n in range(plan.accounts)
    ]
    deals = [
        Observation(
            type="sales.deal",
            system="bench",
            external_id=f"d{number}",
            fields={"name": f"Deal {number}"},
            links={"account_id": Link(external_id=f"a{number % plan.accounts}")},
        )
        for number in range(plan.deals)
    ]
    interval = Interval(since=scope.now - timedelta(seconds=1), until=scope.now)
    await put(program.store, scope, [*accounts, *deals], interval=interval)
    async with program.database.transaction(scope) as tx:
        rows = await (await tx.connection.execute("select id from sales_deal order by id")).fetchall()
    return text.text, [text_of("deal", row[0]) for row in rows]


async def register(session: aiohttp.ClientSession, url: str) -> None:
    """Have every event told to an address; raises ChaosFailed."""
    body = {"url": url, "events": ["isthmus.*"]}
    async with session.post("/api/v1/webhooks", json=body) as answer:
        if answer.status != 201:  # noqa: PLR2004 - the HTTP status.
            raise ChaosFailed(f"The webhook was refused: {await answer.text()}", fix="Mend what it names.")


async def want_jobs(program: Program, stop: asyncio.Event) -> int:
    """Ask for jobs until told to stop; returns how many are acknowledged. An unknown end is looked up."""
    number = 0
    while not stop.is_set():
        wish = Wish(kind=THREE, arguments={"number": number}, tries_max=1_000)
        try:
            async with program.database.transaction(program.scope(actor="bench", cause="bench")) as tx:
                query = "select from job where workspace = current_workspace() and arguments ->> 'number' = %s"
                known = await (await tx.connection.execute(query, (str(number),))).fetchone()
                if known is None:
                    await enqueue(tx, [wish])
        except (Unavailable, psycopg.Error):
            await asyncio.sleep(_AGAIN_S)
            continue
        number += 1
        await asyncio.sleep(_JOBS_EVERY_S)
    return number
