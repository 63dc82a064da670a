"""Out to a SAML identity provider with a request, back with its response, and in with the secret the browser kept.

The response comes from the provider's page, and browsers send no cookies along from there. So it is taken first, once,
and the browser then shows its secret from a page of ours: whoever brings somebody else's response gets nothing by it.
"""

import zlib
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from html import escape
from typing import LiteralString
from uuid import UUID

from isthmus.auth.people.errors import LoginMissing
from isthmus.auth.people.logins import LoginWish, create_login, login_of
from isthmus.auth.people.sign_in import People, enter
from isthmus.auth.people.steps import new_token, workspace_of
from isthmus.auth.people.visitor import Visitor, network_of
from isthmus.auth.saml.errors import refused
from isthmus.auth.saml.metadata import POST
from isthmus.auth.saml.providers import SamlProvider, find_saml_provider, workspace_of_saml
from isthmus.auth.saml.responses import SKEW, Expected, Proven, read_response
from isthmus.auth.saml.signing import signed
from isthmus.auth.saml.xml import from_base64
from isthmus.auth.sessions import NewSession
from isthmus.auth.trace import trace
from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import Transaction
from isthmus.vault import blind_index

REQUEST_LIFE = timedelta(minutes=15)
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
EMAIL_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
SECOND_FACTORS = frozenset(
    {
        "https://refeds.org/profile/mfa",
        "http://schemas.microsoft.com/claims/multipleauthn",
        "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken",
        "urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorContract",
        "urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI",
    }
)
EMAIL_NAMES = (
    *("email", "mail", "emailAddress", "urn:oid:0.9.2342.19200300.100.1.3"),
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
)
DISPLAY_NAMES = (
    *("displayName", "name", "cn", "urn:oid:2.16.840.1.113730.3.1.241", "urn:oid:2.5.4.3"),
    "http://schemas.microsoft.com/identity/claims/displayname",
)
GIVEN_NAMES = (
    *("givenName", "firstName", "urn:oid:2.5.4.42"),
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname",
)
FAMILY_NAMES = (
    *("surname", "sn", "lastName", "urn:oid:2.5.4.4"),
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
)
_PURPOSE = "saml subjects"
_INSERT: LiteralString = """
insert into saml_request (workspace, digest, provider, next_page, forced, created_at, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s)
"""
_EXPIRE: LiteralString = """
delete from saml_request where workspace = current_workspace() and digest in (
    select digest from saml_request where workspace = current_workspace() and expires_at <= %s
    order by expires_at limit 100 for update skip locked)
"""
_ANSWER: LiteralString = """
update saml_request set answered_at = %(now)s
where workspace = current_workspace() and digest = %(digest)s and provider = %(provider)s and answered_at is null
  and expires_at > %(now)s
returning created_at, forced
"""
_PROVE: LiteralString = """
update saml_request set login = %s, methods = %s where workspace = current_workspace() and digest = %s
"""
_FINISH: LiteralString = """
delete from saml_request where workspace = current_workspace() and digest = %s and login is not null
  and expires_at > %s
returning login, methods, next_page
"""
_KNOWN: LiteralString = """
select l.id, l.disabled_at from saml_identity i
join person_login l on l.workspace = i.workspace and l.id = i.login
where i.workspace = current_workspace() and i.provider = %s and i.subject_index = %s
"""
_REMEMBER: LiteralString = """
insert into saml_identity (workspace, provider, subject_index, login, created_at)
values (current_workspace(), %s, %s, %s, %s)
"""
_JOINED: LiteralString = """
update person_login set joined_at = coalesce(joined_at, %s) where workspace = current_workspace() and id = %s
"""
_OPEN: LiteralString = """
select 1 from person_login where workspace = current_workspace() and id = %s and disabled_at is null
"""


@dataclass(frozen=True, kw_only=True)
class Ourselves:
    """Who we are to one provider: `entity` names us, `recipient` is where its responses go."""

    entity: str
    recipient: str

    @classmethod
    def at(cls, origin: str, provider: UUID) -> "Ourselves":
        """Return it for a server at an origin."""
        base = f"{origin}/sign-in/saml/{provider}"
        return cls(entity=f"{base}/metadata", recipient=f"{base}/acs")


