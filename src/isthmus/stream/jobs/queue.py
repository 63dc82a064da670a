"""The queue: enqueued in anybody's transaction, claimed and ended in batches, taken back from workers that died.

A claim is a lease with a fence. The lease is one row for each worker and workspace, so that a heartbeat is one write;
the fence is the number of the attempt, which every claim raises. What a worker keeps for a job is kept only where
lease and attempt are still its own, so a worker that was thought dead and was not can do no harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import LiteralString
from uuid import UUID

import msgspec
from psycopg.rows import TupleRow

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.job import PRIORITY_MAX, Outcome, Told, Wish
from isthmus.stream.jobs.work import Claim
from isthmus.vault import entropy

LEASE_S = 15.0
KEYS_MAX = 100
LOST = "The worker that had it is gone."
_ENQUEUE: LiteralString = """
insert into job (workspace, id, kind, arguments, priority, due_at, rank, dedupe, key, tries_max, schedule, occurrence,
                 created_at, created_by)
select current_workspace(), w.id, w.kind, w.arguments::jsonb, w.priority, w.due_at,
       w.due_at - w.priority * interval '1 minute', w.dedupe, w.key, w.tries_max, w.schedule, w.occurrence, %s, %s
from unnest(%s::uuid[], %s::text[], %s::text[], %s::integer[], %s::timestamptz[], %s::text[], %s::text[],
            %s::integer[], %s::text[], %s::timestamptz[])
    as w(id, kind, arguments, priority, due_at, dedupe, key, tries_max, schedule, occurrence)
on conflict (workspace, kind, dedupe) where dedupe is not null and status in ('pending', 'running', 'retrying')
do nothing returning id
"""
_PACE: LiteralString = """
insert into job_key (workspace, key, at_once, rate_count, rate_seconds) values (current_workspace(), %s, %s, %s, %s)
on conflict (workspace, key) do update
set at_once = excluded.at_once, rate_count = excluded.rate_count, rate_seconds = excluded.rate_seconds
where (job_key.at_once, job_key.rate_count, job_key.rate_seconds)
      is distinct from (excluded.at_once, excluded.rate_count, excluded.rate_seconds)
"""
_HOLD: LiteralString = """
insert into job_lease (workspace, id, worker, renewed_at, until) values (current_workspace(), %s, %s, %s, %s)
on conflict (workspace, id) do update set renewed_at = excluded.renewed_at, until = excluded.until
"""
# Locked rows are found by their places: of a new workspace the planner knows nothing, and for a join by id it would
# read all jobs of it for each. A row that moved before it was locked is not found, and stays for the next claim.
_TAKE: LiteralString = """
update job j set status = 'running', lease = %(lease)s, attempt = j.attempt + 1, tries = j.tries + 1,
       tried_at = %(now)s, reason = '', progress = null
from due where j.workspace = current_workspace() and j.ctid = due.place
returning j.rank, j.id, j.kind, j.arguments, j.attempt, j.tries, j.tries_max, j.schedule, j.occurrence,
          j.priority
