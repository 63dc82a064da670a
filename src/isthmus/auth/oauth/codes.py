"""Authorisation codes: given on a person's word, exchanged once within a minute (RFC 6749 §4.1, RFC 7636)."""

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import LiteralString
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.auth.oauth.clients import CODE, Client
from isthmus.auth.oauth.errors import AccessRefused, InvalidGrant
from isthmus.auth.oauth.grants import Grant, find_grant, of_person, store_grant
from isthmus.auth.oauth.issuing import Issue, TokenAnswer, issue
from isthmus.auth.oauth.minting import base64url, digest, new_secret
from isthmus.auth.oauth.provider import Provider, check_may
from isthmus.auth.oauth.refreshing import aimed, first_refresh
from isthmus.auth.oauth.requests import Asked
from isthmus.auth.oauth.scopes import OIDC, allowed_by
from isthmus.auth.principal import Principal
from isthmus.store.database import Transaction

CODE_LIFE = timedelta(seconds=60)
_VERIFIER_MIN, _VERIFIER_MAX = 43, 128
_INSERT: LiteralString = """
insert into oauth_code (workspace, digest, client, grant_id, asked, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s)
"""
_FIND: LiteralString = """
select grant_id, asked, expires_at, used_at from oauth_code
where workspace = current_workspace() and digest = %s and client = %s
"""
_USE: LiteralString = """
update oauth_code set used_at = %s where workspace = current_workspace() and digest = %s and used_at is null
returning grant_id
"""


async def give_code(
    provider: Provider, tx: Transaction, client: Client, asked: Asked, *, person: Principal, proven_at: datetime
) -> str:
    """Return a code on a person's word.

    Scopes of which the person has no part are left out; raises AccessRefused when nothing is left.
    """
    scopes = within(asked.scopes, person=person, domains=provider.domains)
    now = tx.scope.now
    grant = of_person(
        person,
        client=client,
        kind="code",
        scopes=scopes,
        resources=asked.resources,
        proven_at=proven_at,
        now=now,
    )
    await store_grant(tx, grant)
    text = new_secret("isac")
    kept = Jsonb(msgspec.to_builtins(asked))
    await tx.connection.execute(_INSERT, (digest("code", text), client.id, grant.id, kept, now + CODE_LIFE))
    return text


def within(scopes: Sequence[str], *, person: Principal, domains: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes that a person can grant something of; raises AccessRefused when there are none."""
    own = tuple(each for each in scopes if each in OIDC or allowed_by((each,), domains=domains) & person.permissions)
    if not own:
        raise AccessRefused("You have nothing of what the program asks for.", fix="Ask somebody for a role.")
    return own


async def redeem_code(
    provider: Provider,
    tx: Transaction,
    client: Client,
    *,
    code: str,
    redirect: str | None,
    verifier: str,
    bound_to: str | None,
    resources: Sequence[str] = (),
) -> TokenAnswer:
    """Exchange a code for tokens; of many who try at once one succeeds.

    Raises InvalidGrant; for a code that was used it names the grant that must end, because somebody else has the code.
    """
    check_may(client, CODE)
    now, own = tx.scope.now, digest("code", code)
    row = await (await tx.connection.execute(_FIND, (own, client.id))).fetchone()
    if row is None:
        raise InvalidGrant("The code is not known for this program.")
    asked = msgspec.convert(row[1], Asked)
    _check(asked, verifier=verifier, redirect=redirect, bound_to=bound_to)
    if now >= row[2] and row[3] is None:
        raise InvalidGrant("The code is over a minute old.")
    used = await (await tx.connection.execute(_USE, (now, own))).fetchone()
    if used is None:
        raise InvalidGrant("The code was used before; what it gave is revoked.", ends=row[0])
    grant = await _living(tx, row[0])
    refresh = await first_refresh(tx, client, grant, bound_to=bound_to)
    wanted = Issue(
        scopes=tuple(grant.scopes),
        resources=aimed(provider, grant, resources),
        bound_to=bound_to,
        nonce=asked.nonce,
        refresh=refresh,
    )
    return await issue(provider, client, grant, wanted, now=now)


def _check(asked: Asked, *, verifier: str, redirect: str | None, bound_to: str | None) -> None:
    fits = _VERIFIER_MIN <= len(verifier) <= _VERIFIER_MAX and verifier.isascii()
    shown = base64url(sha256(verifier.encode()).digest())
    if not fits or not hmac.compare_digest(shown, asked.challenge):
        raise InvalidGrant("The code_verifier does not fit the code_challenge.")
    if redirect is not None and redirect != asked.redirect:
        raise InvalidGrant("The redirect_uri is not the one the code was sent to.")
    if asked.bound_to is not None and asked.bound_to != bound_to:
        raise InvalidGrant("The code is bound to another DPoP key.")


async def _living(tx: Transaction, grant_id: UUID) -> Grant:
    grant = await find_grant(tx, grant_id)
    if grant is None or not grant.is_alive(tx.scope.now):
        raise InvalidGrant("What was allowed has ended.")
    return grant
