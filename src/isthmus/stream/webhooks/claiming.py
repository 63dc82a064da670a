"""Taking deliveries to send, and writing down how they went.

Whoever takes deliveries of an endpoint locks the row of its health first, so that rate and circuit hold for all workers
together. What is taken is due again when its lease ends: a worker that dies delays it and loses nothing. A worker whose
lease ended meanwhile has no say any more, because the delivery has another number of attempts then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import LiteralString
from uuid import UUID

from isthmus.store.database import Transaction
from isthmus.stream.webhooks.endpoints import Endpoint, EndpointMissing, endpoint_of, secrets_of
from isthmus.stream.webhooks.retrying import (
    DISABLED_AFTER,
    FAILURES_BEFORE_CLOSED,
    PROBED_EVERY,
    closed_for,
    next_try,
    retry_after_s,
)
from isthmus.stream.webhooks.sending import Answered
from isthmus.stream.webhooks.signing import Secret
from isthmus.vault import Vault

LEASE = timedelta(seconds=60)
BATCH = 32
WHOLE_PAUSE_S_MAX = 3_600.0
GONE, TOO_MANY, AWAY = 410, 429, 503
_LOCK: LiteralString = """
select next_at, failures, failing_since, closed_until, disabled_at from webhook_health
where workspace = current_workspace() and endpoint_id = %s for update skip locked
"""
_LOCK_WAITING: LiteralString = """
select next_at, failures, failing_since, closed_until, disabled_at from webhook_health
where workspace = current_workspace() and endpoint_id = %s for update
"""
_CLAIM: LiteralString = """
with due as (
    select d.id from webhook_delivery d
    where d.workspace = current_workspace() and d.endpoint_id = %(endpoint)s and d.done_at is null
      and d.due_at <= %(now)s
      and (not %(ordered)s or not exists (
          select from webhook_delivery earlier
          where earlier.workspace = d.workspace and earlier.endpoint_id = d.endpoint_id and earlier.key = d.key
            and earlier.seq < d.seq and earlier.done_at is null
      ))
    order by d.due_at, d.seq limit %(limit)s for update skip locked
)
update webhook_delivery d set attempts = d.attempts + 1, due_at = %(until)s
from due where d.workspace = current_workspace() and d.id = due.id
returning d.id, d.seq, d.step, d.attempts
"""
_NEXT: LiteralString = """
update webhook_health set next_at = %s, closed_until = %s
where workspace = current_workspace() and endpoint_id = %s
"""
_DONE: LiteralString = """
update webhook_delivery d set status = s.status, step = s.step, due_at = s.due_at, done_at = s.done_at,
                              reason = s.reason
from unnest(%s::uuid[], %s::integer[], %s::text[], %s::integer[], %s::timestamptz[], %s::timestamptz[], %s::text[])
    as s(id, attempt, status, step, due_at, done_at, reason)
where d.workspace = current_workspace() and d.id = s.id and d.attempts = s.attempt and d.done_at is null
"""
_ATTEMPT: LiteralString = """
insert into webhook_attempt (workspace, delivery_id, number, at, status, took_ms, answer, failure)
select d.workspace, d.id, t.number, t.at, t.status, t.took_ms, t.answer, t.failure
from unnest(%s::uuid[], %s::integer[], %s::timestamptz[], %s::integer[], %s::integer[], %s::bytea[], %s::text[])
    as t(id, number, at, status, took_ms, answer, failure)
join webhook_delivery d on d.workspace = current_workspace() and d.id = t.id
on conflict do nothing
"""
_HEALTH: LiteralString = """
update webhook_health set failures = %(failures)s, failing_since = %(failing_since)s, closed_until = %(closed_until)s,
       disabled_at = %(disabled_at)s, reason = %(reason)s, succeeded_at = coalesce(%(succeeded_at)s, succeeded_at),
       failed_at = coalesce(%(failed_at)s, failed_at)
