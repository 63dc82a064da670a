"""What everything in this room works with, and programs proving who they are."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import LiteralString, Self, cast

from isthmus.auth.oauth.clients import CLIENT_PREFIX, Client, living_client
from isthmus.auth.oauth.errors import InvalidClient, InvalidProof, InvalidRequest, UnauthorizedClient
from isthmus.auth.oauth.jose import ASYMMETRIC, NotSigned, Signed, header_of, public_key, unverified, verify
from isthmus.auth.oauth.keyring import Keyring
from isthmus.auth.oauth.minting import base64url, digest
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.store.database import Database, Scope
from isthmus.vault import Vault

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = timedelta(minutes=10)
PROOF_AGE = timedelta(seconds=60)
SKEW = timedelta(seconds=10)
_TEXT_MAX = 200
_USE_UP: LiteralString = """
insert into oauth_seen (workspace, kind, owner, digest, expires_at) values (current_workspace(), %s, %s, %s, %s)
on conflict do nothing returning 1
"""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """The authorisation server. `issuer` is the address under which everybody knows it, without a slash at its end."""

    database: Database
    vault: Vault
    keyring: Keyring
    issuer: str
    domains: tuple[str, ...]

    @classmethod
    def over(cls, database: Database, vault: Vault, *, issuer: str, domains: Sequence[str]) -> Self:
        """Return the server of a program, with its keyring."""
        keyring = Keyring(database, vault)
        return cls(database=database, vault=vault, keyring=keyring, issuer=issuer, domains=tuple(domains))

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"{self.issuer}{path}"

    def scope(self, client: Client, *, cause: str, now: datetime) -> Scope:
        """Return the scope of what a program does itself."""
        return Scope(workspace=client.workspace, actor=f"client:{client.id}", cause=cause, now=now)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a program sent to prove itself. `basic` are the name and secret of HTTP Basic, unescaped."""

    basic: tuple[str, str] | None = field(default=None, repr=False)
    client_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    assertion: str | None = field(default=None, repr=False)
    assertion_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A DPoP proof that fits its request: the thumbprint of its key (RFC 7638), and what makes it refused again."""

    thumbprint: str
    digest: bytes
    expires_at: datetime


async def prove_client(provider: Provider, shown: Shown, *, cause: str, now: datetime) -> Client:
    """Return the program that asks; raises InvalidClient, and InvalidRequest when it proves itself in two ways."""
    ways = [each for each in (shown.basic, shown.secret, shown.assertion) if each is not None]
    if len(ways) > 1:
        raise InvalidRequest("The program proves itself in more than one way.", fix="Use one of them.")
    named = shown.basic[0] if shown.basic else shown.client_id
    if shown.basic and shown.client_id not in {None, named}:
        raise InvalidRequest("The parameter client_id names another program.", fix="Leave it out.")
    if shown.assertion is not None:
        said = _subject(shown.assertion)
        if named not in {None, said}:
            raise _unproven()
        named = said
    client = await find_named(provider, named, cause=cause, now=now)
    if client is None:
        raise _unproven()
    secret = shown.basic[1] if shown.basic else shown.secret
    match client.method:
        case "secret" if secret and _fits(client, secret, now):
            return client
        case "private_key_jwt" if shown.assertion and shown.assertion_type == ASSERTION_TYPE:
            await _check_assertion(provider, client, shown.assertion, provider.scope(client, cause=cause, now=now))
            return client
        case "none" if not ways:
            return client
        case _:
            raise _unproven()


async def find_named(provider: Provider, named: str | None, *, cause: str, now: datetime) -> Client | None:
    """Return the program of that client_id, or None."""
    try:
        client_id = uuid_of(CLIENT_PREFIX, named or "")
    except InvalidId:
        return None
    found = await living_client(provider.database, client_id, cause=cause, now=now)
    return found if found is not None and found.client_id == named else None


def check_may(client: Client, grant: str) -> None:
    """Raise UnauthorizedClient unless a program is registered for a grant type."""
    if grant not in client.grants:
        raise UnauthorizedClient(f"The program is not registered for {grant}.", fix="Register it for that grant type.")


def read_proof(text: str, *, method: str, url: str, now: datetime, token: str | None = None) -> Proof:
    """Return the proof of a DPoP header (RFC 9449 §4.3); `token` is the access token it comes with.

    `url` is the address as everybody knows it, without query. Raises InvalidProof. The proof is not spent by this.
    """
    try:
        header = header_of(text)
        key = public_key(header.get("jwk"))
        signed = verify(text, key, algorithms=ASYMMETRIC)
        issued = datetime.fromtimestamp(signed.seconds("iat"), tz=UTC)
        fits = signed.text("htm") == method and signed.text("htu").partition("?")[0].partition("#")[0] == url
        jti = signed.text("jti")
    except (NotSigned, ValueError, OverflowError, OSError) as error:
        raise InvalidProof(f"The DPoP proof cannot be used: {error}", fix="Make one as RFC 9449 §4.2 says.") from error
    if header.get("typ") != "dpop+jwt":
        raise InvalidProof("The DPoP proof has another type.", fix="Set typ to dpop+jwt.")
    if not fits:
        raise InvalidProof("The DPoP proof is for another request.", fix=f"Sign htm {method} and htu {url}.")
    if not now - PROOF_AGE <= issued <= now + PROOF_AGE or len(jti) > _TEXT_MAX:
        raise InvalidProof("The DPoP proof is too old, or from the future.", fix="Make one for each request.")
    if token is not None and signed.claims.get("ath") != base64url(sha256(token.encode()).digest()):
        raise InvalidProof("The DPoP proof is for another token.", fix="Sign ath, the hash of the access token.")
    thumbprint = key.thumbprint()
    return Proof(thumbprint=thumbprint, digest=digest(f"proof {thumbprint}", jti), expires_at=issued + PROOF_AGE + SKEW)


async def use_up_proof(provider: Provider, proof: Proof, scope: Scope) -> None:
    """Use a proof up, once on all servers; raises InvalidProof for one that was shown before."""
    async with provider.database.transaction(scope) as tx:
        values = ("dpop", proof.thumbprint, proof.digest, proof.expires_at)
        if await (await tx.connection.execute(_USE_UP, values)).fetchone() is None:
            raise InvalidProof("The DPoP proof was shown before.", fix="Make one for each request.")


async def _check_assertion(provider: Provider, client: Client, text: str, scope: Scope) -> None:
    """Check a signed assertion (RFC 7523 §3) against the program's keys; each is taken once."""
    signed = _verified(client, text)
    now = scope.now
    try:
        said = signed.text("iss"), signed.text("sub")
        expires = datetime.fromtimestamp(signed.seconds("exp"), tz=UTC)
        begins = datetime.fromtimestamp(float(str(signed.claims.get("nbf", 0))), tz=UTC)
        jti = signed.text("jti")
    except (NotSigned, ValueError, OverflowError, OSError) as error:
        raise _unproven() from error
    meant = signed.claims.get("aud")
    own = {provider.issuer, provider.url("/oauth/token"), provider.url("/oauth/par")}
    named = cast("list[object]", meant) if isinstance(meant, list) else [meant]
    for_us = bool(named) and all(each in own for each in named)
    if said != (client.client_id,) * 2 or not for_us or len(jti) > _TEXT_MAX:
        raise _unproven()
    if not now < expires <= now + ASSERTION_LIFE or begins > now + SKEW:
        raise _unproven()
    async with provider.database.transaction(scope) as tx:
        values = ("assertion", str(client.id), digest("assertion", jti), expires)
        if await (await tx.connection.execute(_USE_UP, values)).fetchone() is None:
            raise InvalidClient("The assertion was shown before.", fix="Sign one for each request.")


def _verified(client: Client, text: str) -> Signed:
    keys = (client.keys or {}).get("keys")
    try:
        kid = header_of(text).get("kid")
        for each in keys if isinstance(keys, list) else []:
            if isinstance(each, dict) and (kid is None or each.get("kid") in {None, kid}):
                try:
                    return verify(text, public_key(each), algorithms=ASYMMETRIC)
                except NotSigned:
                    continue
    except NotSigned:
        pass
    raise _unproven()


def _subject(assertion: str) -> str:
    """Return whom an assertion names, before anything of it is believed."""
    try:
        return unverified(assertion).text("sub")
    except NotSigned as error:
        raise _unproven() from error


def _fits(client: Client, secret: str, now: datetime) -> bool:
    shown = digest("client", secret)
    new = hmac.compare_digest(shown, client.digest or b"")
    old = hmac.compare_digest(shown, client.old_digest or b"")
    return new or (old and client.old_until is not None and now < client.old_until)


def _unproven() -> InvalidClient:
    return InvalidClient("The program is not known, or did not prove itself.", fix="Check its client_id and secret.")
