"""Changes go to connected systems as they happen: a push is wanted as soon as an event concerns what is written there.

Only connections that run on a schedule, and are well, are told at once; others are told when somebody runs them. What a
system brought itself, and nobody else spoke of, it need not be told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import LiteralString
from uuid import UUID

from isthmus.app.scheduling.connections import CONNECTION
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.job import Wish
from isthmus.stream.jobs.queue import enqueue
from isthmus.sync.connections import Connection, connections
from isthmus.sync.connector import Connector
from isthmus.sync.flow_versions import in_force
from isthmus.sync.flows import Flow, flowing, withheld
from isthmus.sync.queue import MEANT, meant

LOOKED_MAX = 5_000
_WELL = (Status.HEALTHY, Status.DEGRADED)
_LATER: LiteralString = f"""
select bool_or({MEANT}), max(seq) from (
    select seq, type, record_type, record_id, changed from events_after(%(after)s)
    order by bundle, seq limit %(limit)s
) as page
"""  # noqa: S608 - constants.


@dataclass
class Changes:
    """What has been looked at, by connection: the last event that did not concern it, as its mappings were then.

    What was passed over under other mappings is looked at again.
    """

    connectors: Mapping[str, Connector]
    _passed: dict[UUID, tuple[int, dict[str, Flow]]] = field(default_factory=dict[UUID, tuple[int, dict[str, Flow]]])

    async def want(self, tx: Transaction) -> list[UUID]:
        """Want a push by every connection that an event since its last one concerns; returns the jobs that are new."""
        concerned = [each for each in await connections(tx) if await self._concerns(tx, each)]
        return [own for own in await enqueue(tx, [_push(each) for each in concerned]) if own is not None]

    async def _concerns(self, tx: Transaction, each: Connection) -> bool:
        connector = self.connectors.get(each.connector)
        if connector is None or each.every_s is None or not each.options.push or each.status not in _WELL:
            return False
        flows = await in_force(tx, each.id)
        types = [name for feed in connector.feeds_of(each.settings) for name in feed.writes]
        writable = flowing(connector.adapted(each.settings), flows).writable
        passed, under = self._passed.get(each.id, (0, flows))
        after = max(each.pushed_seq, passed) if under == flows else each.pushed_seq
        asked = meant(each, types, writable, withheld=withheld(flows))
        given = {**asked, "after": after, "limit": LOOKED_MAX}
        row = await (await tx.connection.execute(_LATER, given, prepare=True)).fetchone()
        concerns, last = row or (None, None)
        if not concerns and last is not None:
            self._passed[each.id] = (int(last), flows)
        return bool(concerns)


def _push(connection: Connection) -> Wish:
    """Return the wish for a push; it waits for a run of the same connection that goes on."""
    given: dict[str, Json] = {"connection": str(connection.id), "parts": ["push"]}
    return Wish(
        kind=CONNECTION, arguments=given, dedupe=f"push:{connection.id}", key=f"connection:{connection.id}", priority=90
    )
