"""Policies decide over calls: they refuse with their reason, only count in shadow, permit, filter lists and explain."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from isthmus.app.http import all_routes, build
from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway import Services
from isthmus.gateway.policy.gate import PolicyGate
from isthmus.gateway.policy.sample import Sample
from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.access.table import DOMAINS
from tests.conftest import NOW
from tests.rooms.gateway.stage import Answered, Stage

LEADS = "/api/v1/leads"
NIGHT = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
NIGHTS = """@id("nights") @reason("Nobody reads leads at night.") @fix("Ask again after six.")
forbid (principal, action in Action::"sales:read", resource) when { context.hour < 6 };"""
Keys = Callable[..., str]


@pytest.fixture
async def at(store: Store) -> Stage:
    """A gateway of all routes over a clock that is moved by hand."""
    clock = FrozenClock(NOW)
    services = Services(schema=store.schema, database=store.database, vault=store.vault, clock=clock)
    return Stage(build(services, all_routes(store.schema)), clock)


async def key(store: Store, scope: Scope, *roles: str, **more: object) -> str:
    async with store.database.transaction(scope) as tx:
        wish = KeyWish(name="Test", roles=roles, **more)  # type: ignore[arg-type]
        _, text = await create_key(tx, wish, domains=DOMAINS, giver=None)
    return text.text


async def as_owner(at: Stage, store: Store, scope: Scope) -> Stage:
    return Stage(at.gateway, at.clock, await key(store, scope, "owner"))


def code(answer: Answered) -> object:
    return answer.json["code"]


async def test_a_policy_refuses_in_its_circumstances_and_says_why_and_what_to_do(
    at: Stage, store: Store, scope: Scope
) -> None:
    owner = await as_owner(at, store, scope)
    reader = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    assert (await reader.call("GET", LEADS)).status == 200
    made = await owner.call("POST", "/api/v1/policies", {"text": NIGHTS})
    assert (made.status, made.json["mode"]) == (201, "enforced"), made.body
    assert (await reader.call("GET", LEADS)).status == 200
    at.clock.move(NIGHT - NOW)
    refused = await reader.call("GET", LEADS)
    assert (refused.status, code(refused)) == (403, "policy-refused")
    assert refused.json["detail"] == "The policy nights forbids this: Nobody reads leads at night."
    assert "after six" in str(refused.json)
    assert (await reader.call("GET", "/api/v1/me")).status == 200
    assert (await owner.call("DELETE", "/api/v1/policies/nights")).status == 204
    assert (await reader.call("GET", LEADS)).status == 200
