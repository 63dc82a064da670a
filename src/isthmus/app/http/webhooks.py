"""Routes of webhooks out: endpoints, their secrets, and everything that was sent to them."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, UnsetType

from isthmus.app.http.events import readable_areas
from isthmus.app.webhook_views import (
    DeliveryDetail,
    DeliveryView,
    Requeued,
    TestView,
    WebhookSecret,
    WebhookView,
    account_ids,
    delivery_detail,
    delivery_view,
    test_view,
    webhook_view,
)
from isthmus.app.webhooks import opened_sender
from isthmus.gateway import FRESH_S, Call, Page, Paging, Route
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from isthmus.stream.filters import BadFilter
from isthmus.stream.outbound import Outbound, OutboundRefused
from isthmus.stream.topics import Topics, UnknownTopic
from isthmus.stream.webhooks import endpoints as ends
from isthmus.stream.webhooks.deliveries import (
    DELIVERY_PREFIX,
    DeliveryMissing,
    Status,
    attempts_of,
    deliveries,
    delivery_of,
    recover,
    replay_missing,
    resend,
)
from isthmus.stream.webhooks.endpoints import (
    ENDPOINT_PREFIX,
    Endpoint,
    EndpointChange,
    EndpointErased,
    EndpointMissing,
    EndpointsFull,
    NewEndpoint,
    Rules,
)
from isthmus.stream.webhooks.trying import try_out

_TAGS = ("webhooks",)
_EXAMPLE: dict[str, Json] = {"url": "https://hooks.example.com/isthmus", "events": ["lead-capture"]}
_Since = Annotated[datetime, Meta(tz=True)]


class Rotating(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long the old secret signs as well."""

    overlap_hours: Annotated[float, Meta(ge=0, le=ends.OVERLAP_HOURS_MAX)] = 24


