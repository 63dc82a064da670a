"""Connecting a system: choosing what with, filling in what it takes; and changing that later."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.console import words
from isthmus.console.connections.at import ACT, BYTES_MAX, connector_of, found, opened, place, shown
from isthmus.console.connections.forms import Given, changing_form, new_form, unreachable
from isthmus.console.connections.loading import workspace_name
from isthmus.console.connections.port import Connecting
from isthmus.console.connections.telling import HERE, address
from isthmus.console.visiting import place_of
from isthmus.gateway import FRESH_S, HTML, Call, Response, Route, redirect
from isthmus.kernel.errors import Conflicting, Invalid, IsthmusError
from isthmus.sync.connections import Connection, Options, all_settings, change_connection, connect
from isthmus.sync.connector import Connector, ConnectorError
from isthmus.sync.running import UnknownConnector
from isthmus.sync.runs import Engine


class Looking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of what a connector is called, does or brings."""

    q: Annotated[str, Meta(max_length=100)] = ""


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing is chosen on the page."""


@dataclass(frozen=True, kw_only=True)
class Choosable:
    """A connector that can be chosen: what it brings and takes, and how a person is let in there."""

    name: str
    title: str
    about: str
    proven: str
    brings: str
    takes: str
    fake: bool
    way: str


async def choose(call: Call) -> Response:
    """Show what can be connected."""
    q = call.query(Looking).q
    known = sorted(call.services.of(Engine).connectors.values(), key=lambda each: each.title.casefold())
    rows = [_choosable(each) for each in known]
    text = q.casefold()
    hits = [each for each in rows if text in f"{each.name} {each.title} {each.about} {each.brings}".casefold()]
    # What is only made up comes last.
    hits.sort(key=lambda each: each.fake)
    async with call.services.database.transaction(call.scope) as tx:
        workspace = await workspace_name(tx)
    return shown(call, "choose", {"rows": hits, "total": len(rows), "q": q, "workspace": workspace})


async def fill(call: Call) -> Response:
    """Show the form of a connector."""
    return await _adding(call, _connector(call))


async def add(call: Call) -> Response:
    """Connect a system, once it answers with what was given."""
    given, connector, vault = call.body(Given), _connector(call), call.services.vault
    try:
        await call.services.of(Connecting).check_new(connector, given.name, given.settings)
        async with call.services.database.transaction(call.scope) as tx:
            made = await connect(
                tx,
                vault,
                connector,
                name=given.name,
                settings=given.settings,
                options=_options(given, Options()),
                every_s=given.every_s or None,
            )
    except (Invalid, Conflicting, ConnectorError) as refused:
        return await _adding(call, connector, given=given, refused=refused)
    return redirect(address(place(made), "added"))


async def settings(call: Call) -> Response:
    """Show the form of a connection."""
    return await _changing(call, await opened(call))


async def change(call: Call) -> Response:
    """Change a connection, once it answers with what was given."""
    given, vault = call.body(Given), call.services.vault
    async with call.services.database.transaction(call.scope) as tx:
        own = await found(call, tx)
        before = await all_settings(tx, vault, own)
    connector = _made_with(call, own)
    try:
        wanted = {name: value for name, value in _meant(given, connector).items() if before.get(name, "") != value}
        if wanted:
            await call.services.of(Connecting).check_changed(connector, own, wanted, before | wanted)
        async with call.services.database.transaction(call.scope) as tx:
            own = await found(call, tx)
            await change_connection(
                tx,
                vault,
                connector,
                own,
                settings=wanted or None,
                options=_options(given, own.options),
                every_s=given.every_s or None,
            )
    except (Invalid, Conflicting, ConnectorError) as refused:
        return await _changing(call, own, given=given, refused=refused)
    return redirect(address(place(own), "changed"))


def _meant(given: Given, connector: Connector) -> dict[str, str]:
    """Return the settings that were meant: a secret that is left empty stays, another one goes back to its default."""
    told = dict(zip(given.keys, (each.replace("\r\n", "\n") for each in given.values), strict=False))
    meant: dict[str, str] = {}
    for each in connector.settings:
        if each.name not in told or each.local:
            continue
        value = told[each.name]
        if value or not each.secret:
            meant[each.name] = value or each.default or ""
    return meant


def _options(given: Given, before: Options) -> Options:
    """Return what the connection may do. Where nothing is written, what would be made or deleted stays as it was."""
    if not given.push:
        return Options(push=False, create=before.create, delete=before.delete, pipeline=given.pipeline)
    return Options(push=True, create=tuple(given.create), delete=given.delete, pipeline=given.pipeline)


async def _adding(
    call: Call, connector: Connector, *, given: Given | None = None, refused: IsthmusError | None = None
) -> Response:
    async with call.services.database.transaction(call.scope) as tx:
        workspace = await workspace_name(tx)
    values: dict[str, object] = {
        "it": _choosable(connector),
        "form": new_form(connector, given, refused),
        "local": unreachable(connector),
        "oauth": connector.oauth is not None,
        "callback": _callback(call),
        "workspace": workspace,
    }
    return shown(call, "add", values, refused=refused)


async def _changing(
    call: Call, own: Connection, *, given: Given | None = None, refused: IsthmusError | None = None
) -> Response:
    connector = _made_with(call, own)
    async with call.services.database.transaction(call.scope) as tx:
        workspace = await workspace_name(tx)
    values: dict[str, object] = {
        "it": _choosable(connector),
        "form": changing_form(connector, own, given, refused),
        "local": [each for each in connector.settings if each.local],
        "at": place(own),
        "name": own.name,
        "workspace": workspace,
    }
    return shown(call, "change", values, refused=refused)


def _callback(call: Call) -> str:
    return f"{place_of(call).origin}{call.services.of(Connecting).callback}"


def _connector(call: Call) -> Connector:
    name = call.path["connector"]
    known = call.services.of(Engine).connectors.get(name)
    if known is None:
        raise UnknownConnector(f"There is no connector {name!r}.", fix="Choose one that is listed.")
    return known


def _made_with(call: Call, own: Connection) -> Connector:
    known = connector_of(call, own)
    if known is None:
        raise UnknownConnector(f"There is no connector {own.connector!r}.", fix="Install it again.")
    return known


def _choosable(connector: Connector) -> Choosable:
    takes = dict.fromkeys(name for feed in connector.feeds for name in feed.writes)
    brings = dict.fromkeys(name for feed in connector.feeds for name in feed.types)
    return Choosable(
        name=connector.name,
        title=connector.title,
        about=connector.about,
        proven=connector.proven,
        brings=", ".join(words.kind(each, count=2) for each in brings),
        takes=", ".join(words.kind(each, count=2) for each in takes),
        fake=connector.fake,
        way=_way(connector),
    )


def _way(connector: Connector) -> str:
    if unreachable(connector):
        return "connected on the machine itself"
    return "by consent" if connector.oauth is not None else "by key"


def _route(
    method: str,
    path: str,
    handler: Callable[[Call], Awaitable[Response]],
    summary: str,
    *,
    query: type[Struct] | None = None,
) -> Route:
    posts = method == "POST"
    return Route(
        method="POST" if posts else "GET",
        path=path,
        permission=ACT,
        handler=handler,
        summary=summary,
        query=query,
        body=Given if posts else None,
        accepts="form" if posts else "json",
        body_bytes_max=BYTES_MAX,
        media=HTML,
        fresh_s=None if query is Looking else FRESH_S,
        listed=False,
    )


_NEW, _OWN = f"{HERE}/add/{{connector}}", f"{HERE}/{{connection}}/settings"
FORMS = (
    _route("GET", f"{HERE}/add", choose, "What can be connected", query=Looking),
    _route("GET", _NEW, fill, "The form that connects a system", query=Asked),
    _route("POST", _NEW, add, "Connect a system"),
    _route("GET", _OWN, settings, "The form that changes a connection", query=Asked),
    _route("POST", _OWN, change, "Change a connection"),
)
