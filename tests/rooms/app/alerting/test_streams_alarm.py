"""What fails behind the calls is told: webhooks, events and jobs that wait for a person, the relay, and schedules."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from isthmus.app.alerting.gauges import Reader, dead_letters, overdue, relaying, webhooks
from isthmus.app.alerting.rules import RULES
from isthmus.app.discovery import schema
from isthmus.app.engines import Engines
from isthmus.app.program import Program, opened
from isthmus.app.settings import Settings
from isthmus.app.topics import topics
from isthmus.app.webhook_rights import ask_again, keep_rights, vocabulary
from isthmus.auth.custom_roles import CustomRole, save
from isthmus.auth.keys import KeyWish, create_key, revoke_key
from isthmus.gateway.policy.language import read_policy
from isthmus.gateway.policy.rows import remove_policy, save_policy
from isthmus.store.database import Scope
from isthmus.stream.alerts.rules import holding
from isthmus.stream.event import events_after
from isthmus.stream.jobs.job import Wish
from isthmus.stream.jobs.queue import enqueue
from isthmus.stream.jobs.schedules import Standard, install
from isthmus.stream.outbound import Outbound
from isthmus.stream.parked import park
from isthmus.stream.relay import stamp
from isthmus.stream.webhooks.endpoints import Endpoint, NewEndpoint, Rules, endpoint_of, endpoint_text, register
from tests.rooms.stream.stage import emit

DOMAINS = ("sales", "success")
LARGE = """@id("large") @reason("Large deals are told by people.")
forbid (principal, action in Action::"sales:read", resource is sales::deal)
when { resource has amount && resource.amount.greaterThan(decimal("100000.0")) };"""
HOOKS = CustomRole(name="hooks", permissions=("stream:write", "sales:read", "success:read"))


@pytest.fixture
async def program(engines: Engines, tmp_path: Path) -> AsyncIterator[Program]:
    """A program in a workspace of the test's own."""
    settings = Settings(data_dir=tmp_path, workspace=f"test-{tmp_path.name}")
    async with opened(settings, engines, connections_max=3) as found:
        yield found


def own(program: Program, *, actor: str = "user:tester") -> Scope:
    """The workspace now."""
    return program.scope(actor=actor, cause="test")


async def alarms(program: Program, reader: Reader) -> list[tuple[str, str]]:
    """Which alerts are due, and about what."""
    async with program.database.transaction(own(program)) as tx:
        return [(rule.name, gauge.about) for rule, gauge in holding(RULES, await reader(program, tx))]


async def registered(
    program: Program,
    *,
    roles: tuple[str, ...] = (),
    events: tuple[str, ...] = ("isthmus.sales.*", "isthmus.success.*"),
) -> tuple[Endpoint, UUID]:
    """An endpoint that is told of sales and of success, and the key that made it."""
    wanted = NewEndpoint(url="http://127.0.0.1:9/", events=list(events))
    rules = Rules(topics=topics(), schema=schema(), outbound=Outbound(["127.0.0.0/8"]), areas=frozenset(DOMAINS))
    async with program.database.transaction(own(program)) as tx:
        key, _ = await create_key(tx, KeyWish(name="Hooks", roles=roles), domains=DOMAINS, giver=None)
    async with program.database.transaction(own(program, actor=f"key:{key.id}")) as tx:
        made, _ = await register(tx, program.vault, wanted, accounts=(), rules=rules)
    return made, key.id


async def mean(program: Program, *permissions: str) -> None:
    """Let the role allow this."""
    role = CustomRole(name=HOOKS.name, permissions=permissions)
    async with program.database.transaction(own(program)) as tx:
        await save(tx, role, domains=DOMAINS, giver=None)


async def asked(program: Program, endpoint: Endpoint) -> Endpoint:
    """Ask for the rights again, and return the endpoint."""
    async with program.database.transaction(own(program)) as tx:
        await ask_again(tx, topics())
        return await endpoint_of(tx, endpoint.id)


async def test_an_endpoint_stops_when_its_maker_may_not_read_a_topic_and_goes_on_when_it_may(program: Program) -> None:
    await mean(program, *HOOKS.permissions)
    made, key = await registered(program, roles=("hooks",))
    assert (await asked(program, made)).status == "pending"
    await mean(program, "stream:write", "success:read")
    stopped = await asked(program, made)
    assert (stopped.status, stopped.withheld) == ("needs attention", f"key:{key} may no longer read sales.")
    assert await alarms(program, webhooks) == [("webhook-withheld", endpoint_text(made.id))]
    await mean(program, *HOOKS.permissions)
    assert (await asked(program, made)).status == "pending"
    assert await alarms(program, webhooks) == []


