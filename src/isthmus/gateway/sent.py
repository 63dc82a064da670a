"""Calls of programs that know neither our keys nor our bodies: who calls is proven by what was sent, wherever it lies.

They are limited twice: by their address before they are looked at, so that guessing costs little, and as who they are
once that is proven. Pages of any site may call: no cookie is read, and the answer is the same for everybody.
"""

from isthmus.gateway.answering import run
from isthmus.gateway.decide import Asked, Chain
from isthmus.gateway.request import Receive, Request, read_body
from isthmus.gateway.router import Match
from isthmus.gateway.routes import Call, Services
from isthmus.gateway.sending import Outgoing
from isthmus.gateway.tracing import NOBODY, circumstances_of
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import mint
from isthmus.store.database import Scope
from isthmus.vault import entropy

ASKED_AGAIN_S = 86_400
_HEADERS = "authorization, content-type, content-encoding, sp-anonymous, x-requested-with"


async def answer_sent(
    services: Services, chain: Chain, request: Request, asked: Asked, match: Match, receive: Receive
) -> Outgoing:
    """Answer a call whose sender is proven by what it sent; raises what the stages and the route refuse with."""
    route = match.route
    assert route.sender is not None
    if chain.door is not None:
        chain.door(asked)
    await _admitted(chain, asked)
    raw = await read_body(request, route, receive) if request.method not in {"GET", "HEAD"} else b""

    def called(scope: Scope) -> Call:
        return Call(
            route=route,
            path=match.path,
            services=services,
            scope=scope,
            request_id=request.id,
            once=mint(unix_ms=milliseconds(asked.now), entropy=entropy(10)),
            caller=asked.principal,
            headers=request.headers,
            raw=raw,
            raw_query=request.query,
            secure=request.secure,
            client=request.client,
        )

    nobody = Scope(workspace=NOBODY, actor="nobody", cause=request.id, now=asked.now)
    principal = asked.principal = await route.sender(called(nobody))
    await _admitted(chain, asked)
    scope = Scope(
        workspace=principal.workspace,
        actor=principal.actor,
        cause=request.id,
        now=asked.now,
        circumstances=circumstances_of(asked, principal, request.headers),
    )
    return await run(called(scope))


async def _admitted(chain: Chain, asked: Asked) -> None:
    for stage in chain.stages:
        waiting = stage.admit(asked)
        if waiting is not None:
            await waiting


def crossing(request: Request) -> list[tuple[str, str]]:
    """Return the headers that let a page of any site read the answer.

    The origin is repeated, and not a star, because pages whose programs send cookies would not take that.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return []
    return [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("vary", "origin"),
    ]


def preflight(request: Request, methods: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the headers that answer a page's question whether it may call."""
    allowed = crossing(request)
    if not allowed:
        return []
    return [
        *allowed,
        ("access-control-allow-methods", ", ".join(methods)),
        ("access-control-allow-headers", _HEADERS),
        ("access-control-max-age", str(ASKED_AGAIN_S)),
    ]
