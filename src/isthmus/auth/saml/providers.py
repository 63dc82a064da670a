"""SAML identity providers as they are set up for a workspace."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Struct
from psycopg.rows import TupleRow

from isthmus.auth.custom_roles import list_roles
from isthmus.auth.roles import check_grant, permissions_of
from isthmus.auth.saml.errors import SamlProviderMissing, SamlProvidersFull
from isthmus.auth.saml.metadata import read_metadata
from isthmus.auth.saml.signing import new_pair
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import mint
from isthmus.store.database import Database, Transaction
from isthmus.vault import Vault, entropy

SAML_PREFIX = "saml"
PROVIDERS_MAX = 20
_SHOWN: LiteralString = "select id, title from saml_providers()"
_WORKSPACE: LiteralString = "select find_saml_provider(%s)"
_COLUMNS: LiteralString = """
select id, title, entity, sign_in_url, certificates, email_attribute, name_attribute, roles, mail_domains, created_at,
       signing_certificate, signing_key
from saml_provider where workspace = current_workspace() and removed_at is null
"""
_INSERT: LiteralString = """
insert into saml_provider (workspace, id, title, entity, sign_in_url, certificates, email_attribute, name_attribute,
                           roles, mail_domains, created_at, signing_certificate, signing_key)
select current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s
where (select count(*) from saml_provider where workspace = current_workspace() and removed_at is null) < %s
"""
_REMOVE: LiteralString = """
update saml_provider set removed_at = %s, signing_key = null
where workspace = current_workspace() and id = %s and removed_at is null returning 1
"""


class SamlWish(Struct, frozen=True, kw_only=True):
    """A provider to be set up, by its metadata. Addresses in one of `mail_domains` become users with `roles`.

    Without domains only those come in who are users already, by their address. The attributes name where e-mail
    address and name stand, if not under one of the usual names.
    """

    title: str
    metadata: str
    roles: tuple[str, ...] = ()
    mail_domains: tuple[str, ...] = ()
    email_attribute: str = ""
    name_attribute: str = ""


class SamlProvider(Struct, frozen=True, kw_only=True):
    """A provider; `signing_certificate` is ours (PEM), `signing_key` the sealed key by which requests are signed."""

    id: UUID
    title: str
    entity: str
    sign_in_url: str
    certificates: list[str]
    email_attribute: str
    name_attribute: str
    roles: list[str]
    mail_domains: list[str]
    created_at: datetime
    signing_certificate: str | None = None
    signing_key: bytes | None = None


class ShownSaml(Struct, frozen=True, kw_only=True):
    """A provider as the sign-in page names it."""

    id: UUID
    title: str


async def add_saml_provider(
    tx: Transaction, vault: Vault, wish: SamlWish, *, domains: Sequence[str], giver: frozenset[str] | None
) -> SamlProvider:
    """Set a provider up; raises InvalidMetadata, UnknownRole, GrantTooWide and SamlProvidersFull."""
    wanted = permissions_of(wish.roles, domains=domains, custom=await list_roles(tx))
    if giver is not None:
        check_grant(wanted, giver=giver)
    told = read_metadata(wish.metadata)
    own = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(10))
    pair = await new_pair(vault, own, workspace=tx.scope.workspace, now=tx.scope.now)
    mail = sorted({each.casefold().removeprefix("@") for each in wish.mail_domains})
    row = (own, wish.title, told.entity, told.sign_in_url, list(told.certificates))
    row = (*row, wish.email_attribute, wish.name_attribute, list(wish.roles), mail, tx.scope.now, *pair, PROVIDERS_MAX)
    if (await tx.connection.execute(_INSERT, row)).rowcount != 1:
        raise SamlProvidersFull(f"There are {PROVIDERS_MAX} providers.", fix="Remove one that is not used.")
    details = {"host": urlsplit(told.sign_in_url).hostname, "roles": list(wish.roles), "mail_domains": mail}
    await trace(tx, action="provider.added", resource="identity_provider", record_id=own, details=details)
    return await find_saml_provider(tx, own)


async def list_saml_providers(tx: Transaction) -> list[SamlProvider]:
    """Return the providers of a workspace, oldest first."""
    rows = await (await tx.connection.execute(_COLUMNS + " order by id")).fetchall()
    return [_provider(row) for row in rows]


async def find_saml_provider(tx: Transaction, provider: UUID) -> SamlProvider:
    """Return a provider; raises SamlProviderMissing."""
    row = await (await tx.connection.execute(_COLUMNS + " and id = %s", (provider,))).fetchone()
    if row is None:
        raise provider_missing()
    return _provider(row)


async def remove_saml_provider(tx: Transaction, vault: Vault, provider: UUID) -> None:
    """Let nobody sign in by a provider any more; open sessions stay. Raises SamlProviderMissing."""
    if await (await tx.connection.execute(_REMOVE, (tx.scope.now, provider))).fetchone() is None:
        raise provider_missing()
    await trace(tx, action="provider.removed", resource="identity_provider", record_id=provider, details={})
    vault.erase(workspace=tx.scope.workspace, subject=provider)


async def shown_saml_providers(database: Database) -> list[ShownSaml]:
    """Return the first providers of all workspaces of this server, for those who have not said who they are."""
    async with database.plain() as connection:
        rows = await (await connection.execute(_SHOWN)).fetchall()
    return [ShownSaml(id=row[0], title=row[1]) for row in rows]


async def workspace_of_saml(database: Database, provider: UUID) -> int:
    """Return the workspace of a provider; raises SamlProviderMissing."""
    async with database.plain() as connection:
        row = await (await connection.execute(_WORKSPACE, (provider,))).fetchone()
    if row is None or row[0] is None:
        raise provider_missing()
    return int(row[0])


def provider_missing() -> SamlProviderMissing:
    """Return the refusal of what is not there."""
    return SamlProviderMissing("There is no such identity provider.", fix="List the providers.")


def _provider(row: TupleRow) -> SamlProvider:
    return SamlProvider(**dict(zip(SamlProvider.__struct_fields__, row, strict=True)))
