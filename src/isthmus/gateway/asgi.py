"""The way of a call: route → decision → reading → idempotency → handler → answer. Nothing a handler does leaks out."""

import asyncio
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

import structlog

from isthmus.audit.queue import AuditQueue, Noted
from isthmus.auth.principal import Principal
from isthmus.gateway.answering import VERSION_HEADER, NoParameters, kept, read_declared, replayed, run
from isthmus.gateway.coalescing import Coalescing
from isthmus.gateway.decide import UNSAFE, Asked, Chain, decide
from isthmus.gateway.errors import StepUpNeeded
from isthmus.gateway.holding import HeldKey, Holding
from isthmus.gateway.idempotency import Asking, Repeats, read_key
from isthmus.gateway.instant import InstantAnswers
from isthmus.gateway.instant_refusals import InstantRefusals
from isthmus.gateway.metrics import Traffic
from isthmus.gateway.problems import MEDIA as PROBLEM
from isthmus.gateway.problems import Unexpected, problem_headers, problem_json, problem_page
from isthmus.gateway.reading import read_parameters
from isthmus.gateway.request import Message, Receive, Request, Send, new_request_id, read_body, read_request
from isthmus.gateway.request_cache import Head
from isthmus.gateway.router import Match, Router
from isthmus.gateway.routes import HTML, Call, Route, Services, needs_version
from isthmus.gateway.sending import Outgoing, seal, send_answer
from isthmus.gateway.sent import answer_sent, crossing, preflight
from isthmus.gateway.tracing import DENIED, NOBODY, circumstances_of, denied, purpose_of, shown
from isthmus.gateway.upstreams.doors import Doors, Verdict
from isthmus.gateway.upstreams.inflow import Inflow, Passing
from isthmus.gateway.versions import pinned
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import IsthmusError, Malformed, Unauthenticated, Unavailable
from isthmus.kernel.ids import mint
from isthmus.store.database import Scope
from isthmus.vault import entropy

