"""Programs that a workspace registered: what they are, how they prove themselves, what they may ask for."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Literal, LiteralString, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from isthmus.auth.oauth.errors import ClientMissing, InvalidClientWish
from isthmus.auth.oauth.jose import NotSigned, public_key
from isthmus.auth.oauth.minting import digest, new_secret
from isthmus.auth.oauth.scopes import OFFLINE, allowed_by, is_known
from isthmus.auth.roles import check_grant
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Fault
from isthmus.kernel.ids import mint, text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Database, Scope, Transaction
from isthmus.vault import entropy

CLIENT_PREFIX = "client"
CLIENTS_MAX = 1_000
OVERLAP = timedelta(days=1)
CODE, REFRESH, MACHINE = "authorization_code", "refresh_token", "client_credentials"
DEVICE, EXCHANGE = "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange"
GRANTS = (CODE, REFRESH, MACHINE, DEVICE, EXCHANGE)
Method: TypeAlias = Literal["secret", "private_key_jwt", "none"]
_SECRET_PREFIX = "iscs"  # noqa: S105 - by which scanners know a secret, no secret.
_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")
_WORKSPACE: LiteralString = "select find_oauth_client(%s)"
_LIST: LiteralString = """
select workspace, id, name, method, digest, old_digest, old_until, keys, grants, scopes, redirects, after_sign_out,
       audience, pushed_only, bound_only, created_at, created_by, rotated_at, removed_at,
       back_channel_logout
from oauth_client
where workspace = current_workspace() and (%(only)s::uuid is null or id = %(only)s)
  and (%(after)s::uuid is null or id > %(after)s) and (%(every)s or removed_at is null)
order by id limit %(limit)s
"""
_COUNT: LiteralString = "select count(*) from oauth_client where workspace = current_workspace() and removed_at is null"
_AUDIENCES: LiteralString = """
select audience from oauth_client
where workspace = current_workspace() and audience is not null and removed_at is null
"""
_INSERT: LiteralString = """
insert into oauth_client (workspace, id, name, method, digest, keys, grants, scopes, redirects, after_sign_out,
                          audience, pushed_only, bound_only, created_at, created_by, back_channel_logout)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_REMOVE: LiteralString = """
update oauth_client set removed_at = %s, removed_by = %s
where workspace = current_workspace() and id = %s and removed_at is null returning id
"""
_END_GRANTS: LiteralString = """
with recursive dead (id) as (
    select id from oauth_grant where workspace = current_workspace() and client = %(client)s
    union
    select g.id from oauth_grant g join dead d on g.parent = d.id where g.workspace = current_workspace()
)
update oauth_grant g set revoked_at = %(now)s, revoked_why = 'the program was removed' from dead d
where g.workspace = current_workspace() and g.id = d.id and g.revoked_at is null
"""
_ROTATE: LiteralString = """
update oauth_client set old_digest = digest, old_until = %s, digest = %s, rotated_at = %s
where workspace = current_workspace() and id = %s and removed_at is null and method = 'secret' returning id
"""


class Client(Struct, frozen=True, kw_only=True):
    """A registered program. `audience` is the resource it serves: others may ask for tokens to it.

    `back_channel_logout` is where it is told that a person's session ended.
    """

    workspace: int
    id: UUID
    name: str
    method: Method
    digest: bytes | None
    old_digest: bytes | None
    old_until: datetime | None
    keys: dict[str, Json] | None
    grants: list[str]
    scopes: list[str]
    redirects: list[str]
    after_sign_out: list[str]
    audience: str | None
    pushed_only: bool
    bound_only: bool
    created_at: datetime
    created_by: str
    rotated_at: datetime | None
    removed_at: datetime | None
    back_channel_logout: str | None = None

    @property
    def client_id(self) -> str:
        """How it names itself."""
        return text_of(CLIENT_PREFIX, self.id)

    @property
    def is_confidential(self) -> bool:
        """Tell whether it can keep a secret."""
        return self.method != "none"


