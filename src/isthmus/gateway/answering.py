"""Reading what a route declares, running its handler, and making an answer of what it returns."""

import asyncio
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import UNSAFE, check_csrf
from isthmus.gateway.errors import AnswerShownOnce
from isthmus.gateway.idempotency import Answer
from isthmus.gateway.problems import MEDIA as PROBLEM
from isthmus.gateway.problems import problem_json
from isthmus.gateway.reading import read_json, read_parameters, without_parameter
from isthmus.gateway.routes import Call, Response, Route
from isthmus.gateway.sending import Outgoing
from isthmus.kernel.errors import Fault, Invalid

VERSION_HEADER = "isthmus-version"
_THREAD_BYTES_MIN = 64 << 10
_JSON = "application/json"
_encoder = msgspec.json.Encoder()


class NoParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a route that takes none."""


async def read_declared(route: Route, raw: bytes, *, caller: Principal | None, csrf: str | None) -> Struct | None:
    """Return the body as the route declares it; a form of a signed-in person must carry the session's token.

    Raises Malformed, Invalid and ForgeryRefused.
    """
    if route.accepts in {"raw", "stream"} or route.method not in UNSAFE:
        return None
    if route.accepts == "form":
        fields, token = without_parameter(raw, "csrf")
        if caller is not None and caller.kind == "session":
            check_csrf(caller, token or csrf)
        return read_parameters(fields, route.body or NoParameters)
    if route.body is None:
        if raw.strip() not in {b"", b"{}"}:
            fault = Fault(pointer="", code="body-refused", detail="This call takes no body.")
            raise Invalid(fault.detail, fix="Send none.", faults=(fault,))
        return None
    if len(raw) < _THREAD_BYTES_MIN:
        return read_json(raw, route.body)
    return await asyncio.to_thread(read_json, raw, route.body)


async def run(call: Call) -> Outgoing:
    """Return what the handler of a call answers."""
    made = await call.route.handler(call)
    answer = made if isinstance(made, Response) else Response(value=made)
    headers = list(answer.headers)
    if call.route.media == _JSON:
        headers.append((VERSION_HEADER, call.version))
    status = answer.status or call.route.status
    if answer.version is not None:
        tag = f'"{answer.version}"'
        headers.append(("etag", tag))
        if call.route.method == "GET" and unchanged(call.headers, tag):
            return Outgoing(status=304, headers=headers)
    if answer.value is not None:
        return Outgoing(status=status, media=answer.media or _JSON, body=_encoder.encode(answer.value), headers=headers)
    if answer.body is not None:
        return Outgoing(status=status, media=answer.media or call.route.media, body=answer.body, headers=headers)
    return Outgoing(status=answer.status or 204, headers=headers)


def unchanged(headers: Mapping[str, str], tag: str) -> bool:
    """Tell whether If-None-Match names the tag (weak comparison, RFC 9110 §13.1.2)."""
    wanted = {each.strip().removeprefix("W/") for each in headers.get("if-none-match", "").split(",")}
    return tag in wanted or "*" in wanted


def kept(call: Call, answer: Outgoing) -> Answer | None:
    """Return an answer in the form in which it is kept for a repeated call, or None when it cannot be."""
    if answer.failed or not isinstance(answer.body, bytes):
        return None
    if call.route.shown_once:
        refusal = AnswerShownOnce("This was done, and its answer is not kept.", fix="Use a new key to do it again.")
        return Answer(refusal.status, PROBLEM, [], problem_json(refusal, request_id=call.request_id))
    return Answer(answer.status, answer.media, answer.headers, answer.body)


def replayed(answer: Answer) -> Outgoing:
    """Return a kept answer, marked as sent again."""
    headers = [*answer.headers, ("idempotency-replayed", "true")]
    return Outgoing(status=answer.status, media=answer.media, body=answer.body, headers=headers)