@dataclass(frozen=True)
class Out:
    """Where the browser is sent, and the secret it keeps meanwhile."""

    url: str
    secret: str = field(repr=False)


async def go_out(
    people: People, visitor: Visitor, *, provider: UUID, ours: Ourselves, next_page: str, again: bool = False
) -> Out:
    """Begin; `again` asks the provider to prove the person anew. Raises SamlProviderMissing."""
    workspace = await workspace_of_saml(people.database, provider)
    secret, now = new_token(workspace), visitor.now
    async with people.database.transaction(visitor.scope(workspace)) as tx:
        found = await find_saml_provider(tx, provider)
        await tx.connection.execute(_EXPIRE, (now,))
        row = (_digest(_request_id(secret)), provider, next_page, again, now, now + REQUEST_LIFE)
        await tx.connection.execute(_INSERT, row)
    request = _request(found, ours, own_id=_request_id(secret), visitor=visitor, again=again)
    packed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = packed.compress(request.encode()) + packed.flush()
    joint = "&" if "?" in found.sign_in_url else "?"
    message = b64encode(deflated).decode()
    query = signed(message, found.signing_key, vault=people.vault, provider=provider, workspace=workspace)
    return Out(f"{found.sign_in_url}{joint}{query}", secret)


async def take_response(people: People, visitor: Visitor, *, provider: UUID, ours: Ourselves, response: str) -> None:
    """Take a response once, and remember whom it proved until the browser shows its secret.

    Raises SamlProviderMissing and UpstreamRefused; every refusal is in the audit log.
    """
    workspace = await workspace_of_saml(people.database, provider)
    async with people.database.transaction(visitor.scope(workspace)) as tx:
        found = await find_saml_provider(tx, provider)
    try:
        expected = Expected(
            issuer=found.entity,
            certificates=found.certificates,
            audience=ours.entity,
            recipient=ours.recipient,
            now=visitor.now,
        )
        proven = read_response(from_base64(response), expected)
        await _answered(people, visitor, found, proven, workspace=workspace)
        async with people.database.transaction(visitor.scope(workspace, f"upstream:{provider}")) as tx:
            login = await _login(tx, people, found, proven)
            methods = ["sso", *(["mfa"] if _second_factor(proven) else [])]
            await tx.connection.execute(_PROVE, (login, methods, _digest(proven.in_response_to)))
    except IsthmusError as error:
        async with people.database.transaction(visitor.scope(workspace)) as tx:
            details = {"method": "saml", "network": network_of(visitor.address), "code": error.code}
            await trace(tx, action="sign-in.refused", resource="identity_provider", record_id=provider, details=details)
        raise


async def come_in(people: People, visitor: Visitor, *, secret: str) -> tuple[NewSession, str]:
    """Return a session for the browser that keeps the secret of an answered request, and the page it wanted.

    Raises SignInRefused and UpstreamRefused.
    """
    workspace = workspace_of(secret)
    async with people.database.transaction(visitor.scope(workspace, "upstream")) as tx:
        given = (_digest(_request_id(secret)), visitor.now)
        row = await (await tx.connection.execute(_FINISH, given)).fetchone()
        if row is None or await (await tx.connection.execute(_OPEN, (row[0],))).fetchone() is None:
            raise refused("This browser did not ask, or it took too long.")
        return await enter(tx, visitor, row[0], frozenset(row[1])), row[2]


async def _answered(
    people: People, visitor: Visitor, provider: SamlProvider, proven: Proven, *, workspace: int
) -> None:
    """Use the request up, whatever comes of its answer; of many who bring it at once one is heard."""
    given = {"now": visitor.now, "digest": _digest(proven.in_response_to), "provider": provider.id}
    async with people.database.transaction(visitor.scope(workspace)) as tx:
        row = await (await tx.connection.execute(_ANSWER, given)).fetchone()
    if row is None:
        raise refused("It answers no request of ours, or one that was answered before.")
    asked_at, forced = row
    if forced and proven.authenticated_at < asked_at - SKEW:
        raise refused("The provider did not prove you anew.")


