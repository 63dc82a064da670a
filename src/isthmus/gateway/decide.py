"""The decision of a call: credential, grant, then the stages: policy, limits, quota, threats. Silence denies.

It knows nothing of the server, so that the same function can answer a proxy's external authorisation call.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from isthmus.auth.principal import Principal
from isthmus.auth.tokens import Presented
from isthmus.gateway.errors import ForgeryRefused, FresherTokenNeeded, StepUpNeeded
from isthmus.gateway.histogram import Timings
from isthmus.gateway.routes import ANY_CALLER, Route
from isthmus.kernel.errors import Denied, Unauthenticated
from isthmus.kernel.marks import RecordType
from isthmus.kernel.money import Money
from isthmus.store.records import Condition

UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OWN_SITES = frozenset({"same-origin", "none"})
_SCHEMES = frozenset({"bearer", "dpop"})


class GrantMissing(Denied):
    """The caller is known and lacks the route's permission."""

    code = "grant-missing"

    def __init__(self, principal: Principal, permission: str) -> None:
        """Remember who it was, for the audit log."""
        super().__init__(
            f"This needs the permission {permission}.", fix="Ask for a key or a role that has this permission."
        )
        self.principal = principal


class GrantLimited(Denied):
    """The caller is limited to named records, and the route shows more than those."""

    code = "grant-limited"

    def __init__(self) -> None:
        """Say it in the caller's words."""
        super().__init__(
            "The credential is limited to named records, and this shows more than those.",
            fix="Read the records themselves, or ask for a credential without this limit.",
        )


class Proof(Protocol):
    """Proves credentials."""

    async def key(self, text: str, *, now: datetime) -> Principal:
        """Return the principal of an API key; raises Unauthenticated."""
        ...

    async def token(self, shown: Presented, *, cause: str, now: datetime) -> Principal:
        """Return the principal of an access token; raises Unauthenticated."""
        ...

    async def session(self, token: str, *, now: datetime) -> Principal:
        """Return the principal of a session; raises Unauthenticated."""
        ...

    def recall(self, digest: bytes, *, now: datetime) -> Principal | None:
        """Return the principal of a key or token by its SHA-256, or None where that must be asked for again."""
        ...

    def refuses(self, digest: bytes, *, now: datetime) -> bool:
        """Tell whether it is known without asking that nothing is opened by a key, by its SHA-256."""
        ...


@dataclass(slots=True, kw_only=True)
class Asked:
    """What a decision is made from: the route, where the call comes from, and what the caller sent to prove itself.

    `site` is the header Sec-Fetch-Site, or what was derived from Origin; `local` tells a caller on this machine;
    `client` is the caller's address, `upstream` the service behind the gate that is called, `dpop` the proof of the
    key that its token is bound to. The decision adds to it: `principal` once it is proven, `headers` for the answer,
    `reasons`, such as the names of policies and limits that had a say, `sight`, the condition under which records are
    seen, `weigh`, which looks at the `amount` in the body once that is read and may still refuse, and `inspect`, which
    looks at the body itself and may refuse too. `sent` is how many bytes the answer has, 0 where it comes piece by
    piece; `shown` tells proofs in bodies apart.
    """

    route: Route
    now: datetime
    path: str = ""
    query: bytes = field(default=b"", repr=False)
    request_id: str = ""
    client: str = ""
    agent: str = ""
    method: str = ""
    authorization: str | None = field(default=None, repr=False)
    dpop: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)
    csrf: str | None = field(default=None, repr=False)
    site: str = "none"
    local: bool = False
    purpose: str = ""
    upstream: str = ""
    principal: Principal | None = None
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    reasons: list[str] = field(default_factory=list[str])
    sight: Callable[[RecordType], Condition | None] | None = None
    weigh: Callable[[Struct | None], None] | None = None
    inspect: "Callable[[Asked, Struct | None], None] | None" = None
    sent: int = 0
    shown: int = 0
    amount: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a stage has worked out about a call that passed, for others that are the same to the byte.

    `passes` tells, and changes nothing, whether one more of them passes at once: not if it would wait or be refused.
    `count` counts one that passed and returns lines of headers for its answer. `hear` is told, later and together, what
    those took that were answered with 200, the first of them at a moment. What is None does nothing.
    """

    passes: Callable[[datetime], bool] | None = None
    count: Callable[[datetime], bytes] | None = None
    hear: Callable[[datetime, Timings], None] | None = None


class Stage(Protocol):
    """A part of the decision after the grant, which also hears how every call ended."""

    def admit(self, asked: Asked) -> Awaitable[None] | None:
        """Let the call pass, or raise an IsthmusError with the reason. Return an awaitable only if it must wait."""
        ...

    def ended(self, asked: Asked, *, status: int, micros: int) -> None:
        """Hear how a call ended, refused ones and those without a principal too. It must not block."""
        ...

    def standing_for(self, asked: Asked) -> Standing | None:
        """Return what holds for calls that are the same as one that passed; None where each is decided by itself.

        `asked` is theirs from then on: it carries the moment and the id of the one that is being counted.
        """
        ...

    def refuses(self, asked: Asked) -> bool:
        """Tell, and change nothing, whether `admit` would refuse the call at once."""
        ...


class Widening(Protocol):
    """Grants in circumstances what roles do not."""

    async def permits(self, asked: Asked) -> bool:
        """Tell whether a policy permits the route to the proven caller who lacks its permission."""
        ...

    def silent(self, asked: Asked) -> bool:
        """Tell whether it is known without asking that no policy could permit the route to the proven caller."""
        ...


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What decides: who proves credentials, and the stages in their order.

    `door` is asked before anything is proven, so that who is shut out does not learn which credentials are right.
    """

    proof: Proof
    stages: tuple[Stage, ...] = ()
    widening: Widening | None = None
    door: Callable[[Asked], None] | None = None


