"""All routes called in process, over a clock that is moved by hand."""

from collections.abc import Mapping
from typing import cast
from uuid import UUID

from isthmus.app.http.assembly import all_routes, build
from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway import Services
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.access.table import DOMAINS
from tests.conftest import NOW
from tests.rooms.gateway.stage import Answered, Stage


def stage(store: Store, *, more: Mapping[type, object] | None = None) -> Stage:
    """Return a caller without a key; `more` are further services."""
    clock = FrozenClock(NOW)
    others: dict[type, object] = {Store: store, **(more or {})}
    services = Services(schema=store.schema, database=store.database, vault=store.vault, clock=clock, others=others)
    return Stage(build(services, all_routes(store.schema)), clock)


async def key(
    store: Store,
    scope: Scope,
    *roles: str,
    permissions: tuple[str, ...] = (),
    only: Mapping[str, frozenset[UUID]] | None = None,
) -> str:
    """Return the text of a new key."""
    async with store.database.transaction(scope) as tx:
        wish = KeyWish(name="Test", roles=roles, permissions=permissions, only=only or {})
        _, text = await create_key(tx, wish, domains=DOMAINS, giver=None)
    return text.text


def rows(answer: Answered, name: str = "data") -> list[dict[str, Json]]:
    """Return a list in an answer."""
    return cast("list[dict[str, Json]]", answer.json[name])


def code(answer: Answered) -> object:
    """Return the code of a refusal."""
    return answer.json["code"]
