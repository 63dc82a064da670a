"""The demonstration: five fake systems of one made-up company, pulled, matched, attributed and pushed back."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import LiteralString, TypedDict

from msgspec import structs

from isthmus.app.arriving import arrivals
from isthmus.app.discovery import connectors
from isthmus.app.engines import Engines
from isthmus.app.http.assembly import services_of
from isthmus.app.program import Program, opened
from isthmus.app.scheduling.figures import MODEL, returns_of
from isthmus.app.settings import Settings
from isthmus.app.syncing import watched_when_free
from isthmus.app.workflows import drained
from isthmus.domains.sales.metrics import attribution_by
from isthmus.domains.sales.worker import tick
from isthmus.kernel.marks import Json
from isthmus.store.records import count
from isthmus.sync.connections import ConnectionMissing, Options, change_connection, connect, connection_of
from isthmus.sync.runs import Run

SYSTEMS = ("crm", "marketing", "billing", "product", "desk")
CONNECTOR = "demo"
COMPANIES = 300
SCHEDULED_EVERY_S = 60


class Found(TypedDict):
    """What the demonstration found, as JSON values; times in seconds."""

    counts: dict[str, int]
    people_matched: int
    conflicts: int
    rejected: int
    pushed: int
    attribution: list[dict[str, Json]]
    roi: list[dict[str, Json]]
    seconds: dict[str, float]


async def load(
    settings: Settings, engines: Engines, *, companies: int = COMPANIES, say: Callable[[str], None]
) -> Found:
    """Connect the five fake systems and run the main job, with words on the way."""
    async with opened(settings, engines) as program:
        return await main_job(program, companies=companies, say=say)


async def main_job(program: Program, *, companies: int, say: Callable[[str], None]) -> Found:
    """Connect what is not connected, pull, match, attribute and push back; a second time changes nothing."""
    seconds: dict[str, float] = {}
    await _connect_all(program, companies)
    pushed = 0
    for name in SYSTEMS:
        began = time.monotonic()
        run = await watched_when_free(program, name, parts=("pull",), show=_teller(name, say), say=say)
        seconds[f"pull_{name}"] = round(time.monotonic() - began, 2)
        say(f"{name}: {run.read:,} read, {run.created:,} new, {run.changed:,} changed, {run.rejected} rejected")
    began = time.monotonic()
    for name in SYSTEMS:
        run = await watched_when_free(program, name, parts=("push",), show=_teller(name, say), say=say)
        pushed += run.written
    seconds["push"] = round(time.monotonic() - began, 2)
    began = time.monotonic()
    say(f"leads: {await _through_the_steps(program):,} scored and assigned, each with its reasons")
    seconds["pipeline"] = round(time.monotonic() - began, 2)
    began = time.monotonic()
    attribution, returns = await _answers(program)
    seconds["attribute"] = round(time.monotonic() - began, 2)
    await _schedule(program)
    return Found(
        counts=await _counts(program),
        people_matched=await _matched(program),
        conflicts=await _conflicts(program),
        rejected=await _number(program, "select count(*) from rejected where settled_at is null"),
        pushed=pushed,
        attribution=attribution,
        roi=returns,
        seconds=seconds,
    )


async def _connect_all(program: Program, companies: int) -> None:
    """Connect the five systems, all in one file of the data directory."""
    path = program.settings.data_dir / "demo" / "company.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    today = datetime.now(UTC).replace(hour=6, minute=0, second=0, microsecond=0)
    connector = connectors()[CONNECTOR]
    scope = program.scope(actor="system:demo", cause="demo")
    async with program.database.transaction(scope) as tx:
        for name in SYSTEMS:
            try:
                await connection_of(tx, name)
            except ConnectionMissing:
                given = {
                    "system": name,
                    "path": str(path),
                    "now": today.isoformat().replace("+00:00", "Z"),
                    "companies": str(companies),
                }
                options = Options(create=("sales.lead",) if name == "crm" else (), pipeline=False)
                await connect(tx, program.vault, connector, name=name, settings=given, options=options)


async def _through_the_steps(program: Program) -> int:
    """Take the leads that were pulled through the steps, and do at once what the follow-ups begin with."""
    taken = await arrivals(program.store).take_waiting(program.scope(actor="system:demo", cause="demo"))
    await drained(program)
    while await tick(program.store, now=program.clock.now()):
        await drained(program)
    return taken


async def _schedule(program: Program) -> None:
    """Let scheduler and worker go on with the connections from now on; before, they would beside the main job."""
    connector = connectors()[CONNECTOR]
    async with program.database.transaction(program.scope(actor="system:demo", cause="demo")) as tx:
        for name in SYSTEMS:
            connection = await connection_of(tx, name)
            if connection.every_s is None:
                options = structs.replace(connection.options, pipeline=True)
                await change_connection(
                    tx, program.vault, connector, connection, options=options, every_s=SCHEDULED_EVERY_S
                )


def _teller(name: str, say: Callable[[str], None]) -> Callable[[Run], None]:
    """Return what shows the progress of a run, once a second at most."""
    last = [time.monotonic()]

    def show(run: Run) -> None:
        now = time.monotonic()
        if now - last[0] >= 1.0:
            last[0] = now
            say(f"{name}: {run.kind} {run.feed or ''} {run.read:,} read, {run.written:,} written")

    return show


async def _answers(program: Program) -> tuple[list[dict[str, Json]], list[dict[str, Json]]]:
    """Return credit by channel and the return on each campaign, by one model in one window, as of one moment."""
    services = services_of(program)
    scope = program.scope(actor="system:demo", cause="demo")
    async with program.database.transaction(scope) as tx:
        credit = await attribution_by(tx, services, by="channel", model=MODEL, as_of=scope.now)
        returns = await returns_of(tx, program.store, services)
    return [
        {
            "channel": each.bucket,
            "revenue": str(each.revenue.amount),
            "currency": each.revenue.currency,
            "share": round(each.share, 4),
        }
        for each in credit.buckets
    ], returns


async def _counts(program: Program) -> dict[str, int]:
    async with program.database.transaction(program.scope(actor="system:demo", cause="demo")) as tx:
        found = {each.name: await count(tx, each) for each in program.store.schema}
    totals: dict[str, int] = {}
    for name, number in found.items():
        domain = name.partition(".")[0]
        totals[domain] = totals.get(domain, 0) + number
    return totals | {name: number for name, number in found.items() if number}


async def _matched(program: Program) -> int:
    """Return how many people are known to more than one system."""
    return await _number(
        program,
        "select count(*) from (select record_id from ref where type = 'sales.person' and system <> 'isthmus' "
        "group by record_id having count(distinct system) > 1) as known",
    )


async def _conflicts(program: Program) -> int:
    return await _number(program, "select count(*) from inbox_case where status = 'open'")


async def _number(program: Program, query: LiteralString) -> int:
    async with program.database.transaction(program.scope(actor="system:demo", cause="demo")) as tx:
        row = await (await tx.connection.execute(query)).fetchone()
    return int(row[0]) if row else 0
