"""What the gateway refuses beyond the ground errors of the kernel."""

from isthmus.kernel.errors import (
    Conflicting,
    Denied,
    Invalid,
    IsthmusError,
    Limited,
    Malformed,
    NotFound,
    PreconditionFailed,
    Unauthenticated,
)


class RouteMissing(NotFound):
    """No route has this path."""

    code, title = "route-missing", "There is nothing at this path"


class MethodRefused(IsthmusError):
    """The path is known and does not answer this method; the header Allow names those it does."""

    status, code, title = 405, "method-refused", "The method is not supported here"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """`allowed` are the methods there are."""
        super().__init__("This path does not answer that method.", fix=f"Use one of {', '.join(allowed)}.")
        self.allowed = allowed


class PreconditionRequired(IsthmusError):
    """A change must say which version of the record it was made from."""

    status, code, title = 428, "precondition-required", "The change must name the version it was made from"


class StaleVersion(PreconditionFailed):
    """The record has another version than the change was made from."""

    code = "stale-version"


class KeyReused(Invalid):
    """The Idempotency-Key was used for another request."""

    code, title = "idempotency-key-reused", "The Idempotency-Key was used for another request"


class InFlight(Conflicting):
    """The first call with this Idempotency-Key has not ended yet."""

    code, title = "idempotency-key-in-flight", "The same call is being answered at this moment"


class ForgeryRefused(Denied):
    """A change in the name of a signed-in person did not come from our own page."""

    code, title = "forgery-refused", "The form is out of date"


class VersionUnknown(Malformed):
    """The header Isthmus-Version names no version of this interface."""

    code, title = "version-unknown", "This interface has no such version"


class AnswerShownOnce(Conflicting):
    """The first call with this Idempotency-Key succeeded, and its answer held a secret that is shown once."""

    code, title = "answer-shown-once", "The answer was shown once"


class BodyLate(Malformed):
    """The body did not arrive in time."""

    status, code, title = 408, "body-late", "The body did not arrive in time"


class HeadTooLarge(Malformed):
    """The request line and the headers together are over what is read."""

    status, code, title = 431, "head-too-large", "The headers are too large"


class StepUpNeeded(Denied):
    """The person proved themselves too long ago for this, or without their second factor."""

    code, title = "step-up-needed", "Prove once more that it is you"

    def __init__(self, fresh_s: int) -> None:
        """`fresh_s` is how long a proof counts here, in seconds."""
        super().__init__(
            f"This needs a proof that is at most {fresh_s} s old.", fix="Prove yourself at /step-up, and repeat it."
        )


class FresherTokenNeeded(Unauthenticated):
    """The token's person proved themselves too long ago for this (RFC 9470)."""

    code, title = "step-up-needed", "Prove once more that it is you"

    def __init__(self, fresh_s: int) -> None:
        """`fresh_s` is how long a proof counts here, in seconds."""
        super().__init__(
            f"This needs a proof that is at most {fresh_s} s old.", fix=f"Ask for a token with max_age={fresh_s}."
        )
        self.fresh_s = fresh_s


class LimitReached(Limited):
    """A limit over time has no permit left; Retry-After says when there is one again."""

    code, title = "limit-reached", "Too many calls in too short a time"

    def __init__(self, detail: str, *, fix: str, retry_after_s: int = 1) -> None:
        """`retry_after_s` is after how many seconds it is worth trying again."""
        super().__init__(detail, fix=fix)
        self.retry_after_s = retry_after_s


class QuotaUsedUp(LimitReached):
    """The calls of this day or month are used up."""

    code, title = "quota-used-up", "The quota is used up"


class TooManyAtOnce(Limited):
    """As many calls of this caller as may be are being answered at this moment."""

    code, title = "too-many-at-once", "Too many calls at the same time"
