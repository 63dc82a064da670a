"""Token exchange (RFC 8693): a program that was called with a token gets a narrower one to call others with.

The new token stands on a grant of its own whose parent is that of the first: both end together. Its `act` names who
really acts, with the whole chain of those before it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from isthmus.auth.oauth.clients import EXCHANGE, Client
from isthmus.auth.oauth.errors import InvalidGrant, InvalidRequest, UnsupportedTokenType
from isthmus.auth.oauth.grants import Grant, find_grant, new_id, store_grant
from isthmus.auth.oauth.inspecting import token_is_revoked
from isthmus.auth.oauth.issuing import Issue, TokenAnswer, issue
from isthmus.auth.oauth.jose import Signed
from isthmus.auth.oauth.provider import Provider, check_may
from isthmus.auth.oauth.requests import known_resources
from isthmus.auth.oauth.scopes import OFFLINE, OPENID, is_part, narrowed, read_scopes
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction

ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type.
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
CHAIN_MAX = 4
_TYPES = frozenset({ACCESS_TOKEN_TYPE, JWT_TYPE})


async def exchange(
    provider: Provider,
    tx: Transaction,
    client: Client,
    given: Mapping[str, str],
    *,
    signed: Signed | None,
    resources: Sequence[str],
    bound_to: str | None,
) -> TokenAnswer:
    """Exchange a token of this workspace for one with at most its scopes and its life.

    `signed` is what `own_token` says of it: that is asked before the transaction, because it may need one of its own.

    Raises InvalidRequest, InvalidGrant, InvalidScope and InvalidTarget.
    """
    check_may(client, EXCHANGE)
    _check_types(given)
    now = tx.scope.now
    signed, grant = await _subject(tx, signed)
    had = [each for each in read_scopes(str(signed.claims.get("scope", ""))) if each not in {OFFLINE, OPENID}]
    may = [each for each in had if is_part(each, of=client.scopes, domains=provider.domains)]
    scopes = narrowed(read_scopes(given.get("scope", "")), to=may, domains=provider.domains)
    if not scopes:
        raise InvalidRequest("Nothing of the token's scopes may be passed on to this program.", fix="Register more.")
    if "cnf" in signed.claims and bound_to is None:
        raise InvalidRequest("The token is bound to a key; so must be what it is exchanged for.", fix="Send a proof.")
    aim = await known_resources(provider, tx, resources)
    until = datetime.fromtimestamp(signed.seconds("exp"), tz=UTC)
    own = _derived(client, grant, scopes=scopes, resources=aim, now=now, until=until)
    await store_grant(tx, own, from_token=signed.id("jti"))
    wanted = Issue(
        scopes=scopes, resources=aim, bound_to=bound_to, until=until, issued_type=ACCESS_TOKEN_TYPE, with_id=False
    )
    return await issue(provider, client, own, wanted, now=now)


def _check_types(given: Mapping[str, str]) -> None:
    if "subject_token" not in given or "subject_token_type" not in given:
        raise InvalidRequest("subject_token and subject_token_type are needed.", fix="Send both.")
    if "actor_token" in given or "actor_token_type" in given:
        raise InvalidRequest("The program that asks is the actor.", fix="Leave actor_token out.")
    named = {given["subject_token_type"], given.get("requested_token_type", ACCESS_TOKEN_TYPE)}
    if not named <= _TYPES:
        raise UnsupportedTokenType("Only access tokens are exchanged.", fix=f"Send {ACCESS_TOKEN_TYPE}.")


async def _subject(tx: Transaction, signed: Signed | None) -> tuple[Signed, Grant]:
    """Return a token that is alive in this workspace, and its grant; raises InvalidGrant."""
    now = tx.scope.now
    grant = await find_grant(tx, signed.id("gid")) if signed is not None else None
    if signed is None or grant is None or not grant.is_alive(now) or now.timestamp() >= signed.seconds("exp"):
        raise InvalidGrant("The subject token is not alive.")
    if await token_is_revoked(tx, grant=grant, token=signed.id("jti")):
        raise InvalidGrant("The subject token is not alive.")
    return signed, grant


def _derived(
    client: Client, grant: Grant, *, scopes: Sequence[str], resources: Sequence[str], now: datetime, until: datetime
) -> Grant:
    depth, link = 1, grant.act
    while isinstance(link, dict):
        depth, inner = depth + 1, link.get("act")
        link = inner if isinstance(inner, dict) else None
    if depth > CHAIN_MAX:
        raise InvalidGrant(f"The token was passed on {CHAIN_MAX} times.", fix="Begin with a token of the person.")
    act: dict[str, Json] = {"sub": client.client_id}
    return Grant(
        id=new_id(now),
        client=client.id,
        kind="exchange",
        subject=grant.subject,
        name=grant.name,
        user_id=grant.user_id,
        session_id=grant.session_id,
        permissions=grant.permissions,
        narrowed=grant.narrowed,
        scopes=list(scopes),
        resources=list(resources),
        methods=grant.methods,
        proven_at=grant.proven_at,
        mfa_at=grant.mfa_at,
        act={**act, "act": grant.act} if grant.act else act,
        parent=grant.id,
        created_at=now,
        expires_at=until,
    )
