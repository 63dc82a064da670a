"""Speaking with a provider: its metadata, its keys, and a code for an ID token (OpenID Connect Core 1.0, RFC 8414)."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec
from joserfc.jwk import KeySet
from msgspec import Struct

from isthmus.auth.oauth.jose import ASYMMETRIC, NotSigned, Signed, header_of, public_key, verify
from isthmus.auth.people.errors import UpstreamRefused
from isthmus.auth.upstream.issuers import Issuer
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json

SKEW_S = 60
NO_HEADERS: Mapping[str, str] = {}
_OK = 200
T = TypeVar("T")
_FORM = "application/x-www-form-urlencoded"


class Metadata(Struct, frozen=True, kw_only=True):
    """What a provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    authorization_response_iss_parameter_supported: bool = False
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Tokens(Struct, frozen=True):
    """What a provider gave for a code."""

    id_token: str
    access_token: str = ""


class _Keys(Struct, frozen=True):
    keys: list[dict[str, Json]]


class Identity(Struct, frozen=True, kw_only=True):
    """Whom a provider proved; `email` is empty unless the provider says that it verified it."""

    subject: str
    email: str
    name: str
    methods: frozenset[str]


async def metadata_of(issuer: Issuer) -> Metadata:
    """Return a provider's metadata; raises UpstreamRefused."""
    url = f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration"
    found = _read(await _get(issuer, url), Metadata)
    if found.issuer != issuer.issuer:
        raise refused(f"The provider calls itself {found.issuer[:200]}, and not as it is set up.")
    return found


async def exchange(
    issuer: Issuer, metadata: Metadata, *, code: str, verifier: str, redirect_uri: str, secret: str
) -> Tokens:
    """Return the tokens for a code; raises UpstreamRefused."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    headers = {"content-type": _FORM, "accept": "application/json"}
    if secret and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
        pair = f"{quote(issuer.client, safe='')}:{quote(secret, safe='')}"
        headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    else:
        form |= {"client_id": issuer.client, **({"client_secret": secret} if secret else {})}
    try:
        status, body = await issuer.outbound.post(metadata.token_endpoint, urlencode(form).encode(), headers=headers)
    except IsthmusError as error:
        raise refused(f"The provider could not be asked: {error.detail}") from error
    if status != _OK:
        raise refused(f"The provider refused the code with status {status}.")
    return _read(body, Tokens)


async def identity_in(issuer: Issuer, metadata: Metadata, tokens: Tokens, *, nonce: str, now: datetime) -> Identity:
    """Return whom an ID token proves (OpenID Connect Core §3.1.3.7); raises UpstreamRefused.

    Where the token has no address, the provider is asked for it (§5.3).
    """
    keys = _read(await _get(issuer, metadata.jwks_uri), _Keys).keys
    try:
        signed = verify(tokens.id_token, _key_set(keys, header_of(tokens.id_token)), algorithms=ASYMMETRIC)
        _check(signed, issuer, nonce=nonce, now=now)
        subject = signed.text("sub")
    except NotSigned as error:
        raise refused(f"The provider's token does not hold: {error}") from error
    claims = signed.claims
    if "email" not in claims and metadata.userinfo_endpoint and tokens.access_token:
        bearer = {"authorization": f"Bearer {tokens.access_token}"}
        told = _read(await _get(issuer, metadata.userinfo_endpoint, bearer), dict[str, Json])
        if told.get("sub") != subject:
            raise refused("The provider tells of somebody else.")
        claims = {**told, **claims}
    return _identity(subject, claims)


def _identity(subject: str, claims: Mapping[str, Json]) -> Identity:
    verified = claims.get("email_verified") in (True, "true")
    email, name, amr = (claims.get(each) for each in ("email", "name", "amr"))
    methods = (
        {each for each in amr if isinstance(each, str) and each.isalnum()} if isinstance(amr, list) else set[str]()
    )
    return Identity(
        subject=subject,
        email=email if verified and isinstance(email, str) else "",
        name=name if isinstance(name, str) and name.strip() else str(email or subject),
        methods=frozenset({"sso", *sorted(methods)[:8]}),
    )


def refused(detail: str) -> UpstreamRefused:
    """Return the refusal of what a provider answered."""
    return UpstreamRefused(detail, fix="Try again; if it stays so, tell whoever set the provider up.")


def _key_set(keys: list[dict[str, Json]], header: Mapping[str, object]) -> KeySet:
    """Return the keys that the token could be signed with: by `kid`, or the only one there is."""
    named = header.get("kid")
    wanted = [each for each in keys if each.get("use", "sig") == "sig" and named in (None, each.get("kid"))]
    if len(wanted) != 1:
        raise NotSigned("The provider has no such key, or more than one.")
    return KeySet([public_key(wanted[0])])


def _check(signed: Signed, issuer: Issuer, *, nonce: str, now: datetime) -> None:
    audience = signed.claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if signed.claims.get("iss") != issuer.issuer:
        raise NotSigned("It is of another issuer.")
    if issuer.client not in audiences or signed.claims.get("azp", issuer.client) != issuer.client:
        raise NotSigned("It is for another program.")
    if len(audiences) > 1 and "azp" not in signed.claims:
        raise NotSigned("It is for several programs, and says not which asked.")
    if signed.seconds("exp") + SKEW_S <= now.timestamp() or signed.seconds("iat") - SKEW_S > now.timestamp():
        raise NotSigned("It has expired, or is not valid yet.")
    if signed.claims.get("nonce") != nonce:
        raise NotSigned("It was made for another request.")


async def _get(issuer: Issuer, url: str, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
    try:
        status, body = await issuer.outbound.get(url, headers={"accept": "application/json", **headers})
    except IsthmusError as error:
        raise refused(f"The provider could not be asked: {error.detail}") from error
    if status != _OK:
        raise refused(f"The provider answered with status {status}.")
    return body


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise refused("The provider's answer cannot be read.") from error
