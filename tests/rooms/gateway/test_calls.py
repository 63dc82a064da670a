"""The way of a call: nothing leaks, streams end with their caller, versions and repeats hold."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest
import structlog
from msgspec import Struct

from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway import Call, Response, Route
from isthmus.gateway.idempotency import KEPT, LEASE
from isthmus.gateway.request import Message
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.errors import Conflicting
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.conftest import NOW
from tests.rooms.gateway.stage import DOMAINS, Stage, stage_of

SECRET = "ada@example.test"


class Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is ordered."""

    name: str


class Made(Struct, frozen=True, kw_only=True):
    """What was made."""

    number: int
    once: UUID


class Workshop:
    """Handlers that remember what they did."""

    def __init__(self) -> None:
        self.made: list[UUID] = []
        self.closed = asyncio.Event()
        self.gate = asyncio.Event()
        self.began = asyncio.Event()
        self.failures = 0
        self.gate.set()

    async def make(self, call: Call) -> Made:
        call.body(Order)
        self.began.set()
        await self.gate.wait()
        self.made.append(call.once)
        if self.failures:
            self.failures -= 1
            raise Conflicting("Not now.", fix="Later.")
        return Made(number=len(self.made), once=call.once)

    async def crash(self, _: Call) -> None:
        raise RuntimeError(SECRET)

    async def show(self, _: Call) -> Response:
        return Response(value=Made(number=7, once=UUID(int=7)), version=7)

    async def change(self, call: Call) -> Made:
        call.expect(7)
        return Made(number=8, once=UUID(int=8))

    async def stream(self, _: Call) -> Response:
        return Response(body=self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: 1\n\n"
                await asyncio.sleep(0)
        finally:
            self.closed.set()

    async def break_off(self, _: Call) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            raise RuntimeError(SECRET)

        return Response(body=pieces())

    async def key(self, _: Call) -> Made:
        return Made(number=len(self.made), once=UUID(int=1))


@pytest.fixture
def workshop() -> Workshop:
    """A fresh workshop."""
    return Workshop()


@pytest.fixture
async def stage(store: Store, scope: Scope, workshop: Workshop) -> Stage:
    """A gateway to the workshop, and a caller who may use it."""
    routes = (
        Route(method="POST", path="/orders", handler=workshop.make, summary="Make", permission="making:write",
              body=Order, response=Made, status=201),
        Route(method="POST", path="/secrets", handler=workshop.key, summary="Make", permission="making:write",
              response=Made, status=201, shown_once=True),
        Route(method="GET", path="/crash", handler=workshop.crash, summary="Crash", permission=None),
        Route(method="GET", path="/orders/{order_id}", handler=workshop.show, summary="Show", permission="making:read"),
        Route(method="PATCH", path="/orders/{order_id}", handler=workshop.change, summary="Change",
              permission="making:write", body=Order, response=Made, if_match=True),
        Route(method="GET", path="/stream", handler=workshop.stream, summary="Stream", permission=None,
              media="text/event-stream"),
        Route(method="GET", path="/broken", handler=workshop.break_off, summary="Break", permission=None,
              media="text/event-stream"),
    )  # fmt: skip
    ticks = iter(range(0, 10**9, 1000))
    made = stage_of(routes, store=store, clock=FrozenClock(NOW), ticks=lambda: next(ticks))
    async with store.database.transaction(scope) as tx:
        wish = KeyWish(name="Tester", roles=("making.editor",))
        _, text = await create_key(tx, wish, domains=DOMAINS, giver=None)
    made.key = text.text
    return made


@pytest.fixture
def log() -> Iterator[list[structlog.typing.EventDict]]:
    """What was logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines


async def order(stage: Stage, key: str = "k1", name: str = "One") -> tuple[int, dict[str, object], bool]:
    answer = await stage.call("POST", "/orders", {"name": name}, headers={"idempotency-key": key})
    return answer.status, {**answer.json}, "idempotency-replayed" in answer.headers


async def test_an_unexpected_error_shows_and_logs_nothing_of_its_message(
    stage: Stage, log: list[structlog.typing.EventDict]
) -> None:
    answer = await stage.call("GET", "/crash")
    assert answer.status == 500
    assert SECRET.encode() not in answer.body
    assert answer.json["code"] == "internal"
    assert log[0]["request_id"] == answer.headers["x-request-id"] == answer.json["request_id"]
    assert log[0]["error"] == "RuntimeError"
    assert SECRET not in str(log)


async def test_a_stream_ends_when_its_caller_goes_away(stage: Stage, workshop: Workshop) -> None:
    async with asyncio.timeout(10):
        answer = await stage.call("GET", "/stream", gone_after=5)
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    assert answer.body.startswith(b"data: 1\n\n")
    assert workshop.closed.is_set()


async def test_a_stream_that_breaks_is_logged_without_its_message(
    stage: Stage, log: list[structlog.typing.EventDict]
) -> None:
    answer = await stage.call("GET", "/broken")
    assert answer.body == b"one"
    assert log[0]["error"] == "RuntimeError"
    assert SECRET not in str(log)


async def test_a_version_that_the_caller_has_is_not_sent_again(stage: Stage) -> None:
    answer = await stage.call("GET", "/orders/1")
    assert (answer.status, answer.headers["etag"]) == (200, '"7"')
    again = await stage.call("GET", "/orders/1", headers={"if-none-match": 'W/"6", W/"7"'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", '"7"')
    other = await stage.call("GET", "/orders/1", headers={"if-none-match": '"6"'})
    assert other.status == 200


@pytest.mark.parametrize(("tag", "status"), [(None, 428), ('"6"', 412), ('"6", "7"', 200), ("*", 200), ('"7"', 200)])
async def test_a_change_names_the_version_it_was_made_from(stage: Stage, tag: str | None, status: int) -> None:
    headers = {"if-match": tag} if tag else {}
    assert (await stage.call("PATCH", "/orders/1", {"name": "A"}, headers=headers)).status == status


async def test_a_repeated_call_is_answered_again_and_made_once(stage: Stage, workshop: Workshop) -> None:
    status, body, replayed = await order(stage)
    assert (status, replayed) == (201, False)
    assert await order(stage) == (201, body, True)
    assert len(workshop.made) == 1


async def test_the_key_of_another_content_is_refused(stage: Stage) -> None:
    await order(stage, name="One")
    status, body, _ = await order(stage, name="Two")
    assert (status, body["code"]) == (422, "idempotency-key-reused")


async def test_a_call_that_is_being_answered_is_not_begun_again(stage: Stage, workshop: Workshop) -> None:
    workshop.gate.clear()
    first = asyncio.create_task(order(stage))
    await workshop.began.wait()
    status, body, _ = await order(stage)
    assert (status, body["code"]) == (409, "idempotency-key-in-flight")
    workshop.gate.set()
    assert (await first)[0] == 201


async def test_of_many_at_once_one_is_made(stage: Stage, workshop: Workshop) -> None:
    answers = await asyncio.gather(*(order(stage) for _ in range(20)))
    assert len(workshop.made) == 1
    assert {status for status, _, _ in answers} <= {201, 409}


async def test_a_killed_call_is_taken_over_under_the_same_id_after_its_lease(stage: Stage, workshop: Workshop) -> None:
    workshop.gate.clear()
    killed = asyncio.create_task(order(stage))
    await workshop.began.wait()
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    workshop.gate.set()
    assert (await order(stage))[0] == 409
    stage.move(seconds=int(LEASE.total_seconds()) + 1)
    status, body, _ = await order(stage)
    assert status == 201
    assert str(workshop.made[0]) == body["once"]


async def test_a_refused_call_may_be_repeated_at_once_under_the_same_id(stage: Stage, workshop: Workshop) -> None:
    workshop.failures = 1
    assert (await order(stage))[0] == 409
    assert (await order(stage))[0] == 201
    assert workshop.made[0] == workshop.made[1]


async def test_an_answer_is_kept_for_a_day_and_sealed(stage: Stage, store: Store, scope: Scope) -> None:
    await order(stage, name=SECRET)
    async with store.database.transaction(scope) as tx:
        row = await (await tx.connection.execute("select answer, fingerprint from idempotency")).fetchone()
    assert row is not None
    assert b"number" not in bytes(row[0])
    stage.move(seconds=int(KEPT.total_seconds()))
    assert (await order(stage, name="Another"))[2] is False


async def test_calls_without_a_key_are_made_each_time(stage: Stage, workshop: Workshop) -> None:
    for _ in range(2):
        assert (await stage.call("POST", "/orders", {"name": "One"})).status == 201
    assert workshop.made[0] != workshop.made[1]


async def test_a_secret_is_shown_once_even_to_a_repeated_call(stage: Stage) -> None:
    headers = {"idempotency-key": "k1"}
    assert (await stage.call("POST", "/secrets", headers=headers)).status == 201
    again = await stage.call("POST", "/secrets", headers=headers)
    assert (again.status, again.json["code"]) == (409, "answer-shown-once")


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256])
async def test_a_key_that_is_no_key_is_malformed(stage: Stage, key: str) -> None:
    assert (await order(stage, key=key))[0] == 400


async def test_a_server_that_starts_and_stops_is_answered_and_websockets_are_closed(stage: Stage) -> None:
    coming: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await stage.gateway({"type": "lifespan"}, receive, send)
    assert [each["type"] for each in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    await stage.gateway({"type": "websocket"}, receive, send)
    assert sent[2:] == [{"type": "websocket.close", "code": 1008}]
