"""Answers that are held for a moment are shared by those who see alike, forgotten by changes, and never too old."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from msgspec import Struct

from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway import Call, Route
from isthmus.gateway.holding import Holding
from isthmus.gateway.sending import Outgoing
from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.conftest import NOW
from tests.rooms.gateway.stage import DOMAINS, Stage, stage_of

HELD_S = 1


class Counted(Struct, frozen=True, kw_only=True):
    """Which answer it is."""

    number: int


@dataclass
class Counter:
    """Handlers that count, and a time that is moved by hand, in nanoseconds."""

    asked: int = 0
    ticks: int = 0
    opens: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def count(self, call: Call) -> Counted:
        self.asked += 1
        number = self.asked
        self.began.set()
        await self.gate.wait()
        if self.opens:
            call.opened.add("making:pii")
        return Counted(number=number)

    async def change(self, _: Call) -> Counted:
        return Counted(number=0)


@pytest.fixture
def counter() -> Counter:
    """A counter whose gate is open."""
    made = Counter()
    made.gate.set()
    return made


@pytest.fixture
async def stage(store: Store, scope: Scope, counter: Counter) -> Stage:
    """A gateway to the counter, and a caller who may use it."""
    routes = (
        Route(method="GET", path="/count/{name}", handler=counter.count, permission="making:read", narrows=True,
              held_s=HELD_S, summary="Count"),
        Route(method="POST", path="/change", handler=counter.change, permission="making:write", summary="Count"),
    )  # fmt: skip
    made = stage_of(routes, store=store, clock=FrozenClock(NOW), ticks=lambda: counter.ticks)
    made.key = await key(store, scope, "making.editor")
    return made


async def key(store: Store, scope: Scope, role: str, only: Mapping[str, frozenset[UUID]] | None = None) -> str:
    async with store.database.transaction(scope) as tx:
        wish = KeyWish(name="Tester", roles=(role,), only=only or {})
        _, text = await create_key(tx, wish, domains=DOMAINS, giver=None)
    return text.text


async def number(stage: Stage, path: str = "/count/a", **headers: str) -> object:
    answer = await stage.call("GET", path, headers={each.replace("_", "-"): value for each, value in headers.items()})
    assert answer.status == 200
    return answer.json["number"]


def pass_by(stage: Stage, counter: Counter, *, ms: int) -> None:
    stage.move(milliseconds=ms)
    counter.ticks += ms * 10**6


async def test_an_answer_is_worked_out_once_while_it_is_held(stage: Stage, counter: Counter) -> None:
    assert [await number(stage) for _ in range(3)] == [1, 1, 1]
    pass_by(stage, counter, ms=1_000)
    assert await number(stage) == 2


async def test_another_path_query_or_version_is_another_question(stage: Stage) -> None:
    found = [await number(stage, "/count/a"), await number(stage, "/count/b"), await number(stage, "/count/a")]
    assert found == [1, 2, 1]
    assert await number(stage, isthmus_version="2026-11-22") == 3


async def test_callers_with_the_same_permissions_share_and_others_do_not(
    stage: Stage, store: Store, scope: Scope
) -> None:
    assert await number(stage) == 1
    stage.key = await key(store, scope, "making.editor")
    assert await number(stage) == 1
    stage.key = await key(store, scope, "making.viewer")
    assert await number(stage) == 2


async def test_a_caller_limited_to_named_records_is_answered_afresh(stage: Stage, store: Store, scope: Scope) -> None:
    assert await number(stage) == 1
    stage.key = await key(store, scope, "making.editor", {"sales.lead": frozenset({UUID(int=1)})})
    assert [await number(stage), await number(stage)] == [2, 3]


async def test_whoever_may_not_ask_does_not_get_what_is_held(stage: Stage) -> None:
    assert await number(stage) == 1
    stage.key = ""
    assert (await stage.call("GET", "/count/a")).status == 401


async def test_an_answer_with_opened_personal_fields_is_not_held(stage: Stage, counter: Counter) -> None:
    counter.opens = True
    assert [await number(stage), await number(stage)] == [1, 2]


async def test_a_change_is_seen_by_the_next_question(stage: Stage) -> None:
    assert await number(stage) == 1
    assert (await stage.call("POST", "/change")).status == 200
    assert await number(stage) == 2


async def test_an_answer_that_a_change_overtook_is_not_held(stage: Stage, counter: Counter) -> None:
    counter.gate.clear()
    early = asyncio.create_task(number(stage))
    await counter.began.wait()
    assert (await stage.call("POST", "/change")).status == 200
    counter.gate.set()
    assert await early == 1
    assert await number(stage) == 2


async def test_one_caller_renews_while_the_others_still_get_the_old_answer(stage: Stage, counter: Counter) -> None:
    assert await number(stage) == 1
    pass_by(stage, counter, ms=1_500)
    counter.gate.clear()
    counter.began.clear()
    renewing = asyncio.create_task(number(stage))
    await counter.began.wait()
    assert await number(stage) == 1
    counter.gate.set()
    assert await renewing == 2
    assert await number(stage) == 2


async def test_who_comes_while_nothing_is_held_waits_for_the_one_who_works_it_out(
    stage: Stage, counter: Counter
) -> None:
    assert await number(stage, "/count/b") == 1
    counter.gate.clear()
    counter.began.clear()
    asked = [asyncio.create_task(number(stage)) for _ in range(6)]
    await counter.began.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    counter.gate.set()
    assert [await each for each in asked] == [2] * 6
    assert counter.asked == 2


async def test_an_answer_is_never_twice_as_old_as_it_is_held(stage: Stage, counter: Counter) -> None:
    assert await number(stage) == 1
    pass_by(stage, counter, ms=2_000)
    assert await number(stage) == 2
    assert await number(stage) == 2


def test_one_of_those_who_are_answered_at_once_is_sent_to_renew(counter: Counter) -> None:
    route = Route(
        method="GET", path="/count", handler=counter.count, permission="making:read", held_s=HELD_S, summary="Count"
    )
    holding = Holding(ticks=lambda: counter.ticks, changes=lambda workspace: workspace)
    key = (1, id(route), "/count", b"", frozenset[str](), "")
    answer = Outgoing(status=200, media="text/plain", body=b"one")
    holding.keep(key, answer, route=route, now=NOW, version=holding.begin(key))

    def found(*, after_ms: int) -> bool:
        return holding.find_sealed(key, now=NOW, ticks=after_ms * 10**6, secure=False) is not None

    assert [found(after_ms=at) for at in (0, 999)] == [True] * 2
    assert [found(after_ms=at) for at in (1_000, 1_001, 1_002)] == [False, True, True]
    counter.ticks = 1_003 * 10**6
    assert holding.find(key, now=NOW) is None, "the first to come the ordinary way works it out"
    assert holding.find(key, now=NOW) is not None
    assert [found(after_ms=at) for at in (1_999, 2_000)] == [True, False]
