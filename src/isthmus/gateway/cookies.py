"""Answers that sign a browser in and out."""

from isthmus.auth.sessions import NewSession
from isthmus.gateway.request import session_cookie
from isthmus.gateway.routes import Call, Response


def signed_in(call: Call, session: NewSession, *, to: str) -> Response:
    """Give the browser its session, and send it to a page of ours (anything else becomes the first page)."""
    age = max(0, int((session.expires_at - call.scope.now).total_seconds()))
    return _sent(call, session.token, age_s=age, to=own_page(to))


def signed_out(call: Call, *, to: str) -> Response:
    """Take the session's cookie away."""
    return _sent(call, "", age_s=0, to=to)


def own_page(to: str) -> str:
    """Return a path of this server; whatever could lead elsewhere becomes `/`."""
    ours = to.startswith("/") and not to.startswith("//") and to.isprintable() and to.isascii() and "\\" not in to
    return to if ours else "/"


def session_header(call: Call, session: NewSession) -> tuple[str, str]:
    """Return the header that gives the browser its session, for answers that lead nowhere."""
    return _cookie(call, session.token, age_s=max(0, int((session.expires_at - call.scope.now).total_seconds())))


def _sent(call: Call, token: str, *, age_s: int, to: str) -> Response:
    return Response(body=b"", status=303, headers=(("location", to), _cookie(call, token, age_s=age_s)))


def _cookie(call: Call, token: str, *, age_s: int) -> tuple[str, str]:
    name = session_cookie(secure=call.secure)
    cookie = f"{name}={token}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{'; Secure' if call.secure else ''}"
    return ("set-cookie", cookie)
