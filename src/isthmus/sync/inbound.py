"""What vendors send us: proven, kept sealed and acknowledged at once, then worked on through landing, once in effect.

A message that is kept is not lost; one that comes again, by the vendor's id, is acknowledged and does nothing. What was
worked on stays sealed for some days, so that a mapping that was mended can be tried on it again.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import IsthmusError, NotFound, Unavailable
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.store.database import Scope, Transaction
from isthmus.stream.parked import reason_of
from isthmus.stream.webhooks.verifying import AddressVerifier, SignatureRefused, message_id
from isthmus.sync.asking import Asking
from isthmus.sync.connections import Connection, ConnectionMissing, Status, all_settings, connection_of
from isthmus.sync.connector import Connector, Feed, Inbound, Raw
from isthmus.sync.flow_versions import in_force
from isthmus.sync.flows import flowing
from isthmus.sync.following import take
from isthmus.sync.ingest import Interval
from isthmus.sync.intake import committed
from isthmus.sync.landing import look_again
from isthmus.sync.pull import SPOKEN
from isthmus.sync.runs import Engine
from isthmus.vault import Vault, entropy

DELAYS_S = (1, 10, 60, 600, 3_600, 14_400, 43_200)
BATCH = 20
GROUPED_MAX = 10_000
KEPT, REMEMBERED = timedelta(days=7), timedelta(days=90)
_WORKSPACE: LiteralString = "select workspace_of_connection(%s)"
_KNOWN: LiteralString = """
select 1 from webhook_inbound where workspace = current_workspace() and connection_id = %s and external_id = %s
"""
_KEEP: LiteralString = """
insert into webhook_inbound (workspace, id, connection_id, external_id, body, status, received_at, due_at)
values (current_workspace(), %s, %s, %s, %s, 'pending', %s, %s)
on conflict (workspace, connection_id, external_id) do nothing
"""
_DUE: LiteralString = """
select id from webhook_inbound
where workspace = current_workspace() and connection_id = %s and done_at is null and due_at <= %s order by id limit %s
"""
_TAKE: LiteralString = """
select body, attempts from webhook_inbound
where workspace = current_workspace() and id = %s and done_at is null for update skip locked
"""
_DONE: LiteralString = """
update webhook_inbound set status = 'done', done_at = %s, attempts = attempts + 1, reason = ''
where workspace = current_workspace() and id = %s
"""
_FAILED: LiteralString = """
update webhook_inbound set status = %s, attempts = attempts + 1, due_at = %s, done_at = %s, reason = %s
where workspace = current_workspace() and id = %s and done_at is null
"""
_AGAIN: LiteralString = """
update webhook_inbound set status = 'pending', attempts = 0, due_at = %s, done_at = null, reason = ''
where workspace = current_workspace() and id = %s and status = 'needs attention' and body <> ''
"""
_STUCK: LiteralString = """
select i.id, i.connection_id, c.name, i.attempts, i.reason, i.received_at, i.done_at
from webhook_inbound i join connection c on c.workspace = i.workspace and c.id = i.connection_id
where i.workspace = current_workspace() and i.status = 'needs attention'
  and (%(after)s::uuid is null or i.id > %(after)s)
