"""Each gauge says what is wrong, and stays silent when nothing is."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from isthmus.app.alerting.gauges import (
    CALLS_MIN,
    QUICK,
    SLOW,
    Reader,
    budgets,
    budgets_of_errors,
    consents,
    disagreements,
    quotas,
    streams,
    threats,
    traffic,
)
from isthmus.app.alerting.keeping import own_url, probe, watch_over
from isthmus.app.alerting.rules import BUDGET, DECLARED, ERRORS, LATE, LATENCY, LIMITS, RULES, THREAT, burn_gauge
from isthmus.app.discovery import connectors
from isthmus.app.engines import Engines
from isthmus.app.program import Program, opened
from isthmus.app.settings import Settings
from isthmus.audit.entry import Entry
from isthmus.audit.queue import AuditQueue
from isthmus.gateway.limit_rules import LimitRule, write_limits
from isthmus.gateway.monitoring.minutes import Cell, sums, write_cells
from isthmus.store.database import Scope
from isthmus.stream.alerts.rules import Gauge, Reading, holding
from isthmus.stream.alerts.state import unresolved
from isthmus.sync.connections import connect
from isthmus.sync.feeds import advance, finish
from isthmus.sync.grants import record
from isthmus.sync.oauth import Granted, Tokens
from tests.rooms.stream.alerts.receiving import web_server

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def program(engines: Engines, tmp_path: Path) -> AsyncIterator[Program]:
    """A program in a workspace of the test's own."""
    settings = Settings(data_dir=tmp_path, workspace=f"test-{tmp_path.name}")
    async with opened(settings, engines, connections_max=3) as found:
        yield found


def own(program: Program) -> Scope:
    return program.scope(actor="user:tester", cause="test")


async def read(program: Program, reader: Reader, scope: Scope | None = None) -> list[Gauge]:
    async with program.database.transaction(scope or own(program)) as tx:
        found = await reader(program, tx)
    assert {each.name for each in found.gauges} <= found.names
    return list(found.gauges)


async def count(program: Program, name: str, *, calls: int, failed: int = 0, micros: int = 1_000) -> None:
    """Write a minute of traffic of a domain, a minute ago."""
    scope = own(program)
    cell = Cell()
    for number in range(calls):
        cell.count(status=503 if number < failed else 200, micros=micros)
    at = scope.now.replace(second=0, microsecond=0) - MINUTE
    async with program.database.transaction(scope) as tx:
        await write_cells(tx, [("domain", at, name, cell), ("all", at, "all", cell)], instance="one")


def alarming(gauges: list[Gauge]) -> list[tuple[str, str]]:
    found = Reading(gauges=gauges, names=frozenset())
    return [(rule.name, gauge.about) for rule, gauge in holding(RULES, found)]


@pytest.mark.parametrize("reader", [*QUICK, *SLOW], ids=lambda each: each.__name__)
async def test_in_a_quiet_workspace_nothing_alarms(program: Program, reader: Reader) -> None:
    assert alarming(await read(program, reader)) == []


def test_every_declared_rule_has_a_gauge_that_somebody_reads() -> None:
    burning = {each.gauge for each in RULES} - {each.gauge for each in DECLARED}
    assert burning == {burn_gauge(o, w) for o in ("errors", "latency", "uptime") for w in ("fast", "steady", "slow")}
    assert len({each.name for each in RULES}) == len(RULES) == 25


async def test_slow_answers_and_errors_are_told_by_domain(program: Program) -> None:
    await count(program, "sales", calls=100, micros=600_000)
    await count(program, "finance", calls=100, failed=6)
    await count(program, "product", calls=CALLS_MIN - 1, failed=CALLS_MIN - 1, micros=900_000)
    found = await read(program, traffic)
    assert sorted(alarming(found)) == [("errors", "finance"), ("latency", "sales")]
    reasons = {(each.name, each.about): each.reason for each in found}
    assert reasons[LATENCY, "sales"].startswith("p95 is 60")
    assert reasons[ERRORS, "finance"] == "6 of 100 calls failed in 5 min"


async def test_a_budget_that_burns_alarms_in_all_windows_it_burns_in(program: Program) -> None:
    await count(program, "sales", calls=1_000, failed=20)
    found = alarming(await read(program, budgets_of_errors))
    assert found == [(f"burn-errors-{each}", "errors") for each in ("fast", "steady", "slow")]