"""
_CLAIM: LiteralString = f"""
with due as materialized (
    select ctid as place from job
    where workspace = current_workspace() and status in ('pending', 'retrying') and key is null
      and rank <= %(now)s and due_at <= %(now)s and kind = any(%(kinds)s)
    order by rank, id limit %(limit)s for update skip locked
)
{_TAKE}
"""  # noqa: S608 - constants.
_KEYS: LiteralString = """
with recursive waiting(key) as (
    (select j.key from job j where j.workspace = current_workspace() and j.status in ('pending', 'retrying')
        and j.key is not null order by j.key limit 1)
    union all
    select (select j.key from job j where j.workspace = current_workspace() and j.status in ('pending', 'retrying')
        and j.key is not null and j.key > waiting.key order by j.key limit 1)
    from waiting where waiting.key is not null
)
select k.key, k.at_once, k.rate_count, k.rate_seconds, k.tokens, k.filled_at
from job_key k where k.workspace = current_workspace() and k.key in (
    select w.key from waiting w where exists (
        select from job j where j.workspace = current_workspace() and j.status in ('pending', 'retrying')
           and j.key = w.key and j.due_at <= %(now)s and j.kind = any(%(kinds)s)
    )
) limit %(limit)s for update of k skip locked
"""
_HELD: LiteralString = """
select key, count(*) from job
where workspace = current_workspace() and status = 'running' and key = any(%s) group by key
"""
_CLAIM_KEYED: LiteralString = f"""
with due as materialized (
    select found.place from unnest(%(keys)s::text[], %(rooms)s::integer[]) as given(key, room) cross join lateral (
        select j.ctid as place, j.rank from job j
        where j.workspace = current_workspace() and j.status in ('pending', 'retrying') and j.key = given.key
          and j.due_at <= %(now)s and j.kind = any(%(kinds)s)
        order by j.rank, j.id limit given.room for update skip locked
    ) as found order by found.rank limit %(limit)s
)
{_TAKE}, j.key
"""  # noqa: S608 - constants.
_DRAW: LiteralString = """
update job_key set tokens = %s, filled_at = %s where workspace = current_workspace() and key = %s
"""
_END: LiteralString = """
update job j set status = e.status, reason = e.reason, result = e.result::jsonb, lease = null,
       due_at = coalesce(e.due_at, j.due_at),
       rank = coalesce(e.due_at, j.due_at) - j.priority * interval '1 minute',
       tries = j.tries - e.given_back::integer,
       ended_at = case when e.status in ('pending', 'retrying') then null else %s end
from unnest(%s::uuid[], %s::integer[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::boolean[])
    as e(id, attempt, status, reason, due_at, result, given_back)
where j.workspace = current_workspace() and j.id = e.id and j.lease = %s and j.attempt = e.attempt
  and j.status = 'running'
"""
_END_WELL: LiteralString = """
update job j set status = 'healthy', lease = null, ended_at = %s
from unnest(%s::uuid[], %s::integer[]) as e(id, attempt)
where j.workspace = current_workspace() and j.id = e.id and j.lease = %s and j.attempt = e.attempt
  and j.status = 'running'
"""
_MINE: LiteralString = """
select id, attempt, cancelled_by from job where workspace = current_workspace() and status = 'running' and lease = %s
"""
_TELL: LiteralString = """
with told as (
    select j.id, p.progress from unnest(%s::uuid[], %s::integer[], %s::text[]) as p(id, attempt, progress)
    join job j on j.workspace = current_workspace() and j.id = p.id and j.lease = %s and j.attempt = p.attempt
              and j.status = 'running'
    for update of j skip locked
)
update job j set progress = told.progress::jsonb from told
where j.workspace = current_workspace() and j.id = told.id
"""
_EXPIRE: LiteralString = """
delete from job_lease where workspace = current_workspace() and (until <= %(now)s or renewed_at > %(ahead)s)
"""
_LOST: LiteralString = """
with lost as (
    select j.ctid as place from job j where j.workspace = current_workspace() and j.status = 'running'
       and not exists (select from job_lease l where l.workspace = j.workspace and l.id = j.lease)
    for update skip locked
)
update job j set lease = null, attempt = j.attempt + 1,
       status = case when j.cancelled_by is not null then 'paused'
                     when j.tries >= j.tries_max then 'needs attention' else 'pending' end,
       reason = case when j.cancelled_by is not null then 'Cancelled by ' || j.cancelled_by || '.' else %(reason)s end,
       ended_at = case when j.cancelled_by is not null or j.tries >= j.tries_max then %(now)s end,
       due_at = least(j.due_at, %(now)s), rank = least(j.due_at, %(now)s) - j.priority * interval '1 minute'
from lost where j.workspace = current_workspace() and j.ctid = lost.place
"""
_AHEAD: LiteralString = """
update job set due_at = a.due_at, rank = a.due_at - priority * interval '1 minute',
       created_at = least(created_at, %(now)s)
from (
    select id, case when tried_at is null then %(now)s + greatest(due_at - created_at, interval '0') else %(now)s end
    from job where workspace = current_workspace() and status in ('pending', 'retrying') and rank > %(near)s
       and coalesce(tried_at, created_at) > %(ahead)s and due_at > %(now)s
"""
_AHEAD_PLAIN: LiteralString = f"""{_AHEAD} and key is null
) as a(id, due_at) where workspace = current_workspace() and job.id = a.id
"""
_AHEAD_KEYED: LiteralString = f"""{_AHEAD} and key is not null
) as a(id, due_at) where workspace = current_workspace() and job.id = a.id
"""

_TAKE_BACK: LiteralString = """
with gone as (
    delete from job where workspace = current_workspace() and kind = %s and dedupe = any(%s)
       and status in ('pending', 'retrying') returning id
)
delete from job_step s using gone where s.workspace = current_workspace() and s.job_id = gone.id
"""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A worker as the queue knows it: the id of its leases, its name for people, and how long a lease lives."""

    id: UUID
    worker: str
    lease_s: float = LEASE_S


