"""External authorisation: a proxy that holds a call asks whether it may pass, and is told who makes it.

Envoy (`ext_authz` over HTTP) puts the call's path behind `/authz/envoy` and repeats its method and headers; its callers
get our answer as it is. nginx (`auth_request`) names the call in X-Original-Method and X-Original-URI; it understands
2xx, 401 and 403 only, so the true status and problem stand in headers beside these.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from isthmus.app.upstreams.reach import Reach
from isthmus.app.upstreams.serving import PREFIX, Upstreams, target_of
from isthmus.app.upstreams.tracing import Passage
from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked
from isthmus.gateway.limits import caller_of
from isthmus.gateway.problems import MEDIA as PROBLEM
from isthmus.gateway.request import Request
from isthmus.gateway.router import Match
from isthmus.gateway.sending import Outgoing
from isthmus.gateway.tracing import circumstances_of
from isthmus.gateway.upstreams.doors import Verdict
from isthmus.gateway.upstreams.headers import CREDENTIALS, IDENTITY, PROXY_KEY, check_path
from isthmus.kernel.errors import Denied, Malformed
from isthmus.store.database import Scope

ENVOY, NGINX = "/authz/envoy", "/authz/nginx"
METHOD, URI = "x-original-method", "x-original-uri"
REMOVED, SUBJECT, UPSTREAM = "x-envoy-auth-headers-to-remove", "isthmus-subject", "isthmus-upstream"
STATUS, PROBLEM_TEXT = "isthmus-status", "isthmus-problem"
_UNAUTHENTICATED, _DENIED, _REFUSED_FROM = 401, 403, 300
_PROBLEM_CHARACTERS_MAX = 4_000
_Reply = list[tuple[str, str]]


class ProxyRefused(Denied):
    """Whoever asks about calls is not one of the operator's proxies."""

    code, title = "proxy-refused", "Only the operator's proxies ask here"


@dataclass(frozen=True)
class OtherDoors:
    """Host names that lead to upstreams, and proxies that ask."""

    upstreams: Upstreams
    reach: Reach

    @property
    def state(self) -> object:
        """The names of hosts."""
        return self.upstreams.register.hosts

    def enter(self, request: Request) -> tuple[Request, Verdict | None]:
        """Return the call that is meant; raises ProxyRefused, and Malformed for one that is not named."""
        asks = self.reach.proxy_key is not None or self.reach.loopback_asks
        if not asks or not request.path.startswith(("/authz/envoy", "/authz/nginx")):
            return self._at_host(self.reach.hops.caller(request)), None
        self._check_proxy(request)
        # Where the call comes from, the proxy alone says: it is none of its own.
        came = self.reach.hops.behind(replace(request, client="", secure=False, local=False))
        if request.path.startswith(ENVOY):
            return self._at_host(_held_by_envoy(came)), Told(self.upstreams)
        return self._at_host(_held_by_nginx(came)), ToldNginx(self.upstreams)

    def _at_host(self, request: Request) -> Request:
        hosts = self.upstreams.register.hosts
        if not hosts:
            return request
        name = hosts.get(_host(request.headers))
        return request if name is None else replace(request, path=f"{PREFIX}{name}{request.path}")

    def _check_proxy(self, request: Request) -> None:
        reach = self.reach
        shown = request.headers.get(PROXY_KEY)
        if shown is not None and reach.proxy_key is not None:
            if hmac.compare_digest(shown.encode(), reach.proxy_key):
                return
        elif reach.loopback_asks and _is_loopback(request.client):
            return
        raise ProxyRefused("This is for the operator's proxies.", fix=f"Send the key as {PROXY_KEY}.")


@dataclass(frozen=True)
class Told:
    """How Envoy is told: by the answer itself."""

    upstreams: Upstreams

    async def allowed(self, request: Request, asked: Asked, match: Match) -> Outgoing:
        """Return who calls, in headers; raises UpstreamMissing and GrantMissing for upstreams."""
        principal = asked.principal
        if principal is None:
            return Outgoing(status=200)
        headers: _Reply = [(SUBJECT, caller_of(principal))]
        if match.route.tail and match.route.path.startswith(PREFIX):
            headers += await self._identity(request, asked, match, principal)
        return Outgoing(status=200, headers=headers)

    def told(self, answer: Outgoing) -> Outgoing:
        """Return it as it is."""
        return answer

    async def _identity(self, request: Request, asked: Asked, match: Match, principal: Principal) -> _Reply:
        name, target = match.path["upstream"], target_of(request.path)
        check_path(target)
        await self.upstreams.opened(principal, name, now=asked.now)
        identity = await self.upstreams.identities.text(principal, audience=name, now=asked.now)
        scope = Scope(
            workspace=principal.workspace,
            actor=principal.actor,
            cause=request.id,
            now=asked.now,
            circumstances=circumstances_of(asked, principal, request.headers),
        )
        passage = Passage(scope=scope, upstream=name, method=request.method, target=target)
        await passage.tell(self.upstreams.trail)
        return [(IDENTITY, identity), (UPSTREAM, name), (REMOVED, ",".join(sorted(CREDENTIALS - {IDENTITY})))]


@dataclass(frozen=True)
class ToldNginx(Told):
    """How nginx is told: 401 and 403 as such, everything else that refuses as 403 with headers that say what it is."""

    def told(self, answer: Outgoing) -> Outgoing:
        """Return it as nginx understands it."""
        if answer.status < _REFUSED_FROM:
            return answer
        status = _UNAUTHENTICATED if answer.status == _UNAUTHENTICATED else _DENIED
        headers = [*answer.headers, (STATUS, str(answer.status))]
        if answer.media == PROBLEM and isinstance(answer.body, bytes):
            text = json.dumps(json.loads(answer.body))
            if len(text) <= _PROBLEM_CHARACTERS_MAX:
                headers.append((PROBLEM_TEXT, text))
        return replace(answer, status=status, headers=headers)


def _held_by_envoy(request: Request) -> Request:
    path = request.path.removeprefix(ENVOY) or "/"
    if not path.startswith("/"):
        raise Malformed("The path of the call is missing.", fix=f"Set path_prefix to {ENVOY}.")
    return replace(request, path=path)


def _held_by_nginx(request: Request) -> Request:
    method, uri = request.headers.get(METHOD, ""), request.headers.get(URI, "")
    path, _, query = uri.partition("?")
    if not method.isalpha() or not path.startswith("/"):
        raise Malformed("The call is not named.", fix=f"Set {METHOD} to $request_method and {URI} to $request_uri.")
    return replace(request, method=method.upper(), path=path, query=query.encode("latin-1"))


def _host(headers: Mapping[str, str]) -> str:
    host = headers.get("host", "").lower()
    name, colon, port = host.rpartition(":")
    return name.rstrip(".") if colon and port.isdecimal() else host.rstrip(".")


def _is_loopback(client: str) -> bool:
    try:
        return ip_address(client).is_loopback
    except ValueError:
        return False
