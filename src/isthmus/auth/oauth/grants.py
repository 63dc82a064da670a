"""Grants: what tokens stand on. A grant names whose permissions its tokens carry at most, and ends them together."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.types.json import Jsonb

from isthmus.auth.oauth.clients import Client
from isthmus.auth.oauth.scopes import OFFLINE, allowed_by
from isthmus.auth.principal import Principal
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import mint, text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.vault import entropy

OFFLINE_LIFE = timedelta(days=30)
"""After this, a person must allow again, however often tokens were refreshed."""
ONLINE_LIFE = timedelta(hours=1)
CONSENT_LIFE = timedelta(days=90)
_INSERT: LiteralString = """
insert into oauth_grant (workspace, id, client, kind, subject, name, user_id, session_id, permissions, narrowed, scopes,
                         resources, methods, proven_at, mfa_at, act, parent, from_token, created_at, expires_at)
values (current_workspace(), %(id)s, %(client)s, %(kind)s, %(subject)s, %(name)s, %(user_id)s, %(session_id)s,
        %(permissions)s, %(narrowed)s, %(scopes)s, %(resources)s, %(methods)s, %(proven_at)s, %(mfa_at)s, %(act)s,
        %(parent)s, %(from_token)s, %(created_at)s, %(expires_at)s)
on conflict (workspace, id) do nothing
"""
_FIND: LiteralString = """
select g.id, g.client, g.kind, g.subject, g.name, g.user_id, g.session_id, g.permissions, g.narrowed, g.scopes,
       g.resources, g.methods, g.proven_at, g.mfa_at, g.act, g.parent, g.created_at, g.expires_at,
       coalesce(g.revoked_at, l.disabled_at, case when g.user_id is not null and l.id is null then g.created_at end)
from oauth_grant g left join person_login l on l.workspace = g.workspace and l.id = g.user_id
where g.workspace = current_workspace() and g.id = %s
"""
_END: LiteralString = """
with recursive dead (id) as (
    select id from oauth_grant
    where workspace = current_workspace() and (id = any(%(ids)s::uuid[]) or from_token = %(token)s::uuid)
    union
    select g.id from oauth_grant g join dead d on g.parent = d.id where g.workspace = current_workspace()
)
update oauth_grant g set revoked_at = %(now)s, revoked_why = %(why)s from dead d
where g.workspace = current_workspace() and g.id = d.id and g.revoked_at is null
returning g.id
"""
_ALLOWED_BEFORE: LiteralString = """
select exists (
    select from oauth_grant
    where workspace = current_workspace() and client = %s and subject = %s and kind = 'code' and revoked_at is null
      and created_at > %s and scopes @> %s and resources @> %s)
"""
_OF_SUBJECT: LiteralString = """
select g.client, c.name, array_agg(distinct s), min(g.created_at), array_agg(distinct g.id)
from oauth_grant g join oauth_client c on c.workspace = g.workspace and c.id = g.client, unnest(g.scopes) s
where g.workspace = current_workspace() and g.subject = %s and g.kind in ('code', 'device') and g.revoked_at is null
  and c.removed_at is null
group by g.client, c.name order by c.name
"""


class Grant(Struct, frozen=True, kw_only=True):
    """A grant; `subject` is the `sub` of its tokens, `narrowed` the records its tokens are narrowed to.

    It counts as revoked while its person is disabled. `name` is that of a program or of a session without a user; the
    name of a user is sealed, and stands with the user.
    """

    id: UUID
    client: UUID
    kind: str
    subject: str
    name: str
    user_id: UUID | None = None
    session_id: UUID | None = None
    permissions: list[str] = []
    narrowed: dict[str, list[UUID]] = {}
    scopes: list[str] = []
    resources: list[str] = []
    methods: list[str] = []
    proven_at: datetime | None = None
    mfa_at: datetime | None = None
    act: dict[str, Json] | None = None
    parent: UUID | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_alive(self, now: datetime) -> bool:
        """Tell whether tokens may be made from it."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Allowed(Struct, frozen=True, kw_only=True):
    """A program that a person let in: with which scopes, since when, by which grants."""

    client: UUID
    name: str
    scopes: list[str]
    since: datetime
    grants: list[UUID]


