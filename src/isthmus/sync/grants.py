"""What a person's consent gave a connection, kept sealed; and current tokens for its sessions.

Of all programs one renews the tokens of a connection at a time: it takes the row for a minute, in a transaction of its
own, asks the vendor, and commits what it got before anybody uses it. The others wait, and read what it got. So a
refresh token that may be used once is used once.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import LiteralString, NoReturn
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.kernel.status import Status
from isthmus.store.database import Database, Scope, Transaction
from isthmus.sync.connections import Connection, audit, set_status
from isthmus.sync.connector import Authorise, Connector, ConnectorError, Leave, Session, freely
from isthmus.sync.oauth import ConsentNeeded, Granted, Tokens, oauth_of, renew
from isthmus.vault import Vault, entropy

WARN = timedelta(days=7)
HOLD = timedelta(seconds=60)
LOOK_S, LOOKS_MAX = 0.1, 600
_RECORD: LiteralString = """
insert into connection_grant (workspace, connection_id, tokens, renew_at, refresh_expires_at, consented_at,
                              consented_by)
values (current_workspace(), %(id)s, %(tokens)s, %(renew)s, %(dies)s, %(now)s, %(actor)s)
on conflict (workspace, connection_id) do update set
    tokens = excluded.tokens, version = connection_grant.version + 1, renew_at = excluded.renew_at,
    refresh_expires_at = excluded.refresh_expires_at, holder = null, held_until = null, refused_at = null, reason = '',
    consented_at = excluded.consented_at, consented_by = excluded.consented_by
"""
_READ: LiteralString = """
select tokens, version, renew_at, refresh_expires_at, refused_at, reason, consented_at from connection_grant
where workspace = current_workspace() and connection_id = %s
"""
_HOLD: LiteralString = """
update connection_grant set holder = %(holder)s, held_until = %(until)s
where workspace = current_workspace() and connection_id = %(id)s and version = %(version)s and refused_at is null
  and (held_until is null or held_until <= %(now)s)
"""
_KEEP: LiteralString = """
update connection_grant set tokens = %(tokens)s, version = version + 1, renew_at = %(renew)s,
    refresh_expires_at = %(dies)s, holder = null, held_until = null
where workspace = current_workspace() and connection_id = %(id)s and version = %(version)s and holder = %(holder)s
"""
_LET_GO: LiteralString = """
update connection_grant set holder = null, held_until = null
where workspace = current_workspace() and connection_id = %s and holder = %s
"""
_REFUSE: LiteralString = """
update connection_grant set refused_at = %(now)s, reason = %(reason)s, holder = null, held_until = null
where workspace = current_workspace() and connection_id = %(id)s and version = %(version)s and holder = %(holder)s
"""
_FORGET: LiteralString = "delete from connection_grant where workspace = current_workspace() and connection_id = %s"
_ENDING: LiteralString = """
select c.name, g.refresh_expires_at, g.refused_at, g.reason from connection_grant g
join connection c on c.workspace = g.workspace and c.id = g.connection_id
where g.workspace = current_workspace() and c.removed_at is null
  and (g.refused_at is not null or g.refresh_expires_at < %s)
order by c.name
"""


class Grant(Struct, frozen=True, kw_only=True):
    """What is held for a connection. `version` grows with every renewal; `refused_at` is when it was refused, why.

    `renew_at` is a little before the access token ends.
    """

    tokens: Tokens
    version: int
    renew_at: datetime
    refresh_expires_at: datetime | None
    refused_at: datetime | None
    reason: str
    consented_at: datetime


class Ending(Struct, frozen=True, kw_only=True):
    """A connection whose consent ends or has ended: when its refresh token dies of age, or when it was refused."""

    connection: str
    ends_at: datetime | None
    refused_at: datetime | None
    reason: str


async def record(tx: Transaction, vault: Vault, connection: Connection, granted: Granted) -> None:
    """Keep what a person's consent gave, in the place of what there was; the connection may run again."""
    now = tx.scope.now
    row = {**_row(tx, vault, connection.id, granted), "now": now, "actor": tx.scope.actor}
    await tx.connection.execute(_RECORD, row)
    await set_status(tx, connection.id, Status.PENDING)
    details = {"name": connection.name}
    await audit(tx, action="authorise", resource="connection", record_id=connection.id, details=details)