order by i.id limit %(limit)s
"""
_STUCK_COUNT: LiteralString = """
select count(*) from webhook_inbound where workspace = current_workspace() and status = 'needs attention'
"""
_CAUSES: LiteralString = """
with first as (
    select i.id, c.name, i.reason, i.received_at, i.done_at
    from webhook_inbound i join connection c on c.workspace = i.workspace and c.id = i.connection_id
    where i.workspace = current_workspace() and i.status = 'needs attention' order by i.id limit %s
), placed as (
    select *, count(*) over same as together, min(received_at) over same as since, max(done_at) over same as tried,
           row_number() over (partition by name, reason order by id) as place
    from first window same as (partition by name, reason)
)
select name, reason, together, since, tried, id from placed where place <= %s
order by together desc, name, reason, place
"""
_SAME: LiteralString = """
select i.id from webhook_inbound i join connection c on c.workspace = i.workspace and c.id = i.connection_id
where i.workspace = current_workspace() and i.status = 'needs attention' and c.name = %s and i.reason = %s
order by i.id limit %s
"""
_DISCARD: LiteralString = """
update webhook_inbound set status = 'done', body = ''
where workspace = current_workspace() and id = %s and status = 'needs attention'
"""
_OLD: LiteralString = """
update webhook_inbound set body = '' where workspace = current_workspace() and done_at < %s and body <> ''
returning id
"""
_FORGET: LiteralString = "delete from webhook_inbound where workspace = current_workspace() and done_at < %s"


class MessageMissing(NotFound):
    """There is no such message, or it is not one that failed, or its body is kept no more."""

    code, title = "message-missing", "There is no such message"


class SilentRefusal(SignatureRefused):
    """What `SignatureRefused` says, for a vendor that wants no words."""


class NotUnderstood(IsthmusError):
    """The message names a feed that the connection does not have."""

    code, title = "not-understood", "The message cannot be understood"


class StuckCause(Struct, frozen=True):
    """Messages to a connection that failed for one reason: how many, since when, tried last when, and the first."""

    connection: str
    reason: str
    count: int
    since: datetime
    tried_at: datetime
    first: tuple[UUID, ...]


class Stuck(Struct, frozen=True, kw_only=True):
    """A message that could not be landed, however often it was tried."""

    id: UUID
    connection_id: UUID
    connection: str
    attempts: int
    reason: str
    received_at: datetime
    tried_at: datetime


@dataclass(frozen=True, kw_only=True)
class Message:
    """What came over the network; headers are in small letters, `url` is the address that the vendor called."""

    body: bytes
    headers: Mapping[str, str]
    url: str = ""

    def proven(self, inbound: Inbound, *, secrets: Sequence[str], now: datetime) -> str:
        """Return the vendor's id of the message; raises SignatureRefused."""
        verifier = inbound.verifier
        if isinstance(verifier, AddressVerifier):
            return verifier.verify_at(self.url, self.body, self.headers, secrets=secrets, now=now)
        return verifier.verify(self.body, self.headers, secrets=secrets, now=now)


class Receipt(Struct, frozen=True, kw_only=True):
    """What became of a proven message: whether it is new, and whether the vendor wants no words."""

    new: bool
    silent: bool = False


async def greeted(engine: Engine, connection_id: UUID, message: Message, *, cause: str) -> None:
    """Answer a vendor that only looks whether somebody is there; raises SignatureRefused, as `receive` does."""
    scope = await _scope(engine, connection_id, cause=cause)
    async with engine.store.database.transaction(scope) as tx:
        connection, inbound = await inbound_of(tx, engine, connection_id)
        if not inbound.greets:
            raise _unproven()
        settings = await all_settings(tx, engine.store.vault, connection)
        message.proven(inbound, secrets=settings.get(inbound.secret, "").split(), now=scope.now)


async def receive(engine: Engine, connection_id: UUID, message: Message, *, cause: str) -> Receipt:
    """Prove and keep a message. Raises SignatureRefused, also where there is no connection.

    Nothing is kept of what is not proven, and who sends it does not learn which connections there are.
    """
    scope = await _scope(engine, connection_id, cause=cause)
    store, vault = engine.store, engine.store.vault
    async with store.database.transaction(scope) as tx:
        connection, inbound = await inbound_of(tx, engine, connection_id)
        settings = await all_settings(tx, vault, connection)
        secrets = settings.get(inbound.secret, "").split()
        try:
            told = message.proven(inbound, secrets=secrets, now=scope.now)
        except SignatureRefused as error:
            if inbound.silent:
                raise SilentRefusal(error.detail, fix=error.fix) from error
            raise
        external_id = message_id(told, message.body)
        if (inbound.greets and not message.body) or await is_known(tx, connection_id, external_id):
            return Receipt(new=False, silent=inbound.silent)
    new = await keep(engine, scope, connection_id, external_id, message.body)
    return Receipt(new=new, silent=inbound.silent)


async def _scope(engine: Engine, connection_id: UUID, *, cause: str) -> Scope:
    workspace = await workspace_of(engine, connection_id)
    return engine.scope(workspace=workspace, actor=f"connection:{connection_id}", cause=cause)


async def keep(engine: Engine, scope: Scope, connection_id: UUID, external_id: str, body: bytes) -> bool:
    """Keep a message that is proven, sealed; tells whether it is new."""
    store, vault, workspace = engine.store, engine.store.vault, scope.workspace
    own = mint(unix_ms=milliseconds(scope.now), entropy=entropy(ENTROPY_BYTES))
    await asyncio.to_thread(vault.create, workspace=workspace, subjects=[own])
    sealed = vault.seal_many(workspace=workspace, values=[(own, body)])[0]
    async with store.database.transaction(scope) as tx:
        row = (own, connection_id, external_id, sealed, scope.now, scope.now)
        kept = (await tx.connection.execute(_KEEP, row)).rowcount == 1
    if not kept:
        vault.erase(workspace=workspace, subject=own)
    return kept


