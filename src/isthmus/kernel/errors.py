"""The error tree. Every error a caller can meet has a status, a stable code, a sentence and a fix.

IsthmusError
├── Invalid            422  the request was understood and its content is wrong (carries one entry per fault)
├── Malformed          400  the request could not be read at all
├── Unauthenticated    401
├── Denied             403
├── NotFound           404  also for what the caller may not see
├── Conflicting        409
├── PreconditionFailed 412
├── TooLarge           413
├── UnsupportedMedia   415
├── Limited            429
└── Unavailable        503
Rooms define their own errors below these, beside the code that raises them.
"""

from typing import ClassVar

from msgspec import Struct


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that is wrong: `pointer` is an RFC 6901 JSON pointer into what the caller sent."""

    pointer: str
    code: str
    detail: str


class IsthmusError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, *, fix: str = "", faults: tuple[Fault, ...] = ()) -> None:
        """`detail` says what happened, `fix` what to do about it; both are shown to people."""
        super().__init__(f"{detail} {fix}".strip())
        self.detail = detail
        self.fix = fix
        self.faults = faults


class Invalid(IsthmusError):
    """The content is wrong; `faults` names every field at fault."""

    status, code, title = 422, "invalid", "The content is not valid"


class Malformed(IsthmusError):
    """The request could not be read."""

    status, code, title = 400, "malformed", "The request cannot be read"


class Unauthenticated(IsthmusError):
    """No valid credential came with the request."""

    status, code, title = 401, "unauthenticated", "A valid credential is required"


class Denied(IsthmusError):
    """The credential is valid and may not do this."""

    status, code, title = 403, "denied", "Not permitted"


class NotFound(IsthmusError):
    """It does not exist, or the caller may not see it."""

    status, code, title = 404, "not-found", "Not found"


class Conflicting(IsthmusError):
    """The state of things does not allow it now."""

    status, code, title = 409, "conflict", "In conflict with the present state"


class PreconditionFailed(IsthmusError):
    """The record moved since the caller read it."""

    status, code, title = 412, "precondition-failed", "The record has changed meanwhile"


class TooLarge(IsthmusError):
    """The request body is over its limit."""

    status, code, title = 413, "too-large", "The body is too large"


class UnsupportedMedia(IsthmusError):
    """The content type is not one that is understood here."""

    status, code, title = 415, "unsupported-media", "The content type is not supported"


class Limited(IsthmusError):
    """A limit or quota is used up."""

    status, code, title = 429, "limited", "Too many requests"


class Unavailable(IsthmusError):
    """A part that is needed does not answer."""

    status, code, title = 503, "unavailable", "Not available at the moment"
