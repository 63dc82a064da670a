"""Reading the log back: pages, newest first, and whole exports."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import LiteralString, cast

from isthmus.audit.entry import Entry
from isthmus.audit.grammar import Condition
from isthmus.kernel.marks import Json
from isthmus.store.database import Database, Scope, Transaction

EXPORT_ROWS = 1_000
_SELECT: LiteralString = """
select workspace, id, at, actor, on_behalf_of, action, resource, record_id, request_id, purpose, network, digest,
       decision, details
from audit where workspace = current_workspace() and (%s::bigint is null or id < %s) and """
_ORDER: LiteralString = " order by id desc limit %s"


async def search(tx: Transaction, *conditions: Condition, before: int | None, limit: int) -> Sequence[Entry]:
    """Return entries of the transaction's workspace for which all conditions hold, newest first, below id `before`."""
    asked = conditions or (Condition(sql="true"),)
    where: LiteralString = " and ".join(["(" + each.sql + ")" for each in asked])
    values = (before, before, *(value for each in asked for value in each.values), limit)
    cursor = await tx.connection.execute(_SELECT + where + _ORDER, values)
    return [
        Entry(
            workspace=row[0],
            id=row[1],
            at=row[2],
            actor=row[3],
            on_behalf_of=row[4],
            action=row[5],
            resource=row[6],
            record_id=row[7],
            request_id=row[8],
            purpose=row[9],
            network=row[10],
            digest=None if row[11] is None else bytes(row[11]),
            decision=cast("Mapping[str, Json] | None", row[12]),
            details=cast("Mapping[str, Json] | None", row[13]),
        )
        for row in await cursor.fetchall()
    ]


async def everything(database: Database, scope: Scope, *conditions: Condition) -> AsyncIterator[Sequence[Entry]]:
    """Yield all entries in pages, newest first; each page has a transaction of its own, so that none stays open."""
    before: int | None = None
    while True:
        async with database.transaction(scope) as tx:
            page = await search(tx, *conditions, before=before, limit=EXPORT_ROWS)
        if page:
            yield page
        if len(page) < EXPORT_ROWS:
            return
        before = page[-1].id
