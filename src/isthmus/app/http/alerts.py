"""Routes of alerts: what holds now, who looks after it, what is silenced, where people are told, and the objectives."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.gateway import Call, Page, Paging, Route
from isthmus.gateway.monitoring.objectives import ObjectiveViews, objectives
from isthmus.kernel.errors import Fault
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.stream.alerts.channels import (
    CHANNEL_PREFIX,
    Channel,
    ChannelMissing,
    ChannelRefused,
    ChannelTaken,
    add_channel,
    channels,
    remove_channel,
)
from isthmus.stream.alerts.state import (
    ALERT_PREFIX,
    SILENCE_PREFIX,
    Alert,
    AlertMissing,
    AlertOver,
    Silence,
    acknowledge,
    alert_of,
    alerts,
    silence,
)
from isthmus.stream.outbound import Outbound, OutboundRefused

_TAGS = ("monitoring",)
HOURS_MAX = 24 * 30
_TEXT_MAX = 200
_Text = Annotated[str, Meta(min_length=1, max_length=_TEXT_MAX)]


class AlertQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alerts."""

    status: Literal["open", "acknowledged", "resolved"] | None = None


class AlertView(Struct, frozen=True, kw_only=True):
    """A rule that holds or held about something."""

    id: str
    rule: str
    about: str
    severity: str
    status: str
    value: float
    threshold: float
    reason: str
    opened_at: datetime
    seen_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None


class Silencing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long nobody is told, and why."""

    hours: Annotated[float, Meta(gt=0, le=HOURS_MAX)] = 4
    reason: Annotated[str, Meta(max_length=_TEXT_MAX)] = ""


class SilenceView(Struct, frozen=True, kw_only=True):
    """What is silenced until when; `*` is anything."""

    id: str
    rule: str
    about: str
    reason: str
    created_by: str
    until: datetime


class NewChannel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to tell: an e-mail address, or the address of a webhook. It is sealed and not shown again."""

    name: _Text
    kind: Literal["email", "webhook"]
    target: Annotated[str, Meta(min_length=3, max_length=1_000)]


class ChannelView(Struct, frozen=True, kw_only=True):
    """A channel without its target."""

    id: str
    name: str
    kind: str
    created_at: datetime
    created_by: str


async def list_alerts(call: Call) -> Page[AlertView]:
    """List alerts, newest first."""
    wanted, after = call.query(AlertQuery), call.after()
    before = None if after is None else uuid_of(ALERT_PREFIX, after)
    async with call.services.database.transaction(call.scope) as tx:
        found = await alerts(tx, status=wanted.status, before=before, limit=wanted.limit + 1)
    return call.page([alert_view(each) for each in found], limit=wanted.limit, after=lambda each: each.id)


async def acknowledge_alert(call: Call) -> AlertView:
    """Look after an alert."""
    async with call.services.database.transaction(call.scope) as tx:
        return alert_view(await acknowledge(tx, call.id_in_path("alert_id", ALERT_PREFIX)))


async def silence_alert(call: Call) -> SilenceView:
    """Silence what an alert is about."""
    wanted = call.body(Silencing)
    until = call.scope.now + timedelta(hours=wanted.hours)
    async with call.services.database.transaction(call.scope) as tx:
        found = await alert_of(tx, call.id_in_path("alert_id", ALERT_PREFIX))
        return silence_view(await silence(tx, rule=found.rule, about=found.about, until=until, reason=wanted.reason))