class ClientWish(Struct, frozen=True, kw_only=True):
    """What is to be registered. `keys` is a JWKS (RFC 7517) of public keys, for `private_key_jwt` only."""

    name: str
    method: Method = "secret"
    grants: tuple[str, ...] = (CODE, REFRESH)
    scopes: tuple[str, ...] = ()
    redirects: tuple[str, ...] = ()
    after_sign_out: tuple[str, ...] = ()
    audience: str | None = None
    keys: Mapping[str, Json] | None = None
    pushed_only: bool = False
    bound_only: bool = False
    back_channel_logout: str | None = None


async def register_client(
    tx: Transaction, wish: ClientWish, *, domains: Sequence[str], giver: frozenset[str] | None
) -> tuple[Client, str | None]:
    """Register a program and return it with its secret, which is never shown again; None where it has none.

    `giver` holds the permissions of whoever asks (None: the machine's owner at the command line). Raises
    InvalidClientWish and GrantTooWide.
    """
    if faults := _faults(wish, domains):
        raise InvalidClientWish(faults[0].detail, fix="Mend what `errors` names.", faults=tuple(faults))
    if giver is not None:
        check_grant(allowed_by(wish.scopes, domains=domains), giver=giver)
    room = await (await tx.connection.execute(_COUNT)).fetchone()
    if room is None or room[0] >= CLIENTS_MAX:
        raise InvalidClientWish(f"There are {CLIENTS_MAX} programs.", fix="Remove those that are not used.")
    if wish.audience in await audiences(tx):
        fault = Fault(pointer="/audience", code="taken", detail="Another program serves this resource.")
        raise InvalidClientWish(fault.detail, fix="Name another resource.", faults=(fault,))
    client_id = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(10))
    secret = new_secret(_SECRET_PREFIX) if wish.method == "secret" else None
    keys = Jsonb(dict(wish.keys)) if wish.keys is not None else None
    own = digest("client", secret) if secret else None
    asking = (list(wish.grants), list(wish.scopes), list(wish.redirects), list(wish.after_sign_out), wish.audience)
    flags = (wish.pushed_only, wish.bound_only, tx.scope.now, tx.scope.actor, wish.back_channel_logout)
    await tx.connection.execute(_INSERT, (client_id, wish.name, wish.method, own, keys, *asking, *flags))
    details = {"name": wish.name, "method": wish.method, "grants": list(wish.grants), "scopes": list(wish.scopes)}
    await trace(tx, action="client.registered", resource="oauth_client", record_id=client_id, details=details)
    return await find_client(tx, client_id), secret


async def list_clients(tx: Transaction, *, limit: int, after: UUID | None = None, every: bool = False) -> list[Client]:
    """Return programs in the order they were registered; `every` with those that were removed."""
    values = {"only": None, "after": after, "limit": limit, "every": every}
    return [_client(row) for row in await (await tx.connection.execute(_LIST, values)).fetchall()]


async def find_client(tx: Transaction, client_id: UUID) -> Client:
    """Return a program of the workspace, a removed one too; raises ClientMissing."""
    values = {"only": client_id, "after": None, "limit": 1, "every": True}
    row = await (await tx.connection.execute(_LIST, values)).fetchone()
    if row is None:
        raise ClientMissing("There is no program with this id.", fix="List the programs.")
    return _client(row)


async def living_client(database: Database, client_id: UUID, *, cause: str, now: datetime) -> Client | None:
    """Return a program of whatever workspace, or None for one that is unknown or removed."""
    async with database.plain() as connection:
        row = await (await connection.execute(_WORKSPACE, (client_id,))).fetchone()
    if row is None or row[0] is None:
        return None
    scope = Scope(workspace=row[0], actor=f"client:{client_id}", cause=cause, now=now)
    async with database.transaction(scope) as tx:
        found = await find_client(tx, client_id)
    return found if found.removed_at is None else None


async def remove_client(tx: Transaction, client_id: UUID) -> Client:
    """End a program for ever, and with it every token it holds; one removed before stays as it is."""
    done = await (await tx.connection.execute(_REMOVE, (tx.scope.now, tx.scope.actor, client_id))).fetchone()
    found = await find_client(tx, client_id)
    if done is not None:
        await tx.connection.execute(_END_GRANTS, {"client": client_id, "now": tx.scope.now})
        details = {"name": found.name}
        await trace(tx, action="client.removed", resource="oauth_client", record_id=client_id, details=details)
    return found


