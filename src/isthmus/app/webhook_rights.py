"""The rights of those who chose what webhooks are told, asked again when roles or keys change, and every minute."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg

from isthmus.app.discovery import domain_names
from isthmus.app.program import Program
from isthmus.app.topics import topics
from isthmus.auth.makers import permissions_now
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Scope, Transaction
from isthmus.stream.topics import Topics
from isthmus.stream.webhooks.endpoints import endpoints
from isthmus.stream.webhooks.rights import hold_to_rights

LOOK_S, EVERY = 1.0, timedelta(minutes=1)
_EPOCHS: LiteralString = """
select w.id, coalesce(g.epoch, 0) from workspace w left join gate_epochs() g on g.workspace = w.id order by w.id
"""


async def keep_rights(program: Program) -> None:
    """Ask again in workspaces in which roles or keys changed, and in all now and then, until cancelled."""
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
    areas = frozenset(each.area for each in catalogue.types.values())
    readable: dict[str, frozenset[str] | None] = {}
    for actor in sorted({each.answerable for each in await endpoints(tx)}):
        allowed = await permissions_now(tx, actor, domains=domain_names())
        readable[actor] = None if allowed is None else frozenset(each for each in areas if f"{each}:read" in allowed)
    return await hold_to_rights(tx, catalogue, readable)
