"""Identity providers as they are set up for a workspace. The secret is sealed under the provider's own id."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Struct
from psycopg.rows import TupleRow

from isthmus.auth.custom_roles import list_roles
from isthmus.auth.people.logins import open_for, seal_for
from isthmus.auth.roles import check_grant, permissions_of
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import mint
from isthmus.store.database import Database, Transaction
from isthmus.stream.outbound import Outbound
from isthmus.vault import Vault, entropy

ISSUER_PREFIX = "idp"
ISSUERS_MAX = 20
OWN_NETWORKS = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
_SHOWN: LiteralString = "select id, title from upstream_issuers()"
_WORKSPACE: LiteralString = "select find_upstream_issuer(%s)"
_COLUMNS: LiteralString = """
select id, title, issuer, client, internal, roles, mail_domains, created_at from upstream_issuer
where workspace = current_workspace() and removed_at is null
"""
_INSERT: LiteralString = """
insert into upstream_issuer (workspace, id, title, issuer, client, secret, internal, roles, mail_domains, created_at)
select current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s
where (select count(*) from upstream_issuer where workspace = current_workspace() and removed_at is null) < %s
"""
_REMOVE: LiteralString = """
update upstream_issuer set removed_at = %s
where workspace = current_workspace() and id = %s and removed_at is null returning 1
"""
_SEALED: LiteralString = "select secret from upstream_issuer where workspace = current_workspace() and id = %s"


class IssuerMissing(NotFound):
    """There is no such identity provider."""

    code, title = "provider-missing", "There is no such identity provider"


class IssuersFull(Conflicting):
    """There are as many identity providers as a workspace may have."""

    code, title = "providers-full", "There are too many identity providers"


class IssuerWish(Struct, frozen=True, kw_only=True):
    """A provider to be set up. Whoever has an address in one of `mail_domains` becomes a user with `roles`.

    Without domains only those come in who are users already, by their address. `internal` lets it stand in a network
    of one's own, also without TLS; only the machine's owner says so.
    """

    title: str
    issuer: str
    client: str
    secret: str = ""
    internal: bool = False
    roles: tuple[str, ...] = ()
    mail_domains: tuple[str, ...] = ()


class Issuer(Struct, frozen=True, kw_only=True):
    """A provider."""

    id: UUID
    title: str
    issuer: str
    client: str
    internal: bool
    roles: list[str]
    mail_domains: list[str]
    created_at: datetime

    @property
    def outbound(self) -> Outbound:
        """What may be called for it."""
        return Outbound(OWN_NETWORKS if self.internal else ())


class ShownIssuer(Struct, frozen=True, kw_only=True):
    """A provider as the sign-in page names it."""

    id: UUID
    title: str


async def add_issuer(
    tx: Transaction, vault: Vault, wish: IssuerWish, *, domains: Sequence[str], giver: frozenset[str] | None
) -> Issuer:
    """Set a provider up; raises OutboundRefused, UnknownRole, GrantTooWide and IssuersFull."""
    wanted = permissions_of(wish.roles, domains=domains, custom=await list_roles(tx))
    if giver is not None:
        check_grant(wanted, giver=giver)
    Outbound(OWN_NETWORKS if wish.internal else ()).check(wish.issuer)
    own = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(10))
    secret = wish.secret.encode()
    sealed = await seal_for(vault, own, secret, workspace=tx.scope.workspace) if secret else None
    mail = sorted({each.casefold().removeprefix("@") for each in wish.mail_domains})
    row = (own, wish.title, wish.issuer, wish.client, sealed, wish.internal, list(wish.roles), mail, tx.scope.now)
    if (await tx.connection.execute(_INSERT, (*row, ISSUERS_MAX))).rowcount != 1:
        raise IssuersFull(f"There are {ISSUERS_MAX} providers.", fix="Remove one that is not used.")
    details = {"host": urlsplit(wish.issuer).hostname, "roles": list(wish.roles), "mail_domains": mail}
    await trace(tx, action="provider.added", resource="identity_provider", record_id=own, details=details)
    return await find_issuer(tx, own)


async def list_issuers(tx: Transaction) -> list[Issuer]:
    """Return the providers of a workspace, oldest first."""
    rows = await (await tx.connection.execute(_COLUMNS + " order by id")).fetchall()
    return [_issuer(row) for row in rows]


async def find_issuer(tx: Transaction, issuer: UUID) -> Issuer:
    """Return a provider; raises IssuerMissing."""
    row = await (await tx.connection.execute(_COLUMNS + " and id = %s", (issuer,))).fetchone()
    if row is None:
        raise _missing()
    return _issuer(row)


async def remove_issuer(tx: Transaction, issuer: UUID) -> None:
    """Let nobody sign in by a provider any more; open sessions stay. Raises IssuerMissing."""
    if await (await tx.connection.execute(_REMOVE, (tx.scope.now, issuer))).fetchone() is None:
        raise _missing()
    await trace(tx, action="provider.removed", resource="identity_provider", record_id=issuer, details={})


async def secret_of(tx: Transaction, vault: Vault, issuer: UUID) -> str:
    """Return the secret with which we prove ourselves to a provider; empty where there is none."""
    row = await (await tx.connection.execute(_SEALED, (issuer,))).fetchone()
    if row is None or row[0] is None:
        return ""
    return (await open_for(vault, issuer, bytes(row[0]), workspace=tx.scope.workspace) or b"").decode()


async def shown_issuers(database: Database) -> list[ShownIssuer]:
    """Return the first providers of all workspaces of this server, for those who have not said who they are."""
    async with database.plain() as connection:
        rows = await (await connection.execute(_SHOWN)).fetchall()
    return [ShownIssuer(id=row[0], title=row[1]) for row in rows]


async def workspace_with(database: Database, issuer: UUID) -> int:
    """Return the workspace of a provider; raises IssuerMissing."""
    async with database.plain() as connection:
        row = await (await connection.execute(_WORKSPACE, (issuer,))).fetchone()
    if row is None or row[0] is None:
        raise _missing()
    return int(row[0])


def _missing() -> IssuerMissing:
    return IssuerMissing("There is no such identity provider.", fix="List the providers.")


def _issuer(row: TupleRow) -> Issuer:
    return Issuer(**dict(zip(Issuer.__struct_fields__, row, strict=True)))
