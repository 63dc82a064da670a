"""Deliveries: events on their way to an endpoint, written down in the transaction that moves the endpoint's cursor."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, LiteralString, NamedTuple, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.audit.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema
from isthmus.stream.consume import Consumer
from isthmus.stream.event import Event, event_of
from isthmus.stream.filters import passing
from isthmus.stream.topics import Topics
from isthmus.stream.webhooks.endpoints import Endpoint, endpoint_of, endpoint_text
from isthmus.vault import Vault, entropy

DELIVERY_PREFIX = "whdl"
REPLAYED_MAX, FORGOTTEN_MAX = 10_000, 10_000
KEPT = timedelta(days=30)
Status: TypeAlias = Literal["pending", "retrying", "delivered", "needs attention"]
_WRITE: LiteralString = """
insert into webhook_delivery (workspace, id, endpoint_id, seq, event_type, key, status, due_at, created_at)
select current_workspace(), told.id, %s, told.seq, told.type, told.key, 'pending', %s, %s
from unnest(%s::uuid[], %s::bigint[], %s::text[], %s::uuid[]) as told(id, seq, type, key)
on conflict (workspace, endpoint_id, seq) do nothing
"""
_LIST: LiteralString = """
select d.id, d.seq, e.id as event_id, d.event_type, d.status, d.attempts, d.due_at, d.created_at, d.done_at, d.reason
from webhook_delivery d left join lateral event_at(d.seq) e on true
where d.workspace = current_workspace() and d.endpoint_id = %(endpoint)s
  and (%(status)s::text is null or d.status = %(status)s) and (%(before)s::uuid is null or d.id < %(before)s)
  and (%(only)s::uuid is null or d.id = %(only)s)
order by d.id desc limit %(limit)s
"""
_ATTEMPTS: LiteralString = """
select number, at, status, took_ms, answer, failure from webhook_attempt
where workspace = current_workspace() and delivery_id = %s order by number
"""
_AGAIN: LiteralString = """
update webhook_delivery set status = 'pending', step = 0, due_at = %(now)s, done_at = null, reason = ''
where workspace = current_workspace() and endpoint_id = %(endpoint)s and id = %(delivery)s
"""
_RECOVER: LiteralString = """
update webhook_delivery set status = 'pending', step = 0, due_at = %(now)s, done_at = null, reason = ''
where workspace = current_workspace() and endpoint_id = %(endpoint)s and created_at >= %(since)s
  and (status = 'needs attention' or status = 'retrying')
"""
_MISSING: LiteralString = """
select v.seq, v.id, v.type, v.record_type, v.record_id, v.account_id, v.hlc, v.changed, v.actor, v.cause,
       v.at
from events_after(%(after)s) v
where v.seq <= %(until)s and v.bundle <= %(until)s and v.type = any(%(types)s)
  and v.at >= %(since)s and (cardinality(%(accounts)s::uuid[]) = 0
                             or coalesce(v.account_id, v.record_id) = any(%(accounts)s))
  and not exists (select from webhook_delivery d where d.workspace = current_workspace()
                                                   and d.endpoint_id = %(endpoint)s and d.seq = v.seq)