class Since(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when on."""

    since: _Since


class Replaying(Since, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when on, and after which number of the log."""

    after: Annotated[int, Meta(ge=0)] = 0


class DeliveryQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries."""

    status: Status | None = None


async def list_webhooks(call: Call) -> Page[WebhookView]:
    """List endpoints, oldest first."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        found = [_view(call, each) for each in await ends.endpoints(tx)]
    rest = [each for each in found if after is None or each.id > after]
    return call.page(rest[: paging.limit + 1], limit=paging.limit, after=lambda each: each.id)


async def register_webhook(call: Call) -> WebhookSecret:
    """Register an endpoint."""
    wanted = call.body(NewEndpoint)
    accounts, rules = account_ids(wanted.accounts, call.services.schema), await _rules(call)
    async with call.services.database.transaction(call.scope) as tx:
        made, secret = await ends.register(tx, call.services.vault, wanted, accounts=accounts, rules=rules)
    return WebhookSecret(webhook=_view(call, made), secret=secret)


async def show_webhook(call: Call) -> WebhookView:
    """Show an endpoint."""
    async with call.services.database.transaction(call.scope) as tx:
        return _view(call, await ends.endpoint_of(tx, _endpoint(call)))


async def change_webhook(call: Call) -> WebhookView:
    """Change an endpoint."""
    wanted, given = call.body(EndpointChange), None
    if not isinstance(wanted.accounts, UnsetType):
        given = account_ids(wanted.accounts, call.services.schema)
    rules = await _rules(call)
    async with call.services.database.transaction(call.scope) as tx:
        return _view(call, await ends.change(tx, _endpoint(call), wanted, accounts=given, rules=rules))


async def remove_webhook(call: Call) -> None:
    """Take an endpoint away."""
    async with call.services.database.transaction(call.scope) as tx:
        await ends.remove(tx, call.services.vault, _endpoint(call))


async def pause_webhook(call: Call) -> WebhookView:
    """Let an endpoint rest."""
    async with call.services.database.transaction(call.scope) as tx:
        return _view(call, await ends.pause(tx, _endpoint(call)))


async def resume_webhook(call: Call) -> WebhookView:
    """Let an endpoint go on."""
    async with call.services.database.transaction(call.scope) as tx:
        return _view(call, await ends.resume(tx, _endpoint(call)))


async def rotate_webhook(call: Call) -> WebhookSecret:
    """Replace the secret of an endpoint."""
    overlap = timedelta(hours=call.body(Rotating).overlap_hours)
    async with call.services.database.transaction(call.scope) as tx:
        found, secret = await ends.rotate(tx, call.services.vault, _endpoint(call), overlap=overlap)
    return WebhookSecret(webhook=_view(call, found), secret=secret)


async def test_webhook(call: Call) -> TestView:
    """Send a test to an endpoint."""
    services = call.services
    async with opened_sender(services.of(Outbound)) as sender:
        return test_view(await try_out(services.database, services.vault, call.scope, _endpoint(call), sender=sender))


async def recover_webhook(call: Call) -> Requeued:
    """Send what failed."""
    async with call.services.database.transaction(call.scope) as tx:
        return Requeued(deliveries=await recover(tx, _endpoint(call), since=call.body(Since).since))


async def replay_webhook(call: Call) -> Requeued:
    """Send what was never told."""
    wanted, services = call.body(Replaying), call.services
    async with services.database.transaction(call.scope) as tx:
        done = await replay_missing(
            tx,
            _endpoint(call),
            topics=services.of(Topics),
            vault=services.vault,
            schema=services.schema,
            since=wanted.since,
            after=wanted.after,
        )
    return Requeued(deliveries=done.deliveries, has_more=done.has_more, after=done.after if done.has_more else None)


async def list_deliveries(call: Call) -> Page[DeliveryView]:
    """List deliveries, newest first."""
    wanted, after = call.query(DeliveryQuery), call.after()
    before = None if after is None else uuid_of(DELIVERY_PREFIX, after)
    async with call.services.database.transaction(call.scope) as tx:
        found = await deliveries(tx, _endpoint(call), status=wanted.status, before=before, limit=wanted.limit + 1)
    shown = [delivery_view(each, workspace=call.scope.workspace) for each in found]
    return call.page(shown, limit=wanted.limit, after=lambda each: each.id)


async def show_delivery(call: Call) -> DeliveryDetail:
    """Show a delivery with all its tries."""
    endpoint, own = _endpoint(call), call.id_in_path("delivery_id", DELIVERY_PREFIX)
    async with call.services.database.transaction(call.scope) as tx:
        found = await delivery_of(tx, endpoint, own)
        tries = await attempts_of(tx, call.services.vault, endpoint, own)
    return delivery_detail(found, tries, workspace=call.scope.workspace)


async def resend_delivery(call: Call) -> DeliveryView:
    """Send once more."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await resend(tx, _endpoint(call), call.id_in_path("delivery_id", DELIVERY_PREFIX))
    return delivery_view(found, workspace=call.scope.workspace)


def _view(call: Call, endpoint: Endpoint) -> WebhookView:
    return webhook_view(endpoint, call.services.schema)


async def _rules(call: Call) -> Rules:
    topics = call.services.of(Topics)
    areas = await readable_areas(call, topics)
    return Rules(topics=topics, schema=call.services.schema, outbound=call.services.of(Outbound), areas=areas)


def _endpoint(call: Call) -> UUID:
    return call.id_in_path("webhook_id", ENDPOINT_PREFIX)


_ONE = "/api/v1/webhooks/{webhook_id}"
_DELIVERY = f"{_ONE}/deliveries/{{delivery_id}}"
_FAULTS = (OutboundRefused, UnknownTopic, BadFilter)

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/webhooks",
        permission="stream:read",
        handler=list_webhooks,
        summary="List webhooks and how they are",
        tags=_TAGS,
        query=Paging,
        response=Page[WebhookView],
    ),
    Route(
        method="POST",
        path="/api/v1/webhooks",
        permission="stream:write",
        handler=register_webhook,
        summary="Have events told to an address from now on; the secret is shown once",
        tags=_TAGS,
        body=NewEndpoint,
        response=WebhookSecret,
        status=201,
        shown_once=True,
        fresh_s=FRESH_S,
        request_example=_EXAMPLE,
        errors=(*_FAULTS, EndpointsFull),
    ),
    Route(
        method="GET",
        path=_ONE,
        permission="stream:read",
        handler=show_webhook,
        summary="Show a webhook and how it is",
        tags=_TAGS,
        response=WebhookView,
        errors=(EndpointMissing,),
    ),
    Route(
        method="PATCH",
        path=_ONE,
        permission="stream:write",
        handler=change_webhook,
        summary="Change a webhook; what is absent stays",
        tags=_TAGS,
        body=EndpointChange,
        response=WebhookView,
        fresh_s=FRESH_S,
        request_example={"ordered": True, "per_second": 50},
        errors=(*_FAULTS, EndpointMissing),
    ),
    Route(
        method="DELETE",
        path=_ONE,
        permission="stream:write",
        handler=remove_webhook,
        summary="Take a webhook away, with its secrets and what waits for it",
        tags=_TAGS,
        status=204,
        errors=(EndpointMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:pause",
        permission="stream:write",
        handler=pause_webhook,
        summary="Send nothing until it is resumed; nothing is lost meanwhile",
        tags=_TAGS,
        response=WebhookView,
        errors=(EndpointMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:resume",
        permission="stream:write",
        handler=resume_webhook,
        summary="Go on after a pause, or after it was disabled for failing",
        tags=_TAGS,
        response=WebhookView,
        errors=(EndpointMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:rotate",
        permission="stream:write",
        handler=rotate_webhook,
        summary="Sign with a new secret, for some hours beside the old one; it is shown once",
        tags=_TAGS,
        body=Rotating,
        response=WebhookSecret,
        shown_once=True,
        fresh_s=FRESH_S,
        request_example={"overlap_hours": 24},
        errors=(EndpointMissing, EndpointErased),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:test",
        permission="stream:write",
        handler=test_webhook,
        summary="Send a test now, and say how it was answered",
        tags=_TAGS,
        response=TestView,
        errors=(EndpointMissing, EndpointErased),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:recover",
        permission="stream:write",
        handler=recover_webhook,
        summary="Send what failed since a moment",
        tags=_TAGS,
        body=Since,
        response=Requeued,
        request_example={"since": "2026-11-22T00:00:00Z"},
        errors=(EndpointMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:replay",
        permission="stream:write",
        handler=replay_webhook,
        summary="Send events since a moment that this webhook was never told",
        tags=_TAGS,
        body=Replaying,
        response=Requeued,
        request_example={"since": "2026-11-22T00:00:00Z"},
        errors=(EndpointMissing,),
    ),
    Route(
        method="GET",
        path=f"{_ONE}/deliveries",
        permission="stream:read",
        handler=list_deliveries,
        summary="List what was sent and what waits, newest first",
        tags=_TAGS,
        query=DeliveryQuery,
        response=Page[DeliveryView],
        errors=(EndpointMissing,),
    ),
    Route(
        method="GET",
        path=_DELIVERY,
        permission="stream:read",
        handler=show_delivery,
        summary="Show a delivery with every try and its answer",
        tags=_TAGS,
        response=DeliveryDetail,
        errors=(DeliveryMissing,),
    ),
    Route(
        method="POST",
        path=f"{_DELIVERY}:resend",
        permission="stream:write",
        handler=resend_delivery,
        summary="Send a delivery once more",
        tags=_TAGS,
        response=DeliveryView,
        errors=(DeliveryMissing,),
    ),
)