async def list_channels(call: Call) -> Page[ChannelView]:
    """List channels."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        found = [channel_view(each) for each in await channels(tx)]
    rest = [each for each in found if after is None or each.id > after]
    return call.page(rest, limit=paging.limit, after=lambda each: each.id)


async def add_alert_channel(call: Call) -> ChannelView:
    """Add a channel."""
    wanted, vault = call.body(NewChannel), call.services.vault
    outbound = call.services.of(Outbound)
    try:
        async with call.services.database.transaction(call.scope) as tx:
            made = await add_channel(tx, vault, outbound, name=wanted.name, kind=wanted.kind, target=wanted.target)
    except (OutboundRefused, ChannelRefused) as error:
        fault = Fault(pointer="/target", code=error.code, detail=error.detail)
        raise type(error)(error.detail, fix=error.fix, faults=(fault,)) from error
    return channel_view(made)


async def remove_alert_channel(call: Call) -> None:
    """Take a channel away."""
    async with call.services.database.transaction(call.scope) as tx:
        await remove_channel(tx, call.services.vault, call.id_in_path("channel_id", CHANNEL_PREFIX))


async def show_objectives(call: Call) -> ObjectiveViews:
    """Show objectives, what they attained and how fast their budgets burn."""
    return await objectives(call.services.database, call.scope)


def alert_view(alert: Alert) -> AlertView:
    """Return an alert as it is shown."""
    return AlertView(
        id=text_of(ALERT_PREFIX, alert.id),
        rule=alert.rule,
        about=alert.about,
        severity=alert.severity,
        status=alert.status,
        value=alert.value,
        threshold=alert.threshold,
        reason=alert.reason,
        opened_at=alert.opened_at,
        seen_at=alert.seen_at,
        acknowledged_at=alert.acknowledged_at,
        acknowledged_by=alert.acknowledged_by,
        resolved_at=alert.resolved_at,
    )


def silence_view(made: Silence) -> SilenceView:
    """Return a silence as it is shown."""
    return SilenceView(
        id=text_of(SILENCE_PREFIX, made.id),
        rule=made.rule,
        about=made.about,
        reason=made.reason,
        created_by=made.created_by,
        until=made.until,
    )


def channel_view(channel: Channel) -> ChannelView:
    """Return a channel as it is shown."""
    return ChannelView(
        id=text_of(CHANNEL_PREFIX, channel.id),
        name=channel.name,
        kind=channel.kind,
        created_at=channel.created_at,
        created_by=channel.created_by,
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/alerts",
        permission="gateway:read",
        handler=list_alerts,
        summary="List alerts, newest first",
        tags=_TAGS,
        query=AlertQuery,
        response=Page[AlertView],
    ),
    Route(
        method="POST",
        path="/api/v1/alerts/{alert_id}:acknowledge",
        permission="gateway:write",
        handler=acknowledge_alert,
        summary="Say that somebody looks after an alert; it is not told again",
        tags=_TAGS,
        response=AlertView,
        errors=(AlertMissing, AlertOver),
    ),
    Route(
        method="POST",
        path="/api/v1/alerts/{alert_id}:silence",
        permission="gateway:write",
        handler=silence_alert,
        summary="Tell nobody about what an alert is about, for some hours",
        tags=_TAGS,
        body=Silencing,
        response=SilenceView,
        request_example={"hours": 8, "reason": "moved tonight"},
        errors=(AlertMissing,),
    ),
    Route(
        method="GET",
        path="/api/v1/alert-channels",
        permission="gateway:read",
        handler=list_channels,
        summary="List where alerts are told",
        tags=_TAGS,
        query=Paging,
        response=Page[ChannelView],
    ),
    Route(
        method="POST",
        path="/api/v1/alert-channels",
        permission="gateway:write",
        handler=add_alert_channel,
        summary="Add an e-mail address or a webhook to which alerts are told",
        tags=_TAGS,
        body=NewChannel,
        response=ChannelView,
        status=201,
        request_example={"name": "on call", "kind": "email", "target": "oncall@example.com"},
        errors=(OutboundRefused, ChannelRefused, ChannelTaken),
    ),
    Route(
        method="DELETE",
        path="/api/v1/alert-channels/{channel_id}",
        permission="gateway:write",
        handler=remove_alert_channel,
        summary="Take a channel away",
        tags=_TAGS,
        status=204,
        errors=(ChannelMissing,),
    ),
    Route(
        method="GET",
        path="/api/v1/objectives",
        permission="gateway:read",
        handler=show_objectives,
        summary="Show the objectives of service and their error budgets",
        tags=_TAGS,
        response=ObjectiveViews,
    ),
)
