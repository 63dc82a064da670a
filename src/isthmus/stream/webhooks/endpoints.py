"""Endpoints: who is told what, how each of them is, and the secrets that messages to it are signed with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Literal, LiteralString, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from psycopg.types.json import Jsonb

from isthmus.audit.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, Invalid, NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint, text_of
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema
from isthmus.stream.event import head_of
from isthmus.stream.filters import EventFilter, check_filter
from isthmus.stream.outbound import Outbound
from isthmus.stream.topics import Topics
from isthmus.stream.webhooks.signing import (
    Kind,
    Secret,
    living,
    new_secret,
    pack_secrets,
    replaced,
    secret_text,
    unpack_secrets,
)
from isthmus.vault import Vault, entropy

ENDPOINT_PREFIX = "whep"
ENDPOINTS_MAX = 200
URL_MAX, ABOUT_MAX, CHOSEN_MAX, ACCOUNTS_MAX, PER_S_MAX = 2_000, 500, 100, 100, 1_000
OVERLAP_HOURS_MAX = 24 * 14
T = TypeVar("T")
Status: TypeAlias = Literal["pending", "healthy", "degraded", "retrying", "needs attention", "paused"]
_Url = Annotated[str, Meta(min_length=8, max_length=URL_MAX)]
_About = Annotated[str, Meta(max_length=ABOUT_MAX)]
_Chosen = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(min_length=1, max_length=CHOSEN_MAX)]
_PerS = Annotated[int, Meta(ge=1, le=PER_S_MAX)]
_SHOWN: LiteralString = """
select e.id, e.url, e.about, e.chosen, e.areas, e.accounts, e.kind, e.ordered, e.per_s, e.created_at, e.created_by,
       e.paused_at, h.failures, h.failing_since, h.closed_until, h.disabled_at, h.reason, h.succeeded_at, h.failed_at,
       coalesce(e.vouched_by, e.created_by), h.withheld_at, h.withheld, e.filter
from webhook_endpoint e
join webhook_health h on h.workspace = e.workspace and h.endpoint_id = e.id
where e.workspace = current_workspace() and e.removed_at is null
"""
_INSERT: LiteralString = """
insert into webhook_endpoint (workspace, id, url, about, chosen, areas, accounts, kind, ordered, per_s, signing,
                              created_at, created_by, filter)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_INSERT_HEALTH: LiteralString = """
insert into webhook_health (workspace, endpoint_id, next_at) values (current_workspace(), %s, %s)
"""
_BEGIN: LiteralString = """
insert into consumer_offset (workspace, consumer, seq) values (current_workspace(), %s, %s)
"""
_CHANGE: LiteralString = """
update webhook_endpoint set url = %s, about = %s, chosen = %s, areas = %s, accounts = %s, ordered = %s, per_s = %s,
       vouched_by = %s, filter = %s
where workspace = current_workspace() and id = %s
"""
_PAUSE: LiteralString = """
update webhook_endpoint set paused_at = %s where workspace = current_workspace() and id = %s
"""
_WELL: LiteralString = """
update webhook_health set failures = 0, failing_since = null, closed_until = null, disabled_at = null, reason = ''
where workspace = current_workspace() and endpoint_id = %s
"""
_REMOVE: LiteralString = """
update webhook_endpoint set removed_at = %s, signing = '', url = '' where workspace = current_workspace() and id = %s
"""
_FORGET: tuple[LiteralString, ...] = (
    "delete from webhook_delivery where workspace = current_workspace() and endpoint_id = %s",
    "delete from consumer_offset where workspace = current_workspace() and consumer = 'webhook:' || (%s::uuid)::text",
)


class EndpointMissing(NotFound):
    """There is no such endpoint."""

    code, title = "webhook-missing", "There is no such webhook"


class EndpointsFull(Conflicting):
    """There are as many endpoints as there may be."""

    code, title = "webhooks-full", "There are too many webhooks"


class EndpointErased(Invalid):
    """The secrets of the endpoint cannot be opened."""

    code, title = "webhook-erased", "The secrets of the webhook are gone"


class NewEndpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to tell what. `events` are names of topics, types of events, and patterns such as `isthmus.sales.*`.

    With `accounts` only what belongs to these is told. `ordered` waits, for each account, until what was before is
    taken. At most `per_second` messages are sent in a second. `signature` is `hmac` (`v1`) or `ed25519` (`v1a`). With a
    `filter` only events that it lets pass are told.
    """

    url: _Url
    events: _Chosen
    about: _About = ""
    accounts: Annotated[list[str], Meta(max_length=ACCOUNTS_MAX)] = []
    signature: Kind = "hmac"
    ordered: bool = False
    per_second: _PerS | None = None
    filter: EventFilter = EventFilter()


class EndpointChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; what is absent stays."""

    url: _Url | UnsetType = UNSET
    events: _Chosen | UnsetType = UNSET
    about: _About | UnsetType = UNSET
    accounts: Annotated[list[str], Meta(max_length=ACCOUNTS_MAX)] | UnsetType = UNSET
    ordered: bool | UnsetType = UNSET
    per_second: _PerS | UnsetType | None = UNSET
    filter: EventFilter | UnsetType = UNSET