async def rotate_secret(tx: Transaction, client_id: UUID, *, overlap: timedelta = OVERLAP) -> tuple[Client, str]:
    """Give a program another secret; the one before holds for `overlap` longer. Raises InvalidClientWish."""
    now, secret = tx.scope.now, new_secret(_SECRET_PREFIX)
    values = (now + overlap, digest("client", secret), now, client_id)
    done = await (await tx.connection.execute(_ROTATE, values)).fetchone()
    found = await find_client(tx, client_id)
    if done is None:
        raise InvalidClientWish("The program has no secret, or was removed.", fix="Register it again.")
    details = {"name": found.name, "overlap_s": int(overlap.total_seconds())}
    await trace(tx, action="client.rotated", resource="oauth_client", record_id=client_id, details=details)
    return found, secret


async def audiences(tx: Transaction) -> frozenset[str]:
    """Return the resources that programs of the workspace serve."""
    return frozenset(str(row[0]) for row in await (await tx.connection.execute(_AUDIENCES)).fetchall())


def is_loopback(uri: str) -> bool:
    """Tell whether a URI leads to a literal address of the machine itself, where the port is chosen at run time."""
    try:
        parts = urlsplit(uri)
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _faults(wish: ClientWish, domains: Sequence[str]) -> list[Fault]:
    said: list[tuple[str, str]] = []
    said += [(f"/grants/{i}", "There is no such grant type.") for i, g in enumerate(wish.grants) if g not in GRANTS]
    if not wish.grants and not wish.audience:
        said.append(("/grants", "The program could ask for nothing."))
    if not wish.name.strip():
        said.append(("/name", "A program needs a name."))
    if wish.method == "none" and {MACHINE, EXCHANGE} & {*wish.grants}:
        said.append(("/grants", "A public program acts for a person: it has neither tokens of its own nor exchanges."))
    said += [
        (f"/scopes/{index}", f"There is no scope {scope!r}.")
        for index, scope in enumerate(wish.scopes)
        if not is_known(scope, domains=domains)
    ]
    if OFFLINE in wish.scopes and REFRESH not in wish.grants:
        said.append(("/grants", f"{OFFLINE} needs the grant type {REFRESH}."))
    if CODE in wish.grants and not wish.redirects:
        said.append(("/redirects", "Say where codes are sent."))
    if wish.back_channel_logout is not None and (why := _uri_fault(wish.back_channel_logout, "secret")):
        said.append(("/back_channel_logout", why))
    for name, uris in (("redirects", wish.redirects), ("after_sign_out", wish.after_sign_out)):
        said += [(f"/{name}/{index}", why) for index, uri in enumerate(uris) if (why := _uri_fault(uri, wish.method))]
    if wish.audience is not None and (not urlsplit(wish.audience).scheme or "#" in wish.audience):
        said.append(("/audience", "A resource is an absolute URI without a fragment."))
    if why := _keys_fault(wish):
        said.append(("/keys", why))
    return [Fault(pointer=pointer, code=InvalidClientWish.code, detail=detail) for pointer, detail in said]


def _uri_fault(uri: str, method: Method) -> str:
    """Return what is wrong with a redirect URI (RFC 9700 §2.1, RFC 8252 §7), or nothing."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError:
        return "It is no URI."
    if "#" in uri or not uri.isascii() or not uri.isprintable() or " " in uri:
        return "A redirect URI is absolute, in ASCII, without a fragment."
    if parts.scheme == "https" and host:
        return ""
    if parts.scheme == "http" and (host == "localhost" or is_loopback(uri)):
        return ""
    if method == "none" and _SCHEME.fullmatch(parts.scheme):
        return ""
    return "A redirect URI begins with https://, or leads to this machine (http://127.0.0.1/…)."


def _keys_fault(wish: ClientWish) -> str:
    if wish.method != "private_key_jwt":
        return "Keys are for private_key_jwt only." if wish.keys is not None else ""
    keys = (wish.keys or {}).get("keys")
    if not isinstance(keys, list) or not keys:
        return "private_key_jwt needs a JWKS with at least one public key."
    try:
        for each in keys:
            public_key(each)
    except NotSigned as error:
        return str(error)
    return ""


def _client(row: TupleRow) -> Client:
    return msgspec.convert(dict(zip(Client.__struct_fields__, row, strict=True)), Client)
