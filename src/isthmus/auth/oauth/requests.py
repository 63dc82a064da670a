"""What an authorisation asks for: read strictly, pushed (RFC 9126) or shown to a person, used once."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.types.json import Jsonb

from isthmus.auth.oauth.clients import CODE, Client, audiences, is_loopback
from isthmus.auth.oauth.errors import (
    InvalidRequest,
    InvalidRequestUri,
    InvalidScope,
    InvalidTarget,
    OAuthFault,
    RequestNotSupported,
    UnsupportedResponseType,
)
from isthmus.auth.oauth.minting import digest, new_secret
from isthmus.auth.oauth.provider import Provider, check_may
from isthmus.auth.oauth.scopes import narrowed, read_scopes
from isthmus.store.database import Database, Scope, Transaction

URN = "urn:ietf:params:oauth:request_uri:"
PUSHED_LIFE = timedelta(seconds=60)
SHOWN_LIFE = timedelta(minutes=10)
RESOURCES_MAX = 5
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_TEXT_MAX = 1_000
_PROMPTS = frozenset({"none", "login", "consent", "select_account"})
_INSERT: LiteralString = """
insert into oauth_request (workspace, digest, kind, client, asked, created_at, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s)
"""
_USE: LiteralString = """
update oauth_request set used_at = %(now)s
where workspace = current_workspace() and digest = %(digest)s and kind = %(kind)s and used_at is null
  and expires_at > %(now)s and (%(client)s::uuid is null or client = %(client)s)
returning client, asked, created_at
"""
_LOOK: LiteralString = """
select client, asked, created_at from oauth_request
where workspace = current_workspace() and digest = %s and kind = 'shown' and used_at is null and expires_at > %s
"""
_WORKSPACE: LiteralString = "select find_oauth_request(%s)"


class Asked(Struct, frozen=True, kw_only=True):
    """An authorisation request that was checked."""

    redirect: str
    scopes: tuple[str, ...]
    challenge: str
    resources: tuple[str, ...] = ()
    state: str | None = None
    nonce: str | None = None
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    bound_to: str | None = None


class Shown(Struct, frozen=True, kw_only=True):
    """A request that waits for a person's word."""

    client: UUID
    asked: Asked
    since: datetime


class Refused(Exception):
    """A request that is refused by sending the browser back to the program; `to` is where."""

    def __init__(self, fault: OAuthFault, to: str) -> None:
        """Keep both."""
        super().__init__(fault.detail)
        self.fault = fault
        self.to = to


def redirect_of(client: Client, given: str | None) -> str:
    """Return where the answer goes; raises InvalidRequest, and then nobody is sent anywhere.

    Exact comparison (RFC 9700 §4.1.3), but for the port of a literal loopback address (RFC 8252 §7.3).
    """
    if given is None and len(client.redirects) == 1:
        return client.redirects[0]
    if given is not None and (given in client.redirects or _is_same_loopback(client, given)):
        return given
    raise InvalidRequest("The redirect_uri is not registered for this program.", fix="Send it exactly as registered.")


def answer_url(to: str, parameters: Mapping[str, str | None]) -> str:
    """Return a redirect URI with the parameters of an answer added to its query."""
    parts = urlsplit(to)
    added = urlencode({name: value for name, value in parameters.items() if value is not None})
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))


def refusal_url(provider: Provider, fault: OAuthFault, *, redirect: str, state: str | None) -> str:
    """Return where a browser is sent with a refusal (RFC 6749 §4.1.2.1, RFC 9207)."""
    said = {"error": fault.error, "error_description": fault.detail, "state": state, "iss": provider.issuer}
    return answer_url(redirect, said)


async def check_request(
    provider: Provider,
    tx: Transaction,
    client: Client,
    given: Mapping[str, str],
    *,
    resources: Sequence[str],
    pushed: bool = False,
) -> Asked:
    """Return a request that is fit to be shown to a person.

    Raises InvalidRequest while it is not known where to answer, and Refused from there on.
    """
    redirect = redirect_of(client, given.get("redirect_uri"))
    state = given.get("state")
    try:
        if client.pushed_only and not pushed:
            raise InvalidRequest("This program must push its requests.", fix="Push the request to /oauth/par.")
        return await _checked(provider, tx, client, given, redirect=redirect, resources=resources)
    except OAuthFault as fault:
        raise Refused(fault, refusal_url(provider, fault, redirect=redirect, state=state)) from fault


async def known_resources(provider: Provider, tx: Transaction, resources: Sequence[str]) -> tuple[str, ...]:
    """Return resource indicators (RFC 8707), each once; raises InvalidTarget for one that nobody serves here."""
    wanted = tuple(dict.fromkeys(resources))
    if not wanted:
        return ()
    served = {provider.issuer, *await audiences(tx)}
    for each in wanted:
        if each not in served or len(wanted) > RESOURCES_MAX:
            raise InvalidTarget("There is no such resource here.", fix="Leave resource out, or name a registered one.")
    return wanted


async def push(tx: Transaction, client: Client, asked: Asked) -> str:
    """Keep a request and return the request_uri, which is used once within 60 seconds."""
    text = new_secret("isrq")
    await _keep(tx, client, asked, text=text, kind="pushed", life=PUSHED_LIFE)
    return URN + text


