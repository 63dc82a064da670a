"""Changed keys, roles and policies are in force on every worker within a second, and no call fails for it."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Event

import pytest

from isthmus.app.discovery import domains, schema
from isthmus.app.http.assembly import all_routes
from isthmus.app.program import Program
from isthmus.auth.custom_roles import remove, save
from isthmus.auth.keys import revoke_key
from isthmus.auth.keytext import read_key_text
from isthmus.auth.roles import CustomRole, all_permissions
from isthmus.gateway.limit_rules import LimitRule, write_limits
from isthmus.gateway.policy.language import read_policy
from isthmus.gateway.policy.rows import remove_policy, save_policy
from isthmus.gateway.policy.vocabulary import Vocabulary
from isthmus.store.database import Transaction
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site, scope_of

DOMAINS = [each.name for each in domains()]
RELOADS = 100
CALLERS = 4
NEVER = """@id("never") @reason("Closed.")
forbid (principal, action == Action::"GET /api/v1/leads", resource) when { context.method == "GET" };"""
ELSEWHERE = """@id("elsewhere") @reason("Closed.")
forbid (principal, action in Action::"sales:read", resource) when { context.hour == 1$TURN };"""
Change = Callable[[Transaction, int], Awaitable[None]]


async def keep(tx: Transaction, text: str) -> None:
    everything = all_permissions(domains=DOMAINS)
    await save_policy(tx, read_policy(text), vocabulary=words(), giver=None, all_there_is=everything)


@cache
def words() -> Vocabulary:
    return Vocabulary(all_routes(schema()), schema().types)


def statuses(caller: Caller, path: str, *, calls: int = 24) -> set[int]:
    """Call over fresh connections, which reach all workers."""
    return {caller.get(path).status for _ in range(calls)}


def in_force(caller: Caller, path: str, wanted: int, *, changed: float) -> None:
    """See that a second after the change every call is answered so."""
    time.sleep(max(0.0, changed + 1.0 - time.monotonic()))
    assert statuses(caller, path) == {wanted}


def test_a_change_is_in_force_on_every_worker_within_a_second(site: Site) -> None:
    workspace = site.workspace()

    async def desk(program: Program) -> None:
        async with program.database.transaction(scope_of(workspace)) as tx:
            await save(tx, CustomRole(name="desk", permissions=("sales:read",)), domains=DOMAINS, giver=None)

    site.run(desk)
    text = site.key(workspace, "desk")
    caller, path = site.caller(text), "/api/v1/leads"
    assert statuses(caller, path) == {200}

    async def change(program: Program, step: str) -> None:
        async with program.database.transaction(scope_of(workspace)) as tx:
            if step == "policy":
                await keep(tx, NEVER)
            elif step == "no policy":
                await remove_policy(tx, "never")
            elif step == "role":
                await remove(tx, "desk")
            elif step == "role again":
                await save(tx, CustomRole(name="desk", permissions=("sales:read",)), domains=DOMAINS, giver=None)
            else:
                await revoke_key(tx, read_key_text(text).id)

    steps = (("policy", 403), ("no policy", 200), ("role", 403), ("role again", 200), ("key", 401))
    for step, wanted in steps:
        site.run(lambda program, step=step: change(program, step))
        in_force(caller, path, wanted, changed=time.monotonic())


async def change_roles(tx: Transaction, turn: int) -> None:
    permissions = ("sales:read",) if turn % 2 else ("sales:read", "finance:read")
    await save(tx, CustomRole(name="desk", permissions=permissions), domains=DOMAINS, giver=None)


async def change_policies(tx: Transaction, turn: int) -> None:
    if turn % 4 == 3:
        await remove_policy(tx, "elsewhere")
    else:
        await keep(tx, ELSEWHERE.replace("$TURN", f"{turn:03}"))


async def change_limits(tx: Transaction, turn: int) -> None:
    rule = LimitRule(name="caller", scope="caller", count=1_000_000 + turn, seconds=60, burst=1_000_000 + turn)
    quota = LimitRule(name="month", scope="workspace", quota_month=1_000_000_000 - turn)
    await write_limits(tx, tier="professional" if turn % 2 else "enterprise", rules=[rule, quota][: 1 + turn % 2])


@pytest.mark.parametrize("change", [change_roles, change_policies, change_limits])
def test_a_hundred_reloads_under_load_fail_no_call(site: Site, change: Change) -> None:
    workspace = site.workspace()
    caller, done = site.caller(site.key(workspace, "sales.viewer")), Event()

    def load() -> Counter[int]:
        met = Counter[int]()
        while not done.is_set():
            met[caller.get("/api/v1/leads").status] += 1
        return met

    async def reload(program: Program) -> None:
        for turn in range(RELOADS):
            async with program.database.transaction(scope_of(workspace)) as tx:
                await change(tx, turn)

    with ThreadPoolExecutor(CALLERS) as pool:
        loads = [pool.submit(load) for _ in range(CALLERS)]
        try:
            site.run(reload)
        finally:
            done.set()
        met = sum((each.result() for each in loads), Counter[int]())
    assert set(met) == {200}, met
    assert met[200] > CALLERS