order by v.bundle, v.seq limit %(limit)s
"""
_FORGET: LiteralString = """
delete from webhook_delivery where (workspace, id) in (
    select workspace, id from webhook_delivery
    where workspace = current_workspace() and done_at < %s order by done_at limit %s
)
"""
_OFFSET: LiteralString = "select seq from consumer_offset where workspace = current_workspace() and consumer = %s"


class DeliveryMissing(NotFound):
    """There is no such delivery."""

    code, title = "delivery-missing", "There is no such delivery"


class Delivery(Struct, frozen=True, kw_only=True):
    """One event on its way to one endpoint; `event_id` is None once the log has forgotten the event."""

    id: UUID
    seq: int
    event_id: int | None
    event_type: str
    status: Status
    attempts: int
    due_at: datetime
    created_at: datetime
    done_at: datetime | None
    reason: str


class Attempt(Struct, frozen=True, kw_only=True):
    """One try: when, what was answered, how long it took, and the first bytes of the answer."""

    number: int
    at: datetime
    status: int | None
    took_ms: int
    answer: bytes | None
    failure: str


def delivering(endpoint: Endpoint, types: frozenset[str], *, vault: Vault, schema: Schema) -> Consumer:
    """Return the consumer that writes down what an endpoint is to be told, while its cursor moves over the log."""
    accounts = frozenset(endpoint.accounts)

    async def together(tx: Transaction, events: Sequence[Event]) -> None:
        ours = [each for each in events if not accounts or key_of(each) in accounts]
        wanted = await passing(tx, vault, schema, endpoint.filter, ours)
        await _write(tx, endpoint.id, [(each.seq, each.type, key_of(each)) for each in wanted])

    async def one(tx: Transaction, event: Event) -> None:
        await together(tx, [event])

    # A type that cannot be is asked for where nothing is meant, because no types would mean all.
    return Consumer(endpoint.consumer, one, types=tuple(sorted(types)) or ("",), together=together)


def key_of(event: Event) -> UUID:
    """Return what order holds within: the account that an event belongs to, or else its record."""
    return event.account_id or event.record_id


async def deliveries(
    tx: Transaction, endpoint: UUID, *, status: Status | None = None, before: UUID | None = None, limit: int
) -> list[Delivery]:
    """Return deliveries of an endpoint, newest first; raises EndpointMissing."""
    await endpoint_of(tx, endpoint)
    return await _found(tx, endpoint, status=status, before=before, only=None, limit=limit)


async def delivery_of(tx: Transaction, endpoint: UUID, delivery: UUID) -> Delivery:
    """Return a delivery; raises DeliveryMissing."""
    found = await _found(tx, endpoint, status=None, before=None, only=delivery, limit=1)
    if not found:
        raise DeliveryMissing("There is no such delivery.", fix="List those of the webhook.")
    return found[0]


async def attempts_of(tx: Transaction, vault: Vault, endpoint: UUID, delivery: UUID) -> list[Attempt]:
    """Return the tries of a delivery, the first one first."""
    rows = await (await tx.connection.execute(_ATTEMPTS, (delivery,))).fetchall()
    sealed = [(endpoint, bytes(row[4] or b"")) for row in rows]
    opened = iter(vault.open_many(workspace=tx.scope.workspace, values=[each for each in sealed if each[1]]))
    return [
        Attempt(
            number=row[0],
            at=row[1],
            status=row[2],
            took_ms=row[3],
            answer=next(opened) if each else b"",
            failure=row[5],
        )
        for row, (_, each) in zip(rows, sealed, strict=True)
    ]


async def resend(tx: Transaction, endpoint: UUID, delivery: UUID) -> Delivery:
    """Send once more, with the whole schedule of retries before it; raises DeliveryMissing."""
    await delivery_of(tx, endpoint, delivery)
    await tx.connection.execute(_AGAIN, {"now": tx.scope.now, "endpoint": endpoint, "delivery": delivery})
    await _trace(tx, "resent", endpoint, {"delivery": str(delivery)})
    return await delivery_of(tx, endpoint, delivery)


async def recover(tx: Transaction, endpoint: UUID, *, since: datetime) -> int:
    """Send at once what failed since then; returns how many. Raises EndpointMissing."""
    await endpoint_of(tx, endpoint)
    given = {"now": tx.scope.now, "endpoint": endpoint, "since": since}
    count = (await tx.connection.execute(_RECOVER, given)).rowcount
    await _trace(tx, "recovered", endpoint, {"since": since.isoformat(), "deliveries": count})
    return count


class Replayed(NamedTuple):
    """How many deliveries were written down, whether there is more to look at, and the number to go on after."""

    deliveries: int
    has_more: bool
    after: int


async def replay_missing(
    tx: Transaction,
    endpoint: UUID,
    *,
    topics: Topics,
    vault: Vault,
    schema: Schema,
    since: datetime,
    after: int = 0,
) -> Replayed:
    """Send events of the past that this endpoint was never told, as far as its filter lets them pass.

    They are those after the number `after` and after `since`, up to where its cursor stands; some thousands are looked
    at. Raises EndpointMissing.
    """
    found = await endpoint_of(tx, endpoint)
    row = await (await tx.connection.execute(_OFFSET, (found.consumer,))).fetchone()
    given: dict[str, object] = {
        "after": after,
        "until": row[0] if row is not None else 0,
        "types": sorted(topics.chosen(found.chosen, areas=found.areas)),
        "since": since,
        "accounts": list(found.accounts),
        "endpoint": endpoint,
        "limit": REPLAYED_MAX + 1,
    }
    rows = await (await tx.connection.execute(_MISSING, given)).fetchall()
    looked = [event_of(each) for each in rows[:REPLAYED_MAX]]
    missing = await passing(tx, vault, schema, found.filter, looked)
    await _write(tx, endpoint, [(each.seq, each.type, key_of(each)) for each in missing])
    await _trace(tx, "replayed", endpoint, {"since": since.isoformat(), "deliveries": len(missing)})
    return Replayed(len(missing), len(rows) > REPLAYED_MAX, looked[-1].seq if looked else after)


async def forget(tx: Transaction) -> int:
    """Delete deliveries with their tries that were done with long ago; returns how many, at most a batch."""
    return (await tx.connection.execute(_FORGET, (tx.scope.now - KEPT, FORGOTTEN_MAX))).rowcount


async def _write(tx: Transaction, endpoint: UUID, told: Sequence[tuple[int, str, UUID]]) -> None:
    if not told:
        return
    now, count = tx.scope.now, len(told)
    ids = mint_many(unix_ms=milliseconds(now), count=count, entropy=entropy(count * ENTROPY_BYTES))
    columns = [list(each) for each in zip(*told, strict=True)]
    await tx.connection.execute(_WRITE, (endpoint, now, now, ids, *columns), prepare=True)


async def _found(
    tx: Transaction, endpoint: UUID, *, status: Status | None, before: UUID | None, only: UUID | None, limit: int
) -> list[Delivery]:
    given = {"endpoint": endpoint, "status": status, "before": before, "only": only, "limit": limit}
    rows = await (await tx.connection.execute(_LIST, given)).fetchall()
    return [msgspec.convert(dict(zip(Delivery.__struct_fields__, row, strict=True)), Delivery) for row in rows]


async def _trace(tx: Transaction, what: str, endpoint: UUID, details: dict[str, object]) -> None:
    resource = f"webhook:{endpoint_text(endpoint)}"
    await trace(tx, action=f"webhook.{what}", resource=resource, record_id=endpoint, details=details)
