"""A small vendor in memory: three collections, a change counter as cursor, conditional writes, and bad days on request.

It is the counterpart for orders of events that no real server can be brought to; the connectors' own tests use others.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from isthmus.kernel.clock import Clock
from isthmus.kernel.marks import Json
from isthmus.store.observation import Link, Observation
from isthmus.sync.connector import (
    Change,
    Connector,
    ConnectorError,
    Feed,
    Leave,
    Outcome,
    Page,
    Raw,
    Setting,
    Throttled,
    Written,
)

TYPES = {"companies": "sales.account", "contacts": "sales.person", "deals": "sales.deal"}
FEEDS = tuple(Feed(name=name, types=(kind,), writes=(kind,)) for name, kind in TYPES.items())
LINKS = {"account": ("account_id", "companies"), "contact": ("person_id", "contacts")}
WRITABLE = {
    "sales.account": ("name", "tax_id", "domain", "industry", "city", "owner_id", "employee_count"),
    "sales.person": ("email", "first_name", "last_name", "title", "phone", "account_id", "owner_id"),
    "sales.deal": ("name", "deal_number", "stage", "amount", "owner_id", "account_id", "person_id", "next_step"),
}


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it."""


@dataclass
class Row:
    """One record there; `change` grows with every change of any record."""

    body: dict[str, Json]
    at: datetime
    change: int
    deleted: bool = False


@dataclass
class Vendor:
    """The server. `skew` is how far its clock is ahead; `coarse` maps a value it cannot hold to the one it holds."""

    name: str
    clock: Clock
    skew: timedelta = timedelta()
    page_rows: int = 3
    rows: dict[str, dict[str, Row]] = field(default_factory=lambda: {name: {} for name in TYPES})
    coarse: dict[str, str] = field(default_factory=dict[str, str])
    troubles: list[BaseException | None] = field(default_factory=list[BaseException | None])
    kill_after_write: bool = False
    shuffled: bool = False
    idempotent: bool = False
    writes: int = 0
    reads: int = 0
    changes: int = 0
    numbers: int = 0
    keys: dict[str, str] = field(default_factory=dict[str, str])
    merged: dict[str, str] = field(default_factory=dict[str, str])
    writable: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: WRITABLE)

    def put(self, feed: str, external_id: str | None = None, **body: Json) -> str:
        """Create or change a record, as a person there does."""
        external_id = external_id or self._number(feed)
        row = self.rows[feed].get(external_id)
        self.changes += 1
        whole = (row.body if row else {}) | {key: self._held(value) for key, value in body.items()}
        at = (self.clock.now() + self.skew).replace(microsecond=0)
        self.rows[feed][external_id] = Row(whole, at, self.changes)
        return external_id

    def delete(self, feed: str, external_id: str) -> None:
        """Delete a record without a trace, as most systems do."""
        del self.rows[feed][external_id]

    def merge(self, feed: str, external_id: str, *, into: str) -> None:
        """Make two records one, as a person there does: the survivor takes over what it does not say itself."""
        lost = self.rows[feed][external_id]
        self.put(feed, into, **(lost.body | self.rows[feed][into].body))
        self.changes += 1
        self.rows[feed][external_id] = Row({}, self.clock.now(), self.changes, deleted=True)
        self.merged[external_id] = into

    def connector(self) -> Connector:
        """Return the connector to this server."""
        return Connector(
            name=self.name,
            title=self.name.title(),
            about="A vendor in memory.",
            proven="in tests only",
            feeds=FEEDS,
            settings=(Setting("url", "where it is", default="memory:"), Setting("token", "the key", secret=True)),
            begin=self._open,
            normalise=normalise,
            express=express,
            fake=True,
            writable=self.writable,
        )

    @asynccontextmanager
    async def _open(self, settings: dict[str, str], leave: Leave) -> AsyncGenerator["Desk"]:
        assert settings["token"], "secrets are opened for the session"
        yield Desk(self, leave)

    def _number(self, feed: str) -> str:
        self.numbers += 1
        return f"{self.name}-{feed}-{self.numbers}"

    def _held(self, value: Json) -> Json:
        return self.coarse.get(value, value) if isinstance(value, str) else value

    def trouble(self) -> None:
        """Have the next bad day, if one is due; None is a good one."""
        if self.troubles and (due := self.troubles.pop(0)) is not None:
            raise due

    def raw(self, feed: str, external_id: str) -> Raw:
        """Return a record as it is sent."""
        row = self.rows[feed][external_id]
        return Raw(
            external_id=external_id,
            body=deepcopy(row.body),
            at=row.at,
            version=str(row.change),
            deleted=row.deleted,
            merged_into=self.merged.get(external_id),
        )