async def enqueue(tx: Transaction, wishes: Sequence[Wish]) -> list[UUID | None]:
    """Write jobs down, which are there when the transaction commits; None stands for one that a living one is for."""
    if not wishes:
        return []
    now = tx.scope.now
    ids = mint_many(unix_ms=milliseconds(now), count=len(wishes), entropy=entropy(len(wishes) * ENTROPY_BYTES))
    for key, pace in {each.key: each.pace for each in wishes if each.key is not None}.items():
        await tx.connection.execute(_PACE, (key, pace.at_once, pace.count, pace.seconds))
    columns = (
        ids,
        [each.kind for each in wishes],
        [_text(each.arguments) for each in wishes],
        [each.priority for each in wishes],
        [each.due_at or now for each in wishes],
        [each.dedupe for each in wishes],
        [each.key for each in wishes],
        [each.tries_max for each in wishes],
        [each.schedule for each in wishes],
        [each.occurrence for each in wishes],
    )
    cursor = await tx.connection.execute(_ENQUEUE, (now, tx.scope.actor, *columns))
    made = {own for (own,) in await cursor.fetchall()}
    return [own if own in made else None for own in ids]


async def take_back(tx: Transaction, kind: str, dedupes: Sequence[str]) -> None:
    """Forget jobs that wait and are wanted no more, as if nobody had wished for them; what runs is not touched."""
    await tx.connection.execute(_TAKE_BACK, (kind, list(dedupes)))


async def claim(
    tx: Transaction, holder: Holder, kinds: Sequence[str], *, limit: int, keyed_first: bool = False
) -> list[Claim]:
    """Take jobs that are due, the most urgent first; those with a key as far as its pace allows.

    Whoever always asks in the same way lets the others starve while those of the first sort fill the limit.
    """
    now = tx.scope.now
    given = {"now": now, "kinds": list(kinds), "lease": holder.id, "limit": limit}
    await tx.connection.execute(_HOLD, _lease(holder, now), prepare=True)
    rows: list[TupleRow] = []
    for take in (_claim_keyed, _claim_plain) if keyed_first else (_claim_plain, _claim_keyed):
        if len(rows) < limit:
            rows += await take(tx, {**given, "limit": limit - len(rows)})
    rows.sort(key=itemgetter(0, 1))
    workspace, lease = tx.scope.workspace, holder.id
    return [
        Claim(
            workspace=workspace,
            id=own,
            kind=kind,
            arguments=arguments,
            lease=lease,
            attempt=attempt,
            tries=tries,
            tries_max=tries_max,
            schedule=schedule,
            occurrence=occurrence,
            priority=priority,
        )
        for _, own, kind, arguments, attempt, tries, tries_max, schedule, occurrence, priority in rows
    ]


async def end(tx: Transaction, holder: Holder, outcomes: Sequence[Outcome]) -> None:
    """Keep how tries ended, of those jobs that are still ours; of the others another worker says it."""
    now = tx.scope.now
    plain = [each for each in outcomes if each.status == Status.HEALTHY and each.result is None]
    if plain:
        row = (now, [each.id for each in plain], [each.attempt for each in plain], holder.id)
        await tx.connection.execute(_END_WELL, row, prepare=True)
    rest = [each for each in outcomes if each.status != Status.HEALTHY or each.result is not None]
    if rest:
        columns = (
            [each.id for each in rest],
            [each.attempt for each in rest],
            [str(each.status) for each in rest],
            [each.reason for each in rest],
            [each.due_at for each in rest],
            [None if each.result is None else _text(each.result) for each in rest],
            [each.given_back for each in rest],
        )
        await tx.connection.execute(_END, (now, *columns, holder.id))


