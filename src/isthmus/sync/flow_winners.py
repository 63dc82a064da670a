"""Conflicts that a mapping decides: on its field the system is the source of record."""

from collections.abc import Mapping
from dataclasses import replace
from typing import LiteralString

from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.store.database import Scope
from isthmus.store.prepare import Rejected
from isthmus.sync.conflicts import Choice, resolve
from isthmus.sync.flows import Flow
from isthmus.sync.ingest import Store

_CASES: LiteralString = """
select id, field, kept_system = %(system)s from inbox_case
where workspace = current_workspace() and status = 'open' and not taken_back and type = %(type)s
  and field = any(%(fields)s) and (kept_system = %(system)s) <> (claimed_system = %(system)s)
order by id
"""


async def decide_by_flows(store: Store, scope: Scope, *, system: str, flows: Mapping[str, Flow]) -> int:
    """Decide open conflicts for a system where its mapping says so, each in a transaction; returns how many.

    It is an edit in the trail as if a person had decided, and is undone the same way; what was taken back stays.
    """
    decided = 0
    own = replace(scope, actor=f"mapping:{system}")
    for name, flow in flows.items():
        fields = [field for field, each in flow.fields.items() if each.winner == "source_of_record"]
        if not fields:
            continue
        async with store.database.transaction(scope) as tx:
            given = {"system": system, "type": name, "fields": fields}
            found = await (await tx.connection.execute(_CASES, given)).fetchall()
        for case_id, field, is_kept in found:
            choice = Choice.KEPT if is_kept else Choice.CLAIMED
            try:
                await resolve(store, own, case_id, choice, note=f"By the mapping: {system} is right on {field}.")
            except (Conflicting, NotFound, Rejected):
                # It moved on meanwhile, or cannot be held as it is: then it stays a question for a person.
                continue
            decided += 1
    return decided