SIGN_IN, STEP_UP = "/sign-in", "/step-up"
HEAD = "isthmus.head"
"""Under which name a server adds the `Head` of a request to its scope, if it came whole and alone."""
CANCELLED = 499
"""How stages hear of a call that was given up before it was answered."""
_log = structlog.get_logger("isthmus.gateway")
ErrorPage = Callable[[IsthmusError, str], bytes]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a gateway is made of. `ticks` counts nanoseconds; `error_page` shows an error to a browser.

    `trail` writes what was refused and which personal fields were read; without one the gateway has its own.
    `doors` are other ways in than the path.
    """

    services: Services
    chain: Chain
    traffic: Traffic
    ticks: Callable[[], int]
    trail: AuditQueue | None = None
    doors: Doors | None = None
    error_page: ErrorPage = lambda error, request_id: problem_page(error, request_id=request_id)


class Gateway:
    """An ASGI application made from routes; one for each worker."""

    def __init__(self, routes: Sequence[Route], parts: Parts) -> None:
        """Compile the routes; raises ValueError when they do not fit together."""
        self.router = Router(routes)
        self._parts = parts
        self._places = {id(route): index for index, route in enumerate(self.router.routes)}
        services = parts.services
        self._repeats = Repeats(services.database, services.vault, services.clock)
        self._trail = parts.trail or AuditQueue(services.database)
        self._closing = asyncio.Event()
        self._hearing = tuple(stage.ended for stage in parts.chain.stages)
        self._coalescing = Coalescing[tuple[Outgoing, set[str]]]()
        self._holding = Holding(ticks=parts.ticks, changes=parts.traffic.changes)
        clock, ticks = services.clock, parts.ticks
        self._instant = InstantAnswers(parts.chain, self._holding, parts.traffic, clock=clock, ticks=ticks)
        self._refusals = InstantRefusals(
            parts.chain, self._refused_again, self._note, self._count_again, clock=clock, ticks=ticks
        )

    @property
    def services(self) -> Services:
        """What its handlers work with."""
        return self._parts.services

    @property
    def chain(self) -> Chain:
        """What decides about its calls."""
        return self._parts.chain

    @property
    def instant(self) -> InstantAnswers:
        """What answers known requests at once."""
        return self._instant

    async def close(self) -> None:
        """Write what waits for the audit log."""
        self.settle()
        await self._trail.close()

    def settle(self) -> None:
        """Count at once what would be counted within a second."""
        self._instant.settle()

    def answer_at_once(self, raw: bytes, peer: str, *, secure: bool, lines: bytes) -> bytes | None:
        """Return the whole answer to the bytes of a whole request, or None when it must be read and called.

        `lines` are headers that the server adds to every answer.
        """
        doors = None if self._parts.doors is None else self._parts.doors.state
        answer = self._instant.answer(raw, peer, secure=secure, doors=doors, lines=lines)
        return answer or self._refusals.answer(raw, peer, secure=secure, doors=doors, lines=lines)

    def close_streams(self) -> None:
        """End the streams that are open, because the program ends; their callers come again elsewhere."""
        self._closing.set()

    def refuse(self, error: IsthmusError, *, secure: bool, lines: bytes) -> bytes:
        """Return the whole answer to what could not be read as a request; the connection ends with it."""
        request_id = new_request_id(self._parts.services.clock.now())
        body = problem_json(error, request_id=request_id)
        headers = [("connection", "close"), ("x-request-id", request_id)]
        answer = Outgoing(status=error.status, media=PROBLEM, body=body, headers=headers)
        self._parts.traffic.count(None, status=error.status, micros=0)
        return seal(answer, secure=secure) + lines + b"\r\n" + body

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._beside(scope, receive, send)
            return
        self._parts.traffic.entered()
        try:
            await self._called(scope, receive, send)
        finally:
            self._parts.traffic.left()

    async def _beside(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer what is no request: a server that starts and stops, and WebSocket, which is not spoken."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        while scope["type"] == "lifespan":
            said = (await receive())["type"]
            if said == "lifespan.shutdown":
                await self.close()
            await send({"type": f"{said}.complete"})
            if said == "lifespan.shutdown":
                return

    async def _called(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request that is read."""
        began, now = self._parts.ticks(), self._parts.services.clock.now()
        doors = None if self._parts.doors is None else self._parts.doors.state
        request = read_request(scope, now=now)
        route: Route | None = None
        asked: Asked | None = None
        verdict: Verdict | None = None
        try:
            request.check()
            request, verdict = self._entered(request)
            if request.method == "OPTIONS":
                answer = self._options(request)
            else:
                match = self.router.find(request.method, request.path)
                route = match.route
                asked = _asked(request, route, now)
                if route.tail:
                    asked.upstream = match.path.get("upstream", "")
                inflow = Inflow(receive, empty=_has_no_body(request)) if route.accepts == "stream" else None
                answer = await self._answered(request, asked, match, verdict, inflow or receive)
                receive = receive if inflow is None else inflow.wait
                head = scope.get(HEAD)
                if isinstance(head, Head) and verdict is None and answer.status == match.route.status:
                    self._instant.keep(head, request, asked, place=self._places[id(route)], doors=doors)
        except asyncio.CancelledError:
            self._ended(asked, status=CANCELLED, micros=0)
            raise
        except Exception as error:  # noqa: BLE001 - the last place where an error is turned into an answer.
            answer = self._refused(request, route, asked, error)
            head = scope.get(HEAD)
            if isinstance(head, Head) and asked is not None and verdict is None:
                self._refusals.keep(head, request, asked, error, doors=doors)
        if asked is not None:
            self._completed(request, asked, answer)
        answer = answer if verdict is None else verdict.told(answer)
        try:
            await send_answer(request, answer, receive=receive, send=send, closing=self._closing)
        except Exception as error:  # noqa: BLE001 - a stream broke after its start; there is nobody to tell.
            self._unexpected(request, route, error)
        self._count(route, asked, status=answer.status, began=began)

    def _options(self, request: Request) -> Outgoing:
        """Return which methods a path answers, and whether a page of another site may call it."""
        methods = self.router.allowed(request.path)
        headers = preflight(request, methods) if self.router.crossed(request.path) else []
        return Outgoing(status=204, headers=[("allow", ", ".join(methods)), *headers])

    def _completed(self, request: Request, asked: Asked, answer: Outgoing) -> None:
        """Add the headers that the decision gave to an answer; what was changed is told to those who hold answers."""
        if asked.route.sender is not None:
            answer.headers += crossing(request)
        elif asked.principal is not None and asked.route.method in UNSAFE:
            self._parts.traffic.changed(asked.principal.workspace)
        answer.headers.extend(asked.headers)
        asked.sent = len(answer.body) if isinstance(answer.body, bytes) else 0

    def _refused_again(self, request: Request, asked: Asked, error: IsthmusError) -> Outgoing:
        return self._refusal(request, asked.route, error)

    def _count_again(self, asked: Asked, status: int, began: int) -> None:
        self._count(asked.route, asked, status=status, began=began)

    def _refused(self, request: Request, route: Route | None, asked: Asked | None, error: Exception) -> Outgoing:
        """Return the answer to a call that failed, and note it where it was denied."""
        answer = self._refusal(request, route, error)
        if asked is not None and answer.status in DENIED and isinstance(error, IsthmusError):
            self._note(asked, error, request.headers)
        return answer

    def _note(self, asked: Asked, error: IsthmusError, headers: Mapping[str, str]) -> Noted | None:
        """Note a denied call for the audit log."""
        return self._trail.note(denied(asked, error, headers))

    def _count(self, route: Route | None, asked: Asked | None, *, status: int, began: int) -> None:
        """Count an answer, and tell the stages."""
        place = None if route is None else self._places[id(route)]
        micros = (self._parts.ticks() - began) // 1000
        self._parts.traffic.count(place, status=status, micros=micros)
        if asked is not None and asked.principal is not None:
            principal = asked.principal
            self._parts.traffic.count_key(principal.kind, principal.id, status=status, micros=micros)
        self._ended(asked, status=status, micros=micros)

    def _ended(self, asked: Asked | None, *, status: int, micros: int) -> None:
        """Tell the stages how the call ended."""
        if asked is not None:
            for ended in self._hearing:
                ended(asked, status=status, micros=micros)

    async def _answer(self, request: Request, asked: Asked, match: Match, receive: Receive) -> Outgoing:
        route = match.route
        await decide(self._parts.chain, asked)
        if route.held_s or route.shared:
            return await self._held(request, asked, match, receive)
        return await self._worked_out(request, asked, match, receive)

    async def _held(self, request: Request, asked: Asked, match: Match, receive: Receive) -> Outgoing:
        """Answer from what is held, or hold what is answered."""
        holding, route = self._holding, match.route
        key = holding.key(request, asked, route)
        found = holding.find(key, now=asked.now) if key is not None and route.held_s else None
        return found or await self._worked_out_for(key, request, asked, match, receive)

    async def _worked_out_for(
        self, key: HeldKey | None, request: Request, asked: Asked, match: Match, receive: Receive
    ) -> Outgoing:
        """Work out an answer, and hold or share it if it has a place among those of others."""
        if key is None:
            return await self._worked_out(request, asked, match, receive)
        return await self._shared(key, request, asked, match, receive)

    async def _shared(self, key: HeldKey, request: Request, asked: Asked, match: Match, receive: Receive) -> Outgoing:
        """Return an answer that all get who asked for it meanwhile; each one's sight of personal fields is traced."""
        holding, route = self._holding, match.route

        async def work() -> tuple[Outgoing, set[str]]:
            # Whoever came while it was worked out finds it held now.
            if route.held_s and (found := holding.find_fresh(key, now=asked.now)) is not None:
                return found, set()
            state, opened = holding.begin(key), set[str]()
            answer = await self._worked_out(request, asked, match, receive, opened=opened, traced=False)
            if route.held_s and not opened:
                holding.keep(key, answer, route=route, now=asked.now, version=state)
            return answer, opened

        made, opened = await self._coalescing.ask(key, work)
        answer = Outgoing(status=made.status, media=made.media, body=made.body, headers=[*made.headers])
        await self._trace(request, asked, match, opened=opened, status=answer.status)
        return answer

    async def _trace(self, request: Request, asked: Asked, match: Match, *, opened: set[str], status: int) -> None:
        """Write down that personal fields were shown, before they are."""
        if opened and match.route.method not in UNSAFE and status < Malformed.status:
            await self._trail.keep(shown(asked, request.headers, status=status, fields=opened, path=match.path))

    async def _worked_out(
        self,
        request: Request,
        asked: Asked,
        match: Match,
        receive: Receive,
        *,
        opened: set[str] | None = None,
        traced: bool = True,
    ) -> Outgoing:
        route, now, principal = match.route, asked.now, asked.principal
        version = pinned(request.headers.get(VERSION_HEADER))
        query = read_parameters(request.query, route.query or NoParameters, at="/query")
        raw = await read_body(request, route, receive) if request.method in UNSAFE else b""
        csrf = request.headers.get("x-csrf-token")
        call = Call(
            route=route,
            path=match.path,
            services=self._parts.services,
            scope=_scope(request, principal, asked),
            request_id=request.id,
            once=mint(unix_ms=milliseconds(now), entropy=entropy(10)),
            caller=principal,
            headers=request.headers,
            raw=raw,
            raw_query=request.query,
            read_query=query,
            read_body=await read_declared(route, raw, caller=principal, csrf=csrf),
            version=version,
            secure=request.secure,
            session=request.session,
            client=request.client,
            sight=asked.sight,
            opened=set() if opened is None else opened,
        )
        if asked.weigh is not None:
            asked.weigh(call.read_body)
        if asked.inspect is not None and call.read_body is not None:
            asked.inspect(asked, call.read_body)
        if route.if_match and "if-match" not in request.headers:
            raise needs_version()
        key = request.headers.get("idempotency-key")
        if key is not None and route.method == "POST" and principal is not None:
            return await self._once(request, call, principal, read_key(key))
        answer = await run(call)
        if traced:
            await self._trace(request, asked, match, opened=call.opened, status=answer.status)
        return answer

    async def _answered(
        self, request: Request, asked: Asked, match: Match, verdict: Verdict | None, body: Receive | Inflow
    ) -> Outgoing:
        """Answer a call itself, or whoever only asks about it."""
        if verdict is not None:
            return await self._judged(request, asked, match, verdict)
        if isinstance(body, Inflow):
            return await self._passed_on(request, asked, match, body)
        if match.route.sender is not None:
            return await answer_sent(self._parts.services, self._parts.chain, request, asked, match, body)
        return await self._answer(request, asked, match, body)

    def _entered(self, request: Request) -> tuple[Request, Verdict | None]:
        """Return the request that is meant; raises what other doors refuse with."""
        return (request, None) if self._parts.doors is None else self._parts.doors.enter(request)

    async def _judged(self, request: Request, asked: Asked, match: Match, verdict: Verdict) -> Outgoing:
        """Decide about a call that a proxy holds. Its body stays there, so what looks at bodies sees none."""
        await decide(self._parts.chain, asked)
        if asked.weigh is not None:
            asked.weigh(None)
        return await verdict.allowed(request, asked, match)

    async def _passed_on(self, request: Request, asked: Asked, match: Match, inflow: Inflow) -> Outgoing:
        """Answer a call whose body is passed on as it comes."""
        principal = await decide(self._parts.chain, asked)
        call = Call(
            route=match.route,
            path=match.path,
            services=self._parts.services,
            scope=_scope(request, principal, asked),
            request_id=request.id,
            once=mint(unix_ms=milliseconds(asked.now), entropy=entropy(10)),
            caller=principal,
            headers=request.headers,
            secure=request.secure,
            client=request.client,
            passing=Passing(request, inflow),
        )
        return await run(call)

    async def _once(self, request: Request, call: Call, principal: Principal, key: str) -> Outgoing:
        """Answer a call that may come again."""
        parts = (request.path.encode(), request.query, call.raw)
        asking = Asking(
            principal=principal.id,
            route=f"{call.route.method} {call.route.path}",
            key=key,
            fingerprint=self._repeats.fingerprint(principal.workspace, parts),
        )
        turn = await self._repeats.take(call.scope, asking)
        if turn.answer is not None:
            return replayed(turn.answer)
        async with self._repeats.held(call.scope, asking, turn):
            answer = await run(replace(call, once=turn.once))
            if (keeping := kept(call, answer)) is not None:
                await self._repeats.keep(call.scope, asking, turn, keeping)
            else:
                await self._repeats.release(call.scope, asking, turn)
        return answer

    def _refusal(self, request: Request, route: Route | None, error: Exception) -> Outgoing:
        known = error if isinstance(error, IsthmusError) else None
        if known is None or (known.status >= Unexpected.status and not isinstance(known, Unavailable)):
            self._unexpected(request, route, error)
            known = Unexpected("The request could not be answered.", fix="Try again, and tell us the request id.")
        wants_page = route.is_page if route else "text/html" in request.headers.get("accept", "")
        if route is not None and route.refusal is not None:
            made = route.refusal(known)
            body = made.body if isinstance(made.body, bytes) else b""
            return Outgoing(
                status=made.status or known.status, media=made.media or "", body=body, headers=[*made.headers]
            )
        headers = problem_headers(known)
        if wants_page and isinstance(known, Unauthenticated) and request.method in {"GET", "HEAD"}:
            to = f"{SIGN_IN}?next={quote(request.path, safe='/')}"
            return Outgoing(status=303, headers=[("location", to)])
        if wants_page and isinstance(known, StepUpNeeded):
            back = request.path if request.method in {"GET", "HEAD"} else f"/{request.path.split('/')[1]}"
            return Outgoing(status=303, headers=[("location", f"{STEP_UP}?next={quote(back, safe='/')}")])
        if wants_page:
            page = self._parts.error_page(known, request.id)
            return Outgoing(status=known.status, media=HTML, body=page, headers=headers)
        return Outgoing(
            status=known.status, media=PROBLEM, body=problem_json(known, request_id=request.id), headers=headers
        )

    def _unexpected(self, request: Request, route: Route | None, error: Exception) -> None:
        """Log where it happened. The message of an error may hold what a caller sent, so it is left out."""
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename.rpartition('isthmus/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
        code = error.code if isinstance(error, IsthmusError) else ""
        _log.error(
            "call failed",
            request_id=request.id,
            route=route.path if route else "",
            error=type(error).__name__,
            code=code,
            places=places,
        )


def _asked(request: Request, route: Route, now: datetime) -> Asked:
    headers = request.headers
    return Asked(
        route=route,
        now=now,
        path=request.path,
        query=request.query,
        request_id=request.id,
        client=request.client,
        agent=headers.get("user-agent", ""),
        method=request.method,
        authorization=headers.get("authorization"),
        dpop=headers.get("dpop"),
        session=request.session,
        csrf=headers.get("x-csrf-token"),
        site=request.site,
        local=request.local,
        purpose=purpose_of(headers),
    )


def _has_no_body(request: Request) -> bool:
    headers = request.headers
    unframed = not request.framed or "content-length" in headers or request.method not in UNSAFE
    return unframed and "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"


def _scope(request: Request, principal: Principal | None, asked: Asked) -> Scope:
    if principal is None:
        return Scope(workspace=NOBODY, actor="nobody", cause=request.id, now=asked.now)
    return Scope(
        workspace=principal.workspace,
        actor=principal.actor,
        cause=request.id,
        now=asked.now,
        circumstances=circumstances_of(asked, principal, request.headers),
    )