async def test_a_stream_is_late_when_it_is_overdue(program: Program) -> None:
    scope = own(program)
    async with program.database.transaction(scope) as tx:
        settings = {"system": "crm", "path": "x", "now": "2026-11-22T06:00:00Z"}
        made = await connect(tx, program.vault, connectors()["demo"], name="crm", settings=settings, every_s=600)
        await advance(tx, made.id, "deals", before=None, cursor="1")
        await finish(tx, made.id, "deals", since=scope.now)
        await tx.connection.execute("update connection set status = 'healthy'")
    assert alarming(await read(program, streams, replace(scope, now=scope.now + 14 * MINUTE))) == []
    late = await read(program, streams, replace(scope, now=scope.now + 30 * MINUTE))
    assert alarming(late) == [("stream-late", "crm/deals")]
    assert [each.name for each in late] == [LATE]
    async with program.database.transaction(scope) as tx:
        await tx.connection.execute("update connection set status = 'paused'")
    assert await read(program, streams, replace(scope, now=scope.now + 30 * MINUTE)) == []


async def test_many_refused_calls_from_one_network_are_a_threat(program: Program) -> None:
    scope = own(program)
    queue = AuditQueue(program.database)
    for number in range(101):
        for network in ("192.0.2.0/24", f"10.{number}.0.0/24"):
            queue.note(
                Entry(
                    workspace=scope.workspace,
                    at=scope.now,
                    actor="key:1",
                    action="call.denied",
                    resource="/x",
                    request_id="r",
                    network=network,
                )
            )
    await queue.close()
    found = await read(program, threats)
    assert alarming(found) == [("threat", "192.0.2.0/24")]
    assert {each.name for each in found} == {THREAT}


async def test_a_quota_that_is_nearly_used_up_alarms(program: Program) -> None:
    scope = own(program)
    day = f"{scope.now:%Y%m%d}"
    async with program.database.transaction(scope) as tx:
        await write_limits(tx, tier=None, rules=[LimitRule(name="ours", scope="workspace", quota_day=100)])
        await tx.connection.execute(
            "insert into limit_ledger (workspace, subject, period, holder, used, granted, settled, at)"
            " values (current_workspace(), 'quota:ours:', %s, %s, 91, 91, true, %s)",
            (day, UUID(int=1), scope.now),
        )
    found = await read(program, quotas)
    assert [(each.name, each.value) for each in found] == [(LIMITS, 0.91)]
    assert [rule for rule, _ in alarming(found)] == ["limits"]


async def test_systems_that_differ_and_overspent_budgets_are_looked_at(program: Program) -> None:
    assert await read(program, disagreements) == []
    assert await read(program, budgets) == []
    assert BUDGET in {each.gauge for each in RULES}


async def test_a_consent_that_ended_or_ends_soon_is_told_with_what_to_do(program: Program) -> None:
    scope = own(program)
    xero, vault = connectors()["xero"], program.store.vault
    async with program.database.transaction(scope) as tx:
        soon = await connect(tx, vault, xero, name="soon", settings={"client_id": "of-an-app"})
        later = await connect(tx, vault, xero, name="later", settings={"client_id": "of-an-app"})
        for each, days in ((soon, 6), (later, 8)):
            tokens, ends = Tokens(access="a", refresh="r"), scope.now + timedelta(days=days)
            await record(tx, vault, each, Granted(tokens=tokens, renew_at=ends, refresh_expires_at=ends))
    (gauge,) = await read(program, consents, scope)
    assert (gauge.about, "isthmus connect authorize soon" in gauge.reason) == ("soon", True)


async def test_what_alarms_is_kept_and_told_by_one_turn_of_the_watch(program: Program) -> None:
    await count(program, "sales", calls=100, micros=600_000)
    await watch_over(program, program.workspace, readers=QUICK, ways={})
    async with program.database.transaction(own(program)) as tx:
        assert ("latency", "sales") in [(each.rule, each.about) for each in await unresolved(tx)]


async def test_a_probe_counts_what_is_no_ok_as_failed(program: Program) -> None:
    cell = Cell()
    async with web_server() as found:
        await probe(f"http://127.0.0.1:{found.port}/healthz", cell)
        found.status = "503 Away"
        await probe(f"http://127.0.0.1:{found.port}/healthz", cell)
    await probe("http://127.0.0.1:9/healthz", cell)
    assert (cell.calls, cell.failed) == (3, 2)
    assert own_url(program.settings) == "http://127.0.0.1:8080/healthz"
    nobody = replace(own(program), workspace=0)
    async with program.database.transaction(nobody) as tx:
        await write_cells(tx, [("probe", nobody.now, "healthz", cell)], instance=program.slug)
        found_sums = await sums(tx, "probe", "healthz", since=nobody.now, until=nobody.now + MINUTE)
    assert found_sums.failed >= 2
