"""A request that is known to the byte is decided like the first of its kind, and answered with an id of its own."""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from msgspec import Struct

from isthmus.auth.keys import KeyWish, create_key, revoke_key
from isthmus.auth.keytext import read_key_text
from isthmus.gateway import Call, Route
from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.conftest import NOW
from tests.rooms.gateway.stage import DOMAINS, Stage, stage_of


class Seen(Struct, frozen=True, kw_only=True):
    """What a handler saw of its call."""

    request_id: str
    at: str
    name: str


@dataclass
class Looking:
    """A handler that waits for a gate."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def look(self, call: Call) -> Seen:
        await self.gate.wait()
        return Seen(request_id=call.request_id, at=call.scope.now.isoformat(), name=call.path["name"])


@pytest.fixture
def looking() -> Looking:
    """A handler whose gate is open."""
    made = Looking()
    made.gate.set()
    return made


@pytest.fixture
async def stage(store: Store, scope: Scope, looking: Looking) -> Stage:
    """A gateway with one route, and a caller who may use it."""
    route = Route(
        method="GET", path="/look/{name}", handler=looking.look, permission="making:read", narrows=True, summary="Look"
    )
    made = stage_of((route,), store=store, clock=FrozenClock(NOW), ticks=lambda: 0)
    made.key = await key(store, scope)
    return made


async def key(store: Store, scope: Scope) -> str:
    """Return a new key."""
    async with store.database.transaction(scope) as tx:
        wish = KeyWish(name="Tester", roles=("making.viewer",))
        return (await create_key(tx, wish, domains=DOMAINS, giver=None))[1].text


def key_id(text: str) -> UUID:
    """Return the id in a key."""
    return read_key_text(text).id


async def test_each_call_has_its_own_id_and_moment(stage: Stage) -> None:
    first = await stage.call("GET", "/look/a")
    stage.move(seconds=30)
    second = await stage.call("GET", "/look/a")
    assert [each.json["request_id"] for each in (first, second)] == [
        each.headers["x-request-id"] for each in (first, second)
    ]
    assert first.json["request_id"] != second.json["request_id"]
    assert (first.json["at"], second.json["at"]) == ("2026-11-02T09:30:00+00:00", "2026-11-02T09:30:30+00:00")


async def test_a_key_that_was_revoked_opens_nothing_the_next_second(stage: Stage, store: Store, scope: Scope) -> None:
    assert [(await stage.call("GET", "/look/a")).status for _ in range(3)] == [200] * 3
    async with store.database.transaction(scope) as tx:
        await revoke_key(tx, key_id(stage.key))
    stage.move(seconds=1)
    assert (await stage.call("GET", "/look/a")).status == 401


async def test_calls_at_the_same_time_are_kept_apart(stage: Stage, looking: Looking) -> None:
    await stage.call("GET", "/look/a")
    looking.gate.clear()
    calls = [asyncio.create_task(stage.call("GET", "/look/a")) for _ in range(8)]
    await asyncio.sleep(0)
    looking.gate.set()
    answers = await asyncio.gather(*calls)
    assert [each.status for each in answers] == [200] * 8
    assert len({each.headers["x-request-id"] for each in answers}) == 8


async def test_another_header_is_another_request(stage: Stage) -> None:
    await stage.call("GET", "/look/a")
    refused = await stage.call("GET", "/look/a", headers={"isthmus-version": "1999-01-01"})
    assert refused.status == 400
    assert (await stage.call("GET", "/look/a")).status == 200
    own = await stage.call("GET", "/look/a", headers={"x-request-id": "mine"})
    assert (own.json["request_id"], own.headers["x-request-id"]) == ("mine", "mine")


async def test_a_call_that_was_given_up_leaves_the_next_ones_as_they_are(stage: Stage, looking: Looking) -> None:
    await stage.call("GET", "/look/a")
    looking.gate.clear()
    given_up = asyncio.create_task(stage.call("GET", "/look/a"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    looking.gate.set()
    assert [(await stage.call("GET", "/look/a")).status for _ in range(2)] == [200, 200]
