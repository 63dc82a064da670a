"""The route by which vendors call us. Who calls is proven by the signature of what is sent."""

from isthmus.gateway import Call, Response, Route
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.stream.webhooks.verifying import SignatureRefused
from isthmus.sync.inbound import Message, receive
from isthmus.sync.runs import Engine

CONNECTION_PREFIX = "conn"
BODY_BYTES_MAX = 1 << 20


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
