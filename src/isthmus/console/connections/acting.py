"""What the buttons of a connection's page do."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.console.connections.at import ACT, connector_of, found, opened, place, shown
from isthmus.console.connections.one import one_page
from isthmus.console.connections.port import Connecting, Task
from isthmus.console.connections.telling import HERE, Choice, Deed, address
from isthmus.console.visiting import place_of
from isthmus.gateway import FRESH_S, HTML, Call, Response, Route, redirect
from isthmus.kernel.errors import Conflicting, Invalid, NotFound
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.board import start
from isthmus.sync import consenting
from isthmus.sync.connections import Connection, pause, remove, resume
from isthmus.sync.connector import ConnectorError
from isthmus.sync.consenting import NoConsentHere
from isthmus.sync.rereading import FeedMissing, Span
from isthmus.sync.running import ConnectionPaused, UnknownConnector

REFUSED = (Conflicting, Invalid, NotFound, ConnectorError)
_DAY = "%Y-%m-%d"
_Day = Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]
_Code = Annotated[str, Meta(max_length=200)]


class Pressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form whose button is all it has."""


class Agreed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a person has agreed to many deletions or changes."""

    confirmed: bool = False


class Because(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it rests."""

    reason: Annotated[str, Meta(max_length=200)] = ""


class Days(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which stream, and what changed there from one day to another, both whole; an empty one has no end."""

    feed: Annotated[str, Meta(min_length=1, max_length=200)]
    since: _Day = ""
    until: _Day = ""
    confirmed: bool = False


class Why(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which reason code of rejected rows; all without it."""

    code: _Code = ""


class DayUnknown(Invalid):
    """A date that no calendar has."""

    code, title = "unknown-day", "There is no such day"


async def run(call: Call) -> Response:
    """Want a run."""
    return await _wanted(call, "run", "run", {"confirmed": call.body(Agreed).confirmed})


async def push(call: Call) -> Response:
    """Want what a push would write to be written."""
    return await _wanted(call, "pushed", "run", {"parts": ["push"]})


async def resync(call: Call) -> Response:
    """Want everything to be read again."""
    return await _wanted(call, "resync", "resync", {"confirmed": call.body(Agreed).confirmed})


async def backfill(call: Call) -> Response:
    """Want a time to be read again from one stream."""
    given = call.body(Days)

    async def act(tx: Transaction) -> str:
        own = await awake(call, tx)
        connector = connector_of(call, own)
        if connector is None or given.feed not in [each.name for each in connector.feeds_of(own.settings)]:
            raise FeedMissing(f"{own.name!r} has no stream {given.feed!r}.", fix="Load the page again.")
        span = Span(since=_day(given.since), until=_day(given.until, end=True))
        more: dict[str, Json] = {
            "feed": given.feed,
            "since": span.since.isoformat() if span.since else None,
            "until": span.until.isoformat() if span.until else None,
            "confirmed": given.confirmed,
        }
        await start(tx, call.services.of(Connecting).wish("backfill", own, more))
        return address(place(own), "backfill")

    return await _acted(call, act)


async def retry(call: Call) -> Response:
    """Want rejected rows to be tried again."""

    async def act(tx: Transaction) -> str:
        own = await found(call, tx)
        code = call.body(Why).code or None
        await start(tx, call.services.of(Connecting).wish("retry", own, {"code": code}))
        return address(place(own), "retried")

    return await _acted(call, act)


async def rest(call: Call) -> Response:
    """Let a connection rest."""

    async def act(tx: Transaction) -> str:
        own = await found(call, tx)
        await pause(tx, own, reason=call.body(Because).reason or "Paused in the console.")
        return address(place(own), "paused")

    return await _acted(call, act)


async def go_on(call: Call) -> Response:
    """Let a paused connection run again."""

    async def act(tx: Transaction) -> str:
        own = await found(call, tx)
        await resume(tx, own)
        return address(place(own), "resumed")

    return await _acted(call, act)


async def check(call: Call) -> Response:
    """Ask the system whether it answers."""
    try:
        said = await call.services.of(Connecting).ask(call, await opened(call))
    except NotFound as refused:
        return await one_page(call, Choice(), refused=refused)
    return await one_page(call, Choice(), said=said)


async def take_away(call: Call) -> Response:
    """Take a connection away, with what its system keeps for it."""
    left = await call.services.of(Connecting).part(call, await opened(call))
    async with call.services.database.transaction(call.scope) as tx:
        await remove(tx, call.services.vault, await found(call, tx), left=left)
    return redirect(address(HERE, "removed"))


async def consent(call: Call) -> Response:
    """Begin a person's consent: lead the browser to the vendor.

    A page stands between, since a form may not lead to another host.
    """
    own = await opened(call)
    connector = connector_of(call, own)
    if connector is None:
        gone = UnknownConnector(f"There is no connector {own.connector!r}.", fix="Install it again.")
        return await one_page(call, Choice(), refused=gone)
    try:
        async with call.services.database.transaction(call.scope) as tx:
            to = f"{place_of(call).origin}{call.services.of(Connecting).callback}"
            begun = await consenting.begin(tx, call.services.vault, connector, own, redirect_uri=to)
    except (ConnectorError, NoConsentHere) as refused:
        return await one_page(call, Choice(), refused=refused)
    answer = shown(call, "onward", {"to": begun.url, "title": connector.title, "back": place(own)})
    return Response(body=answer.body, status=200, media=HTML, headers=(("referrer-policy", "no-referrer"),))


async def _wanted(call: Call, did: Deed, task: Task, more: Mapping[str, Json]) -> Response:
    async def act(tx: Transaction) -> str:
        own = await awake(call, tx)
        await start(tx, call.services.of(Connecting).wish(task, own, more))
        return address(place(own), did)

    return await _acted(call, act)


async def _acted(call: Call, act: Callable[[Transaction], Awaitable[str]]) -> Response:
    """Do it in a transaction and show the page at the address it returns, or the page with why it was refused."""
    try:
        async with call.services.database.transaction(call.scope) as tx:
            to = await act(tx)
    except REFUSED as refused:
        return await one_page(call, Choice(), refused=refused)
    return redirect(to)


async def awake(call: Call, tx: Transaction) -> Connection:
    """Return the connection in the path; raises ConnectionPaused for one that rests."""
    own = await found(call, tx)
    if own.status is Status.PAUSED:
        raise ConnectionPaused(f"{own.name!r} is paused: {own.reason}", fix="Resume it first.")
    return own


def _day(text: str, *, end: bool = False) -> datetime | None:
    """Return where a day begins or ends, in UTC; raises DayUnknown."""
    if not text:
        return None
    try:
        begun = datetime.strptime(text, _DAY).replace(tzinfo=UTC)
    except ValueError as error:
        raise DayUnknown(f"There is no day {text}.", fix="Choose one.") from error
    return begun + timedelta(days=1) if end else begun


def _button(
    path: str,
    handler: Callable[[Call], Awaitable[Response]],
    summary: str,
    body: type[Struct] = Pressed,
    *,
    fresh_s: int | None = None,
) -> Route:
    return Route(
        method="POST",
        path=f"{HERE}/{{connection}}/{path}",
        permission=ACT,
        handler=handler,
        summary=summary,
        body=body,
        accepts="form",
        media=HTML,
        fresh_s=fresh_s,
        listed=False,
    )


BUTTONS = (
    _button("run", run, "Run a connection now", Agreed),
    _button("push", push, "Write what was planned"),
    _button("resync", resync, "Read everything of a connection again", Agreed),
    _button("backfill", backfill, "Read a time of a connection again", Days),
    _button("retry", retry, "Try rejected rows again", Why),
    _button("pause", rest, "Let a connection rest", Because),
    _button("resume", go_on, "Let a connection run again"),
    _button("check", check, "Ask a system whether it answers"),
    _button("authorize", consent, "Begin a person's consent", fresh_s=FRESH_S),
    _button("remove", take_away, "Take a connection away", fresh_s=FRESH_S),
)
