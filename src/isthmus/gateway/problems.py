"""Errors as callers see them: `application/problem+json` (RFC 9457), or a plain page for a browser."""

from html import escape

import msgspec
from msgspec import Struct

from isthmus.auth.oauth.errors import InvalidToken, ProofRefused
from isthmus.auth.oauth.jose import ASYMMETRIC
from isthmus.gateway.errors import FresherTokenNeeded, InFlight, LimitReached, MethodRefused
from isthmus.kernel.errors import Fault, IsthmusError, Limited, Unauthenticated, Unavailable

MEDIA = "application/problem+json"
TYPE_BASE = "/docs/errors/"
RETRY_AFTER_S = 1
_ALGORITHMS = " ".join(ASYMMETRIC)
_encoder = msgspec.json.Encoder()


class Unexpected(IsthmusError):
    """Something in the program went wrong that the caller cannot mend; the log has it under the request id."""

    code, title = "internal", "Something went wrong here"


class Problem(Struct, frozen=True, kw_only=True):
    """What went wrong; `type` names a page that explains `code`, `fix` says what to do, `errors` each fault."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    fix: str = ""
    errors: list[Fault] = []


def problem_of(error: IsthmusError, *, request_id: str) -> Problem:
    """Return an error as a problem."""
    return Problem(
        type=f"{TYPE_BASE}{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
        fix=error.fix,
        errors=list(error.faults),
    )


def problem_json(error: IsthmusError, *, request_id: str) -> bytes:
    """Return an error as JSON."""
    return _encoder.encode(problem_of(error, request_id=request_id))


def problem_page(error: IsthmusError, *, request_id: str) -> bytes:
    """Return an error as a page without style."""
    faults = "".join(f"<li><code>{escape(each.pointer)}</code> {escape(each.detail)}</li>" for each in error.faults)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(error.title)}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="dark light"></head>'
        f"<body><main><h1>{escape(error.title)}</h1><p>{escape(error.detail)}</p><p>{escape(error.fix)}</p>"
        f'<ul>{faults}</ul><p>Request <code>{escape(request_id)}</code></p><p><a href="/">Home</a></p></main>'
        "</body></html>"
    ).encode()


def problem_headers(error: IsthmusError) -> list[tuple[str, str]]:
    """Return the headers that belong to an error."""
    match error:
        case MethodRefused():
            return [("allow", ", ".join(error.allowed))]
        case FresherTokenNeeded():
            wanted = f'error="insufficient_user_authentication", max_age="{error.fresh_s}"'
            return [("www-authenticate", f'Bearer realm="isthmus", {wanted}')]
        case InvalidToken():
            name = "invalid_dpop_proof" if isinstance(error, ProofRefused) else "invalid_token"
            ours = f'realm="isthmus", error="{name}"'
            return [("www-authenticate", f"Bearer {ours}"), ("www-authenticate", f'DPoP {ours}, algs="{_ALGORITHMS}"')]
        case Unauthenticated():
            return [("www-authenticate", 'Bearer realm="isthmus"')]
        case Limited() | Unavailable() | InFlight():
            wait_s = error.retry_after_s if isinstance(error, LimitReached) else RETRY_AFTER_S
            return [("retry-after", str(wait_s))]
        case _:
            return []
