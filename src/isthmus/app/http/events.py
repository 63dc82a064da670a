"""The live feed: events as server-sent events, to those who may read what they tell of."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.app.webhook_views import ACCOUNT
from isthmus.gateway import Call, Response, Route, id_at
from isthmus.gateway.epoch import Epoch
from isthmus.gateway.policy.book import Book
from isthmus.gateway.policy.gate import PolicyGate
from isthmus.gateway.policy.reading import hindrance
from isthmus.gateway.tracing import purpose_of
from isthmus.kernel.errors import Limited, Malformed
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.store.schema import Schema
from isthmus.stream.event import before_moment
from isthmus.stream.filters import BadFilter, EventFilter, check_filter, moved, passing, read_clause
from isthmus.stream.live import HEADERS, Frame, Live, Sees, Wants
from isthmus.stream.topics import Topics, UnknownTopic
from isthmus.stream.workflows.definition import CLAUSES_MAX

LIFE = timedelta(minutes=2)
FEEDS_MAX = 20
_NAMES_MAX, _SEQ_DIGITS_MAX = 50, 18
_Clauses = Annotated[list[Annotated[str, Meta(min_length=1, max_length=500)]], Meta(max_length=CLAUSES_MAX)]
_Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=_NAMES_MAX)]


@dataclass(frozen=True)
class Seen:
    """As much of an event as filters look at."""

    record_type: str
    record_id: UUID
    changed: tuple[str, ...]


class FeedsFull(Limited):
    """The caller has as many live feeds open as it may have."""

    code, title = "feeds-full", "Too many live feeds are open"


class FeedQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events; each may be repeated. `after` is the number to go on after, unless Last-Event-ID says it.

    `since` is a moment from which on they are told, where neither says a number.
    `changed` names fields, and of changes only those of one of them are sent; `where` is a clause on the record:
    `amount at_least 10000`.
    """

    topic: _Names = []
    type: _Names = []
    account: _Names = []
    changed: _Clauses = []
    where: _Clauses = []
    after: Annotated[int, Meta(ge=0, lt=10**_SEQ_DIGITS_MAX)] | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None


async def follow(call: Call) -> Response:
    """Answer events as they happen."""
    wanted, services = call.query(FeedQuery), call.services
    live, epoch, principal = services.of(Live), services.of(Epoch), call.principal
    types = _types(call, wanted, await _book(call))
    wants, sees = _choosing(types, _accounts(wanted, services.schema)), _seeing(call, wanted, types)
    after = _last_seen(call) if "last-event-id" in call.headers else wanted.after
    if after is None and wanted.since is not None:
        async with services.database.transaction(call.scope) as tx:
            after = await before_moment(tx.connection, wanted.since)
    holder = principal.actor
    if live.held(holder) >= FEEDS_MAX:
        raise FeedsFull(f"There are {FEEDS_MAX} live feeds open.", fix="Close one, or share one.")
    until, stands = call.scope.now + LIFE, epoch.of(principal.workspace)

    def ended() -> bool:
        # A client comes back and proves itself again: after a while, and at once when anybody's rights were changed.
        return services.clock.now() >= until or epoch.of(principal.workspace) != stands

    frames = live.frames(principal.workspace, after=after, wants=wants, sees=sees, ended=ended, holder=holder)
    return Response(body=frames, headers=HEADERS[1:2])


async def readable_areas(call: Call, topics: Topics) -> frozenset[str]:
    """Return what the caller may read of all records of; where policies or grants name records, nothing is."""
    types = _readable_types(call, topics, await _book(call))
    areas = {each.area for each in topics.types.values()}
    return frozenset(areas - {each.area for each in topics.types.values() if each.type not in types})


def _readable_types(call: Call, topics: Topics, book: Book) -> frozenset[str]:
    """Return the types of events of whose records the caller may read all."""
    records = {each.record: each.area for each in topics.types.values()}
    schema, purpose = call.services.schema, purpose_of(call.headers)
    open_records = {
        name
        for name, area in records.items()
        if call.may(f"{area}:read")
        and call.seen(schema[name]) is None
        and hindrance(book, call.principal, schema[name], now=call.scope.now, client=call.client, purpose=purpose)
        is None
    }
    return frozenset(each.type for each in topics.types.values() if each.record in open_records)


async def _book(call: Call) -> Book:
    return await call.services.of(PolicyGate).book(call.principal.workspace, now=call.scope.now)


def _types(call: Call, wanted: FeedQuery, book: Book) -> frozenset[str]:
    """Return the types of events that are sent; raises UnknownTopic."""
    topics = call.services.of(Topics)
    readable = _readable_types(call, topics, book)
    types = readable
    for names, pointer in ((wanted.topic, "/query/topic"), (wanted.type, "/query/type")):
        if names:
            areas = frozenset(topics.types[each].area for each in readable)
            topics.check(names, areas=areas, pointer=pointer)
            types &= topics.chosen(names, areas=areas)
    return types


def _seeing(call: Call, wanted: FeedQuery, types: frozenset[str]) -> Sees:
    """Return what tells whether the filter lets an event pass; raises BadFilter."""
    where = tuple(read_clause(each, pointer=f"/query/where/{at}") for at, each in enumerate(wanted.where))
    narrowed, services = EventFilter(changed=tuple(wanted.changed), where=where), call.services
    if narrowed != EventFilter():
        topics = services.of(Topics)
        check_filter(narrowed, types=types, topics=topics, schema=services.schema, pointer="/query")
    database = services.database

    async def sees(each: Frame) -> bool:
        if not moved(narrowed, each.changed):
            return False
        kind = services.schema.types.get(each.record_type)
        if kind is None or not where:
            return not where
        told = Seen(each.record_type, uuid_of(kind.prefix, each.subject), each.changed)
        async with database.transaction(replace(call.scope, now=services.clock.now())) as tx:
            return bool(await passing(tx, services.vault, services.schema, narrowed, [told]))

    return sees


def _choosing(types: frozenset[str], accounts: frozenset[str]) -> Wants:
    if accounts:
        return lambda frame: frame.type in types and frame.key in accounts
    return lambda frame: frame.type in types


def _accounts(wanted: FeedQuery, schema: Schema) -> frozenset[str]:
    account = schema[ACCOUNT]
    ids = [id_at(f"/query/account/{at}", text, account) for at, text in enumerate(wanted.account)]
    return frozenset(text_of(account.prefix, each) for each in ids)


def _last_seen(call: Call) -> int:
    text = call.headers["last-event-id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= _SEQ_DIGITS_MAX):
        raise Malformed("Last-Event-ID is no number of an event.", fix="Send the id that stood before the last event.")
    return int(text)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/events",
        permission="stream:read",
        handler=follow,
        summary="Follow events as they happen (server-sent events); Last-Event-ID goes on after an event",
        media="text/event-stream",
        tags=("events",),
        query=FeedQuery,
        errors=(UnknownTopic, BadFilter, FeedsFull),
    ),
)
