"""Access tokens (RFC 9068), ID tokens (OpenID Connect Core §2), and the answer that carries them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from msgspec import Struct

from isthmus.auth.oauth.clients import Client
from isthmus.auth.oauth.grants import Grant, new_id
from isthmus.auth.oauth.jose import sign
from isthmus.auth.oauth.minting import base64url
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.oauth.scopes import OPENID
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json

TOKEN_LIFE = timedelta(minutes=10)
ID_LIFE = timedelta(minutes=10)
ACCESS_TYPE = "at+jwt"
ID_TYPE = "JWT"


class TokenAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the token endpoint answers (RFC 6749 §5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | None = None
    id_token: str | None = None
    issued_token_type: str | None = None


class Issue(Struct, frozen=True, kw_only=True):
    """What is to be issued on a grant; `bound_to` is the thumbprint of a DPoP key."""

    scopes: tuple[str, ...]
    resources: tuple[str, ...] = ()
    bound_to: str | None = None
    nonce: str | None = None
    until: datetime | None = None
    refresh: str | None = None
    issued_type: str | None = None
    with_id: bool = True


async def issue(provider: Provider, client: Client, grant: Grant, wanted: Issue, *, now: datetime) -> TokenAnswer:
    """Return tokens on a grant.

    Whoever calls this in a transaction asks the keyring for the signing key before: it may need a transaction of its
    own, and where all connections wait for each other nobody gets one.
    """
    signing = await provider.keyring.signing(now=now)
    ends = [now + TOKEN_LIFE, *(each for each in (grant.expires_at, wanted.until) if each is not None)]
    expires = int(min(ends).timestamp())
    claims: dict[str, Json] = {
        "iss": provider.issuer,
        "sub": grant.subject,
        "aud": _audience(provider, wanted.resources),
        "exp": expires,
        "iat": int(now.timestamp()),
        "jti": str(new_id(now)),
        "client_id": client.client_id,
        "scope": " ".join(wanted.scopes),
        "gid": str(grant.id),
        **_proven(grant),
    }
    if grant.act is not None:
        claims["act"] = grant.act
    if wanted.bound_to is not None:
        claims["cnf"] = {"jkt": wanted.bound_to}
    text = sign(claims, key=signing.key, kid=signing.kid, typ=ACCESS_TYPE)
    id_token = None
    if wanted.with_id and OPENID in wanted.scopes and grant.kind in {"code", "device"}:
        own = _id_claims(provider, client, grant, now=now, access=text, nonce=wanted.nonce)
        id_token = sign(own, key=signing.key, kid=signing.kid, typ=ID_TYPE)
    return TokenAnswer(
        access_token=text,
        token_type="DPoP" if wanted.bound_to else "Bearer",
        expires_in=max(0, expires - int(now.timestamp())),
        scope=" ".join(wanted.scopes),
        refresh_token=wanted.refresh,
        id_token=id_token,
        issued_token_type=wanted.issued_type,
    )


def session_text(session: UUID) -> str:
    """Return the name of a session in ID tokens."""
    return text_of("sess", session)


def _id_claims(
    provider: Provider, client: Client, grant: Grant, *, now: datetime, access: str, nonce: str | None
) -> dict[str, Json]:
    half = sha256(access.encode("ascii")).digest()[:16]
    claims: dict[str, Json] = {
        "iss": provider.issuer,
        "sub": grant.subject,
        "aud": client.client_id,
        "azp": client.client_id,
        "exp": int((now + ID_LIFE).timestamp()),
        "iat": int(now.timestamp()),
        "at_hash": base64url(half),
        **_proven(grant),
    }
    if nonce is not None:
        claims["nonce"] = nonce
    if grant.session_id is not None:
        claims["sid"] = session_text(grant.session_id)
    return claims


def _proven(grant: Grant) -> dict[str, Json]:
    """Return how and when the person proved itself."""
    if grant.proven_at is None:
        return {}
    methods: list[Json] = [*grant.methods]
    claims: dict[str, Json] = {"auth_time": int(grant.proven_at.timestamp()), "acr": "aal2" if grant.mfa_at else "aal1"}
    return {**claims, "amr": methods} if methods else claims


def _audience(provider: Provider, resources: Sequence[str]) -> Json:
    if not resources:
        return provider.issuer
    return resources[0] if len(resources) == 1 else [*resources]
