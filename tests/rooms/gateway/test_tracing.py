"""Refused calls and reads of personal fields stand in the audit log, the latter before they are answered."""

import asyncio

import pytest

from isthmus.audit.entry import Entry
from isthmus.audit.grammar import parse
from isthmus.audit.queue import AuditQueue
from isthmus.audit.search import search
from isthmus.auth.credentials import Credentials
from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway import Call, Response, Route
from isthmus.gateway.asgi import Gateway, Parts
from isthmus.gateway.decide import Asked, Chain
from isthmus.gateway.metrics import RouteLabel, Traffic
from isthmus.gateway.routes import Services
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.errors import Limited
from isthmus.store.database import Database, Scope
from isthmus.sync.ingest import Store
from tests.conftest import NOW
from tests.rooms.gateway.stage import DOMAINS, Stage


async def read(call: Call) -> Response:
    """Show personal fields to who may see them."""
    return Response(body=b"ada" if call.may("making:read_personal") else b"masked")


class Full:
    """A stage whose limit is used up for one path."""

    def admit(self, asked: Asked) -> None:
        asked.reasons.append("limit:tier")
        if asked.path == "/full":
            raise Limited("Too many.", fix="Wait.")

    def ended(self, asked: Asked, *, status: int, micros: int) -> None:
        del asked, status, micros

    def refuses(self, asked: Asked) -> bool:
        del asked
        return False

    def standing_for(self, asked: Asked) -> None:
        del asked


ROUTES = [
    Route(method="GET", path="/things/{thing_id}", handler=read, summary="", permission="making:read"),
    Route(method="GET", path="/shared", handler=read, summary="", permission="making:read", narrows=True, shared=True),
    Route(method="GET", path="/full", handler=read, summary="", permission="making:read"),
]


class Looking:
    """A gateway with a queue that the test can see."""

    def __init__(self, store: Store, database: Database) -> None:
        """`database` is where the queue writes."""
        services = Services(schema=store.schema, database=store.database, vault=store.vault, clock=FrozenClock(NOW))
        self.trail = AuditQueue(database)
        parts = Parts(
            services=services,
            chain=Chain(proof=Credentials(store.database, domains=DOMAINS, vault=store.vault), stages=(Full(),)),
            traffic=Traffic([RouteLabel(each.method, each.path) for each in ROUTES]),
            ticks=lambda: 0,
            trail=self.trail,
        )
        self.stage = Stage(Gateway(ROUTES, parts), FrozenClock(NOW))
        self.store = store

    async def key(self, scope: Scope, *roles: str) -> None:
        """Call with a key of these roles from now on."""
        async with self.store.database.transaction(scope) as tx:
            _, text = await create_key(tx, KeyWish(name="Test", roles=roles), domains=DOMAINS, giver=None)
        self.stage.key = text.text

    async def entries(self, scope: Scope, query: str) -> list[Entry]:
        """Return what stands in the log."""
        async with self.store.database.transaction(scope) as tx:
            return list(await search(tx, parse(query, now=NOW), before=None, limit=50))


@pytest.fixture
def looking(store: Store) -> Looking:
    return Looking(store, store.database)


async def test_a_read_of_personal_fields_is_in_the_log_when_it_is_answered(looking: Looking, scope: Scope) -> None:
    await looking.key(scope, "editor")
    headers = {"isthmus-purpose": "support case", "x-request-id": "seen"}
    answer = await looking.stage.call("GET", "/things/thing_1", headers=headers)
    assert answer.body == b"ada"
    (entry,) = await looking.entries(scope, "action:personal.read")
    assert (entry.resource, entry.request_id, entry.purpose) == ("/things/{thing_id}", "seen", "support case")
    assert entry.network == "192.0.2.0/24"
    assert entry.decision == {"status": 200, "reasons": ["limit:tier"]}
    assert entry.details == {"method": "GET", "opened_by": ["making:read_personal"], "path": {"thing_id": "thing_1"}}
    assert [each.id for each in await looking.entries(scope, "policy:limit:* status:200")] == [entry.id]


async def test_what_was_masked_is_no_read_of_personal_fields(looking: Looking, scope: Scope) -> None:
    await looking.key(scope, "viewer")
    assert (await looking.stage.call("GET", "/things/thing_1")).body == b"masked"
    assert await looking.entries(scope, "action:personal.read") == []


async def test_what_cannot_be_traced_is_not_answered(store: Store, scope: Scope) -> None:
    looking = Looking(store, Database("host=/nowhere dbname=x", connections_max=1))
    await looking.key(scope, "editor")
    answer = await looking.stage.call("GET", "/things/thing_1")
    assert (answer.status, answer.json["code"]) == (503, "trace-refused")
    assert b"ada" not in answer.body
    await looking.key(scope, "viewer")
    assert (await looking.stage.call("GET", "/things/thing_1")).status == 200


async def test_refused_calls_are_written_without_being_waited_for(looking: Looking, scope: Scope) -> None:
    await looking.key(scope, "auditor")
    assert (await looking.stage.call("GET", "/things/thing_1", headers={"x-request-id": "one"})).status == 403
    assert (await looking.stage.call("GET", "/things/thing_2", headers={"x-request-id": "two"})).status == 403
    assert looking.trail.depth == 1
    await looking.key(scope, "viewer")
    assert (await looking.stage.call("GET", "/full")).status == 429
    looking.stage.key = ""
    assert (await looking.stage.call("GET", "/full", headers={"x-request-id": f"w{scope.workspace}"})).status == 401
    await looking.trail.close()
    found = {each.decision["status"]: each for each in await looking.entries(scope, "decision:denied") if each.decision}
    assert set(found) == {403, 429}
    assert found[403].details == {"method": "GET", "permission": "making:read", "code": "grant-missing", "count": 2}
    assert found[429].decision == {"status": 429, "reasons": ["limit:tier"]}
    stranger = Scope(workspace=0, actor="", cause="", now=NOW)
    (unknown,) = await looking.entries(stranger, f"request:w{scope.workspace}")
    assert (unknown.actor, unknown.network) == ("nobody", "192.0.2.0/24")


async def test_reads_at_once_share_their_writes_and_none_is_answered_untraced(looking: Looking, scope: Scope) -> None:
    await looking.key(scope, "editor")
    calls = [looking.stage.call("GET", f"/things/thing_{n}", headers={"x-request-id": f"r{n}"}) for n in range(30)]
    assert {each.status for each in await asyncio.gather(*calls)} == {200}
    assert {each.request_id for each in await looking.entries(scope, "action:personal.read")} == {
        f"r{n}" for n in range(30)
    }


async def test_an_answer_that_many_share_is_traced_for_each_and_shared_by_those_alone_who_see_alike(
    looking: Looking, scope: Scope
) -> None:
    await looking.key(scope, "viewer")
    masked = [looking.stage.call("GET", "/shared") for _ in range(5)]
    begun = [asyncio.create_task(each) for each in masked]
    await asyncio.sleep(0)
    await looking.key(scope, "editor")
    seen = [looking.stage.call("GET", "/shared", headers={"x-request-id": f"s{n}"}) for n in range(10)]
    assert {each.body for each in await asyncio.gather(*seen)} == {b"ada"}
    assert {each.body for each in await asyncio.gather(*begun)} == {b"masked"}
    assert {each.request_id for each in await looking.entries(scope, "action:personal.read")} == {
        f"s{n}" for n in range(10)
    }
