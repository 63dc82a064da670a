"""SAML: setting identity providers up, our metadata for each, and signing in by one."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.app.saml_views import SamlProviderView, saml_view
from isthmus.auth.people.errors import SignInRefused, UpstreamRefused
from isthmus.auth.people.sign_in import People
from isthmus.auth.roles import GrantTooWide, UnknownRole
from isthmus.auth.saml.errors import InvalidMetadata, SamlProviderMissing, SamlProvidersFull
from isthmus.auth.saml.metadata import own_metadata
from isthmus.auth.saml.providers import (
    SAML_PREFIX,
    SamlWish,
    add_saml_provider,
    find_saml_provider,
    list_saml_providers,
    provider_missing,
    remove_saml_provider,
    shown_saml_providers,
    workspace_of_saml,
)
from isthmus.auth.saml.signing_in import REQUEST_LIFE, Ourselves, come_in, go_out, take_response
from isthmus.auth.upstream.issuers import shown_issuers
from isthmus.console.pages import page
from isthmus.console.visiting import place_of, visitor_of
from isthmus.gateway import FRESH_S, HTML, Call, Page, Paging, Response, Route
from isthmus.gateway.cookies import own_page, session_header
from isthmus.gateway.reading import read_parameters
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.ids import InvalidId, uuid_of

COOKIE, COOKIE_PATH = "isthmus_saml", "/sign-in/saml"
FINISH = "/sign-in/saml/finish"
BYTES_MAX = 512 << 10
_TAGS = ("people",)
_READ, _WRITE = "gateway:read", "gateway:write"
_METADATA = "application/samlmetadata+xml"
_Name = Annotated[str, Meta(min_length=1, max_length=100)]


class NewSamlProvider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An identity provider to be set up, by its metadata; see docs/how-to/provision-people.md."""

    title: _Name
    metadata: Annotated[str, Meta(max_length=200_000, description="The provider's metadata XML.")]
    roles: Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=50)] = []
    mail_domains: Annotated[list[Annotated[str, Meta(max_length=253)]], Meta(max_length=50)] = []
    email_attribute: Annotated[str, Meta(max_length=200)] = ""
    name_attribute: Annotated[str, Meta(max_length=200)] = ""