async def test_an_endpoint_that_is_stopped_is_not_looked_at_by_those_who_send(program: Program) -> None:
    await mean(program, *HOOKS.permissions)
    made, key = await registered(program, roles=("hooks",))
    await emit(program.database, own(program), [1])
    async with program.database.transaction(own(program)) as tx:
        await stamp(tx.connection)
    assert (program.workspace, made.id) in await behind(program)
    async with program.database.transaction(own(program)) as tx:
        await revoke_key(tx, key)
    assert (await asked(program, made)).withheld == f"key:{key} may no longer read sales, success."
    assert (program.workspace, made.id) not in await behind(program)


async def test_a_policy_that_closes_what_is_told_withholds_it_and_nothing_else_until_it_is_gone(
    program: Program,
) -> None:
    await mean(program, *HOOKS.permissions)
    deals, key = await registered(program, roles=("hooks",), events=("isthmus.sales.deal.*",))
    leads, _ = await registered(program, roles=("hooks",), events=("isthmus.sales.lead.*",))
    watching = asyncio.create_task(keep_rights(program))
    try:
        async with program.database.transaction(own(program)) as tx:
            await save_policy(tx, read_policy(LARGE), vocabulary=vocabulary(), giver=None, all_there_is=frozenset())
        stopped = await turned(program, deals, withheld=True)
        assert stopped.withheld == (
            f"key:{key} may no longer read sales.deal: The policy large says: Large deals are told by people."
        )
        async with program.database.transaction(own(program)) as tx:
            assert (await endpoint_of(tx, leads.id)).withheld_at is None
            await remove_policy(tx, "large")
        await turned(program, deals, withheld=False)
    finally:
        watching.cancel()


async def test_a_policy_about_a_role_closes_the_area_to_whoever_has_it(program: Program) -> None:
    await mean(program, *HOOKS.permissions)
    made, _ = await registered(program, roles=("hooks",), events=("isthmus.success.*",))
    text = """@id("no-success") @reason("Not for programs.")
    forbid (principal in Role::"hooks", action in Action::"success:read", resource);"""
    async with program.database.transaction(own(program)) as tx:
        await save_policy(tx, read_policy(text), vocabulary=vocabulary(), giver=None, all_there_is=frozenset())
    assert "The policy no-success says: Not for programs." in (await asked(program, made)).withheld


async def turned(program: Program, endpoint: Endpoint, *, withheld: bool) -> Endpoint:
    """The endpoint, once it is withheld or goes on."""
    async with asyncio.timeout(10):
        while True:
            async with program.database.transaction(own(program)) as tx:
                found = await endpoint_of(tx, endpoint.id)
            if (found.withheld_at is not None) == withheld:
                return found
            await asyncio.sleep(0.05)


async def behind(program: Program) -> list[tuple[int, UUID]]:
    """The endpoints for which something is to be written down."""
    async with program.database.plain() as connection:
        return list(await (await connection.execute("select * from webhooks_behind(100)")).fetchall())


async def test_a_webhook_that_fails_for_long_alarms(program: Program) -> None:
    made, _ = await registered(program, roles=("owner",))
    since = own(program).now - timedelta(minutes=6)
    async with program.database.transaction(own(program)) as tx:
        await tx.connection.execute("update webhook_health set failing_since = %s, reason = 'away'", (since,))
    assert await alarms(program, webhooks) == [("webhook", endpoint_text(made.id))]


async def test_events_and_jobs_that_wait_for_a_person_alarm(program: Program) -> None:
    await emit(program.database, own(program), [1])
    async with program.database.transaction(own(program)) as tx:
        await stamp(tx.connection)
        await park(tx, "reactions:sales", (await events_after(tx.connection, after=0, limit=1))[0], reason="It failed.")
        await enqueue(tx, [Wish(kind="report.executive")])
        await tx.connection.execute("update job set status = 'needs attention'")
    assert await alarms(program, dead_letters) == [
        ("dead-events", "reactions:sales"),
        ("dead-jobs", "report.executive"),
    ]


async def test_events_without_a_number_and_schedules_that_nobody_serves_alarm(program: Program) -> None:
    daily = Standard(name="daily", about="", kind="housekeeping", cron="0 6 * * *")
    await emit(program.database, own(program), [1])
    async with program.database.transaction(own(program)) as tx:
        await install(tx, [daily], edition=1)
    assert (await alarms(program, relaying), await alarms(program, overdue)) == ([], [])
    async with program.database.transaction(own(program)) as tx:
        past = tx.scope.now - timedelta(minutes=6)
        await tx.connection.execute("update event_bundle set at = %s", (past,))
        await tx.connection.execute("update schedule set next_at = %s", (past,))
    assert await alarms(program, relaying) == [("relay-lag", "relay")]
    assert await alarms(program, overdue) == [("schedule-missed", "daily")]
