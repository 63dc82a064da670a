"""Signing in by a provider: out with a code challenge and a nonce, and back with a code (RFC 6749, 7636, 9207).

State, nonce and the verifier of the challenge are digests of one secret, which only the browser keeps, in a cookie.
"""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import LiteralString
from urllib.parse import urlencode
from uuid import UUID

from isthmus.auth.people.errors import LoginMissing
from isthmus.auth.people.logins import LoginWish, create_login, login_of
from isthmus.auth.people.sign_in import People, enter
from isthmus.auth.people.steps import begin_step, take_step, workspace_of
from isthmus.auth.people.visitor import Visitor, network_of
from isthmus.auth.sessions import NewSession
from isthmus.auth.trace import trace
from isthmus.auth.upstream.issuers import Issuer, find_issuer, secret_of, workspace_with
from isthmus.auth.upstream.speaking import Identity, exchange, identity_in, metadata_of, refused
from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import Transaction
from isthmus.vault import Vault, blind_index

SCOPES = "openid profile email"
_PURPOSE = "upstream subjects"
_KNOWN: LiteralString = """
select l.id, l.disabled_at from upstream_identity i
join person_login l on l.workspace = i.workspace and l.id = i.login
where i.workspace = current_workspace() and i.upstream = %s and i.subject_index = %s
"""
_REMEMBER: LiteralString = """
insert into upstream_identity (workspace, upstream, subject_index, login, created_at)
values (current_workspace(), %s, %s, %s, %s)
"""
_JOINED: LiteralString = """
update person_login set joined_at = coalesce(joined_at, %s) where workspace = current_workspace() and id = %s
"""


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What the browser came back with: its secret, and the parameters of the provider's answer."""

    secret: str = field(repr=False)
    state: str
    code: str = field(repr=False)
    iss: str = ""
    error: str = ""


@dataclass(frozen=True)
class Out:
    """Where the browser is sent, and the secret it keeps meanwhile."""

    url: str
    secret: str = field(repr=False)


async def go_out(
    people: People, visitor: Visitor, *, issuer: UUID, redirect_uri: str, next_page: str, again: bool = False
) -> Out:
    """Begin; `again` asks the provider to prove the person anew. Raises IssuerMissing and UpstreamRefused."""
    workspace = await workspace_with(people.database, issuer)
    async with people.database.transaction(visitor.scope(workspace)) as tx:
        found = await find_issuer(tx, issuer)
    metadata = await metadata_of(found)
    async with people.database.transaction(visitor.scope(workspace)) as tx:
        secret = await begin_step(tx, "upstream", upstream=issuer, challenge=next_page.encode())
    asked = {
        "response_type": "code",
        "client_id": found.client,
        "redirect_uri": redirect_uri,
        "scope": SCOPES,
        "state": _derived(secret, "state"),
        "nonce": _derived(secret, "nonce"),
        "code_challenge": _text(sha256(_derived(secret, "verifier").encode()).digest()),
        "code_challenge_method": "S256",
        **({"prompt": "login"} if again else {}),
    }
    joint = "&" if "?" in metadata.authorization_endpoint else "?"
    return Out(f"{metadata.authorization_endpoint}{joint}{urlencode(asked)}", secret)


async def come_back(
    people: People, visitor: Visitor, returned: Returned, *, redirect_uri: str
) -> tuple[NewSession, str]:
    """Return a session of whom the provider proved, and the page they wanted.

    Raises UpstreamRefused and SignInRefused; every refusal of a known provider is in the audit log.
    """
    workspace = workspace_of(returned.secret)
    if not hmac.compare_digest(_derived(returned.secret, "state"), returned.state or " "):
        raise refused("The answer belongs to another try.")
    async with people.database.transaction(visitor.scope(workspace)) as tx:
        step = await take_step(tx, "upstream", returned.secret)
        issuer = await find_issuer(tx, step.upstream) if step.upstream is not None else None
        secret = await secret_of(tx, people.vault, issuer.id) if issuer is not None else ""
    if issuer is None:
        raise refused("The answer belongs to another try.")
    try:
        identity = await _identity(issuer, returned, secret=secret, redirect_uri=redirect_uri, visitor=visitor)
        async with people.database.transaction(visitor.scope(workspace, f"upstream:{issuer.id}")) as tx:
            login = await _login(tx, people, issuer, identity)
            return await enter(tx, visitor, login, identity.methods), step.challenge.decode()
    except IsthmusError as error:
        async with people.database.transaction(visitor.scope(workspace)) as tx:
            details = {"method": "sso", "network": network_of(visitor.address), "code": error.code}
            await trace(
                tx, action="sign-in.refused", resource="identity_provider", record_id=issuer.id, details=details
            )
        raise


async def _identity(
    issuer: Issuer, returned: Returned, *, secret: str, redirect_uri: str, visitor: Visitor
) -> Identity:
    metadata = await metadata_of(issuer)
    if returned.iss != issuer.issuer and (returned.iss or metadata.authorization_response_iss_parameter_supported):
        raise refused("The answer names another issuer, or none.")
    if returned.error or not returned.code:
        raise refused("The provider did not prove you.")
    tokens = await exchange(
        issuer,
        metadata,
        code=returned.code,
        verifier=_derived(returned.secret, "verifier"),
        redirect_uri=redirect_uri,
        secret=secret,
    )
    nonce = _derived(returned.secret, "nonce")
    return await identity_in(issuer, metadata, tokens, nonce=nonce, now=visitor.now)


async def _login(tx: Transaction, people: People, issuer: Issuer, identity: Identity) -> UUID:
    """Return the user whom an identity belongs to; one by the same verified address, or a new one, gets it."""
    index = _index(people.vault, tx.scope.workspace, identity.subject)
    row = await (await tx.connection.execute(_KNOWN, (issuer.id, index))).fetchone()
    if row is not None:
        if row[1] is not None:
            raise refused("You have no account here, or it is disabled.")
        return row[0]
    domain = identity.email.rpartition("@")[2].casefold()
    if not identity.email or (issuer.mail_domains and domain not in issuer.mail_domains):
        raise refused("You have no account here, and your address opens none.")
    try:
        login = await login_of(tx, people.vault, identity.email)
    except LoginMissing as missing:
        if not issuer.mail_domains:
            raise refused("You have no account here, or it is disabled.") from missing
        wish = LoginWish(email=identity.email, name=identity.name[:100], roles=tuple(issuer.roles))
        login = await create_login(tx, people.vault, wish, domains=people.domains, giver=None)
    if login.disabled_at is not None:
        raise refused("You have no account here, or it is disabled.")
    await tx.connection.execute(_REMEMBER, (issuer.id, index, login.id, tx.scope.now))
    await tx.connection.execute(_JOINED, (tx.scope.now, login.id))
    await trace(tx, action="identity.linked", resource="user", record_id=login.id, details={"provider": str(issuer.id)})
    return login.id


def _index(vault: Vault, workspace: int, subject: str) -> bytes:
    return blind_index(subject, key=vault.workspace(workspace).derived(_PURPOSE)) or b""


def _derived(secret: str, purpose: str) -> str:
    return _text(sha256(f"{purpose}:{secret}".encode()).digest())


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