async def forget(tx: Transaction, connection_id: UUID) -> None:
    """Drop what is held for a connection."""
    await tx.connection.execute(_FORGET, (connection_id,))


async def grant_of(tx: Transaction, vault: Vault, connection_id: UUID) -> Grant | None:
    """Return what is held for a connection."""
    row = await (await tx.connection.execute(_READ, (connection_id,))).fetchone()
    if row is None:
        return None
    plain = vault.open_many(workspace=tx.scope.workspace, values=[(connection_id, bytes(row[0]))])[0]
    if plain is None:
        return None
    told = dict(zip(Grant.__struct_fields__[1:], row[1:], strict=True))
    return Grant(tokens=msgspec.json.decode(plain, type=Tokens), **told)


async def endings(tx: Transaction) -> list[Ending]:
    """Return the connections whose consent was refused, or whose refresh token dies of age within a week."""
    rows = await (await tx.connection.execute(_ENDING, (tx.scope.now + WARN,))).fetchall()
    return [Ending(**dict(zip(Ending.__struct_fields__, row, strict=True))) for row in rows]


def warning(grant: Grant | None, name: str, *, now: datetime) -> str:
    """Return a sentence where a refresh token dies of age within a week, and else nothing."""
    if grant is None or grant.refresh_expires_at is None or grant.refresh_expires_at > now + WARN:
        return ""
    return f"The consent ends on {grant.refresh_expires_at:%Y-%m-%d}; before then: isthmus connect authorize {name}."


