"""A workspace with work of every sort for the page of work to show: done, running, late, failed, resting."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from psycopg.types.json import Jsonb

from isthmus.app import discovery
from isthmus.app.scheduling.standard import EDITION, STANDARD
from isthmus.app.topics import topics
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many
from isthmus.store.database import Scope, Transaction
from isthmus.stream.event import events_after
from isthmus.stream.jobs import schedules
from isthmus.stream.jobs.job import Wish
from isthmus.stream.jobs.queue import enqueue
from isthmus.stream.outbound import Outbound
from isthmus.stream.parked import WAITS_BEHIND, park
from isthmus.stream.relay import stamp
from isthmus.stream.webhooks.endpoints import Endpoint, NewEndpoint, Rules, pause, register
from isthmus.sync.connections import connect
from isthmus.vault import entropy
from tests.rooms.console.stage import Site
from tests.rooms.stream.stage import emit_in

MINUTE = timedelta(minutes=1)
BROKEN = "KeyError (reactions.py:41)"
GONE = "reactions:retired"
REFUSED = "The month is closed. (gave-up)"
_JOB = "update job set status = %(status)s, reason = %(reason)s, tries = %(tries)s, attempt = %(tries)s,"
_FATE = f"""{_JOB} progress = %(progress)s, tried_at = %(tried)s, ended_at = %(ended)s, due_at = %(due)s
where workspace = current_workspace() and id = %(id)s"""


async def fill(site: Site, workspace: int) -> None:
    """Put everything there."""
    scope = site.scope(workspace)
    async with site.database.transaction(scope) as tx:
        await emit_in(tx.connection, scope, [1, 1, 1, 2, 3, 4, 5, 6, 7, 8])
        await stamp(tx.connection)
        await schedules.install(tx, STANDARD, edition=EDITION)
        await _letters(tx)
        await _messages(tx, site)
        await _jobs(tx)
        await _plans(tx)
        await _hooks(tx, site)


async def _letters(tx: Transaction) -> None:
    early = replace(tx, scope=replace(tx.scope, now=tx.scope.now - 40 * MINUTE))
    for each in await events_after(tx.connection, after=0, limit=5):
        first = each.seq in (1, 4, 5)
        await park(early, "reactions:sales", each, reason=BROKEN if first else WAITS_BEHIND)
        if each.seq == 1:
            await park(early, GONE, each, reason="ZeroDivisionError (reactions.py:7)")
    offsets = {"reactions:sales": 10, "reactions:finance": 10, "pipeline:sales": 6, GONE: 10}
    for consumer, seq in offsets.items():
        await tx.connection.execute(
            "insert into consumer_offset (workspace, consumer, seq) values (current_workspace(), %s, %s)",
            (consumer, seq),
        )


async def _messages(tx: Transaction, site: Site) -> None:
    made = await connect(
        tx,
        site.store.vault,
        discovery.connectors()["demo"],
        name="billing",
        settings={
            "path": str(site.directory / f"working-{tx.scope.workspace}.sqlite"),
            "now": tx.scope.now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "companies": "4",
            "latency_ms": "0",
            "system": "billing",
        },
        every_s=900,
    )
    now = tx.scope.now
    for number, own in enumerate(_ids(tx.scope, 2)):
        await tx.connection.execute(
            "insert into webhook_inbound (workspace, id, connection_id, external_id, body, status, attempts,"
            " received_at, due_at, done_at, reason) values (current_workspace(), %s, %s, %s, 'x', 'needs attention',"
            " 8, %s, %s, %s, 'not-understood: The message cannot be understood (inbound.py:300)')",
            (own, made.id, f"evt_{number}", now - 90 * MINUTE, now, now - 9 * MINUTE),
        )


async def _jobs(tx: Transaction) -> None:
    now = tx.scope.now
    fates: list[tuple[str, str, dict[str, object]]] = [
        *(("success.health", "healthy", {"ended": now - MINUTE * each}) for each in range(12, 40)),
        ("housekeeping", "paused", {"reason": "Cancelled by user:tester.", "ended": now - 5 * MINUTE}),
        ("report.executive", "needs attention", {"reason": REFUSED, "ended": now - 3 * MINUTE, "tries": 8}),
        *(
            ("sync.connection", "needs attention", {"reason": "The vendor refuses the key. (unauthorised)", "tries": 8})
            for _ in range(4)
        ),
        (
            "sync.connection",
            "retrying",
            {"reason": "The vendor does not answer. (away)", "tries": 2, "due": now + 4 * MINUTE},
        ),
        (
            "analytics.full",
            "running",
            {"tried": now - MINUTE, "progress": {"done": 1200, "total": 4800, "text": "journeys"}, "tries": 1},
        ),
        ("success.health", "running", {"tried": now - MINUTE, "tries": 1}),
        ("housekeeping", "pending", {"tries": 0}),
    ]
    made = await enqueue(tx, [Wish(kind=kind) for kind, _, _ in fates])
    for own, (_, status, fate) in zip(made, fates, strict=True):
        progress = fate.get("progress")
        ended = now - MINUTE if status == "needs attention" else None
        given = {"reason": "", "tries": 1, "tried": None, "ended": ended, "due": now, **fate}
        given |= {"id": own, "status": status, "progress": None if progress is None else Jsonb(progress)}
        await tx.connection.execute(_FATE, given)


async def _plans(tx: Transaction) -> None:
    await schedules.pause(tx, "monthly-report", reason="the quarter is closed first")
    ran = await schedules.run_now(tx, "daily-health")
    await tx.connection.execute(
        "update job set status = 'healthy', ended_at = %s where workspace = current_workspace() and id = %s",
        (tx.scope.now, ran),
    )
    await tx.connection.execute(
        "update schedule set last_at = %s, last_job = %s, missed = 2, skipped = 1"
        " where workspace = current_workspace() and name = 'daily-health'",
        (tx.scope.now - 8 * MINUTE, ran),
    )


async def _hooks(tx: Transaction, site: Site) -> None:
    now = tx.scope.now
    failing = await _hook(tx, site, "https://hooks.warehouse.example/isthmus/events", "")
    await tx.connection.execute(
        "update webhook_health set failures = 40, failing_since = %s, disabled_at = %s, closed_until = %s,"
        " reason = 'answered 503', failed_at = %s where workspace = current_workspace() and endpoint_id = %s",
        (now - timedelta(days=6), now - timedelta(days=1), now + 30 * MINUTE, now - MINUTE, failing.id),
    )
    await _sent(tx, failing, status="needs attention", answers=(503, 503, None))
    well = await _hook(tx, site, "https://chat.example/hooks/deals", "Deals in the chat")
    await tx.connection.execute(
        "update webhook_health set succeeded_at = %s where workspace = current_workspace() and endpoint_id = %s",
        (now - 2 * MINUTE, well.id),
    )
    await _sent(tx, well, status="delivered", answers=(200,))
    await pause(tx, (await _hook(tx, site, "https://old.example/hook", "The old warehouse")).id)


async def _hook(tx: Transaction, site: Site, url: str, about: str) -> Endpoint:
    catalogue = topics()
    areas = frozenset(each.area for each in catalogue.types.values())
    rules = Rules(topics=catalogue, schema=site.store.schema, outbound=Outbound(), areas=areas)
    wanted = NewEndpoint(url=url, events=["lead-capture"], about=about)
    return (await register(tx, site.store.vault, wanted, accounts=[], rules=rules))[0]


async def _sent(tx: Transaction, endpoint: Endpoint, *, status: str, answers: tuple[int | None, ...]) -> None:
    now = tx.scope.now
    for seq, own in enumerate(_ids(tx.scope, 3), start=1):
        await tx.connection.execute(
            "insert into webhook_delivery (workspace, id, endpoint_id, seq, event_type, key, status, attempts, due_at,"
            " created_at, done_at) values (current_workspace(), %s, %s, %s, 'isthmus.sales.lead.created.v1', %s, %s,"
            " %s, %s, %s, %s)",
            (own, endpoint.id, seq, UUID(int=7), status, len(answers), now, now - 20 * MINUTE, now - seq * MINUTE),
        )
        for number, answer in enumerate(answers, start=1):
            failure = "" if answer == 200 else f"answered {answer}" if answer else "no connection: timed out"
            await tx.connection.execute(
                "insert into webhook_attempt (workspace, delivery_id, number, at, status, took_ms, failure)"
                " values (current_workspace(), %s, %s, %s, %s, %s, %s)",
                (own, number, now - (20 - number) * MINUTE, answer, 40 * number, failure),
            )


def _ids(scope: Scope, count: int) -> list[UUID]:
    return mint_many(unix_ms=milliseconds(scope.now), count=count, entropy=entropy(count * ENTROPY_BYTES))