class Going(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where somebody wanted to go, and whether they shall prove themselves anew there."""

    next: Annotated[str, Meta(max_length=2_000)] = "/"
    again: bool = False


class SamlAnswer(Struct, frozen=True, kw_only=True, rename={"saml_response": "SAMLResponse"}):
    """What a provider's page posts; what else it posts is not looked at."""

    saml_response: Annotated[str, Meta(max_length=BYTES_MAX)] = ""


async def add_provider(call: Call) -> SamlProviderView:
    """Set an identity provider up."""
    given = call.body(NewSamlProvider)
    wish = SamlWish(
        title=given.title,
        metadata=given.metadata,
        roles=tuple(given.roles),
        mail_domains=tuple(given.mail_domains),
        email_attribute=given.email_attribute,
        name_attribute=given.name_attribute,
    )
    domains, giver = call.services.of(People).domains, call.principal.permissions
    async with call.services.database.transaction(call.scope) as tx:
        return saml_view(await add_saml_provider(tx, call.services.vault, wish, domains=domains, giver=giver))


async def list_providers(call: Call) -> Page[SamlProviderView]:
    """List identity providers; there are so few that one page holds all."""
    async with call.services.database.transaction(call.scope) as tx:
        return Page(data=[saml_view(each) for each in await list_saml_providers(tx)])


async def remove_provider(call: Call) -> None:
    """Let nobody sign in by a provider any more."""
    try:
        provider = uuid_of(SAML_PREFIX, call.path["provider_id"])
    except InvalidId as error:
        raise provider_missing() from error
    async with call.services.database.transaction(call.scope) as tx:
        await remove_saml_provider(tx, call.services.vault, provider)


async def tell_metadata(call: Call) -> Response:
    """Tell a provider who we are."""
    provider = _provider_in(call)
    workspace = await workspace_of_saml(call.services.database, provider)
    async with call.services.database.transaction(replace(call.scope, workspace=workspace)) as tx:
        found = await find_saml_provider(tx, provider)
    ours, certificate = _ours(call, provider), found.signing_certificate
    return Response(body=own_metadata(entity=ours.entity, recipient=ours.recipient, certificate=certificate))


async def leave(call: Call) -> Response:
    """Send the browser to the provider."""
    going, provider = call.query(Going), _provider_in(call)
    out = await go_out(
        call.services.of(People),
        visitor_of(call),
        provider=provider,
        ours=_ours(call, provider),
        next_page=own_page(going.next),
        again=going.again,
    )
    headers = (("location", out.url), _cookie(call, out.secret, age_s=int(REQUEST_LIFE.total_seconds())))
    return Response(body=b"", status=303, headers=headers)


async def take_answer(call: Call) -> Response:
    """Take the provider's response, which its page posts, and lead on to where the browser shows its secret."""
    provider = _provider_in(call)
    try:
        answer = read_parameters(call.raw, SamlAnswer)
        await take_response(
            call.services.of(People),
            visitor_of(call),
            provider=provider,
            ours=_ours(call, provider),
            response=answer.saml_response,
        )
    except (UpstreamRefused, SamlProviderMissing) as refused:
        return await _refused(call, refused)
    return page(call, "signed_in.html", {"to": FINISH})


async def finish(call: Call) -> Response:
    """Open a session for the browser that asked."""
    try:
        session, to = await come_in(call.services.of(People), visitor_of(call), secret=_kept(call))
    except (SignInRefused, UpstreamRefused) as refused:
        return await _refused(call, refused)
    shown = page(call, "signed_in.html", {"to": own_page(to)})
    headers = (session_header(call, session), _cookie(call, "", age_s=0))
    return Response(body=shown.body, status=shown.status, media=HTML, headers=headers)


async def _refused(call: Call, refused: IsthmusError) -> Response:
    database = call.services.database
    values: dict[str, object] = {
        "refusal": f"{refused.detail} {refused.fix}",
        "next": "/",
        "workspace": "",
        "email": "",
        "issuers": await shown_issuers(database),
        "saml": await shown_saml_providers(database),
    }
    return page(call, "sign_in.html", values, status=refused.status)


def _provider_in(call: Call) -> UUID:
    try:
        return UUID(call.path["provider"])
    except ValueError as error:
        raise provider_missing() from error


def _ours(call: Call, provider: UUID) -> Ourselves:
    return Ourselves.at(place_of(call).origin, provider)


def _kept(call: Call) -> str:
    for part in call.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _cookie(call: Call, secret: str, *, age_s: int) -> tuple[str, str]:
    secure = "; Secure" if call.secure else ""
    text = f"{COOKIE}={secret}; Path={COOKIE_PATH}; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}"
    return ("set-cookie", text)


ROUTES = (
    Route(
        method="POST",
        path="/api/v1/saml-providers",
        permission=_WRITE,
        handler=add_provider,
        summary="Let people sign in by a SAML identity provider",
        tags=_TAGS,
        body=NewSamlProvider,
        response=SamlProviderView,
        status=201,
        fresh_s=FRESH_S,
        request_example={"title": "Northwind", "metadata": "<EntityDescriptor …>", "mail_domains": ["example.com"]},
        errors=(InvalidMetadata, UnknownRole, GrantTooWide, SamlProvidersFull),
    ),
    Route(
        method="GET",
        path="/api/v1/saml-providers",
        permission=_READ,
        handler=list_providers,
        summary="List SAML identity providers",
        tags=_TAGS,
        query=Paging,
        response=Page[SamlProviderView],
    ),
    Route(
        method="DELETE",
        path="/api/v1/saml-providers/{provider_id}",
        permission=_WRITE,
        handler=remove_provider,
        summary="Let nobody sign in by a SAML identity provider any more",
        tags=_TAGS,
        status=204,
        fresh_s=FRESH_S,
        errors=(SamlProviderMissing,),
    ),
    Route(
        method="GET",
        path="/sign-in/saml/{provider}/metadata",
        permission=None,
        handler=tell_metadata,
        summary="Our metadata for a SAML identity provider",
        media=_METADATA,
        listed=False,
    ),
    Route(
        method="GET",
        path="/sign-in/saml/{provider}",
        permission=None,
        handler=leave,
        summary="Sign in by a SAML identity provider",
        query=Going,
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/sign-in/saml/{provider}/acs",
        permission=None,
        handler=take_answer,
        summary="Take a SAML identity provider's response",
        accepts="raw",
        body_bytes_max=BYTES_MAX,
        media=HTML,
        guarded=True,
        listed=False,
    ),
    Route(
        method="GET",
        path=FINISH,
        permission=None,
        handler=finish,
        summary="Come in after a SAML identity provider's response",
        media=HTML,
        listed=False,
    ),
)
