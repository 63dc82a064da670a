"""The endpoints that programs call: tokens, pushed requests, devices, introspection, revocation."""

from isthmus.app.http.oauth.forms import FORM_BYTES_MAX, Given, answer, bound_to, client_of, read_form, refusal
from isthmus.auth.credentials import Credentials
from isthmus.auth.oauth.clients import CODE, DEVICE, EXCHANGE, GRANTS, REFRESH, Client
from isthmus.auth.oauth.codes import redeem_code
from isthmus.auth.oauth.devices import begin_device, poll_device, redeem_device
from isthmus.auth.oauth.errors import InvalidGrant, InvalidRequest, UnsupportedGrantType
from isthmus.auth.oauth.exchanging import exchange
from isthmus.auth.oauth.grants import end_grants
from isthmus.auth.oauth.inspecting import introspect, own_token, revoke
from isthmus.auth.oauth.issuing import TokenAnswer
from isthmus.auth.oauth.jose import Signed
from isthmus.auth.oauth.machines import machine_token
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.oauth.refreshing import refresh
from isthmus.auth.oauth.requests import PUSHED_LIFE, Refused, check_request, known_resources, push
from isthmus.auth.oauth.scopes import narrowed, read_scopes
from isthmus.gateway import Call, Response, Route
from isthmus.gateway.routes import Handler
from isthmus.store.database import Scope, Transaction

_TAGS = ("oauth",)


async def give_token(call: Call) -> Response:
    """Answer the token endpoint."""
    given = read_form(call)
    grant = given.text("grant_type")
    client = await client_of(call, given)
    if grant not in GRANTS:
        raise UnsupportedGrantType(f"There is no such grant type. Known: {', '.join(GRANTS)}.")
    key = await bound_to(call, client)
    provider = call.services.of(Provider)
    scope = provider.scope(client, cause=call.request_id, now=call.scope.now)
    await provider.keyring.signing(now=scope.now)
    text = given.single.get("subject_token")
    signed = await own_token(provider, text, now=scope.now) if text is not None else None
    try:
        if grant == DEVICE:
            return answer(await _device(call, client, given, scope=scope, key=key))
        async with call.services.database.transaction(scope) as tx:
            return answer(await _granted(provider, tx, client, given, grant=grant, key=key, signed=signed))
    except InvalidGrant as fault:
        if fault.ends is not None:
            async with call.services.database.transaction(scope) as tx:
                await end_grants(tx, [fault.ends], why="used twice")
            call.services.of(Credentials).forget()
        raise


async def _granted(
    provider: Provider,
    tx: Transaction,
    client: Client,
    given: Given,
    *,
    grant: str,
    key: str | None,
    signed: Signed | None,
) -> TokenAnswer:
    scopes = read_scopes(given.single.get("scope", ""))
    match grant:
        case _ if grant == CODE:
            return await redeem_code(
                provider,
                tx,
                client,
                code=given.text("code"),
                redirect=given.single.get("redirect_uri"),
                verifier=given.text("code_verifier"),
                bound_to=key,
                resources=given.resources,
            )
        case _ if grant == REFRESH:
            token = given.text("refresh_token")
            return await refresh(
                provider, tx, client, token=token, scopes=scopes, resources=given.resources, bound_to=key
            )
        case _ if grant == EXCHANGE:
            aim = (*given.resources, *given.audiences)
            return await exchange(provider, tx, client, given.single, signed=signed, resources=aim, bound_to=key)
        case _:
            return await machine_token(provider, tx, client, scopes=scopes, resources=given.resources, bound_to=key)


async def _device(call: Call, client: Client, given: Given, *, scope: Scope, key: str | None) -> TokenAnswer:
    """Answer a device; that it asked is kept also when the answer is no."""
    code, database = given.text("device_code"), call.services.database
    async with database.transaction(scope) as tx:
        polled = await poll_device(tx, client, code=code)
    async with database.transaction(scope) as tx:
        return await redeem_device(call.services.of(Provider), tx, client, polled, code=code, bound_to=key)


async def push_request(call: Call) -> Response:
    """Keep an authorisation request for a minute (RFC 9126)."""
    given = read_form(call)
    client = await client_of(call, given)
    if "request_uri" in given.single:
        raise InvalidRequest("A pushed request names no other.", fix="Leave request_uri out.")
    key = await bound_to(call, client) if "dpop" in call.headers else None
    provider = call.services.of(Provider)
    asked = dict(given.single)
    if key is not None and asked.setdefault("dpop_jkt", key) != key:
        raise InvalidRequest("The parameter dpop_jkt names another key than the proof.", fix="Leave it out.")
    async with call.services.database.transaction(
        provider.scope(client, cause=call.request_id, now=call.scope.now)
    ) as tx:
        try:
            checked = await check_request(provider, tx, client, asked, resources=given.resources, pushed=True)
        except Refused as refused:
            raise refused.fault from refused
        uri = await push(tx, client, checked)
    return answer({"request_uri": uri, "expires_in": int(PUSHED_LIFE.total_seconds())}, status=201)


async def start_device(call: Call) -> Response:
    """Give a device its codes (RFC 8628)."""
    given = read_form(call)
    client = await client_of(call, given)
    provider = call.services.of(Provider)
    scopes = narrowed(read_scopes(given.single.get("scope", "")), to=client.scopes, domains=provider.domains)
    async with call.services.database.transaction(
        provider.scope(client, cause=call.request_id, now=call.scope.now)
    ) as tx:
        resources = await known_resources(provider, tx, given.resources)
        made = await begin_device(tx, client, scopes=scopes, resources=resources)
    page = provider.url("/device")
    return answer(
        {
            "device_code": made.device_code,
            "user_code": made.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={made.user_code}",
            "expires_in": made.expires_in,
            "interval": made.interval,
        }
    )


async def look_into_token(call: Call) -> Response:
    """Answer what a token is (RFC 7662)."""
    given = read_form(call)
    client = await client_of(call, given)
    provider, token = call.services.of(Provider), given.text("token")
    signed = await own_token(provider, token, now=call.scope.now)
    async with call.services.database.transaction(
        provider.scope(client, cause=call.request_id, now=call.scope.now)
    ) as tx:
        return answer(await introspect(provider, tx, client, token=token, signed=signed))


async def revoke_token(call: Call) -> Response:
    """Revoke a token (RFC 7009); one that nobody knows is revoked already."""
    given = read_form(call)
    client = await client_of(call, given)
    provider, token = call.services.of(Provider), given.text("token")
    signed = await own_token(provider, token, now=call.scope.now)
    async with call.services.database.transaction(
        provider.scope(client, cause=call.request_id, now=call.scope.now)
    ) as tx:
        done = await revoke(tx, client, token=token, signed=signed)
    if done:
        call.services.of(Credentials).forget()
    return answer({})


def _endpoint(path: str, handler: Handler, summary: str) -> Route:
    return Route(
        method="POST",
        path=path,
        permission=None,
        handler=handler,
        summary=summary,
        accepts="raw",
        body_bytes_max=FORM_BYTES_MAX,
        refusal=refusal,
        tags=_TAGS,
        listed=False,
    )


ROUTES = (
    _endpoint("/oauth/token", give_token, "Give tokens (RFC 6749)"),
    _endpoint("/oauth/par", push_request, "Push an authorisation request (RFC 9126)"),
    _endpoint("/oauth/device", start_device, "Begin on a device without a browser (RFC 8628)"),
    _endpoint("/oauth/introspect", look_into_token, "Tell what a token is (RFC 7662)"),
    _endpoint("/oauth/revoke", revoke_token, "Revoke a token (RFC 7009)"),
)