async def use_pushed(tx: Transaction, client: Client, uri: str) -> Asked:
    """Use up a pushed request; raises InvalidRequestUri."""
    row = await _used(tx, digest("pushed", uri.removeprefix(URN)), kind="pushed", client=client.id)
    if row is None:
        raise InvalidRequestUri("The pushed request is unknown, used, or over a minute old.", fix="Push it again.")
    return row.asked


async def show(tx: Transaction, client: Client, asked: Asked) -> str:
    """Keep a request for a person to decide and return the handle of its page, which holds for ten minutes."""
    text = new_secret("ispg")
    await _keep(tx, client, asked, text=text, kind="shown", life=SHOWN_LIFE)
    return text


async def workspace_of(database: Database, handle: str) -> int | None:
    """Return the workspace of a request that waits for a person."""
    async with database.plain() as connection:
        row = await (await connection.execute(_WORKSPACE, (digest("shown", handle),))).fetchone()
    return None if row is None else row[0]


async def shown(tx: Transaction, handle: str) -> Shown | None:
    """Return a request that waits for a person, or None when it was decided or is too old."""
    row = await (await tx.connection.execute(_LOOK, (digest("shown", handle), tx.scope.now))).fetchone()
    return None if row is None else _shown(row)


async def use_shown(tx: Transaction, handle: str) -> Shown | None:
    """Use up a request that waited for a person; of many who try at once one gets it."""
    return await _used(tx, digest("shown", handle), kind="shown", client=None)


def nobody(*, workspace: int, cause: str, now: datetime) -> Scope:
    """Return the scope in which a request is looked at before anybody is known."""
    return Scope(workspace=workspace, actor="nobody", cause=cause, now=now)


async def _checked(
    provider: Provider,
    tx: Transaction,
    client: Client,
    given: Mapping[str, str],
    *,
    redirect: str,
    resources: Sequence[str],
) -> Asked:
    _check_form(client, given)
    prompt = tuple(given.get("prompt", "").split())
    if not {*prompt} <= _PROMPTS or ("none" in prompt and len(prompt) > 1):
        raise InvalidRequest("The parameter prompt has no sense.", fix="Send none, login or consent.")
    age = given.get("max_age")
    if age is not None and not (age.isdecimal() and len(age) <= 9):  # noqa: PLR2004 - digits of a number of seconds.
        raise InvalidRequest("The parameter max_age is no number.", fix="Send seconds.")
    bound_to = given.get("dpop_jkt")
    if bound_to is not None and not _THUMBPRINT.fullmatch(bound_to):
        raise InvalidRequest("The parameter dpop_jkt is no thumbprint.", fix="Send SHA-256 of the key, RFC 7638.")
    if any(len(given.get(name, "")) > _TEXT_MAX for name in ("state", "nonce")):
        raise InvalidRequest(f"state and nonce have at most {_TEXT_MAX} characters.", fix="Send shorter ones.")
    scopes = read_scopes(given.get("scope", ""))
    if not scopes:
        raise InvalidScope("The parameter scope is missing.", fix="Say what you ask for.")
    return Asked(
        redirect=redirect,
        scopes=narrowed(scopes, to=client.scopes, domains=provider.domains),
        challenge=given["code_challenge"],
        resources=await known_resources(provider, tx, resources),
        state=given.get("state"),
        nonce=given.get("nonce"),
        prompt=prompt,
        max_age=int(age) if age is not None else None,
        bound_to=bound_to,
    )


def _check_form(client: Client, given: Mapping[str, str]) -> None:
    """Raise for what is asked in a form that is not spoken here."""
    if "request" in given:
        raise RequestNotSupported("Requests as signed objects are not read.", fix="Push the request to /oauth/par.")
    if given.get("response_type") != "code":
        if "response_type" not in given:
            raise InvalidRequest("The parameter response_type is missing.", fix="Send response_type=code.")
        raise UnsupportedResponseType("Only codes are given.", fix="Send response_type=code.")
    if given.get("response_mode", "query") != "query":
        raise InvalidRequest("Answers come in the query only.", fix="Leave response_mode out.")
    check_may(client, CODE)
    if not _CHALLENGE.fullmatch(given.get("code_challenge", "")) or given.get("code_challenge_method") != "S256":
        raise InvalidRequest("PKCE with S256 is needed.", fix="Send code_challenge and code_challenge_method=S256.")


async def _keep(tx: Transaction, client: Client, asked: Asked, *, text: str, kind: str, life: timedelta) -> None:
    now = tx.scope.now
    values = (digest(kind, text), kind, client.id, Jsonb(msgspec.to_builtins(asked)), now, now + life)
    await tx.connection.execute(_INSERT, values)


async def _used(tx: Transaction, own: bytes, *, kind: str, client: UUID | None) -> Shown | None:
    values = {"now": tx.scope.now, "digest": own, "kind": kind, "client": client}
    row = await (await tx.connection.execute(_USE, values)).fetchone()
    return None if row is None else _shown(row)


def _shown(row: Sequence[object]) -> Shown:
    client, asked, since = row
    return msgspec.convert({"client": client, "asked": asked, "since": since}, Shown)


def _is_same_loopback(client: Client, given: str) -> bool:
    if client.is_confidential or not is_loopback(given):
        return False
    return any(is_loopback(each) and _portless(each) == _portless(given) for each in client.redirects)


def _portless(uri: str) -> tuple[str | None, str, str]:
    parts = urlsplit(uri)
    return parts.hostname, parts.path, parts.query