def subject_of(principal: Principal) -> str:
    """Return the name of a person that programs see: stable for a user, for others that of the session."""
    return text_of("user", principal.user) if principal.user else text_of("sess", principal.id)


def new_id(now: datetime) -> UUID:
    """Return a fresh id."""
    return mint(unix_ms=milliseconds(now), entropy=entropy(10))


def of_person(
    principal: Principal,
    *,
    client: Client,
    kind: str,
    scopes: Sequence[str],
    resources: Sequence[str],
    proven_at: datetime,
    now: datetime,
) -> Grant:
    """Return a grant of what a signed-in person may do and no more."""
    return Grant(
        id=new_id(now),
        client=client.id,
        kind=kind,
        subject=subject_of(principal),
        name="" if principal.user else principal.name,
        user_id=principal.user,
        session_id=principal.id,
        permissions=sorted(principal.permissions),
        narrowed={name: sorted(ids) for name, ids in principal.only.items()},
        scopes=list(scopes),
        resources=list(resources),
        methods=sorted(principal.methods),
        proven_at=proven_at,
        mfa_at=principal.mfa_at,
        created_at=now,
        expires_at=now + (OFFLINE_LIFE if OFFLINE in scopes else ONLINE_LIFE),
    )


def of_client(client: Client, *, domains: Sequence[str]) -> Grant:
    """Return the one lasting grant of a program that acts for itself; it has the program's id."""
    return Grant(
        id=client.id,
        client=client.id,
        kind="client",
        subject=client.client_id,
        name=client.name,
        permissions=sorted(allowed_by(client.scopes, domains=domains)),
        scopes=list(client.scopes),
        created_at=client.created_at,
    )


async def store_grant(tx: Transaction, grant: Grant, *, from_token: UUID | None = None) -> None:
    """Store a grant; one that is there stays as it is."""
    values = {name: getattr(grant, name) for name in grant.__struct_fields__}
    values["narrowed"] = Jsonb(msgspec.to_builtins(grant.narrowed))
    values["act"] = Jsonb(grant.act) if grant.act else None
    done = await tx.connection.execute(_INSERT, {**values, "from_token": from_token})
    if done.rowcount:
        details = {"client": str(grant.client), "kind": grant.kind, "scopes": grant.scopes}
        await trace(tx, action="grant.created", resource="oauth_grant", record_id=grant.id, details=details)


async def find_grant(tx: Transaction, grant_id: UUID) -> Grant | None:
    """Return a grant, an ended one too, or None."""
    row = await (await tx.connection.execute(_FIND, (grant_id,))).fetchone()
    return None if row is None else msgspec.convert(dict(zip(Grant.__struct_fields__, row, strict=True)), Grant)


async def end_grants(tx: Transaction, ids: Sequence[UUID], *, why: str, token: UUID | None = None) -> list[UUID]:
    """End grants and all that were exchanged from them, or from one `token`; return those that were alive."""
    values = {"ids": list(ids), "token": token, "now": tx.scope.now, "why": why}
    ended = [row[0] for row in await (await tx.connection.execute(_END, values)).fetchall()]
    for each in ended:
        await trace(tx, action="grant.ended", resource="oauth_grant", record_id=each, details={"why": why})
    return ended


async def allowed_before(
    tx: Transaction, client: Client, subject: str, *, scopes: Sequence[str], resources: Sequence[str]
) -> bool:
    """Tell whether a person let a program in with at least these scopes during the last 90 days."""
    since = tx.scope.now - CONSENT_LIFE
    values = (client.id, subject, since, list(scopes), list(resources))
    row = await (await tx.connection.execute(_ALLOWED_BEFORE, values)).fetchone()
    return row is not None and bool(row[0])


async def programs_of(tx: Transaction, subject: str) -> list[Allowed]:
    """Return the programs that a person let in, by name."""
    rows = await (await tx.connection.execute(_OF_SUBJECT, (subject,))).fetchall()
    return [
        Allowed(client=client, name=name, scopes=sorted(scopes), since=since, grants=ids)
        for client, name, scopes, since, ids in rows
    ]


def narrowing(grant: Mapping[str, Sequence[UUID]]) -> dict[str, frozenset[UUID]]:
    """Return the narrowing of a grant as a principal carries it."""
    return {name: frozenset(ids) for name, ids in grant.items()}