async def renew(
    tx: Transaction, holder: Holder, told: Sequence[tuple[Claim, Told]]
) -> dict[tuple[UUID, int], str | None]:
    """Renew a lease and write down how far jobs are.

    Returns the jobs that are still ours by id and attempt, each with who cancelled it, or None.
    """
    await tx.connection.execute(_HOLD, _lease(holder, tx.scope.now), prepare=True)
    if told:
        columns = [list(each) for each in zip(*((own.id, own.attempt, _text(far)) for own, far in told), strict=True)]
        await tx.connection.execute(_TELL, (*columns, holder.id))
    cursor = await tx.connection.execute(_MINE, (holder.id,), prepare=True)
    return {(own, attempt): cancelled_by for own, attempt, cancelled_by in await cursor.fetchall()}


async def let_go(tx: Transaction, holder: Holder) -> None:
    """Give a lease up, with whatever it still holds."""
    await tx.connection.execute("delete from job_lease where workspace = current_workspace() and id = %s", (holder.id,))


async def mend(tx: Transaction, *, lease_s: float = LEASE_S) -> int:
    """Take back the jobs of workers that are gone; returns how many those were.

    A lease that was renewed in what is now the future, a try that was made there, or a wish, comes from a clock that
    was wrong: it would hold its job until that moment, so it counts as one of now.
    """
    now = tx.scope.now
    near = now - timedelta(minutes=PRIORITY_MAX)
    given = {"now": now, "ahead": now + timedelta(seconds=lease_s), "near": near, "reason": LOST}
    await tx.connection.execute(_EXPIRE, given)
    # The two kinds of waiting jobs have an index each.
    await tx.connection.execute(_AHEAD_PLAIN, given)
    await tx.connection.execute(_AHEAD_KEYED, given)
    return (await tx.connection.execute(_LOST, given)).rowcount


async def _claim_plain(tx: Transaction, given: dict[str, object]) -> list[TupleRow]:
    """Take jobs without a key."""
    return await (await tx.connection.execute(_CLAIM, given, prepare=True)).fetchall()


async def _claim_keyed(tx: Transaction, given: dict[str, object]) -> list[TupleRow]:
    """Take jobs with a key. Its row is locked meanwhile, so that two workers never count its jobs at the same time."""
    now = tx.scope.now
    keys = await (await tx.connection.execute(_KEYS, {**given, "limit": KEYS_MAX})).fetchall()
    if not keys:
        return []
    held = dict(await (await tx.connection.execute(_HELD, ([key for key, *_ in keys],))).fetchall())
    tokens = {key: _tokens(rate, left, filled_at, now) for key, _, *rate, left, filled_at in keys}
    rooms = {key: min([at_once - held.get(key, 0), *_whole(tokens[key])]) for key, at_once, *_ in keys}
    free = {key: room for key, room in rooms.items() if room > 0}
    if not free:
        return []
    wanted = {**given, "keys": list(free), "rooms": list(free.values())}
    rows = await (await tx.connection.execute(_CLAIM_KEYED, wanted)).fetchall()
    for key in {row[-1] for row in rows}:
        if (left := tokens[key]) is not None:
            await tx.connection.execute(_DRAW, (left - sum(row[-1] == key for row in rows), now, key))
    return [row[:-1] for row in rows]


def _tokens(rate: Sequence[int | None], left: float | None, filled_at: datetime | None, now: datetime) -> float | None:
    """Return how many jobs of a key may begin now: a bucket of `count` that fills in `seconds`; None without a rate."""
    count, seconds = rate
    if count is None or seconds is None:
        return None
    if left is None or filled_at is None:
        return float(count)
    return min(float(count), left + max(0.0, (now - filled_at).total_seconds()) * count / seconds)


def _whole(tokens: float | None) -> tuple[int, ...]:
    return () if tokens is None else (int(tokens),)


def _lease(holder: Holder, now: datetime) -> tuple[object, ...]:
    return holder.id, holder.worker, now, now + timedelta(seconds=holder.lease_s)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
