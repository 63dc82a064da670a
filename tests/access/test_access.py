"""The access table names every route, and every route lets in exactly whom the table names."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from isthmus.app.discovery import schema
from isthmus.app.http.assembly import all_routes, build
from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway import Call, Response, Services
from isthmus.gateway.asgi import Gateway
from isthmus.gateway.request import Message
from isthmus.gateway.router import parameters
from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.access.table import DOMAINS, EVERYBODY, ROLES, name_of, read, table
from tests.conftest import NOW

REACHED = 299
LET_IN = frozenset({REACHED, 400, 415, 422, 428})
"""What a caller who was let in is answered here: the handler's place, or a refusal of the empty request."""


async def reached(_: Call) -> Response:
    """Stand where a handler stands, and do nothing."""
    return Response(body=b"", status=REACHED)


async def status_of(gateway: Gateway, method: str, path: str, key: str | None) -> int:
    """Return the status that a caller with this key is answered."""
    statuses: list[int] = []
    headers = [(b"host", b"isthmus.test")] + ([(b"authorization", f"Bearer {key}".encode())] if key else [])
    scope: Message = {"type": "http", "method": method, "scheme": "http", "path": path, "headers": headers}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(int(str(message["status"])))

    await gateway(scope, receive, send)
    return statuses[0]


@pytest.fixture
async def keys(store: Store, scope: Scope) -> Mapping[str, str]:
    """A key of each role."""
    made: dict[str, str] = {}
    async with store.database.transaction(scope) as tx:
        for role in ROLES:
            _, text = await create_key(tx, KeyWish(name=role, roles=(role,)), domains=DOMAINS, giver=None)
            made[role] = text.text
    return made


def test_the_table_names_every_route_as_it_is_declared() -> None:
    assert read() == table(all_routes(schema())), "run: python -m tests.access.table, and read what changed"


async def test_every_route_lets_in_whom_the_table_names_and_nobody_else(store: Store, keys: Mapping[str, str]) -> None:
    # What proves a sender lies in what it sends, as a signature does: the handlers' own tests look at both.
    routes = [replace(route, handler=reached, sender=None, media="text/plain") for route in all_routes(store.schema)]
    services = Services(schema=store.schema, database=store.database, vault=store.vault, clock=FrozenClock(NOW))
    gateway = build(services, routes)
    expected, wrong = read(), list[str]()
    for route in routes:
        path = route.path
        for name in parameters(path):
            path = path.replace(f"{{{name}}}", "x")
        named = expected[name_of(route)]
        stranger = await status_of(gateway, route.method, path, None)
        if (stranger in LET_IN) != (EVERYBODY in named) or (EVERYBODY not in named and stranger != 401):
            wrong.append(f"nobody {name_of(route)}: {stranger}")
        for role in ROLES if EVERYBODY not in named else ():
            status = await status_of(gateway, route.method, path, keys[role])
            if (status in LET_IN) != (role in named) or (role not in named and status != 403):
                wrong.append(f"{role} {name_of(route)}: {status}")
    assert wrong == []


def test_nobody_but_the_named_few_is_let_in_without_a_credential() -> None:
    opened = {name for name, roles in read().items() if roles == [EVERYBODY]}
    outside_the_interface = {name for name in opened if " /api/" not in name}
    assert opened == outside_the_interface
