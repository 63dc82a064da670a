"""What could not be stored is kept, sealed, with its reason, until it is mended and tried again."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many
from isthmus.kernel.marks import RecordType
from isthmus.store.database import Transaction
from isthmus.store.observation import Observation
from isthmus.store.prepare import Reject
from isthmus.vault import Vault, entropy

_INSERT: LiteralString = """
insert into rejected (workspace, type, system, external_id, code, reason, observation, subject, at)
select current_workspace(), %s, system, external_id, code, reason, observation, subject, %s
from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::uuid[])
     as row(system, external_id, code, reason, observation, subject)
where not exists (
    select from rejected r where r.workspace = current_workspace() and r.system = row.system and r.code = row.code
       and r.external_id = row.external_id and r.reason = row.reason and r.settled_at is null
)
"""
_OPEN: LiteralString = """
select id, type, system, external_id, code, reason, observation, subject, at from rejected
where workspace = current_workspace() and settled_at is null and (%(system)s::text is null or system = %(system)s)
  and (%(code)s::text is null or code = %(code)s) and id > %(after)s
order by id limit %(limit)s
"""
_SETTLE: LiteralString = """
update rejected set settled_at = %s where workspace = current_workspace() and id = any(%s) and settled_at is null
"""


class Kept(Struct, frozen=True, kw_only=True):
    """A rejected observation with its reason; `observation` is None when its key was erased."""

    id: int
    type: str
    system: str
    external_id: str
    code: str
    reason: str
    observation: Observation | None
    at: datetime


async def keep_rejects(tx: Transaction, vault: Vault, record_type: RecordType, rejects: Sequence[Reject]) -> None:
    """Store rejects; one that is open already with the same reason is not stored twice."""
    now = tx.scope.now
    subjects = mint_many(unix_ms=milliseconds(now), count=len(rejects), entropy=entropy(len(rejects) * ENTROPY_BYTES))
    await asyncio.to_thread(vault.create, workspace=tx.scope.workspace, subjects=subjects)
    values = [(subject, msgspec.json.encode(each.observation)) for subject, each in zip(subjects, rejects, strict=True)]
    sealed = vault.seal_many(workspace=tx.scope.workspace, values=values)
    await tx.connection.execute(
        _INSERT,
        (
            record_type.name,
            now,
            [each.observation.system for each in rejects],
            [each.observation.external_id[:500] for each in rejects],
            [each.faults[0].code if each.faults else "invalid" for each in rejects],
            [each.reason for each in rejects],
            sealed,
            subjects,
        ),
    )


async def open_rejects(
    tx: Transaction,
    vault: Vault,
    *,
    system: str | None = None,
    code: str | None = None,
    after: int = 0,
    limit: int = 500,
) -> list[Kept]:
    """Return what waits to be mended, oldest first, from the row after `after`."""
    cursor = await tx.connection.execute(_OPEN, {"system": system, "code": code, "after": after, "limit": limit})
    rows = await cursor.fetchall()
    sealed: list[tuple[UUID, bytes]] = [(row[7], bytes(row[6])) for row in rows]
    opened = vault.open_many(workspace=tx.scope.workspace, values=sealed)
    return [
        Kept(
            id=row[0],
            type=row[1],
            system=row[2],
            external_id=row[3],
            code=row[4],
            reason=row[5],
            observation=msgspec.json.decode(plain, type=Observation) if plain else None,
            at=row[8],
        )
        for row, plain in zip(rows, opened, strict=True)
    ]


async def settle_rejects(tx: Transaction, ids: Sequence[int]) -> None:
    """Mark rejects as dealt with."""
    await tx.connection.execute(_SETTLE, (tx.scope.now, list(ids)))
