"""The route by which vendors call us. Who calls is proven by the signature of what is sent."""

from msgspec import Struct

from isthmus.app.inbound_views import CONNECTION_PREFIX, InboundView, inbound_views
from isthmus.auth.oauth.provider import Provider
from isthmus.gateway import Call, Response, Route
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.stream.webhooks.verifying import SignatureRefused
from isthmus.sync.inbound import Message, receive
from isthmus.sync.runs import Engine

BODY_BYTES_MAX = 1 << 20


class InboundViews(Struct, frozen=True, kw_only=True):
    """All addresses."""

    data: list[InboundView]


async def list_inbound(call: Call) -> InboundViews:
    """List addresses at which connected systems may call."""
    services = call.services
    at, known = services.of(Provider).issuer, services.of(Engine).connectors
    async with services.database.transaction(call.scope) as tx:
        return InboundViews(data=await inbound_views(tx, services.vault, known, at=at))


async def take(call: Call) -> Response:
    """Keep what a vendor sent, and acknowledge it at once; what comes again is acknowledged too."""
    try:
        connection = uuid_of(CONNECTION_PREFIX, call.path["connection_id"])
    except InvalidId as error:
        raise SignatureRefused("There is nobody at this address.", fix="Copy the address again.") from error
    await receive(
        call.services.of(Engine), connection, Message(body=call.raw, headers=call.headers), cause=call.request_id
    )
    return Response(body=b"", status=202)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/inbound-webhooks",
        permission="stream:read",
        handler=list_inbound,
        summary="List the addresses at which connected systems may call",
        tags=("webhooks",),
        response=InboundViews,
    ),
    Route(
        method="POST",
        path="/in/{connection_id}",
        permission=None,
        handler=take,
        summary="Take what a connected system sends, signed as it does",
        tags=("webhooks",),
        accepts="raw",
        body_bytes_max=BODY_BYTES_MAX,
        status=202,
        errors=(SignatureRefused,),
    ),
)
