"""Signing out. Signing in is a page of the console."""

from isthmus.auth.credentials import Credentials
from isthmus.auth.sessions import end_session
from isthmus.gateway import ANY_CALLER, HTML, Call, Response, Route
from isthmus.gateway.asgi import SIGN_IN
from isthmus.gateway.cookies import signed_out


async def sign_out(call: Call) -> Response:
    """End the session."""
    if call.session is not None:
        async with call.services.database.transaction(call.scope) as tx:
            await end_session(tx, call.session)
        call.services.of(Credentials).forget()
    return signed_out(call, to=SIGN_IN)


ROUTES = (
    Route(
        method="POST",
        path="/sign-out",
        permission=ANY_CALLER,
        handler=sign_out,
        summary="End the session",
        accepts="form",
        media=HTML,
        listed=False,
    ),
)