class Endpoint(Struct, frozen=True, kw_only=True):
    """An endpoint without its secrets, and how it is.

    `answerable` chose what it is told; while that may not be read by them it is `withheld`, with the reason.
    """

    id: UUID
    url: str
    about: str
    chosen: tuple[str, ...]
    areas: tuple[str, ...]
    accounts: tuple[UUID, ...]
    kind: Kind
    ordered: bool
    per_s: int | None
    created_at: datetime
    created_by: str
    paused_at: datetime | None
    failures: int
    failing_since: datetime | None
    closed_until: datetime | None
    disabled_at: datetime | None
    reason: str
    succeeded_at: datetime | None
    failed_at: datetime | None
    answerable: str
    withheld_at: datetime | None
    withheld: str
    filter: EventFilter

    @property
    def status(self) -> Status:
        """How it is, in the words that all streams share."""
        if self.paused_at is not None:
            return "paused"
        if self.disabled_at is not None or self.withheld_at is not None:
            return "needs attention"
        if self.closed_until is not None:
            return "retrying"
        if self.failures:
            return "degraded"
        return "healthy" if self.succeeded_at is not None else "pending"

    @property
    def consumer(self) -> str:
        """The name under which it reads the log."""
        return consumer_of(self.id)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What endpoints are held to: the catalogue, what may be called, and what their maker may read."""

    topics: Topics
    schema: Schema
    outbound: Outbound
    areas: frozenset[str]

    def check(self, events: Sequence[str], wanted: EventFilter) -> None:
        """Raise UnknownTopic and BadFilter for events that mean nothing, and a filter that does not fit them."""
        self.topics.check(events, areas=self.areas, pointer="/events")
        check_filter(wanted, types=self.topics.chosen(events, areas=self.areas), topics=self.topics, schema=self.schema)


def consumer_of(endpoint: UUID) -> str:
    """Return the name under which an endpoint reads the log."""
    return f"webhook:{endpoint}"


async def endpoints(tx: Transaction) -> list[Endpoint]:
    """Return all endpoints, oldest first."""
    cursor = await tx.connection.execute(_SHOWN + " order by e.id")
    return [_endpoint(row) for row in await cursor.fetchall()]


async def endpoint_of(tx: Transaction, endpoint: UUID) -> Endpoint:
    """Return an endpoint; raises EndpointMissing."""
    row = await (await tx.connection.execute(_SHOWN + " and e.id = %s", (endpoint,))).fetchone()
    if row is None:
        raise EndpointMissing("There is no such webhook.", fix="List them: GET /api/v1/webhooks, isthmus webhooks ls")
    return _endpoint(row)


async def register(
    tx: Transaction, vault: Vault, wanted: NewEndpoint, *, accounts: Sequence[UUID], rules: Rules
) -> tuple[Endpoint, str]:
    """Register an endpoint that is told everything from now on; returns it with what its receiver verifies with.

    Raises OutboundRefused, UnknownTopic, BadFilter and EndpointsFull.
    """
    rules.outbound.check(wanted.url)
    rules.check(wanted.events, wanted.filter)
    if len(await endpoints(tx)) >= ENDPOINTS_MAX:
        raise EndpointsFull(f"There are {ENDPOINTS_MAX} webhooks already.", fix="Remove one that is not needed.")
    scope = tx.scope
    own = mint(unix_ms=milliseconds(scope.now), entropy=entropy(ENTROPY_BYTES))
    secret = new_secret(now=scope.now)
    vault.ensure(workspace=scope.workspace, subjects=[own])
    sealed = _sealed(tx, vault, own, [secret])
    chosen = (wanted.events, sorted(rules.areas), list(accounts), wanted.signature, wanted.ordered, wanted.per_second)
    row = (own, wanted.url, wanted.about, *chosen, sealed, scope.now, scope.actor, _kept(wanted.filter))
    await tx.connection.execute(_INSERT, row)
    await tx.connection.execute(_INSERT_HEALTH, (own, scope.now))
    await tx.connection.execute(_BEGIN, (consumer_of(own), await head_of(tx.connection)))
    await _trace(tx, "registered", own, {"url": wanted.url, "events": list(wanted.events)})
    return await endpoint_of(tx, own), secret_text(secret, wanted.signature)


async def change(
    tx: Transaction, endpoint: UUID, wanted: EndpointChange, *, accounts: Sequence[UUID] | None, rules: Rules
) -> Endpoint:
    """Change what is given; raises EndpointMissing, OutboundRefused, UnknownTopic and BadFilter."""
    found = await endpoint_of(tx, endpoint)
    areas = found.areas
    if not isinstance(wanted.url, UnsetType):
        rules.outbound.check(wanted.url)
    if not isinstance(wanted.events, UnsetType):
        areas = tuple(sorted(rules.areas))
    events, narrowed = _or(wanted.events, list(found.chosen)), _or(wanted.filter, found.filter)
    if not (isinstance(wanted.events, UnsetType) and isinstance(wanted.filter, UnsetType)):
        replace(rules, areas=frozenset(areas)).check(events, narrowed)
    row = (
        _or(wanted.url, found.url),
        _or(wanted.about, found.about),
        events,
        list(areas),
        list(found.accounts if accounts is None else accounts),
        _or(wanted.ordered, found.ordered),
        _or(wanted.per_second, found.per_s),
        found.answerable if isinstance(wanted.events, UnsetType) else tx.scope.actor,
        _kept(narrowed),
        endpoint,
    )
    await tx.connection.execute(_CHANGE, row)
    changed = [name for name in wanted.__struct_fields__ if getattr(wanted, name) is not UNSET]
    await _trace(tx, "changed", endpoint, {"changed": changed})
    return await endpoint_of(tx, endpoint)


async def pause(tx: Transaction, endpoint: UUID) -> Endpoint:
    """Send nothing until it is resumed; what happens meanwhile is told then. Raises EndpointMissing."""
    await endpoint_of(tx, endpoint)
    await tx.connection.execute(_PAUSE, (tx.scope.now, endpoint))
    await _trace(tx, "paused", endpoint, {})
    return await endpoint_of(tx, endpoint)


async def resume(tx: Transaction, endpoint: UUID) -> Endpoint:
    """Go on where it stood, also after it was disabled for failing; raises EndpointMissing."""
    await endpoint_of(tx, endpoint)
    await tx.connection.execute(_PAUSE, (None, endpoint))
    await tx.connection.execute(_WELL, (endpoint,))
    await _trace(tx, "resumed", endpoint, {})
    return await endpoint_of(tx, endpoint)


async def remove(tx: Transaction, vault: Vault, endpoint: UUID) -> None:
    """Take an endpoint away with its secrets and what waits for it; raises EndpointMissing."""
    found = await endpoint_of(tx, endpoint)
    await tx.connection.execute(_REMOVE, (tx.scope.now, endpoint))
    for each in _FORGET:
        await tx.connection.execute(each, (endpoint,))
    vault.erase(workspace=tx.scope.workspace, subject=endpoint)
    await _trace(tx, "removed", endpoint, {"url": found.url})


async def rotate(tx: Transaction, vault: Vault, endpoint: UUID, *, overlap: timedelta) -> tuple[Endpoint, str]:
    """Sign with a new secret; the old one signs too until the overlap is over. Raises EndpointMissing."""
    found = await endpoint_of(tx, endpoint)
    secrets = replaced(await secrets_of(tx, vault, endpoint), now=tx.scope.now, overlap=overlap)
    await tx.connection.execute(
        "update webhook_endpoint set signing = %s where workspace = current_workspace() and id = %s",
        (_sealed(tx, vault, endpoint, secrets), endpoint),
    )
    await _trace(tx, "rotated", endpoint, {"overlap_s": int(overlap.total_seconds())})
    return found, secret_text(secrets[0], found.kind)


async def secrets_of(tx: Transaction, vault: Vault, endpoint: UUID) -> list[Secret]:
    """Return the secrets that sign now, the newest first; raises EndpointErased."""
    query: LiteralString = "select signing from webhook_endpoint where workspace = current_workspace() and id = %s"
    row = await (await tx.connection.execute(query, (endpoint,))).fetchone()
    sealed = bytes(row[0]) if row is not None else b""
    packed = vault.open_many(workspace=tx.scope.workspace, values=[(endpoint, sealed)])[0] if sealed else None
    if packed is None:
        raise EndpointErased("The secrets of this webhook are gone.", fix="Register it again.")
    return living(unpack_secrets(packed), now=tx.scope.now)


def endpoint_text(endpoint: UUID) -> str:
    """Return the outside form of an endpoint's id."""
    return text_of(ENDPOINT_PREFIX, endpoint)


def _sealed(tx: Transaction, vault: Vault, own: UUID, secrets: Sequence[Secret]) -> bytes:
    return vault.seal_many(workspace=tx.scope.workspace, values=[(own, pack_secrets(secrets))])[0]


def _kept(wanted: EventFilter) -> Jsonb:
    return Jsonb(msgspec.to_builtins(wanted))


def _or(given: T | UnsetType, kept: T) -> T:
    return kept if isinstance(given, UnsetType) else given


async def _trace(tx: Transaction, what: str, endpoint: UUID, details: Mapping[str, object]) -> None:
    resource = f"webhook:{endpoint_text(endpoint)}"
    await trace(tx, action=f"webhook.{what}", resource=resource, record_id=endpoint, details=details)


def _endpoint(row: Sequence[object]) -> Endpoint:
    return msgspec.convert(dict(zip(Endpoint.__struct_fields__, row, strict=True)), Endpoint)