async def decide(chain: Chain, asked: Asked) -> Principal | None:
    """Return who may make the call, or None for a route that lets everybody in.

    Raises Unauthenticated, Denied, and what the stages refuse with.
    """
    if chain.door is not None:
        chain.door(asked)
    asked.principal = await granted(chain, asked)
    for stage in chain.stages:
        waiting = stage.admit(asked)
        if waiting is not None:
            await waiting
    return asked.principal


def opens(principal: Principal, route: Route) -> bool:
    """Tell whether a route is open to a caller by what it was granted, without a policy and without a fresh proof."""
    if principal.only and not route.record and not route.narrows:
        return False
    return route.permission is not None and (route.permission == ANY_CALLER or principal.may(route.permission))


async def granted(chain: Chain, asked: Asked) -> Principal | None:
    """Return who makes the call, with a grant that opens the route; None where it is open to everybody.

    Raises Unauthenticated and Denied.
    """
    route = asked.route
    if route.method in UNSAFE and (asked.session or route.accepts == "form") and asked.site not in _OWN_SITES:
        raise ForgeryRefused("The change was sent from a page of another site.", fix="Use the console's own pages.")
    if route.permission is None or (route.open_locally and asked.local):
        return None
    principal = asked.principal = await _proven(chain.proof, asked)
    if principal.only and not route.record and not route.narrows:
        raise GrantLimited
    if route.permission != ANY_CALLER and not principal.may(route.permission):
        widened = chain.widening is not None and await chain.widening.permits(asked)
        if not widened:
            raise GrantMissing(principal, route.permission)
    if principal.kind == "session" and route.method in UNSAFE and route.accepts != "form":
        check_csrf(principal, asked.csrf)
    if route.fresh_s is not None:
        check_fresh(principal, route.fresh_s, now=asked.now)
    return principal


def check_fresh(principal: Principal, fresh_s: int, *, now: datetime) -> None:
    """Raise StepUpNeeded, or FresherTokenNeeded for a token, when the person behind proved themselves too long ago.

    A second factor is what counts for whoever has shown one. Keys are of machines, which have nothing further to show.
    """
    if principal.kind == "key" or (principal.kind == "token" and principal.user is None):
        return
    at = principal.mfa_at or principal.proven_at
    if at is None or now - at > timedelta(seconds=fresh_s):
        raise StepUpNeeded(fresh_s) if principal.kind == "session" else FresherTokenNeeded(fresh_s)


def check_csrf(principal: Principal, token: str | None) -> None:
    """Raise ForgeryRefused unless the token is that of the session."""
    if token is None or not hmac.compare_digest(token.encode(), principal.csrf.encode()):
        raise ForgeryRefused(
            "The change does not carry the token of your session.", fix="Load the page again and repeat it."
        )


async def _proven(proof: Proof, asked: Asked) -> Principal:
    if asked.authorization is not None:
        scheme, _, credential = asked.authorization.partition(" ")
        scheme, credential = scheme.lower(), credential.strip()
        if scheme not in _SCHEMES or not credential:
            raise Unauthenticated(
                "The header Authorization is not of the form Bearer <key>.",
                fix="Send: Authorization: Bearer ist_live_…",
            )
        if scheme == "bearer" and "." not in credential:
            return await proof.key(credential, now=asked.now)
        method = asked.method or asked.route.method
        shown = Presented(text=credential, scheme=scheme, method=method, path=asked.path, proof=asked.dpop)
        return await proof.token(shown, cause=asked.request_id, now=asked.now)
    if asked.session is not None:
        return await proof.session(asked.session, now=asked.now)
    raise Unauthenticated(
        "No credential came with the request.", fix="Send an API key as Authorization: Bearer ist_live_…"
    )