async def work_on(engine: Engine, workspace: int, connection_id: UUID) -> int:
    """Work on messages of a connection that are due, in the order in which they came; returns how many were done."""
    scope = engine.scope(workspace=workspace, actor="system:inbound", cause="inbound")
    async with engine.store.database.transaction(scope) as tx:
        try:
            connection, inbound = await inbound_of(tx, engine, connection_id)
        except SignatureRefused:
            return 0
        if connection.status == Status.PAUSED:
            return 0
        settings = await all_settings(tx, engine.store.vault, connection)
        flows = await in_force(tx, connection_id)
        rows = await (await tx.connection.execute(_DUE, (connection_id, scope.now, BATCH))).fetchall()
    connector = flowing(engine.connectors[connection.connector], flows)
    asking = Asking(engine, workspace, connection, connector, settings)
    landing = _Landing(engine, connection, connector, inbound, connector.feeds_of(settings), asking)
    async with asking:
        return sum([await landing.land(scope, own) for (own,) in rows])


async def try_again(tx: Transaction, own: UUID) -> None:
    """Have a message worked on again that failed too often; raises MessageMissing."""
    if (await tx.connection.execute(_AGAIN, (tx.scope.now, own))).rowcount != 1:
        raise MessageMissing("There is no such message that failed.", fix="List them: isthmus events dlq")


async def stuck(tx: Transaction, *, after: UUID | None = None, limit: int) -> list[Stuck]:
    """Return messages that wait for a person, oldest first."""
    rows = await (await tx.connection.execute(_STUCK, {"after": after, "limit": limit})).fetchall()
    return [Stuck(**dict(zip(Stuck.__struct_fields__, row, strict=True))) for row in rows]


async def stuck_count(tx: Transaction) -> int:
    """Return how many messages wait for a person."""
    row = await (await tx.connection.execute(_STUCK_COUNT)).fetchone()
    return int(row[0]) if row else 0


async def stuck_causes(tx: Transaction, *, shown: int) -> list[StuckCause]:
    """Return why messages wait, the most frequent first, each with its first `shown` messages; 10,000 are grouped."""
    grouped: dict[tuple[str, str, int, datetime, datetime], list[UUID]] = {}
    rows = await (await tx.connection.execute(_CAUSES, (GROUPED_MAX, shown))).fetchall()
    for name, reason, count, since, tried, own in rows:
        grouped.setdefault((name, reason, count, since, tried), []).append(own)
    return [StuckCause(*key, first=tuple(first)) for key, first in grouped.items()]


async def stuck_alike(tx: Transaction, *, connection: str, reason: str, limit: int) -> list[UUID]:
    """Return messages to a connection that failed for one reason, oldest first."""
    rows = await (await tx.connection.execute(_SAME, (connection, reason, limit))).fetchall()
    return [row[0] for row in rows]


async def discard(tx: Transaction, vault: Vault, own: UUID) -> None:
    """Give up a message that failed too often, and destroy its body; raises MessageMissing."""
    if (await tx.connection.execute(_DISCARD, (own,))).rowcount != 1:
        raise MessageMissing("There is no such message that failed.", fix="List them: isthmus events dlq")
    vault.erase(workspace=tx.scope.workspace, subject=own)


async def forget(engine: Engine, scope: Scope) -> int:
    """Destroy bodies that were worked on some days ago, and rows whose repetition nobody fears; returns how many."""
    async with engine.store.database.transaction(scope) as tx:
        old = [row[0] for row in await (await tx.connection.execute(_OLD, (scope.now - KEPT,))).fetchall()]
        for own in old:
            engine.store.vault.erase(workspace=scope.workspace, subject=own)
        await tx.connection.execute(_FORGET, (scope.now - REMEMBERED,))
    return len(old)


