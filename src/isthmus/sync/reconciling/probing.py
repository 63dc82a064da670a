"""A connection probed: some records drawn by lot, asked for by id, and compared with what is held of them.

A system that is read by increments may lose something without anybody hearing of it. It names its ids; of those that
are held here some are drawn, and of those that are not, too. Nothing is changed on either side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import LiteralString

from isthmus.store.prepare import Row
from isthmus.sync.connector import Feed, Fetching, Raw, Session
from isthmus.sync.pull import Work, in_a_known_form
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.systems import Reconciled, judged, said

PROBED_MAX = 300
"""Records of a feed that are asked for at once: ten such probes find what a thousandth lacks with 95 %."""
ASKED_AT_ONCE = 50
_HELD: LiteralString = """
select distinct external_id from ref where workspace = current_workspace() and type = any(%s) and system = %s
   and external_id = any(%s) and digest is not null and not deleted
"""


@dataclass(slots=True)
class _Lot:
    """A sample of `most` ids, in which each id of those that were told is with the same chance (Vitter's R)."""

    most: int
    chance: Random
    drawn: list[str] = field(default_factory=list[str])
    seen: int = 0

    def tell(self, external_id: str) -> None:
        self.seen += 1
        if len(self.drawn) < self.most:
            self.drawn.append(external_id)
        elif (place := self.chance.randrange(self.seen)) < self.most:
            self.drawn[place] = external_id


async def probe_types(work: Work, *, probed_max: int = PROBED_MAX) -> list[Reconciled]:
    """Compare some records of each feed that can be asked for by id; nothing of other feeds. Raises ConnectorError."""
    found: list[Reconciled] = []
    for feed in work.feeds:
        began = work.engine.clock.now()
        async with work.session() as session:
            if not isinstance(session, Fetching):
                return []
            ids = await _drawn(work, session, feed, probed_max)
            raws = await _asked(session, feed, ids)
        found += await _compared(work, feed, ids, raws, began=began)
    return found


async def _drawn(work: Work, session: Session, feed: Feed, probed_max: int) -> list[str]:
    """Draw ids by lot, half of them of records that are not held here as far as there are so many."""
    chance = work.engine.chance
    held, strange = _Lot(probed_max, chance), _Lot(probed_max, chance)
    with in_a_known_form(feed.name):
        async for some in session.ids(feed.name):
            async with work.engine.store.database.transaction(work.scope()) as tx:
                given = (list(feed.types), work.connection.name, list(some))
                known = {each for (each,) in await (await tx.connection.execute(_HELD, given)).fetchall()}
            for external_id in some:
                (held if external_id in known else strange).tell(external_id)
    strangers = strange.drawn[: max(probed_max // 2, probed_max - len(held.drawn))]
    return [*strangers, *held.drawn[: probed_max - len(strangers)]]


async def _asked(session: Fetching, feed: Feed, ids: Sequence[str]) -> list[Raw]:
    found: list[Raw] = []
    with in_a_known_form(feed.name):
        for start in range(0, len(ids), ASKED_AT_ONCE):
            found += await session.fetch(feed.name, ids[start : start + ASKED_AT_ONCE])
    return found


async def _compared(
    work: Work, feed: Feed, ids: Sequence[str], raws: Sequence[Raw], *, began: datetime
) -> list[Reconciled]:
    spoken, refused = said(work, feed, raws, now=began)
    found: list[Reconciled] = []
    for name in feed.types:
        rows: dict[str, Row] = {row.observation.external_id: row for kind, row in spoken if kind == name}
        unread = {key for kind, key in refused if kind == name}
        keys = [each for each in ids if each not in unread]
        findings = await judged(work, name, keys, rows, began=began)
        if not feed.deletes:
            findings = [each for each in findings if each.kind is not DifferenceKind.EXTRA]
        extra = sum(each.kind is DifferenceKind.EXTRA for each in findings)
        if not rows and not extra:
            continue
        words = [row.observation for row in rows.values()]
        found.append(
            Reconciled(
                type=name,
                there=len(rows),
                here=len(rows) + extra - sum(each.kind is DifferenceKind.MISSING for each in findings),
                compared=sum(len(each.fields) + len(each.links) for each in words),
                differing=sum(each.weight for each in findings),
                unvisited=0,
                findings=tuple(findings),
                probed=frozenset(keys),
            )
        )
    return found
