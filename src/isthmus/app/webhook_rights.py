"""The rights of those who chose what webhooks are told, asked again when roles, keys or policies change.

They are asked once for each number under which roles, keys and policies of a workspace stand (`gate_epochs`), and every
minute, because keys end and policies look at the hour.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import LiteralString

import psycopg

from isthmus.app.discovery import domain_names, schema
from isthmus.app.program import Program
from isthmus.app.topics import topics
from isthmus.auth.makers import principal_now
from isthmus.auth.principal import Principal
from isthmus.gateway.policy.book import Book
from isthmus.gateway.policy.reading import hindrance
from isthmus.gateway.policy.rows import KeptPolicy, list_policies, read_kept
from isthmus.gateway.policy.vocabulary import Vocabulary
from isthmus.kernel.errors import Invalid, Unavailable
from isthmus.store.database import Scope, Transaction
from isthmus.stream.topics import Topics
from isthmus.stream.webhooks.endpoints import endpoints
from isthmus.stream.webhooks.rights import Rights, hold_to_rights

LOOK_S, EVERY = 0.25, timedelta(minutes=1)
_EPOCHS: LiteralString = """
select w.id, coalesce(g.epoch, 0) from workspace w left join gate_epochs() g on g.workspace = w.id order by w.id
"""


async def keep_rights(program: Program) -> None:
    """Ask again in workspaces in which roles, keys or policies changed, and in all now and then, until cancelled."""
    seen: dict[int, int] = {}
    asked = datetime.min.replace(tzinfo=UTC)
    while True:
        now = program.clock.now()
        try:
            async with program.database.plain() as connection:
                rows = await (await connection.execute(_EPOCHS)).fetchall()
            everywhere = now - asked >= EVERY
            for workspace, epoch in rows:
                if everywhere or seen.get(workspace) != epoch:
                    scope = Scope(workspace=workspace, actor="system:webhooks", cause="rights", now=now)
                    async with program.database.transaction(scope) as tx:
                        await ask_again(tx, topics())
                    seen[workspace] = epoch
            asked = now if everywhere else asked
        except (Unavailable, psycopg.OperationalError, psycopg.InterfaceError):
            pass
        await asyncio.sleep(LOOK_S)


async def ask_again(tx: Transaction, catalogue: Topics) -> int:
    """Ask what those who answer for endpoints may read now, and hold the endpoints to it; returns how many changed."""
    actors = sorted({each.answerable for each in await endpoints(tx)})
    policies = await list_policies(tx) if actors else []
    rights = {each: await _rights(tx, catalogue, each, policies) for each in actors}
    return await hold_to_rights(tx, catalogue, rights)


async def _rights(tx: Transaction, catalogue: Topics, actor: str, policies: Sequence[KeptPolicy]) -> Rights | None:
    """Return what an actor may read now; None for one that is held to nothing."""
    principal = await principal_now(tx, actor, domains=domain_names())
    if principal is None:
        return None
    areas = frozenset(each.area for each in catalogue.types.values() if principal.may(f"{each.area}:read"))
    return Rights(areas=areas, closed=_closed(principal, policies, now=tx.scope.now) if policies else {})


def _closed(principal: Principal, policies: Sequence[KeptPolicy], *, now: datetime) -> dict[str, str]:
    """Return the types of records of which policies let somebody not read all, each with the reason."""
    try:
        book = Book.of([read_kept(each) for each in policies], vocabulary())
    except Invalid:
        return dict.fromkeys(schema().types, "A policy cannot be read any more.")
    found = {each.name: hindrance(book, principal, each, now=now) for each in schema()}
    return {name: f"The policy {each.name} says: {each.reason}" for name, each in found.items() if each is not None}


@cache
def vocabulary() -> Vocabulary:
    """Return the routes and record types of this program, as policies speak of them."""
    from isthmus.app.http.assembly import all_routes

    return Vocabulary(all_routes(schema()), schema().types)