async def _login(tx: Transaction, people: People, provider: SamlProvider, proven: Proven) -> UUID:
    """Return the user whom an assertion names; one by the same address, or a new one, is linked to the name."""
    index = None if proven.subject_format == TRANSIENT else _index(people, tx.scope.workspace, proven)
    if index is not None:
        row = await (await tx.connection.execute(_KNOWN, (provider.id, index))).fetchone()
        if row is not None:
            if row[1] is not None:
                raise refused("You have no account here, or it is disabled.")
            return row[0]
    email = email_of(provider, proven)
    domain = email.rpartition("@")[2].casefold()
    if not email or (provider.mail_domains and domain not in provider.mail_domains):
        raise refused("You have no account here, and your address opens none.")
    try:
        login = await login_of(tx, people.vault, email)
    except LoginMissing as missing:
        if not provider.mail_domains:
            raise refused("You have no account here, or it is disabled.") from missing
        wish = LoginWish(email=email, name=name_of(provider, proven, email), roles=tuple(provider.roles))
        login = await create_login(tx, people.vault, wish, domains=people.domains, giver=None)
    if login.disabled_at is not None:
        raise refused("You have no account here, or it is disabled.")
    if index is not None:
        await tx.connection.execute(_REMEMBER, (provider.id, index, login.id, tx.scope.now))
    await tx.connection.execute(_JOINED, (tx.scope.now, login.id))
    details = {"provider": str(provider.id)}
    await trace(tx, action="identity.linked", resource="user", record_id=login.id, details=details)
    return login.id


def email_of(provider: SamlProvider, proven: Proven) -> str:
    """Return the e-mail address that an assertion tells; empty where it tells none, or several."""
    names = (provider.email_attribute,) if provider.email_attribute else EMAIL_NAMES
    told = {each.casefold(): each for name in names for each in proven.attributes.get(name, ())}
    if len(told) == 1:
        return next(iter(told.values()))
    if not told and proven.subject_format == EMAIL_FORMAT and not provider.email_attribute:
        return proven.subject
    return ""


def name_of(provider: SamlProvider, proven: Proven, email: str) -> str:
    """Return the name that an assertion tells, else the address."""
    names = (provider.name_attribute,) if provider.name_attribute else DISPLAY_NAMES
    parts = (_first(proven, GIVEN_NAMES), _first(proven, FAMILY_NAMES))
    told = _first(proven, names) or " ".join(filter(None, parts)) or email
    return " ".join(each for each in told.split() if each.isprintable())[:100].strip() or email[:100]


def _first(proven: Proven, names: tuple[str, ...]) -> str:
    return next((values[0] for name in names if (values := proven.attributes.get(name))), "")


def _second_factor(proven: Proven) -> bool:
    told = proven.attributes.get("http://schemas.microsoft.com/claims/authnmethodsreferences", ())
    return not SECOND_FACTORS.isdisjoint({proven.context, *told})


def _request(provider: SamlProvider, ours: Ourselves, *, own_id: str, visitor: Visitor, again: bool) -> str:
    at = visitor.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    forced = ' ForceAuthn="true"' if again else ""
    return (
        '<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" '
        'xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" '
        f'ID="{own_id}" Version="2.0" IssueInstant="{at}"{forced} Destination="{escape(provider.sign_in_url)}" '
        f'AssertionConsumerServiceURL="{escape(ours.recipient)}" ProtocolBinding="{POST}">'
        f"<saml:Issuer>{escape(ours.entity)}</saml:Issuer></samlp:AuthnRequest>"
    )


def _request_id(secret: str) -> str:
    """Return the id of a request, which tells nothing of the secret it is made from."""
    return f"_{sha256(f'saml:{secret}'.encode()).hexdigest()}"


def _digest(request_id: str) -> bytes:
    return sha256(request_id.encode()).digest()


def _index(people: People, workspace: int, proven: Proven) -> bytes | None:
    key = people.vault.workspace(workspace).derived(_PURPOSE)
    return blind_index(proven.subject, key=key)
