"""An entry in the log, in the transaction of what it tells of."""

from collections.abc import Mapping
from typing import LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from isthmus.store.database import Transaction

_WRITE: LiteralString = """
insert into audit (workspace, at, actor, action, resource, record_id, request_id, details)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s)
"""


async def trace(
    tx: Transaction, *, action: str, resource: str, record_id: UUID | None, details: Mapping[str, object]
) -> None:
    """Write who did what; `details` is JSON and names no person.

    On whose behalf, for what purpose, from where and by which decision is taken from the transaction's scope.
    """
    scope = tx.scope
    await tx.connection.execute(
        _WRITE, (scope.now, scope.actor, action, resource, record_id, scope.cause, Jsonb(dict(details)))
    )