@dataclass(kw_only=True)
class Access:
    """A connection's way to current tokens, for one session. `scope` returns a scope of this moment."""

    database: Database
    vault: Vault
    scope: Callable[[], Scope]
    connection: Connection
    connector: Connector
    settings: Mapping[str, str] = field(repr=False)
    _last: Grant | None = field(default=None, init=False, repr=False)

    async def authorise(self, fresh: bool) -> Mapping[str, str]:  # noqa: FBT001 - as Calls asks it.
        """Return the header with a current access token; raises ConsentNeeded and what `oauth.renew` raises.

        With `fresh` the one that was returned last is not taken any more.
        """
        last = self._last
        if last is None or fresh or last.renew_at <= self.scope().now:
            self._last = last = await self.current(than=last.version if last is not None and fresh else None)
        return {"Authorization": f"Bearer {last.tokens.access}"}

    async def current(self, *, than: int | None = None) -> Grant:
        """Return tokens that hold, and that are of another version `than` one that is not taken any more."""
        for _ in range(LOOKS_MAX):
            scope = self.scope()
            async with self.database.transaction(scope) as tx:
                grant = self._usable(await grant_of(tx, self.vault, self.connection.id))
                if grant.version != than and grant.renew_at > scope.now:
                    return grant
                holder = self._renewable(grant, scope)
                held = {"holder": holder, "until": scope.now + HOLD, "id": self.connection.id, "now": scope.now}
                won = (await tx.connection.execute(_HOLD, {**held, "version": grant.version})).rowcount == 1
            if won:
                return await self._renewed(grant, holder)
            await asyncio.sleep(LOOK_S)
        raise ConnectorError("Another program renews the tokens and does not end.", fix="It is tried again by itself.")

    async def told(self) -> dict[str, str]:
        """Return what the vendor's answer told that sessions need; raises as `authorise`."""
        self._last = await self.current()
        return self._last.tokens.told

    @property
    def note(self) -> str:
        """A sentence of what a person should know although all is well, or nothing."""
        return warning(self._last, self.connection.name, now=self.scope().now)

    async def _renewed(self, grant: Grant, holder: UUID) -> Grant:
        """Ask the vendor, and commit what it gave; where a person consented meanwhile, that is what holds."""
        own = self.connection.id
        try:
            granted = await renew(
                self.connector,
                self.settings,
                grant.tokens,
                dies_at=grant.refresh_expires_at,
                now=self.scope().now,
            )
        except ConsentNeeded as error:
            await self._refuse(grant, holder, error)
        except BaseException:
            async with self.database.transaction(self.scope()) as tx:
                await tx.connection.execute(_LET_GO, (own, holder))
            raise
        async with self.database.transaction(self.scope()) as tx:
            row = _row(tx, self.vault, own, granted)
            await tx.connection.execute(_KEEP, {**row, "version": grant.version, "holder": holder})
            return self._usable(await grant_of(tx, self.vault, own))

    async def _refuse(self, grant: Grant, holder: UUID, error: ConsentNeeded) -> NoReturn:
        """Say on the connection that a person has to consent again, unless one did meanwhile."""
        fix = f"isthmus connect authorize {self.connection.name}"
        scope = self.scope()
        async with self.database.transaction(scope) as tx:
            said = {"now": scope.now, "reason": error.detail, "id": self.connection.id, "version": grant.version}
            if (await tx.connection.execute(_REFUSE, {**said, "holder": holder})).rowcount == 1:
                reason = f"{error.detail} Consent again: {fix}"
                await set_status(tx, self.connection.id, Status.NEEDS_ATTENTION, reason=reason)
                details = {"name": self.connection.name, "reason": error.detail}
                await audit(tx, action="refused", resource="connection", record_id=self.connection.id, details=details)
        raise ConsentNeeded(error.detail, fix=fix) from error

    def _usable(self, grant: Grant | None) -> Grant:
        fix = f"isthmus connect authorize {self.connection.name}"
        if grant is None:
            raise ConsentNeeded(f"Nobody has consented at {self.connector.title} yet.", fix=fix)
        if grant.refused_at is not None:
            raise ConsentNeeded(grant.reason, fix=fix)
        return grant

    def _renewable(self, grant: Grant, scope: Scope) -> UUID:
        """Return the name under which the tokens are renewed; raises ConsentNeeded where they cannot be."""
        if not grant.tokens.refresh:
            raise ConsentNeeded(
                f"The token of {self.connector.title} has ended, and there is none to renew it with.",
                fix=f"isthmus connect authorize {self.connection.name}",
            )
        return mint(unix_ms=milliseconds(scope.now), entropy=entropy(ENTROPY_BYTES))


@asynccontextmanager
async def opened(
    connector: Connector, settings: dict[str, str], *, access: Access | None, leave: Leave = freely
) -> AsyncGenerator[Session]:
    """Open a session, in a person's name where the connection is used by consent.

    Raises ConsentNeeded where nobody has consented, and what opening raises.
    """
    if not connector.consents(settings):
        async with connector.open(settings, leave=leave) as session:
            yield session
        return
    if access is None:
        raise ConsentNeeded(
            f"{connector.title} asks for a person's consent first.", fix="Connect it, then: isthmus connect authorize"
        )
    told = await access.told()
    authorise: Authorise = access.authorise
    async with oauth_of(connector).begin(settings | told, leave, authorise) as session:
        yield session


def _row(tx: Transaction, vault: Vault, connection_id: UUID, granted: Granted) -> dict[str, object]:
    workspace = tx.scope.workspace
    vault.ensure(workspace=workspace, subjects=[connection_id])
    sealed = vault.seal_many(workspace=workspace, values=[(connection_id, msgspec.json.encode(granted.tokens))])[0]
    return {
        "id": connection_id,
        "tokens": sealed,
        "renew": granted.renew_at,
        "dies": granted.refresh_expires_at,
    }
