"""The routes by which vendors, and programs that speak as to a vendor, call us.

Who calls is proven by the signature of what is sent, or by the write key that it shows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from uuid import UUID

from msgspec import Struct, structs

from isthmus.app.discovery import connectors
from isthmus.app.inbound_views import CONNECTION_PREFIX, InboundView, inbound_views
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.principal import Principal
from isthmus.gateway import Call, Response, Route
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.stream.webhooks.verifying import SignatureRefused
from isthmus.sync.connector import Door, Opened, Sent
from isthmus.sync.doors import KeyUnknown, prove, take_in
from isthmus.sync.inbound import Message, SilentRefusal, greeted, receive
from isthmus.sync.runs import Engine

BODY_BYTES_MAX = 1 << 20
_THREAD_BYTES_MIN = 64 << 10
_READ = ("content-type", "content-encoding", "authorization")


class Addressed(Struct, frozen=True, kw_only=True):
    """What an address may hold: the secret of vendors that prove themselves by nothing else."""

    secret: str = ""


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
    connection, message = _message(call)
    try:
        receipt = await receive(call.services.of(Engine), connection, message, cause=call.request_id)
    except SilentRefusal:
        return Response(body=b"", status=401)
    return Response(body=b"", status=200 if receipt.silent else 202)


async def greet(call: Call) -> Response:
    """Tell a vendor that looks whether somebody is there that somebody is; nothing is kept."""
    connection, message = _message(call)
    await greeted(call.services.of(Engine), connection, message, cause=call.request_id)
    return Response(body=b"")


def _message(call: Call) -> tuple[UUID, Message]:
    try:
        connection = uuid_of(CONNECTION_PREFIX, call.path["connection_id"])
    except InvalidId as error:
        raise SignatureRefused("There is nobody at this address.", fix="Copy the address again.") from error
    query = f"?{call.raw_query.decode('latin-1')}" if call.raw_query else ""
    url = f"{call.services.of(Provider).issuer}/in/{call.path['connection_id']}{query}"
    return connection, Message(body=call.raw, headers=call.headers, url=url)


def door_routes(doors: Iterable[Door]) -> Iterator[Route]:
    """Yield a route for each door: whoever calls is proven by a key of the connection, and limited as who it is.

    Their vendors document them, and our own description of the interface leaves them out.
    """
    for door in doors:
        yield Route(
            method=door.method,
            path=f"/in/{{connection_id}}/{door.path}",
            permission=None,
            handler=_taker(door),
            sender=_prover(door),
            refusal=_wording(door),
            summary=door.about,
            tags=("ingest",),
            accepts="raw",
            guarded=True,
            listed=False,
            body_bytes_max=door.bytes_max,
            other_media=("text/plain", "image/gif"),
            errors=(KeyUnknown,),
        )


def _prover(door: Door) -> Callable[[Call], Awaitable[Principal]]:
    async def proven(call: Call) -> Principal:
        own = _connection_in(call)
        opened = await _opened(door, call)
        keys = (*opened.keys, call.path.get("write_key", ""))
        found = await prove(
            call.services.of(Engine), own, door, structs.replace(opened, keys=keys), cause=call.request_id
        )
        return Principal(
            workspace=found.workspace, kind="key", id=own, name=found.connection.name, permissions=frozenset()
        )

    return proven


def _taker(door: Door) -> Callable[[Call], Awaitable[Response]]:
    async def taken(call: Call) -> Response:
        if door.kept:
            await take_in(call.services.of(Engine), _connection_in(call), _sent(door, call), scope=call.scope)
        told = (await _opened(door, call)).told
        return Response(body=told.body, status=told.status, media=told.media)

    return taken


def _wording(door: Door) -> Callable[[IsthmusError], Response]:
    def worded(error: IsthmusError) -> Response:
        told = door.refusal(error)
        return Response(body=told.body, status=told.status, media=told.media)

    return worded


async def _opened(door: Door, call: Call) -> Opened:
    sent = _sent(door, call)
    return door.open(sent) if len(sent.body) < _THREAD_BYTES_MIN else await asyncio.to_thread(door.open, sent)


def _sent(door: Door, call: Call) -> Sent:
    headers = {name: call.headers[name] for name in _READ if name in call.headers}
    return Sent(path=door.path, at=call.scope.now, query=call.raw_query, body=call.raw, headers=headers)


def _connection_in(call: Call) -> UUID:
    try:
        return uuid_of(CONNECTION_PREFIX, call.path["connection_id"])
    except InvalidId as error:
        raise KeyUnknown("There is nobody at this address.", fix="Copy the address again.") from error


def _doors() -> Iterator[Door]:
    for each in connectors().values():
        if each.inbound is not None:
            yield from each.inbound.doors


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
        query=Addressed,
        summary="Take what a connected system sends, signed as it does",
        tags=("webhooks",),
        accepts="raw",
        body_bytes_max=BODY_BYTES_MAX,
        status=202,
        errors=(SignatureRefused,),
    ),
    Route(
        method="GET",
        path="/in/{connection_id}",
        permission=None,
        handler=greet,
        query=Addressed,
        summary="Answer a connected system that looks whether its address is taken",
        tags=("webhooks",),
        errors=(SignatureRefused,),
    ),
    *door_routes(_doors()),
)
