"""What the authorisation server refuses, each under the name that the standards give it.

`error` is the code that programs read (RFC 6749 §5.2 and the extensions), `code` the name of its page here.
"""

from typing import ClassVar
from uuid import UUID

from isthmus.kernel.errors import Denied, Invalid, IsthmusError, NotFound, Unauthenticated


class OAuthFault(IsthmusError):
    """The authorisation server refused a request."""

    status, code, title = 400, "oauth-refused", "The authorisation server refuses this"
    error: ClassVar[str] = "invalid_request"


class InvalidRequest(OAuthFault):
    """A parameter is missing, repeated or malformed."""

    code = "oauth-invalid-request"


class InvalidClient(OAuthFault, Unauthenticated):
    """The program is not known, or did not prove itself as it was registered to."""

    status, code, title = 401, "oauth-invalid-client", "The program did not prove itself"
    error = "invalid_client"


class InvalidGrant(OAuthFault):
    """The code or token is unknown, used, expired, revoked, or another program's."""

    code = "oauth-invalid-grant"
    error = "invalid_grant"

    def __init__(self, detail: str, *, fix: str = "Ask for authorisation again.", ends: UUID | None = None) -> None:
        """`ends` names a grant that must end because something of it was used twice."""
        super().__init__(detail, fix=fix)
        self.ends = ends


class UnauthorizedClient(OAuthFault):
    """The program is not registered for this way of asking."""

    code = "oauth-unauthorized-client"
    error = "unauthorized_client"


class UnsupportedGrantType(OAuthFault):
    """There is no such grant type."""

    code = "oauth-unsupported-grant-type"
    error = "unsupported_grant_type"


class UnsupportedResponseType(OAuthFault):
    """Only codes are given."""

    code = "oauth-unsupported-response-type"
    error = "unsupported_response_type"


class UnsupportedTokenType(OAuthFault):
    """No such kind of token is exchanged or revoked."""

    code = "oauth-unsupported-token-type"
    error = "unsupported_token_type"


class RequestNotSupported(OAuthFault):
    """Requests as signed objects are not read; push the request instead."""

    code = "oauth-request-not-supported"
    error = "request_not_supported"


class InvalidRequestUri(OAuthFault):
    """The pushed request is unknown, used, expired, or another program's."""

    code = "oauth-invalid-request-uri"
    error = "invalid_request_uri"


class InvalidScope(OAuthFault):
    """A scope is unknown, or more than may be asked for."""

    code = "oauth-invalid-scope"
    error = "invalid_scope"


class InvalidTarget(OAuthFault):
    """There is no such resource (RFC 8707)."""

    code = "oauth-invalid-target"
    error = "invalid_target"


class InvalidProof(OAuthFault):
    """The DPoP proof does not fit this request, or was shown before (RFC 9449)."""

    code = "oauth-invalid-dpop-proof"
    error = "invalid_dpop_proof"


class AccessRefused(OAuthFault):
    """The person said no, or may grant nothing of what was asked for."""

    code = "oauth-access-denied"
    error = "access_denied"


class LoginRequired(OAuthFault):
    """Nobody is signed in, and the request forbids asking."""

    code = "oauth-login-required"
    error = "login_required"


class ConsentRequired(OAuthFault):
    """The person has not allowed this yet, and the request forbids asking."""

    code = "oauth-consent-required"
    error = "consent_required"


class AuthorizationPending(OAuthFault):
    """The person has not decided yet (RFC 8628)."""

    code = "oauth-authorization-pending"
    error = "authorization_pending"


class SlowDown(OAuthFault):
    """The device asks too often; the time between two questions grew by five seconds (RFC 8628)."""

    code = "oauth-slow-down"
    error = "slow_down"


class ExpiredDevice(OAuthFault):
    """Nobody decided in time (RFC 8628)."""

    code = "oauth-expired-token"
    error = "expired_token"


class InvalidToken(Unauthenticated):
    """The access token is altered, expired, revoked, for somebody else, or shown without the proof it is bound to."""

    code, title = "invalid-token", "The access token does not open this"


class ProofRefused(InvalidToken):
    """The token came with a DPoP proof that does not fit the request, or was shown before (RFC 9449)."""

    code = "invalid-dpop-proof"


class InsufficientScope(Denied):
    """The access token lacks a scope that is needed."""

    code, title = "insufficient-scope", "The access token lacks a scope"


class InvalidClientWish(Invalid):
    """The program cannot be registered like this."""

    code, title = "invalid-client-wish", "The program cannot be registered like this"


class ClientMissing(NotFound):
    """There is no such program."""

    code, title = "client-missing", "There is no such program"
