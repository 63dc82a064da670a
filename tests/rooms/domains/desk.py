"""Calls of the whole gateway within the test's own program, at a moment that the test chooses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import cast

import msgspec

from isthmus.analytics import Catalog, Ledgers
from isthmus.app import discovery
from isthmus.app.http.assembly import all_routes, build
from isthmus.app.workflows import stepper
from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway import Services
from isthmus.gateway.asgi import Gateway
from isthmus.gateway.request import Message
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.store.observation import Link, Observation
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Interval, Store, put
from isthmus.sync.runs import Engine


@dataclass(frozen=True)
class Answer:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> dict[str, Json]:
        """The body as a JSON object."""
        return cast("dict[str, Json]", json.loads(self.body))

    @property
    def faults(self) -> dict[str, str]:
        """Pointer and code of each fault of a problem."""
        found = cast("list[dict[str, str]]", self.json["errors"])
        return {each["pointer"]: each["code"] for each in found}

    def at(self, path: str) -> Json:
        """The value at a path such as `lead.pipeline.0.state`."""
        value: object = self.json
        for step in path.split("."):
            value = (
                cast("list[object]", value)[int(step)] if step.isdecimal() else cast("dict[str, object]", value)[step]
            )
        return cast("Json", value)

    def rows(self, path: str) -> list[dict[str, Json]]:
        """The list of objects at a path."""
        return cast("list[dict[str, Json]]", self.at(path))


@dataclass
class Desk:
    """Somebody who calls, with a key of some roles."""

    store: Store
    scope: Scope
    clock: FrozenClock
    services: Services
    gateway: Gateway
    keys: dict[tuple[str, ...], str] = field(default_factory=dict[tuple[str, ...], str])

    @classmethod
    def of(cls, store: Store, scope: Scope, *, connectors: Mapping[str, Connector] | None = None) -> "Desk":
        """Open a gateway over a store; its clock stands at the scope's moment."""
        clock = FrozenClock(scope.now)
        chosen = connectors if connectors is not None else discovery.connectors()
        engine = Engine(store=store, clock=clock, chance=Random(1), connectors=chosen)
        others = {Store: store, Engine: engine, Catalog: discovery.catalog(), Ledgers: discovery.ledgers()}
        services = Services(schema=store.schema, database=store.database, vault=store.vault, clock=clock, others=others)
        return cls(store, scope, clock, services, build(services, all_routes(store.schema)))

    @property
    def now(self) -> Scope:
        """The scope at the moment at which the clock stands."""
        return Scope(
            workspace=self.scope.workspace, actor=self.scope.actor, cause=self.scope.cause, now=self.clock.now()
        )

    def later(self, **by: float) -> None:
        """Move the clock on."""
        self.clock.move(timedelta(**by))

    async def key(self, roles: tuple[str, ...]) -> str:
        """Return the text of a key with these roles."""
        if roles not in self.keys:
            domains = sorted({each.domain for each in self.store.schema})
            async with self.store.database.transaction(self.scope) as tx:
                _, text = await create_key(tx, KeyWish(name="Test", roles=roles), domains=domains, giver=None)
            self.keys[roles] = text.text
        return self.keys[roles]

    async def call(
        self,
        method: str,
        path: str,
        body: Json | bytes = None,
        *,
        roles: tuple[str, ...] = ("owner",),
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; what is not bytes goes as JSON."""
        given = {"authorization": f"Bearer {await self.key(roles)}", "content-type": "application/json"}
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await ask(self.gateway, method, path, content, headers={**given, **(headers or {})})

    async def get(self, path: str, *, roles: tuple[str, ...] = ("owner",)) -> Answer:
        """Send a GET."""
        return await self.call("GET", path, roles=roles)

    async def post(self, path: str, body: Json | bytes = None, *, roles: tuple[str, ...] = ("owner",)) -> Answer:
        """Send a POST with JSON."""
        return await self.call("POST", path, body, roles=roles)

    async def put(self, *observations: Observation) -> list[str]:
        """Put what a system says, and return the ids in their outside form."""
        await put(self.store, self.now, observations, interval=Interval(since=None, until=self.clock.now()))
        return [await self.id_of(each.type, each.external_id, system=each.system) for each in observations]

    async def steps(self) -> int:
        """Let workflows do all that is due, also what workers that are gone began; returns how many jobs that were."""
        worker = stepper(self.services.of(Engine), self.clock, only=frozenset({self.scope.workspace}))
        await worker.mend()
        await worker.drain()
        return worker.done

    async def id_of(self, type_name: str, external_id: str, *, system: str = "crm") -> str:
        """Return the id, in its outside form, of what a system calls so."""
        query = "select record_id from ref where type = %s and system = %s and external_id = %s"
        async with self.store.database.transaction(self.now) as tx:
            row = await (await tx.connection.execute(query, (type_name, system, external_id))).fetchone()
        assert row is not None, (type_name, external_id)
        return text_of(self.store.schema[type_name].prefix, row[0])

    async def set(self, section: str, settings: Json) -> None:
        """Set a section of the workspace's settings."""
        query = "update workspace set settings = settings || %s where id = current_workspace()"
        async with self.store.database.transaction(self.scope) as tx:
            await tx.connection.execute(query, (msgspec.json.encode({section: settings}).decode(),))


def said(type_name: str, external_id: str, /, **fields: Json) -> Observation:
    """What the CRM says; a field that ends in `_id` is a link by the other's external id."""
    target = {name for name in fields if name.endswith("_id") and name != "owner_id"}
    links = {name: Link(external_id=str(fields[name])) for name in target}
    own = {name: value for name, value in fields.items() if name not in target}
    return Observation(type=type_name, system="crm", external_id=external_id, fields=own, links=links)


async def ask(gateway: Gateway, method: str, path: str, content: bytes, *, headers: Mapping[str, str]) -> Answer:
    """Send one ASGI request and return the answer."""
    target, _, query = path.partition("?")
    scope: Message = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Message] = []
    waiting: Sequence[Message] = [{"type": "http.request", "body": content, "more_body": False}]
    left = list(waiting)

    async def receive() -> Message:
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await gateway(scope, receive, send)
    start = next(each for each in sent if each["type"] == "http.response.start")
    body = b"".join(cast("bytes", each.get("body", b"")) for each in sent if each["type"] == "http.response.body")
    shown = cast("list[tuple[bytes, bytes]]", start["headers"])
    names = {name.decode().lower(): value.decode() for name, value in shown}
    return Answer(cast("int", start["status"]), names, body)
