"""Out to a company's identity provider, and back.

The way back begins on another site, so the browser would not send a strict cookie along when it is only redirected: a
page of ours stands between, and leads on by itself.
"""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.auth.people.errors import SignInRefused, UpstreamRefused
from isthmus.auth.people.sign_in import People
from isthmus.auth.people.steps import STEP_LIFE
from isthmus.auth.saml.providers import shown_saml_providers
from isthmus.auth.upstream.issuers import IssuerMissing, shown_issuers
from isthmus.auth.upstream.signing_in import Returned, come_back, go_out
from isthmus.console.pages import page
from isthmus.console.visiting import place_of, visitor_of
from isthmus.gateway import HTML, Call, Response, Route
from isthmus.gateway.cookies import own_page, session_header
from isthmus.kernel.errors import IsthmusError

BACK = "/sign-in/upstream/back"
COOKIE = "isthmus_upstream"
Text = Annotated[str, Meta(max_length=4_000)]


class Going(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where somebody wanted to go, and whether they shall prove themselves anew there."""

    next: Annotated[str, Meta(max_length=2_000)] = "/"
    again: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """What a provider adds to the address; what else it adds is not looked at."""

    state: Text = ""
    code: Text = ""
    iss: Text = ""
    error: Text = ""


async def leave(call: Call) -> Response:
    """Send the browser to the provider."""
    going = call.query(Going)
    try:
        issuer = UUID(call.path["issuer"])
    except ValueError as error:
        raise IssuerMissing("There is no such identity provider.", fix="Choose another way to sign in.") from error
    try:
        out = await go_out(
            call.services.of(People),
            visitor_of(call),
            issuer=issuer,
            redirect_uri=f"{place_of(call).origin}{BACK}",
            next_page=own_page(going.next),
            again=going.again,
        )
    except UpstreamRefused as refused:
        return await _refused(call, refused)
    headers = (("location", out.url), _cookie(call, out.secret, age_s=int(STEP_LIFE.total_seconds())))
    return Response(body=b"", status=303, headers=headers)


async def back(call: Call) -> Response:
    """Take what the provider answered, and open a session."""
    answer = call.query(Answer)
    returned = Returned(secret=_kept(call), state=answer.state, code=answer.code, iss=answer.iss, error=answer.error)
    try:
        session, to = await come_back(
            call.services.of(People), visitor_of(call), returned, redirect_uri=f"{place_of(call).origin}{BACK}"
        )
    except (SignInRefused, UpstreamRefused, IssuerMissing) as refused:
        return await _refused(call, refused)
    shown = page(call, "signed_in.html", {"to": own_page(to)})
    headers = (session_header(call, session), _cookie(call, "", age_s=0))
    return Response(body=shown.body, status=shown.status, media=HTML, headers=headers)


async def _refused(call: Call, refused: IsthmusError) -> Response:
    values: dict[str, object] = {
        "refusal": f"{refused.detail} {refused.fix}",
        "next": "/",
        "workspace": "",
        "email": "",
        "issuers": await shown_issuers(call.services.database),
        "saml": await shown_saml_providers(call.services.database),
    }
    return page(call, "sign_in.html", values, status=refused.status)


def _kept(call: Call) -> str:
    for part in call.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _cookie(call: Call, secret: str, *, age_s: int) -> tuple[str, str]:
    text = f"{COOKIE}={secret}; Path={BACK}; Max-Age={age_s}; HttpOnly; SameSite=Lax{'; Secure' if call.secure else ''}"
    return ("set-cookie", text)


ROUTES = (
    Route(
        method="GET",
        path=BACK,
        permission=None,
        handler=back,
        summary="Come back from an identity provider",
        query=Answer,
        media=HTML,
        listed=False,
    ),
    Route(
        method="GET",
        path="/sign-in/upstream/{issuer}",
        permission=None,
        handler=leave,
        summary="Sign in by an identity provider",
        query=Going,
        media=HTML,
        listed=False,
    ),
)
