"""Writing records anew from their claims, after claims or references were moved between records."""

import asyncio
from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from isthmus.kernel.marks import RecordType
from isthmus.store.cases import CaseChange, write_cases
from isthmus.store.database import Transaction
from isthmus.store.fold import fold, open_cases
from isthmus.store.folding import Folded, record_parts, seal_parts
from isthmus.store.prepare import Preparer
from isthmus.store.put import lock_statement, run_staged
from isthmus.store.staging import Staged, rewrite_statement
from isthmus.store.trail import claims_of
from isthmus.vault import Vault

_CONTESTED: LiteralString = """
select record_id, field from inbox_case
where workspace = current_workspace() and record_id = any(%s) and status = 'open'
"""


async def refold(
    tx: Transaction, vault: Vault, record_type: RecordType, preparer: Preparer, records: Sequence[UUID]
) -> None:
    """Fold the trails of these records and write what comes out, with events, audit rows and cases.

    A record that has claims and no row gets one; a record that has no claims left is marked deleted.
    """
    ids = sorted(records)
    cursor = await tx.connection.execute(lock_statement(record_type, shown="id"), (ids,))
    existing = {row[0] for row in await cursor.fetchall()}
    cursor = await tx.connection.execute(_CONTESTED, (ids,))
    contested: dict[UUID, set[str]] = {record: set() for record in ids}
    for record, name in await cursor.fetchall():
        contested[record].add(name)
    trails = await claims_of(tx, vault, ids)
    folded = Folded()
    for record in ids:
        state = fold(record_type, trails[record])
        open_json, personal, indexes = record_parts(preparer, state.values())
        hlc, system, external_id = state.last
        staged = Staged(
            record_id=record,
            system=system,
            external_id=external_id,
            hlc=hlc,
            digest=b"",
            said=open_json,
            said_sealed=None,
            fresh=record not in existing,
            gone=state.deleted or not trails[record],
            changed=",".join(sorted(state.values())),
            indexes=indexes,
        )
        folded.staged.append(staged)
        folded.seal(staged, "said_sealed", record, personal)
        folded.cases.append(CaseChange(record, before=contested[record], after=open_cases(state), state=state))
    await asyncio.to_thread(seal_parts, vault, tx.scope.workspace, folded)
    await run_staged(tx, folded.staged, rewrite_statement(record_type))
    await write_cases(tx, record_type, folded.cases)
