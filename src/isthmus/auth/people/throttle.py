"""Tries that fail make the next one wait, for each account and for each address, known or not.

A try is counted as failed before it is looked at and taken back when it was right, so that tries at the same moment
cannot slip through together. What is kept are keyed digests, for a day.
"""

import hmac
from dataclasses import dataclass
from typing import LiteralString

from isthmus.auth.people.errors import SignInPaused
from isthmus.auth.people.visitor import NOBODY, Visitor, site_of
from isthmus.store.database import Database, Transaction
from isthmus.vault import Vault

ACCOUNT_TRIES_FREE, ADDRESS_TRIES_FREE = 5, 30
PAUSE_S_MAX = 900
_PURPOSE = "sign-in tries"
_TRY: LiteralString = """
insert into sign_in_pause as p (workspace, key, failures, at, until)
values (current_workspace(), %(key)s, 1, %(now)s, %(now)s)
on conflict (workspace, key) do update set
    failures = case when p.at < %(now)s - interval '1 day' then 1 else p.failures + 1 end,
    until = case when p.at < %(now)s - interval '1 day' or p.failures < %(free)s then %(now)s else
        %(now)s + make_interval(secs => least(%(max)s, power(2, least(p.failures + 1 - %(free)s, 12)))) end,
    at = %(now)s
where p.until <= %(now)s
returning failures
"""
_UNTIL: LiteralString = "select until from sign_in_pause where workspace = current_workspace() and key = %s"
_CLEAR: LiteralString = "delete from sign_in_pause where workspace = current_workspace() and key = %s"
_TAKE_BACK: LiteralString = """
update sign_in_pause set failures = greatest(failures - 1, 0) where workspace = current_workspace() and key = %s
"""


@dataclass(frozen=True)
class Throttle:
    """Counts tries."""

    database: Database
    vault: Vault

    async def admit(self, visitor: Visitor, account: bytes) -> None:
        """Count a try for an account (any bytes that stand for it); raises SignInPaused."""
        async with self.database.transaction(visitor.scope(NOBODY)) as tx:
            await self._try(tx, self._key(b"account", account), free=ACCOUNT_TRIES_FREE)
            await self._try(tx, self._address(visitor), free=ADDRESS_TRIES_FREE)

    async def succeeded(self, visitor: Visitor, account: bytes) -> None:
        """Forget what failed for the account, and take this try back for the address."""
        async with self.database.transaction(visitor.scope(NOBODY)) as tx:
            await tx.connection.execute(_CLEAR, (self._key(b"account", account),))
            await tx.connection.execute(_TAKE_BACK, (self._address(visitor),))

    async def _try(self, tx: Transaction, key: bytes, *, free: int) -> None:
        given = {"key": key, "now": tx.scope.now, "free": free, "max": PAUSE_S_MAX}
        if await (await tx.connection.execute(_TRY, given)).fetchone() is None:
            row = await (await tx.connection.execute(_UNTIL, (key,))).fetchone()
            left = (row[0] - tx.scope.now).total_seconds() if row else 0.0
            raise SignInPaused(max(1, round(left + 0.5)))

    def _address(self, visitor: Visitor) -> bytes:
        return self._key(b"address", site_of(visitor.address).encode())

    def _key(self, kind: bytes, content: bytes) -> bytes:
        key = self.vault.workspace(NOBODY).derived(_PURPOSE)
        return hmac.digest(key, kind + b":" + content, "sha256")[:16]
