"""The worker's part in watching: it probes the server, evaluates the rules of every workspace, and tells people."""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import aiohttp
import psycopg
import structlog

from isthmus.app.alerting.gauges import QUICK, SLOW, Reader
from isthmus.app.alerting.rules import RULES
from isthmus.app.program import Program
from isthmus.app.settings import Settings, networks_of
from isthmus.gateway.monitoring.minutes import Cell, forget, write_cells
from isthmus.gateway.tracing import NOBODY
from isthmus.kernel.errors import IsthmusError, Unavailable
from isthmus.store.database import Scope
from isthmus.stream.alerts.channels import Kind, Mail, Telling, Webhook, deliver, queue
from isthmus.stream.alerts.rules import Gauge, Reading
from isthmus.stream.alerts.state import evaluate
from isthmus.stream.outbound import Outbound
from isthmus.vault import entropy

PROBED, PROBE_S, PROBE_S_MAX = "healthz", 15.0, 5.0
EVALUATED_S, SLOW_EVERY, FORGET_EVERY = 30.0, 20, 120
_INSTANCE_BYTES = 6
_log = structlog.get_logger("isthmus.alerting")


def outbound_of(settings: Settings) -> Outbound:
    """Return how addresses that were given to us are called."""
    return Outbound(networks_of(settings.outbound_allow))


def ways_of(settings: Settings) -> dict[Kind, Telling]:
    """Return the ways in which people can be told; e-mail needs a server."""
    ways: dict[Kind, Telling] = {"webhook": Webhook(outbound_of(settings))}
    if settings.smtp_url is not None:
        ways["email"] = Mail(url=settings.smtp_url, sender=settings.mail_sender or "isthmus@localhost")
    return ways


async def keep_alerting(program: Program) -> None:
    """Evaluate rules and tell people, again and again."""
    ways = ways_of(program.settings)
    turn = 0
    while True:
        readers = (*QUICK, *SLOW) if turn % SLOW_EVERY == 0 else QUICK
        for workspace in await _workspaces(program):
            try:
                await watch_over(program, workspace, readers=readers, ways=ways)
                if turn % FORGET_EVERY == 0:
                    await _forget(program, workspace)
            except (IsthmusError, psycopg.Error) as error:
                _log.warning("alerts not evaluated", workspace=workspace, error=type(error).__name__)
        turn += 1
        await asyncio.sleep(EVALUATED_S)


async def watch_over(
    program: Program, workspace: int, *, readers: Sequence[Reader], ways: Mapping[Kind, Telling]
) -> None:
    """Evaluate the rules of one workspace, and tell people what is new."""
    scope = _scope(workspace, program.clock.now())
    reading = await _read(program, scope, readers)
    async with program.database.transaction(scope) as tx:
        news = await evaluate(tx, RULES, reading)
        if news:
            await queue(tx, news)
    await deliver(program.database, program.vault, scope, ways, RULES)


async def _read(program: Program, scope: Scope, readers: Sequence[Reader]) -> Reading:
    """Read all gauges; a reader that fails says nothing, so that its alerts stay as they are."""
    gauges, names = list[Gauge](), set[str]()
    for reader in readers:
        try:
            async with program.database.transaction(scope) as tx:
                found = await reader(program, tx)
        except (IsthmusError, psycopg.Error) as error:
            _log.warning("gauge not read", reader=reader.__name__, error=type(error).__name__)
            continue
        gauges += found.gauges
        names |= found.names
    return Reading(gauges=gauges, names=frozenset(names))


async def keep_probing(program: Program) -> None:
    """Call the server as a stranger would, four times a minute, and keep how it went."""
    url = program.settings.probe_url or own_url(program.settings)
    instance = entropy(_INSTANCE_BYTES).hex()
    while True:
        await asyncio.sleep(PROBE_S)
        cell = Cell()
        await probe(url, cell)
        now = program.clock.now()
        minute = now.replace(second=0, microsecond=0)
        with suppress(Unavailable):
            async with program.database.transaction(_scope(NOBODY, now)) as tx:
                await write_cells(tx, [("probe", minute, PROBED, cell)], instance=instance)


async def probe(url: str, cell: Cell) -> None:
    """Count one probe of an address; whatever is no 200 within five seconds has failed."""
    began = time.perf_counter_ns()
    status = 503
    # It calls its own address, whose certificate is made out to the name by which others call it.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    timeout = aiohttp.ClientTimeout(total=PROBE_S_MAX)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, ssl=context) as answer:
            await answer.read()
            status = 200 if answer.status == 200 else 503  # noqa: PLR2004 - OK.
    except (aiohttp.ClientError, TimeoutError, OSError):
        status = 503
    cell.count(status=status, micros=(time.perf_counter_ns() - began) // 1000)


def own_url(settings: Settings) -> str:
    """Return where the server of these settings answers that it lives."""
    scheme = "http" if settings.tls_certificate is None else "https"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - read, not bound.
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}/{PROBED}"


async def _workspaces(program: Program) -> list[int]:
    try:
        async with program.database.plain() as connection:
            rows = await (await connection.execute("select id from workspace order by id")).fetchall()
    except Unavailable:
        return []
    return [int(row[0]) for row in rows]


async def _forget(program: Program, workspace: int) -> None:
    for each in {workspace, NOBODY}:
        async with program.database.transaction(_scope(each, program.clock.now())) as tx:
            await forget(tx)


def _scope(workspace: int, now: datetime) -> Scope:
    return Scope(workspace=workspace, actor="monitoring", cause="alerts", now=now)
