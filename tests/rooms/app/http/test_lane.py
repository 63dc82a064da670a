"""Requests that are known to the byte are answered like all others, and nothing else is answered in their place."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import pytest

from isthmus.app.engines import Engines
from isthmus.app.http import listening
from isthmus.app.http.assembly import build
from isthmus.app.limiting import opened_authority
from isthmus.auth.keys import revoke_key
from isthmus.auth.keytext import KEY_PREFIX, read_key_text
from isthmus.gateway import Call, Response, Route, Services
from isthmus.gateway.asgi import Gateway
from isthmus.gateway.limit_rules import LimitRule, write_limits
from isthmus.gateway.limits import Limits
from isthmus.gateway.metrics import Traffic
from isthmus.gateway.monitoring.minutes import Minutes
from isthmus.gateway.routes import Handler
from isthmus.gateway.threats.watch import Threats
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.ids import text_of
from isthmus.store.database import Scope
from isthmus.stream.limits import Leases
from isthmus.stream.limits.ledger import Ledger
from isthmus.stream.limits.tally import Tally
from isthmus.sync.ingest import Store
from tests.conftest import NOW
from tests.rooms.app.http.inside import key
from tests.rooms.app.http.wire import Served, request, served

_DENIED: LiteralString = """
select coalesce((details ->> 'count')::int, 1) from audit
where workspace = current_workspace() and action = 'call.denied'
"""
PEER, LINES = "127.0.0.1", b"date: Mon, 02 Nov 2026 09:30:00 GMT\r\n"
BIG = 60_000


@dataclass
class Handlers:
    """What answers."""

    bodies: list[bytes] = field(default_factory=list[bytes])

    async def show(self, call: Call) -> Response:
        return Response(body=call.path["name"].encode())

    async def big(self, _: Call) -> Response:
        return Response(body=b"x" * BIG)

    async def take(self, call: Call) -> Response:
        self.bodies.append(call.raw)
        return Response(body=b"taken")

    @property
    def routes(self) -> list[Route]:
        """The routes to them."""
        return [
            _held("/show/{name}", self.show),
            _held("/big", self.big),
            Route(method="POST", path="/take", handler=self.take, permission=None, accepts="raw", summary=""),
        ]


def _held(path: str, handler: Handler) -> Route:
    return Route(
        method="GET", path=path, handler=handler, permission="sales:read", held_s=60.0, narrows=True, summary=""
    )


@dataclass
class Lanes:
    """A served gateway with a caller who may look."""

    gateway: Gateway
    at: Served
    limits: Limits
    clock: FrozenClock
    handlers: Handlers
    key: str
    other: str
    stranger: str

    def hot(self, raw: bytes, *, peer: str = PEER, secure: bool = False) -> bytes | None:
        """Return what is answered at once."""
        return self.gateway.answer_at_once(raw, peer, secure=secure, lines=LINES)


@pytest.fixture
async def lanes(engines: Engines, store: Store, scope: Scope, tmp_path: Path) -> AsyncIterator[Lanes]:
    """All stages on a clock that stands still, behind a listener."""
    clock, handlers = FrozenClock(NOW), Handlers()
    async with opened_authority(engines.valkey, store.database) as authority:
        loop = asyncio.get_running_loop()
        leases = Leases(authority, node=str(uuid4()), ticks=loop.time)
        ledger = Ledger(store.database, Tally(tmp_path / "use", holder=uuid4(), parts=4), clock)
        limits = Limits(store.database, leases, ledger, clock=clock, ticks=loop.time)
        others: dict[type, object] = {Store: store, Limits: limits}
        services = Services(schema=store.schema, database=store.database, vault=store.vault, clock=clock, others=others)
        gateway = build(services, handlers.routes)
        keys = [
            await key(store, scope, *roles) for roles in (("sales.viewer",), ("sales.viewer",), ("success.viewer",))
        ]
        async with served(gateway) as at:
            yield Lanes(gateway, at, limits, clock, handlers, *keys)
        await limits.close()


async def test_a_request_that_came_before_is_answered_at_once_and_alike(lanes: Lanes) -> None:
    raw = request("/show/a", lanes.key)
    assert lanes.hot(raw) is None
    async with lanes.at.wire() as wire:
        heard = [await wire.ask(raw) for _ in range(4)]
    assert lanes.hot(raw)
    assert [(each.status, each.body) for each in heard] == [(200, b"a")] * 4
    assert len({each.same for each in heard}) == 1
    assert len({each.headers["x-request-id"] for each in heard}) == 4
    assert [each.headers["ratelimit"].partition(";")[0] for each in heard] == ['"caller"'] * 4


async def test_refusals_that_came_before_are_refused_at_once_and_alike(
    lanes: Lanes, store: Store, scope: Scope
) -> None:
    async with store.database.transaction(scope) as tx:
        slow = LimitRule(name="slow", scope="caller", subject=key_name(lanes.other), count=1, seconds=3600, burst=1)
        await write_limits(tx, tier=None, rules=[slow])
    unknown = request("/show/a", f"{lanes.key[:-1]}-")
    asked = {401: unknown, 403: request("/show/a", lanes.stranger), 429: request("/show/a", lanes.other)}
    async with lanes.at.wire() as wire:
        assert (await wire.ask(asked[429])).status == 200
        for status, raw in asked.items():
            heard = [await wire.ask(raw) for _ in range(4)]
            assert [each.status for each in heard] == [status] * 4
            assert len({each.same for each in heard}) == 1
            assert [each.json["request_id"] for each in heard] == [each.headers["x-request-id"] for each in heard]
            assert len({each.headers["x-request-id"] for each in heard}) == 4
            assert lanes.hot(raw)


async def test_nothing_else_is_answered_in_its_place(lanes: Lanes) -> None:
    raw = request("/show/a", lanes.key)
    async with lanes.at.wire() as wire:
        await wire.ask(raw)
    assert lanes.hot(raw)
    assert lanes.hot(raw, peer="192.0.2.9") is None
    assert lanes.hot(raw, secure=True) is None
    others = [raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] for at in range(len(raw))]
    others += [raw[:-1], raw + b"\r\n", raw + raw, raw[4:], b"", raw.replace(b"GET", b"HEAD")]
    assert [each for each in others if lanes.hot(each) is not None] == []


@pytest.mark.parametrize(
    "line",
    ["X-Request-Id: mine", "If-None-Match: *", "Connection: close", "Content-Length: 0", "Cookie: a=b", "Expect: 1"],
)
async def test_what_belongs_to_one_call_or_connection_is_read_each_time(lanes: Lanes, line: str) -> None:
    raw = request("/show/a", lanes.key, line)
    async with lanes.at.wire() as wire:
        assert (await wire.ask(raw)).status == 200
    assert lanes.hot(raw) is None


async def test_a_refusal_counts_up_what_it_was_noted_as_until_that_is_written(
    lanes: Lanes, store: Store, scope: Scope
) -> None:
    raw = request("/show/a", lanes.stranger)
    async with lanes.at.wire() as wire:
        first = await wire.ask(raw)
        assert [lanes.hot(raw) is not None for _ in range(5)] == [True] * 5
        again = await wire.ask(raw)
    assert first.headers["x-request-id"] in first.body.decode()
    assert again.headers["x-request-id"] in again.body.decode()
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    await lanes.gateway.close()
    assert lanes.hot(raw)
    await lanes.gateway.close()
    async with store.database.transaction(scope) as tx:
        rows = await (await tx.connection.execute(_DENIED)).fetchall()
    assert sorted(int(row[0]) for row in rows) == [1, 7]


async def test_a_key_that_was_revoked_opens_nothing_the_next_second(lanes: Lanes, store: Store, scope: Scope) -> None:
    raw = request("/show/a", lanes.key)
    async with lanes.at.wire() as wire:
        assert [(await wire.ask(raw)).status for _ in range(3)] == [200] * 3
        async with store.database.transaction(scope) as tx:
            await revoke_key(tx, read_key_text(lanes.key).id)
        lanes.clock.move(timedelta(seconds=1))
        assert [(await wire.ask(raw)).status for _ in range(3)] == [401] * 3


async def test_calls_at_once_are_counted_like_all_others(lanes: Lanes) -> None:
    async with lanes.at.wire() as wire:
        for number in range(20):
            assert (await wire.ask(request("/show/a", lanes.key))).status == 200
            assert (await wire.ask(request("/show/a", lanes.other, f"X-Number: {number}"))).status == 200
    fast, slow = (read_key_text(each).id for each in (lanes.key, lanes.other))
    services = lanes.gateway.services
    counted = services.of(Traffic).snapshot()
    assert {each: row.calls for _, each, row in counted.keys} == {fast: 20, slow: 20}
    used = {row.subject: row.used for row in lanes.limits.tally.rows(written={})}
    assert used == {key_name(lanes.key): 20, key_name(lanes.other): 20}
    cells = {name: cell.calls for _, _, name, cell in chain(*services.of(Minutes).take().values())}
    assert (cells[key_name(lanes.key)], cells[key_name(lanes.other)], cells["all"]) == (20, 20, 40)
    lanes.clock.move(timedelta(seconds=11))
    async with lanes.at.wire() as wire:
        for each in (lanes.key, lanes.other):
            await wire.ask(request("/show/a", each))
    heard = {subject: profile.calls for _, subject, profile in services.of(Threats).dirty()}
    assert heard == {f"key:{fast}": 21, f"key:{slow}": 21}


async def test_refusals_at_once_are_noted_like_all_others(lanes: Lanes, store: Store, scope: Scope) -> None:
    async with lanes.at.wire() as wire:
        for number in range(10):
            assert (await wire.ask(request("/show/a", lanes.stranger))).status == 403
            assert (await wire.ask(request("/show/b", lanes.stranger, f"X-Number: {number}"))).status == 403
    await lanes.gateway.close()
    async with store.database.transaction(scope) as tx:
        rows = await (await tx.connection.execute(_DENIED)).fetchall()
    assert sum(int(row[0]) for row in rows) == 20
    [(_, _, row)] = lanes.gateway.services.of(Traffic).snapshot().keys
    assert row.classes == [0, 0, 0, 20, 0]


POST = b"POST /take HTTP/1.1\r\nHost: isthmus.test\r\n"
HOT = b"<hot>"
CORPUS: list[tuple[str, list[bytes], list[int]]] = [
    ("length and chunks", [POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], [400]),
    ("two lengths", [POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"], [400]),
    ("a signed length", [POST + b"Content-Length: +3\r\n\r\nabc"], [400]),
    ("bare line feeds", [b"GET /show/a HTTP/1.1\nHost: isthmus.test\n\n"], [400]),
    ("a folded line", [POST + b"X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"], [400]),
    ("a space before the colon", [POST + b"Content-Length : 3\r\n\r\nabc"], [400]),
    ("unknown coding", [POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"], [400]),
    ("a wrong size of a chunk", [POST + b"Transfer-Encoding: chunked\r\n\r\n3x\r\nabc\r\n0\r\n\r\n"], [400]),
    ("extensions", [POST + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n"], [200]),
    ("a post behind", [HOT + POST + b"Content-Length: 3\r\n\r\nabc", HOT], [200, 200, 200]),
    ("a hot one in a body", [POST + b"Content-Length: 3\r\n\r\n", b"abc" + HOT], [200, 200]),
    ("in two packets", [HOT[:3], HOT[3:]], []),
    ("two in a packet", [HOT + HOT], [200, 200]),
    ("junk behind", [HOT + b"\x00junk\r\n\r\n"], [200, 400]),
    ("lines before", [b"\r\n", HOT], [200]),
    ("a beginning before", [b"GET /nothing HTTP/1.1\r\nX-A: ", HOT], []),
    ("a null", [b"GET /show/a HTTP/1.1\r\nX-A: \x00\r\n\r\n"], [400]),
    ("no version", [b"GET /show/a\r\n\r\n"], [400]),
    ("another version", [b"GET /show/a HTTP/2.0\r\n\r\n"], [400]),
    ("a huge head", [b"GET /show/a HTTP/1.1\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n"], [431]),
    ("many headers", [b"GET /show/a HTTP/1.1\r\n" + b"X-A: b\r\n" * 200 + b"\r\n"], [431]),
]


@pytest.mark.parametrize(("packets", "wanted"), [each[1:] for each in CORPUS], ids=[each[0] for each in CORPUS])
async def test_the_ways_agree_about_what_is_a_request(lanes: Lanes, packets: list[bytes], wanted: list[int]) -> None:
    hot = request("/show/a", lanes.key)
    split = packets == [HOT[:3], HOT[3:]]
    sent = [hot[:30], hot[30:]] if split else [each.replace(HOT, hot) for each in packets]
    wanted = wanted or ([200] if split else [404])
    found: list[list[object]] = []
    for known in (False, True):
        lanes.handlers.bodies.clear()
        assert (lanes.hot(hot) is not None) is known
        async with lanes.at.wire() as wire:
            heard = await wire.some(len(wanted), *sent)
            assert [each.status for each in heard] == wanted
            assert wanted[-1] not in {400, 431} or await wire.ended()
        found.append([*(each.same for each in heard), *lanes.handlers.bodies])
        async with lanes.at.wire() as wire:
            assert (await wire.ask(hot)).status == 200
    assert found[0] == found[1]


async def test_many_requests_in_one_packet_are_answered_in_their_order(lanes: Lanes) -> None:
    async with lanes.at.wire() as wire:
        heard = await wire.some(300, b"".join(request(f"/show/{number}", lanes.key) for number in range(300)))
    assert [each.body for each in heard] == [str(number).encode() for number in range(300)]


async def test_who_sends_a_head_slowly_is_dropped(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEAD_S_MAX", 1)
    async with lanes.at.wire() as wire, lanes.at.wire() as resting:
        await resting.ask(request("/show/a", lanes.key))
        await wire.send(request("/show/a", lanes.key)[:-2])
        assert await wire.ended()
        assert (await resting.ask(request("/show/a", lanes.key))).status == 200


async def test_answers_wait_for_who_does_not_read(lanes: Lanes) -> None:
    raw, count = request("/big", lanes.key), 400
    async with lanes.at.wire() as wire:
        assert (await wire.ask(raw)).status == 200
        sending = asyncio.create_task(wire.send(*([raw] * count)))
        largest = 0
        while not sending.done():
            await asyncio.sleep(0.01)
            [lane] = lanes.at.listener.floor.connections
            largest = max(largest, lane.transport.get_write_buffer_size())
        assert 0 < largest < 10 * BIG
        assert [len(each.body) for each in await wire.some(count)] == [BIG] * count


def key_name(text: str) -> str:
    """Return the id of a key as limits name it."""
    return text_of(KEY_PREFIX, read_key_text(text).id)
