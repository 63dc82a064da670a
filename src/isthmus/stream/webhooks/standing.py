"""How endpoints stand at a glance: what waits for each, what failed, and what was answered last."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.store.database import Transaction

_LOOKED_AT = 500
_COUNTED_MAX = 10_000
_COUNTS: LiteralString = """
select e.id,
       (select count(*) from (select from webhook_delivery d where d.workspace = current_workspace()
          and d.endpoint_id = e.id and d.done_at is null limit %(most)s) few),
       (select count(*) from (select from webhook_delivery d where d.workspace = current_workspace()
          and d.endpoint_id = e.id and d.status = 'needs attention' limit %(most)s) few)
from unnest(%(endpoints)s::uuid[]) as e(id)
"""
# The last deliveries are those that were tried last, but for those that are tried again.
_ANSWERS: LiteralString = """
select e.id, a.at, a.status, a.took_ms, a.failure
from unnest(%(endpoints)s::uuid[]) as e(id) cross join lateral (
    select t.at, t.status, t.took_ms, t.failure from (
        (select id from (select id, attempts from webhook_delivery where workspace = current_workspace()
            and endpoint_id = e.id order by seq desc limit %(looked)s) newest
         where attempts > 0 limit %(shown)s)
        union
        (select id from webhook_delivery where workspace = current_workspace() and endpoint_id = e.id
            and done_at is null and attempts > 0 order by due_at desc limit %(shown)s)
    ) d cross join lateral (
        select at, status, took_ms, failure from webhook_attempt
        where workspace = current_workspace() and delivery_id = d.id order by number desc limit %(shown)s
    ) t order by t.at desc limit %(shown)s
) a order by e.id, a.at
"""


class Answer(Struct, frozen=True):
    """What an endpoint answered, without its body: the status, or None and why nothing came."""

    at: datetime
    status: int | None
    took_ms: int
    failure: str


class Standing(Struct, frozen=True):
    """How many deliveries are under way and failed for good (counted to 10,000 each), and the last answers."""

    waiting: int
    failed: int
    answers: Sequence[Answer]


async def standings(tx: Transaction, endpoints: Sequence[UUID], *, shown: int) -> dict[UUID, Standing]:
    """Return how endpoints stand, each with its last `shown` answers."""
    given = {"endpoints": list(endpoints), "most": _COUNTED_MAX, "looked": _LOOKED_AT, "shown": shown}
    counts = await (await tx.connection.execute(_COUNTS, given)).fetchall()
    answers: dict[UUID, list[Answer]] = {each: [] for each in endpoints}
    for own, *row in await (await tx.connection.execute(_ANSWERS, given)).fetchall():
        answers[own].append(Answer(*row))
    return {own: Standing(int(waiting), int(failed), answers[own]) for own, waiting, failed in counts}
