"""What programs read about the authorisation server, and about the person whose token they hold."""

from isthmus.app.http.oauth.forms import JSON_MEDIA, answer
from isthmus.auth.oauth.clients import GRANTS
from isthmus.auth.oauth.errors import InsufficientScope, InvalidToken
from isthmus.auth.oauth.grants import find_grant
from isthmus.auth.oauth.inspecting import own_token
from isthmus.auth.oauth.jose import ASYMMETRIC
from isthmus.auth.oauth.keyring import JWKS_AGE_S
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.oauth.scopes import EMAIL, OIDC, OPENID, PROFILE, read_scopes
from isthmus.auth.people.errors import LoginMissing
from isthmus.auth.people.logins import find_login
from isthmus.auth.roles import all_permissions
from isthmus.gateway import ANY_CALLER, Call, Response, Route
from isthmus.gateway.routes import Handler, Method
from isthmus.kernel.marks import Json

_DISCOVERY_AGE_S = 300
_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]
_CONFIDENTIAL = _METHODS[:-1]


def metadata(provider: Provider) -> dict[str, Json]:
    """Return what RFC 8414 and OpenID Connect Discovery want to know; both documents are this one."""
    url = provider.url
    signing: list[Json] = [*ASYMMETRIC]
    return {
        "issuer": provider.issuer,
        "authorization_endpoint": url("/oauth/authorize"),
        "token_endpoint": url("/oauth/token"),
        "pushed_authorization_request_endpoint": url("/oauth/par"),
        "device_authorization_endpoint": url("/oauth/device"),
        "introspection_endpoint": url("/oauth/introspect"),
        "revocation_endpoint": url("/oauth/revoke"),
        "userinfo_endpoint": url("/oauth/userinfo"),
        "end_session_endpoint": url("/oauth/end-session"),
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "jwks_uri": url("/oauth/jwks"),
        "scopes_supported": [*OIDC, *sorted(all_permissions(domains=provider.domains))],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [*GRANTS],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "acr_values_supported": ["aal1", "aal2"],
        "claims_supported": ["sub", "name", "email", "auth_time", "acr", "amr", "nonce", "at_hash", "sid"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": True,
        "require_request_uri_registration": False,
        "require_pushed_authorization_requests": False,
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "consent"],
        "authorization_response_iss_parameter_supported": True,
        "token_endpoint_auth_methods_supported": [*_METHODS],
        "token_endpoint_auth_signing_alg_values_supported": signing,
        "introspection_endpoint_auth_methods_supported": [*_CONFIDENTIAL],
        "introspection_endpoint_auth_signing_alg_values_supported": signing,
        "revocation_endpoint_auth_methods_supported": [*_METHODS],
        "revocation_endpoint_auth_signing_alg_values_supported": signing,
        "dpop_signing_alg_values_supported": signing,
        "ui_locales_supported": ["en"],
        "service_documentation": url("/docs"),
    }


async def describe(call: Call) -> Response:
    """Answer discovery."""
    made = answer(metadata(call.services.of(Provider)))
    return Response(body=made.body, media=JSON_MEDIA, headers=_kept(_DISCOVERY_AGE_S))


async def show_keys(call: Call) -> Response:
    """Answer the public keys."""
    found = await call.services.of(Provider).keyring.published(now=call.scope.now)
    keys: list[Json] = [*found]
    return Response(body=answer({"keys": keys}).body, media=JSON_MEDIA, headers=_kept(JWKS_AGE_S))


async def show_person(call: Call) -> Response:
    """Answer who the person is, as far as the token's scopes go (OpenID Connect Core §5.3)."""
    principal, provider = call.principal, call.services.of(Provider)
    text = call.headers.get("authorization", "").partition(" ")[2].strip()
    signed = await own_token(provider, text, now=call.scope.now)
    if principal.kind != "token" or signed is None:
        raise InvalidToken("This needs an access token.", fix="Ask for one with the scope openid.")
    scopes = read_scopes(str(signed.claims.get("scope", "")))
    if OPENID not in scopes:
        raise InsufficientScope("This needs the scope openid.", fix="Ask for it.")
    said: dict[str, Json] = {"sub": signed.text("sub")}
    async with call.services.database.transaction(call.scope) as tx:
        grant = await find_grant(tx, principal.id)
        if PROFILE in scopes:
            said["name"] = principal.name or (grant.name if grant else "")
        if EMAIL in scopes and principal.user is not None:
            try:
                said["email"] = (await find_login(tx, call.services.vault, principal.user)).email
            except LoginMissing as error:
                raise InvalidToken("The person is not there any more.", fix="Sign in again.") from error
    return answer(said)


def _kept(seconds: int) -> tuple[tuple[str, str], ...]:
    return (("cache-control", f"public, max-age={seconds}"), ("access-control-allow-origin", "*"))


def _open(path: str, handler: Handler, summary: str) -> Route:
    return Route(method="GET", path=path, permission=None, handler=handler, summary=summary, listed=False)


def _person(method: Method) -> Route:
    return Route(
        method=method,
        path="/oauth/userinfo",
        permission=ANY_CALLER,
        handler=show_person,
        summary="Tell who the person behind a token is",
        accepts="raw",
        listed=False,
    )


ROUTES = (
    _open("/.well-known/openid-configuration", describe, "Describe the authorisation server"),
    _open("/.well-known/oauth-authorization-server", describe, "Describe the authorisation server"),
    _open("/oauth/jwks", show_keys, "The public keys that tokens are signed with"),
    _person("GET"),
    _person("POST"),
)
