"""A POST with an Idempotency-Key is answered once: whoever calls again gets the first answer again.

The key belongs to one caller and one route, with a fingerprint of the request. While the first call is being answered
its row is leased, and the lease renewed; when its program is killed, the next attempt takes over after the lease with
the same `once`, so that what handlers put under it is put once. Answers are kept 24 hours, sealed under the caller.
"""

import asyncio
import hmac
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.gateway.errors import InFlight, KeyReused
from isthmus.kernel.clock import Clock, milliseconds
from isthmus.kernel.errors import Malformed, Unavailable
from isthmus.kernel.ids import mint
from isthmus.store.database import Database, Scope
from isthmus.vault import Vault, entropy

KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=30)
RENEWAL_S = 10.0
_PURGED_ROWS = 20
_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,255})"?')
_PURGE: LiteralString = """
delete from idempotency where ctid in (
    select ctid from idempotency where workspace = current_workspace() and created_at <= %s limit %s
    for update skip locked
)
"""
_TAKE: LiteralString = """
insert into idempotency (workspace, principal, route, key, fingerprint, once, attempt, leased_until, created_at)
values (current_workspace(), %(principal)s, %(route)s, %(key)s, %(fingerprint)s, %(once)s, %(attempt)s, %(until)s,
        %(now)s)
on conflict (workspace, principal, route, key) do update
set fingerprint = excluded.fingerprint, once = excluded.once, attempt = excluded.attempt,
    leased_until = excluded.leased_until, created_at = excluded.created_at, answer = null
where idempotency.created_at <= %(old)s
returning once
"""
_LOOK: LiteralString = """
select fingerprint, once, leased_until, answer from idempotency
where workspace = current_workspace() and principal = %s and route = %s and key = %s for update
"""
_TAKE_OVER: LiteralString = """
update idempotency set attempt = %s, leased_until = %s
where workspace = current_workspace() and principal = %s and route = %s and key = %s
"""
_RENEW: LiteralString = """
update idempotency set leased_until = %s
where workspace = current_workspace() and principal = %s and attempt = %s and answer is null
"""
_KEEP: LiteralString = """
update idempotency set answer = %s where workspace = current_workspace() and principal = %s and attempt = %s
"""


class Answer(Struct, frozen=True, array_like=True):
    """An answer as it is kept."""

    status: int
    media: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A call that names a key; `fingerprint` is a keyed digest of what is asked."""

    principal: UUID
    route: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What is to be done: send `answer` again, or answer under the id `once` and `keep` the answer."""

    once: UUID
    attempt: UUID
    answer: Answer | None = None


def read_key(header: str) -> str:
    """Return the key in a header; raises Malformed."""
    match = _KEY.fullmatch(header)
    if match is None:
        raise Malformed(
            "The Idempotency-Key is not 1 to 255 visible characters of ASCII.", fix="Send a random UUID for each call."
        )
    return match[1]


class Repeats:
    """Remembers answers of calls that may come again."""

    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        """Keep answers in the database, sealed by the vault."""
        self._database = database
        self._vault = vault
        self._clock = clock
        self._ensured: set[tuple[int, UUID]] = set()

    def fingerprint(self, workspace: int, parts: tuple[bytes, ...]) -> bytes:
        """Return the keyed digest of a request, from which its content cannot be guessed."""
        key = self._vault.workspace(workspace).derived("idempotency")
        return hmac.digest(key, b"".join(len(each).to_bytes(8, "big") + each for each in parts), "sha256")

    async def take(self, scope: Scope, asking: Asking) -> Turn:
        """Return whose turn it is; raises KeyReused and InFlight."""
        attempt, until = self._new_id(scope.now), scope.now + LEASE
        place = (asking.principal, asking.route, asking.key)
        named = dict(zip(("principal", "route", "key"), place, strict=True))
        new = {"once": self._new_id(scope.now), "attempt": attempt, "until": until}
        more = {"fingerprint": asking.fingerprint, "now": scope.now, "old": scope.now - KEPT}
        async with self._database.transaction(scope) as tx:
            await tx.connection.execute(_PURGE, (scope.now - KEPT, _PURGED_ROWS))
            row = await (await tx.connection.execute(_TAKE, {**named, **new, **more})).fetchone()
            if row is not None:
                return Turn(once=row[0], attempt=attempt)
            found = await (await tx.connection.execute(_LOOK, place)).fetchone()
            if found is None:
                raise InFlight("The same call ended at this moment.", fix="Send it again.")
            fingerprint, once, leased_until, sealed = found
            if not hmac.compare_digest(bytes(fingerprint), asking.fingerprint):
                raise KeyReused(
                    "The key was used for a request with other content.", fix="Use a new key for each call."
                )
            if sealed is not None:
                answer = self._opened(scope.workspace, asking.principal, bytes(sealed))
                return Turn(once=once, attempt=attempt, answer=answer)
            if leased_until > scope.now:
                raise InFlight("The first call with this key is being answered.", fix="Wait, and send it again.")
            await tx.connection.execute(_TAKE_OVER, (attempt, until, *place))
            return Turn(once=once, attempt=attempt)

    @asynccontextmanager
    async def held(self, scope: Scope, asking: Asking, turn: Turn) -> AsyncGenerator[None]:
        """Keep the lease while the block runs; let it go at once when the block raises, so that a retry may begin."""
        renewing = asyncio.create_task(self._renew(scope, asking, turn))
        try:
            yield
        except Exception:
            with suppress(Unavailable):
                await self.release(scope, asking, turn)
            raise
        finally:
            renewing.cancel()

    async def keep(self, scope: Scope, asking: Asking, turn: Turn, answer: Answer) -> None:
        """Store the answer; one whose turn was taken over meanwhile is not stored."""
        if (scope.workspace, asking.principal) not in self._ensured:
            await asyncio.to_thread(self._vault.ensure, workspace=scope.workspace, subjects=[asking.principal])
            self._ensured.add((scope.workspace, asking.principal))
        plain = msgspec.msgpack.encode(answer)
        sealed = self._vault.seal_many(workspace=scope.workspace, values=[(asking.principal, plain)])
        async with self._database.transaction(scope) as tx:
            await tx.connection.execute(_KEEP, (sealed[0], asking.principal, turn.attempt))

    async def release(self, scope: Scope, asking: Asking, turn: Turn) -> None:
        """Let go of a turn whose answer is not kept."""
        await self._lease(scope, asking, turn, until=self._clock.now())

    async def _renew(self, scope: Scope, asking: Asking, turn: Turn) -> None:
        while True:
            await asyncio.sleep(RENEWAL_S)
            with suppress(Unavailable):
                await self._lease(scope, asking, turn, until=self._clock.now() + LEASE)

    async def _lease(self, scope: Scope, asking: Asking, turn: Turn, *, until: datetime) -> None:
        async with self._database.transaction(scope) as tx:
            await tx.connection.execute(_RENEW, (until, asking.principal, turn.attempt))

    def _opened(self, workspace: int, principal: UUID, sealed: bytes) -> Answer:
        plain = self._vault.open_many(workspace=workspace, values=[(principal, sealed)])[0]
        if plain is None:
            raise KeyReused("The answer to this key was erased.", fix="Use a new key for each call.")
        return msgspec.msgpack.decode(plain, type=Answer)

    def _new_id(self, now: datetime) -> UUID:
        return mint(unix_ms=milliseconds(now), entropy=entropy(10))