where workspace = current_workspace() and endpoint_id = %(endpoint)s
"""
_GONE: LiteralString = """
update webhook_endpoint set paused_at = %s where workspace = current_workspace() and id = %s and paused_at is null
"""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A delivery that was taken: its event, its place in the schedule (from 1), and the number of this attempt."""

    id: UUID
    seq: int
    step: int
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Deliveries of one endpoint that were taken together, and what they are signed with."""

    endpoint: Endpoint
    secrets: Sequence[Secret]
    taken: Sequence[Taken]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """How a delivery that was taken went, and when it was sent."""

    taken: Taken
    at: datetime
    answered: Answered


@dataclass(kw_only=True)
class _Health:
    next_at: datetime
    failures: int
    failing_since: datetime | None
    closed_until: datetime | None
    disabled_at: datetime | None
    reason: str = ""
    succeeded_at: datetime | None = None
    failed_at: datetime | None = None
    gone: bool = False


async def claim(tx: Transaction, vault: Vault, endpoint: UUID, *, limit: int = BATCH) -> Batch | None:
    """Take what is due; None when nothing is, when others are at it, or when the endpoint is left alone.

    Of an endpoint that was left alone a single delivery is taken, which tries it.
    """
    health = await _health(tx, endpoint, _LOCK)
    now = tx.scope.now
    if health is None or health.next_at > now or (health.closed_until is not None and health.closed_until > now):
        return None
    try:
        found = await endpoint_of(tx, endpoint)
    except EndpointMissing:
        return None
    if found.paused_at is not None or found.withheld_at is not None:
        return None
    if health.closed_until is not None:
        limit = 1
    if found.per_s is not None:
        limit = min(limit, max(1, found.per_s // 10))
    given = {"endpoint": endpoint, "now": now, "until": now + LEASE, "ordered": found.ordered, "limit": limit}
    rows = await (await tx.connection.execute(_CLAIM, given, prepare=True)).fetchall()
    if not rows:
        return None
    next_at = now + timedelta(seconds=len(rows) / found.per_s) if found.per_s is not None else health.next_at
    # While one call tries it nobody else does, even if whoever makes that call dies.
    closed_until = now + LEASE if health.closed_until is not None else None
    await tx.connection.execute(_NEXT, (next_at, closed_until, endpoint))
    taken = [Taken(id=row[0], seq=row[1], step=row[2] + 1, attempt=row[3]) for row in rows]
    return Batch(
        endpoint=found,
        secrets=await secrets_of(tx, vault, endpoint),
        taken=sorted(taken, key=lambda each: each.seq),
    )


async def settle(tx: Transaction, vault: Vault, endpoint: UUID, sent: Sequence[Sent], *, chance: Random) -> None:
    """Write down how deliveries went, what becomes of them, and how the endpoint is after them."""
    health = await _health(tx, endpoint, _LOCK_WAITING)
    if health is None or not sent:
        return
    now = tx.scope.now
    answers = [(endpoint, each.answered.answer) for each in sent if each.answered.answer]
    sealed = iter(vault.seal_many(workspace=tx.scope.workspace, values=answers) if answers else ())
    tries: list[tuple[object, ...]] = []
    for each in sent:
        taken, told = each.taken, each.answered
        answer = next(sealed) if told.answer else None
        tries.append((taken.id, taken.attempt, each.at, told.status, told.took_ms, answer, told.failure))
    outcomes: list[tuple[object, ...]] = []
    for each in sorted(sent, key=lambda one: one.at):
        after_s = retry_after_s(each.answered.retry_after, now=now)
        outcomes.append(_outcome(each, now=now, after_s=after_s, chance=chance))
        _learn(health, each.answered, now=now, after_s=after_s, chance=chance)
    await tx.connection.execute(_ATTEMPT, [list(each) for each in zip(*tries, strict=True)], prepare=True)
    await tx.connection.execute(_DONE, [list(each) for each in zip(*outcomes, strict=True)], prepare=True)
    await _keep(tx, endpoint, health)


def _outcome(sent: Sent, *, now: datetime, after_s: float | None, chance: Random) -> tuple[object, ...]:
    """Return what becomes of a delivery: its id, attempt, status, step, when it is due and done, and the reason."""
    taken, answered = sent.taken, sent.answered
    final = answered.taken or not answered.called
    again = None if final else next_try(taken.step, now=now, after_s=after_s, chance=chance)
    status = "delivered" if answered.taken else "needs attention" if again is None else "retrying"
    done_at = now if again is None else None
    return taken.id, taken.attempt, status, taken.step, again or now, done_at, answered.failure


def _learn(health: _Health, answered: Answered, *, now: datetime, after_s: float | None, chance: Random) -> None:
    """Let an answer say how the endpoint is."""
    if not answered.called:
        return
    if answered.taken:
        health.failures, health.failing_since, health.closed_until, health.disabled_at = 0, None, None, None
        health.reason, health.succeeded_at = "", now
        return
    health.failures += 1
    health.failing_since = health.failing_since or now
    health.reason, health.failed_at = answered.failure, now
    # What failed when it was tried is left alone again, however few failures there were.
    failures = health.failures if health.closed_until is None else max(health.failures, FAILURES_BEFORE_CLOSED)
    closed = closed_for(failures, failing_for=now - health.failing_since, chance=chance)
    until = now + closed if closed is not None else None
    if answered.status in (TOO_MANY, AWAY) and after_s:
        until = max(until or now, now + timedelta(seconds=min(after_s, WHOLE_PAUSE_S_MAX)))
    if now - health.failing_since >= DISABLED_AFTER:
        health.disabled_at = health.disabled_at or now
        until = now + PROBED_EVERY
    health.closed_until = until
    health.gone = health.gone or answered.status == GONE


async def _keep(tx: Transaction, endpoint: UUID, health: _Health) -> None:
    given = {name: getattr(health, name) for name in ("failures", "failing_since", "closed_until", "disabled_at")}
    given |= {"reason": health.reason, "succeeded_at": health.succeeded_at, "failed_at": health.failed_at}
    await tx.connection.execute(_HEALTH, {**given, "endpoint": endpoint}, prepare=True)
    if health.gone:
        await tx.connection.execute(_GONE, (tx.scope.now, endpoint))


async def _health(tx: Transaction, endpoint: UUID, query: LiteralString) -> _Health | None:
    row = await (await tx.connection.execute(query, (endpoint,), prepare=True)).fetchone()
    if row is None:
        return None
    return _Health(next_at=row[0], failures=row[1], failing_since=row[2], closed_until=row[3], disabled_at=row[4])
