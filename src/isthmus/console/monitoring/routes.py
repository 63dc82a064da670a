"""The page of monitoring, and what its buttons do."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.console.monitoring.loading import load
from isthmus.console.pages import page
from isthmus.gateway import HTML, Call, Response, Route, redirect
from isthmus.stream.alerts.rules import Rule
from isthmus.stream.alerts.state import ALERT_PREFIX, acknowledge, alert_of, silence

HERE = "/monitoring"


class Span(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how many hours."""

    hours: Literal[3, 24, 168, 720] = 3


class Pressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form whose button is all it has."""


class Quiet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long nobody is told."""

    hours: Annotated[int, Meta(ge=1, le=720)] = 4


class Rules:
    """The rules of this program, which name alerts for people."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        """Without rules, alerts have the names of theirs."""
        self.titles: Mapping[str, str] = {each.name: each.title for each in rules}


async def show(call: Call) -> Response:
    """Show how things are."""
    titles = call.services.of(Rules).titles
    hours = call.query(Span).hours
    may_act = call.may("gateway:write")
    it = await load(call.services, call.scope, hours=hours, titles=titles, may_act=may_act)
    return page(call, "monitoring.html", {"it": it})


async def look_after(call: Call) -> Response:
    """Acknowledge an alert."""
    async with call.services.database.transaction(call.scope) as tx:
        await acknowledge(tx, call.id_in_path("alert_id", ALERT_PREFIX))
    return redirect(HERE)


async def keep_quiet(call: Call) -> Response:
    """Silence what an alert is about."""
    until = call.scope.now + timedelta(hours=call.body(Quiet).hours)
    async with call.services.database.transaction(call.scope) as tx:
        found = await alert_of(tx, call.id_in_path("alert_id", ALERT_PREFIX))
        await silence(tx, rule=found.rule, about=found.about, until=until, reason="silenced in the console")
    return redirect(HERE)


ROUTES = (
    Route(
        method="GET",
        path=HERE,
        permission="gateway:read",
        handler=show,
        summary="Monitoring",
        query=Span,
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path=f"{HERE}/{{alert_id}}/acknowledge",
        permission="gateway:write",
        handler=look_after,
        summary="Look after an alert",
        body=Pressed,
        accepts="form",
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path=f"{HERE}/{{alert_id}}/silence",
        permission="gateway:write",
        handler=keep_quiet,
        summary="Silence what an alert is about",
        body=Quiet,
        accepts="form",
        media=HTML,
        listed=False,
    ),
)
