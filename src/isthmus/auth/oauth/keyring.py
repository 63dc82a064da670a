"""Signing keys on a schedule: published, waited for, signed with, kept until nothing signed with them is alive.

A key signs from `signs_from` until its successor does. Everything follows from these moments; nothing has to run for a
key to begin or to end. Private parts are sealed by the vault, and destroyed when their key signs no more.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from joserfc.jwk import ECKey
from psycopg.types.json import Jsonb

from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import mint
from isthmus.kernel.marks import Json
from isthmus.store.database import Database, Scope, Transaction
from isthmus.vault import Vault, entropy

SERVER = 0
"""The workspace of what belongs to the whole server."""
JWKS_AGE_S = 900
_LOOKED = timedelta(seconds=30)
_LOOKED_AGAIN = timedelta(seconds=1)
_LOCK = 4_815_162_344
_LIST: LiteralString = (
    "select id, public, private, signs_from from oauth_key where workspace = 0 order by signs_from, id"
)
_LOCKED: LiteralString = "select pg_advisory_xact_lock(%s)"
_INSERT: LiteralString = """
insert into oauth_key (workspace, id, public, private, created_at, signs_from) values (0, %s, %s, %s, %s, %s)
"""
_FORGET: LiteralString = "update oauth_key set private = null where workspace = 0 and id = any(%s)"


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The schedule: how long a key is published before it signs, how long it signs, how long it is kept after."""

    published: timedelta = timedelta(days=1)
    signs: timedelta = timedelta(days=90)
    kept: timedelta = timedelta(days=1)


@dataclass(frozen=True)
class _Key:
    """A key as it is stored."""

    id: UUID
    public: dict[str, Json]
    private: bytes | None
    signs_from: datetime

    @property
    def kid(self) -> str:
        """Its name in the header of what it signs."""
        return str(self.public["kid"])


@dataclass(frozen=True)
class SigningKey:
    """The key to sign with now."""

    kid: str
    key: ECKey


class Keyring:
    """The signing keys of the server, as one worker sees them. Makes the next one when its time has come."""

    def __init__(self, database: Database, vault: Vault, *, rotation: Rotation | None = None) -> None:
        """Keep to a schedule."""
        self._database = database
        self._vault = vault
        self._rotation = rotation or Rotation()
        self._keys: tuple[_Key, ...] = ()
        self._looked_at: datetime | None = None
        self._opened: dict[str, ECKey] = {}
        self._public: dict[str, ECKey] = {}
        self._turn = asyncio.Lock()

    async def signing(self, *, now: datetime) -> SigningKey:
        """Return the key that signs now.

        A key whose seal is gone, because the key store was lost, signs no more; another begins at once.
        """
        await self._look(now, within=_LOOKED)
        if (found := self._usable(now)) is None:
            await self._change(now, unless=lambda: self._usable(now) is not None)
            found = self._usable(now)
        return found if found is not None else await self.signing(now=now)

    def _usable(self, now: datetime) -> SigningKey | None:
        """Return the newest key that signs; the first may have been made elsewhere, a moment after this call began."""
        begun = [each for each in self._keys if each.signs_from <= now] or list(self._keys[:1])
        for key in reversed(begun):
            if key.kid not in self._opened and key.private is not None:
                (text,) = self._vault.open_many(workspace=SERVER, values=[(key.id, key.private)])
                if text is not None:
                    self._opened[key.kid] = ECKey.import_key(json.loads(text))
            if key.kid in self._opened:
                return SigningKey(key.kid, self._opened[key.kid])
        return None

    async def verifying(self, kid: object, *, now: datetime) -> ECKey | None:
        """Return the key of that name while it is published."""
        for within in (_LOOKED, _LOOKED_AGAIN):
            await self._look(now, within=within)
            for key in self._alive(now):
                if key.kid == kid:
                    if key.kid not in self._public:
                        self._public[key.kid] = ECKey.import_key({name: str(part) for name, part in key.public.items()})
                    return self._public[key.kid]
        return None

    def publishes(self, kid: object, *, now: datetime) -> bool:
        """Tell whether it is known without asking that the key of that name is published."""
        return self._fresh(now, _LOOKED) and any(key.kid == kid for key in self._alive(now))

    async def published(self, *, now: datetime) -> list[dict[str, Json]]:
        """Return the public keys, the newest first."""
        await self._look(now, within=_LOOKED)
        return [key.public for key in reversed(self._alive(now))]

    def _alive(self, now: datetime) -> list[_Key]:
        ends = [each.signs_from + self._rotation.kept for each in self._keys[1:]]
        return [key for key, end in zip(self._keys, [*ends, None], strict=True) if end is None or now < end]

    def _is_due(self, now: datetime) -> bool:
        """Tell whether the next key must be published."""
        rotation = self._rotation
        return not self._keys or self._keys[-1].signs_from + rotation.signs - rotation.published <= now

    async def _look(self, now: datetime, *, within: timedelta) -> None:
        if self._fresh(now, within):
            return
        async with self._turn:
            if self._fresh(now, within):
                return
            await self._change(now, unless=lambda: not self._is_due(now))
            self._looked_at = now

    async def _change(self, now: datetime, *, unless: Callable[[], bool]) -> None:
        """Read the keys, and add one unless that is not needed; on all servers one of them adds it."""
        scope = Scope(workspace=SERVER, actor="system:oauth", cause="signing-keys", now=now)
        async with self._database.transaction(scope) as tx:
            await self._read(tx)
            if unless():
                return
            await tx.connection.execute(_LOCKED, (_LOCK,))
            await self._read(tx)
            if not unless():
                await self._add(tx)
                await self._read(tx)

    def _fresh(self, now: datetime, within: timedelta) -> bool:
        looked = self._looked_at
        return looked is not None and looked <= now < looked + within and not self._is_due(now)

    async def _read(self, tx: Transaction) -> None:
        rows = await (await tx.connection.execute(_LIST)).fetchall()
        self._keys = tuple(_Key(*row) for row in rows)

    async def _add(self, tx: Transaction) -> None:
        now, newest = tx.scope.now, self._keys[-1] if self._keys else None
        if newest is None or self._usable(now) is None:
            signs_from = now
        else:
            signs_from = max(newest.signs_from + self._rotation.signs, now + self._rotation.published)
        key_id = mint(unix_ms=milliseconds(now), entropy=entropy(10))
        key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"})
        kid = key.thumbprint()
        public = {**key.as_dict(private=False), "kid": kid}
        private = json.dumps({**key.as_dict(private=True), "kid": kid}).encode()
        self._vault.create(workspace=SERVER, subjects=[key_id])
        (sealed,) = self._vault.seal_many(workspace=SERVER, values=[(key_id, private)])
        await tx.connection.execute(_INSERT, (key_id, Jsonb(public), sealed, now, signs_from))
        spent = [each.id for each in self._keys[:-1] if each.private is not None]
        await tx.connection.execute(_FORGET, (spent,))
        for each in spent:
            self._vault.erase(workspace=SERVER, subject=each)
        details = {"kid": kid, "signs_from": signs_from.isoformat()}
        await trace(tx, action="signing_key.created", resource="oauth_key", record_id=key_id, details=details)
