"""The authorisation endpoint, and signing out at a program's wish.

A request that is fit is kept and the browser goes on to a page of the console. The session's cookie does not come along
from another site, so the browser is sent there by a page of ours, which makes the next request one of our own.
"""

from contextlib import suppress
from datetime import datetime

from msgspec import Struct

from isthmus.app.http.oauth.forms import FORM_BYTES_MAX, Given, read_form, read_pairs
from isthmus.auth.credentials import Credentials
from isthmus.auth.oauth.clients import Client
from isthmus.auth.oauth.errors import InvalidRequest
from isthmus.auth.oauth.issuing import ID_TYPE
from isthmus.auth.oauth.jose import NotSigned, Signed, header_of, verify
from isthmus.auth.oauth.provider import Provider, find_named
from isthmus.auth.oauth.requests import Refused, answer_url, check_request, show, use_pushed
from isthmus.auth.sessions import SessionMissing, end_open_session
from isthmus.console.pages import page
from isthmus.gateway import HTML, Call, Response, Route, redirect
from isthmus.gateway.cookies import signed_out
from isthmus.kernel.ids import InvalidId, uuid_of

_TAGS = ("oauth",)


class AuthorizeQuery(Struct, frozen=True, kw_only=True):
    """The parameters of RFC 6749 §4.1.1 and its extensions; others are passed over. A repeated one is refused later."""

    client_id: list[str] = []
    redirect_uri: list[str] = []
    response_type: list[str] = []
    response_mode: list[str] = []
    scope: list[str] = []
    state: list[str] = []
    nonce: list[str] = []
    code_challenge: list[str] = []
    code_challenge_method: list[str] = []
    prompt: list[str] = []
    max_age: list[str] = []
    resource: list[str] = []
    request_uri: list[str] = []
    request: list[str] = []
    dpop_jkt: list[str] = []


class EndQuery(Struct, frozen=True, kw_only=True):
    """The parameters of OpenID Connect RP-Initiated Logout §2; others are passed over."""

    id_token_hint: str | None = None
    client_id: str | None = None
    post_logout_redirect_uri: str | None = None
    state: str | None = None


async def authorize(call: Call) -> Response:
    """Take a request for authorisation."""
    given = read_form(call) if call.route.method == "POST" else _from_query(call.query(AuthorizeQuery))
    provider, now = call.services.of(Provider), call.scope.now
    client = await find_named(provider, given.single.get("client_id"), cause=call.request_id, now=now)
    if client is None:
        raise InvalidRequest("There is no such program.", fix="Register it, or mend its client_id.")
    async with call.services.database.transaction(provider.scope(client, cause=call.request_id, now=now)) as tx:
        try:
            if "request_uri" in given.single:
                asked = await use_pushed(tx, client, given.single["request_uri"])
            else:
                asked = await check_request(provider, tx, client, given.single, resources=given.resources)
        except Refused as refused:
            return redirect(refused.to)
        handle = await show(tx, client, asked)
    to = f"/oauth/consent/{handle}"
    return redirect(to) if call.session is not None else page(call, "oauth_onward.html", {"to": to})


async def end_session(call: Call) -> Response:
    """Sign a person out at a program's wish: at once with an ID token of the session, else after asking.

    The browser is sent on only to an address that the program registered.
    """
    query = call.query(EndQuery)
    provider, now = call.services.of(Provider), call.scope.now
    signed = await _hinted(provider, query.id_token_hint, now=now) if query.id_token_hint else None
    named = query.client_id or (str(signed.claims.get("aud")) if signed else None)
    client = await find_named(provider, named, cause=call.request_id, now=now) if named else None
    if signed is not None and (client is None or signed.claims.get("aud") != client.client_id):
        raise InvalidRequest("The id_token_hint is another program's.", fix="Send the program's own.")
    onward = None
    if query.post_logout_redirect_uri is not None:
        if client is None or query.post_logout_redirect_uri not in client.after_sign_out:
            raise InvalidRequest("The post_logout_redirect_uri is not registered.", fix="Send it as registered.")
        onward = answer_url(query.post_logout_redirect_uri, {"state": query.state})
    if signed is None or client is None:
        return page(call, "oauth_sign_out.html", {})
    await _end(call, client, str(signed.claims.get("sid", "")))
    return signed_out(call, to=onward or "/sign-in")


async def _end(call: Call, client: Client, sid: str) -> None:
    try:
        session = uuid_of("sess", sid)
    except InvalidId:
        return
    scope = call.services.of(Provider).scope(client, cause=call.request_id, now=call.scope.now)
    with suppress(SessionMissing):
        async with call.services.database.transaction(scope) as tx:
            await end_open_session(tx, session)
    call.services.of(Credentials).forget()


async def _hinted(provider: Provider, text: str, *, now: datetime) -> Signed:
    """Return an ID token of ours, an expired one too; raises InvalidRequest."""
    try:
        header = header_of(text)
        key = await provider.keyring.verifying(header.get("kid"), now=now)
        if key is not None and header.get("typ") == ID_TYPE:
            signed = verify(text, key, algorithms=("ES256",))
            if signed.claims.get("iss") == provider.issuer:
                return signed
    except NotSigned:
        pass
    raise InvalidRequest("The id_token_hint is none of this server's.", fix="Send an ID token that it gave.")


def _from_query(query: AuthorizeQuery) -> Given:
    pairs = [(name, value) for name in query.__struct_fields__ for value in getattr(query, name)]
    return read_pairs(pairs)


ROUTES = (
    Route(
        method="GET",
        path="/oauth/authorize",
        permission=None,
        handler=authorize,
        summary="Ask a person for authorisation",
        query=AuthorizeQuery,
        media=HTML,
        tags=_TAGS,
        listed=False,
    ),
    Route(
        method="POST",
        path="/oauth/authorize",
        permission=None,
        handler=authorize,
        summary="Ask a person for authorisation, in a form",
        accepts="raw",
        body_bytes_max=FORM_BYTES_MAX,
        media=HTML,
        tags=_TAGS,
        listed=False,
    ),
    Route(
        method="GET",
        path="/oauth/end-session",
        permission=None,
        handler=end_session,
        summary="Sign a person out at a program's wish",
        query=EndQuery,
        media=HTML,
        tags=_TAGS,
        listed=False,
    ),
)