@dataclass(frozen=True)
class _Landing:
    """Landing messages of one connection."""

    engine: Engine
    connection: Connection
    connector: Connector
    inbound: Inbound
    feeds: Iterable[Feed]
    asking: Asking

    async def land(self, scope: Scope, own: UUID) -> bool:
        """Land one message in one transaction with its being done; a failure is written down, and tried again later.

        What the message only names is asked for before.
        """
        try:
            async with self.engine.store.database.transaction(scope) as tx:
                told = await self._told(tx, own)
            rows = await self.asking.answered(told)
            return await committed(self.engine.store, scope, lambda tx: self._land(tx, own, rows))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the reason is kept beside the message, which is tried again.
            reason = reason_of(error)
        async with self.engine.store.database.transaction(scope) as tx:
            await self._failed(tx, own, reason)
        return False

    async def _told(self, tx: Transaction, own: UUID) -> list[tuple[str, Raw | str]]:
        row = await (await tx.connection.execute(_TAKE, (own,))).fetchone()
        sealed = bytes(row[0]) if row is not None else b""
        if not sealed:
            return []
        body = self.engine.store.vault.open_many(workspace=tx.scope.workspace, values=[(own, sealed)])[0]
        return [] if body is None else list(self.inbound.read(body))

    async def _land(self, tx: Transaction, own: UUID, told: Iterable[tuple[str, Raw]]) -> bool:
        if await (await tx.connection.execute(_TAKE, (own,))).fetchone() is None:
            return False
        for feed, rows in self._by_feed(told):
            for some in once_each(rows):
                await self._put(tx, feed, some)
        await tx.connection.execute(_DONE, (tx.scope.now, own))
        return True

    def _by_feed(self, told: Iterable[tuple[str, Raw]]) -> Iterable[tuple[Feed, list[Raw]]]:
        """Return what is told by feed, in the order of the manifest, so that records come after those they point to."""
        found: dict[str, list[Raw]] = {}
        for name, raw in told:
            found.setdefault(name, []).append(raw)
        known = [(feed, found.pop(feed.name)) for feed in self.feeds if feed.name in found]
        if found:
            raise NotUnderstood("The message tells of a feed that is not there.", fix="Which system sends it?")
        return known

    async def _put(self, tx: Transaction, feed: Feed, rows: list[Raw]) -> None:
        store, system = self.engine.store, self.connection.name
        landed, _ = await take(
            tx,
            store,
            self.connector,
            feed,
            connection_id=self.connection.id,
            system=system,
            rows=rows,
            interval=Interval(since=None, until=tx.scope.now),
        )
        if not self.connection.options.push:
            return
        writes = {name for each in self.feeds for name in each.writes}
        for name, records in landed.spoken.items():
            if name in writes:
                await look_again(tx, connection_id=self.connection.id, type_name=name, records=records, reason=SPOKEN)

    async def _failed(self, tx: Transaction, own: UUID, reason: str) -> None:
        query: LiteralString = "select attempts from webhook_inbound where workspace = current_workspace() and id = %s"
        row = await (await tx.connection.execute(query, (own,))).fetchone()
        tried = row[0] if row is not None else 0
        now = tx.scope.now
        over = tried >= len(DELAYS_S)
        status = "needs attention" if over else "retrying"
        due = now if over else now + timedelta(seconds=DELAYS_S[tried])
        await tx.connection.execute(_FAILED, (status, due, now if over else None, reason, own))


def once_each(rows: Iterable[Raw]) -> list[list[Raw]]:
    """Return rows in their order, in lists of which each speaks of a record once: a put takes one word of each."""
    found: list[list[Raw]] = []
    times: dict[str, int] = {}
    for row in rows:
        at = times[row.external_id] = times.get(row.external_id, -1) + 1
        found += [[]] if at == len(found) else []
        found[at].append(row)
    return found


async def is_known(tx: Transaction, connection_id: UUID, external_id: str) -> bool:
    """Tell whether a message came before."""
    return await (await tx.connection.execute(_KNOWN, (connection_id, external_id))).fetchone() is not None


async def workspace_of(engine: Engine, connection_id: UUID) -> int:
    """Return the workspace of a connection; raises SignatureRefused where there is none."""
    async with engine.store.database.plain() as connection:
        row = await (await connection.execute(_WORKSPACE, (connection_id,))).fetchone()
    if row is None or row[0] is None:
        raise _unproven()
    return int(row[0])


async def inbound_of(tx: Transaction, engine: Engine, connection_id: UUID) -> tuple[Connection, Inbound]:
    """Return a connection and how its vendor calls; raises SignatureRefused where there is none."""
    try:
        connection = await connection_of(tx, connection_id)
    except ConnectionMissing as error:
        raise _unproven() from error
    connector = engine.connectors.get(connection.connector)
    if connector is None or connector.inbound is None:
        raise _unproven()
    return connection, connector.inbound


def _unproven() -> SignatureRefused:
    return SignatureRefused("The signature does not fit what was sent.", fix="Is it the right address and secret?")