@dataclass(frozen=True)
class Desk:
    """A session."""

    vendor: Vendor
    leave: Leave

    async def check(self) -> str:
        """Return the name."""
        return self.vendor.name

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield pages in the order of changes."""
        last = int(cursor or 0)
        while True:
            await self.leave()
            self.vendor.trouble()
            self.vendor.reads += 1
            later = sorted((row.change, key) for key, row in self.vendor.rows[feed].items() if row.change > last)
            some = later[: self.vendor.page_rows]
            last = some[-1][0] if some else last
            rows = [self.vendor.raw(feed, key) for _, key in some]
            if self.vendor.shuffled:
                rows = [*reversed(rows), *rows[:1]]
            more = len(later) > len(some)
            yield Page(rows=tuple(rows), cursor=str(last), more=more, total=len(later))
            if not more:
                return

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield all ids."""
        self.vendor.trouble()
        yield [key for key, row in self.vendor.rows[feed].items() if not row.deleted]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write under the conditions given."""
        await self.leave()
        self.vendor.trouble()
        answers = [self._one(feed, change) for change in changes]
        if self.vendor.kill_after_write:
            self.vendor.kill_after_write = False
            raise Killed
        return answers

    def _one(self, feed: str, change: Change) -> Written:
        vendor = self.vendor
        external_id = change.external_id or vendor.keys.get(change.key)
        row = vendor.rows[feed].get(external_id) if external_id else None
        if change.external_id and row is None:
            return Written(outcome=Outcome.MOVED, reason="It is gone.")
        if change.version is not None and row is not None and change.version != str(row.change):
            return Written(outcome=Outcome.MOVED, external_id=external_id)
        if change.fields.get("name") == "refuse me":
            return Written(outcome=Outcome.REFUSED, external_id=external_id, reason="The name is not allowed.")
        vendor.writes += 1
        if change.deleted:
            assert external_id
            vendor.delete(feed, external_id)
            return Written(outcome=Outcome.WRITTEN, external_id=external_id)
        external_id = vendor.put(feed, external_id, **express(feed, change))
        if vendor.idempotent and change.external_id is None:
            vendor.keys[change.key] = external_id
        return Written(outcome=Outcome.WRITTEN, external_id=external_id, raw=vendor.raw(feed, external_id))


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a record says; a body with the key `broken` cannot be mapped."""
    if "broken" in raw.body:
        message = "this body is broken"
        raise KeyError(message)
    fields = {name: value for name, value in raw.body.items() if name not in LINKS}
    links = {
        LINKS[name][0]: Link(external_id=value)
        for name, value in raw.body.items()
        if name in LINKS and isinstance(value, str)
    }
    yield Observation(type=TYPES[feed], system="", external_id=raw.external_id, fields=fields, links=links, at=raw.at)


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return a change in this vendor's words; `next_step` it has no place for."""
    del feed
    names = {field_name: own for own, (field_name, _) in LINKS.items()}
    fields = {names.get(name, name): value for name, value in change.fields.items() if name != "next_step"}
    return fields | {names[name]: external_id for name, external_id in change.links.items()}


def throttled(seconds: float) -> Throttled:
    """Return a polite refusal."""
    return Throttled("Slow down.", retry_after_s=seconds)


def away() -> ConnectorError:
    """Return an outage."""
    return ConnectorError("It does not answer.", fix="Wait.")


EPOCH = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
