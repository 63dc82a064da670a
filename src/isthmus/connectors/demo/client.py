"""A session with one fake system: pages by (changed, id), conditional writes, refusals with a reason."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from isthmus.connectors.demo.mapping import in_their_words
from isthmus.connectors.demo.names import BANNER
from isthmus.connectors.demo.plants import SYSTEMS
from isthmus.connectors.demo.shapes import SHAPES
from isthmus.connectors.demo.vendor import Kept, Vendor, moment
from isthmus.connectors.demo.words import CRM_STAGES, CRM_STATUSES
from isthmus.connectors.demo.world import COMPANIES_DEFAULT, COMPANIES_MAX, COMPANIES_MIN
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, ConnectorError, Feed, Outcome, Page, Raw, Written

PAGE_ROWS_MAX = 500
WRITABLE_FEEDS = ("crm.contacts", "crm.leads", "crm.opportunities")
FEEDS = tuple(
    Feed(
        name=name,
        types=(shape.type,),
        writes=(shape.type,) if name in WRITABLE_FEEDS else (),
        page_rows_max=PAGE_ROWS_MAX,
    )
    for name, shape in SHAPES.items()
)
_PREFIXES = {"crm.contacts": "CON9", "crm.leads": "LEA9", "crm.opportunities": "OPP9"}
_NEEDED = {
    "crm.contacts": ("LastName",),
    "crm.leads": ("Email", "Company"),
    "crm.opportunities": ("Name", "StageName"),
}
_WORDS = {"StageName": CRM_STAGES, "Status": CRM_STATUSES}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a reader stands: the last change in Unix microseconds and the last id with that change."""

    at_us: int = -1
    id: str = ""


def feeds_for(settings: dict[str, str]) -> tuple[Feed, ...]:
    """Return the feeds of the system that the settings name."""
    system = _system(settings)
    return tuple(feed for feed in FEEDS if feed.name.partition(".")[0] == system)


@asynccontextmanager
async def open_session(settings: dict[str, str]) -> AsyncGenerator["DemoSession"]:
    """Open the file of the fake systems and fill it at first; raises ConnectorError when a setting is wrong."""
    system, path = _system(settings), settings.get("path")
    if not path:
        raise ConnectorError("The demo has no file.", fix="Give the setting `path`, a file that may be created.")
    vendor = await asyncio.to_thread(Vendor, Path(path))
    try:
        if vendor.setting(f"filled {system}") is None:
            await asyncio.to_thread(
                vendor.fill,
                system,
                seed=_whole(settings, "seed", default=1, least=0, most=2**31),
                now=_now(settings, vendor=vendor),
                companies=_whole(
                    settings, "companies", default=COMPANIES_DEFAULT, least=COMPANIES_MIN, most=COMPANIES_MAX
                ),
            )
        latency_ms = _whole(settings, "latency_ms", default=0, least=0, most=10_000)
        page_rows = _whole(settings, "page_rows", default=PAGE_ROWS_MAX, least=1, most=PAGE_ROWS_MAX)
        yield DemoSession(vendor, system=system, latency_s=latency_ms / 1000, page_rows=page_rows)
    finally:
        await asyncio.to_thread(vendor.close)


def _system(settings: dict[str, str]) -> str:
    system = settings.get("system", "")
    if system not in SYSTEMS:
        raise ConnectorError(f"There is no demo system {system!r}.", fix=f"Choose one of {', '.join(SYSTEMS)}.")
    return system


def _whole(settings: dict[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = settings.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ConnectorError(f"The setting {name} is {text!r}.", fix=f"Give a whole number from {least} to {most}.")
    return int(text)


def _now(settings: dict[str, str], *, vendor: Vendor) -> datetime:
    text = vendor.setting("now") or settings.get("now") or ""
    try:
        now = datetime.fromisoformat(text)
    except ValueError:
        now = None
    if now is None or now.tzinfo is None:
        fix = "Give the setting `now`, such as 2026-11-22T09:00:00Z; it dates the fake company."
        raise ConnectorError(f"The setting now is {text!r}, which is no moment.", fix=fix)
    return now


class DemoSession:
    """An open conversation with one fake system."""

    def __init__(self, vendor: Vendor, *, system: str, latency_s: float, page_rows: int = PAGE_ROWS_MAX) -> None:
        """Speak for `system`; every answer takes `latency_s` and has at most `page_rows` rows."""
        self._vendor, self._system, self._latency_s, self._page_rows = vendor, system, latency_s, page_rows

    async def check(self) -> str:
        """Return the name of the fake system, which says that it is fake."""
        await self._wait()
        return f"demo {self._system} ({BANNER})"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield pages of what changed since the cursor; there is always one, which may be empty."""
        self._known(feed)
        try:
            at = msgspec.json.decode(cursor, type=Cursor) if cursor else Cursor()
        except msgspec.DecodeError as error:
            raise ConnectorError("The cursor is not one of the demo's.", fix="Read the feed from the start.") from error
        total = await asyncio.to_thread(self._vendor.count, feed, after=(at.at_us, at.id))
        more = True
        while more:
            await self._wait()
            rows = await asyncio.to_thread(
                self._vendor.changed, feed, after=(at.at_us, at.id), rows_max=self._page_rows + 1
            )
            more = len(rows) > self._page_rows
            rows = rows[: self._page_rows]
            at = Cursor(rows[-1].at_us, rows[-1].id) if rows else at
            text = msgspec.json.encode(at).decode()
            yield Page(rows=tuple(_raw(each) for each in rows), cursor=text, more=more, total=total)

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of all living rows, 500 at a time."""
        self._known(feed)
        after = ""
        while True:
            await self._wait()
            found = await asyncio.to_thread(self._vendor.ids, feed, after=after, ids_max=PAGE_ROWS_MAX)
            if not found:
                return
            yield found
            after = found[-1]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes one by one; each is kept, or refused with a reason, by itself."""
        self._known(feed)
        if feed not in WRITABLE_FEEDS:
            reason = f"{feed} can only be read."
            return [Written(outcome=Outcome.REFUSED, external_id=each.external_id, reason=reason) for each in changes]
        await self._wait()
        return await asyncio.to_thread(lambda: [self._write(feed, each) for each in changes])

    async def _wait(self) -> None:
        if self._latency_s:
            await asyncio.sleep(self._latency_s)

    def _known(self, feed: str) -> None:
        if feed not in SHAPES or feed.partition(".")[0] != self._system:
            raise ConnectorError(f"The demo {self._system} has no feed {feed!r}.", fix="Ask for its list of feeds.")

    def _write(self, feed: str, change: Change) -> Written:
        row_id = change.external_id or (self._vendor.answered(change.key) if change.key else None)
        before = self._vendor.get(feed, row_id) if row_id else None
        if change.external_id and before is None:
            return _refused(change, f"There is no {change.external_id} in {feed}.")
        if change.external_id is None and before is not None:
            return _written(before)
        moved = _moved(change, before) if before else None
        return moved or self._apply(feed, change, before)

    def _apply(self, feed: str, change: Change, before: Kept | None) -> Written:
        if change.deleted:
            return _written(self._vendor.delete(feed, before.id)) if before else _refused(change, "It is not here.")
        body = _tidy(in_their_words(feed, change.fields, links=change.links))
        reason = _fault(feed, {**(before.body if before else {}), **body})
        if reason:
            return _refused(change, reason)
        if before is None:
            return _written(self._vendor.make(feed, body, prefix=_PREFIXES[feed], key=change.key))
        return _written(self._vendor.put(feed, before.id, body))


def _moved(change: Change, before: Kept) -> Written | None:
    """Return the answer when the row is not what the writer saw, or is gone."""
    if before.deleted and not change.deleted:
        reason = "It was deleted here."
    elif change.version is not None and change.version != str(before.version):
        reason = f"It has version {before.version} now, not {change.version}."
    else:
        return None
    return Written(outcome=Outcome.MOVED, external_id=before.id, raw=_raw(before), reason=reason)


def _tidy(body: dict[str, Json]) -> dict[str, Json]:
    """Do what this system does to what it is given: trim text and write addresses small."""
    tidy = {name: value.strip() if isinstance(value, str) else value for name, value in body.items()}
    email = tidy.get("Email")
    return {**tidy, "Email": email.lower()} if isinstance(email, str) else tidy


def _fault(feed: str, body: dict[str, Json]) -> str:
    for column in _NEEDED[feed]:
        if not body.get(column):
            return f"{column} is required here."
    for column, words in _WORDS.items():
        value = body.get(column)
        if isinstance(value, str) and value not in words.ours_of:
            return f"{column} has no value {value!r} here."
    email = body.get("Email")
    if isinstance(email, str) and not _EMAIL.fullmatch(email):
        return f"{email!r} is no e-mail address."
    return ""


def _refused(change: Change, reason: str) -> Written:
    return Written(outcome=Outcome.REFUSED, external_id=change.external_id, reason=reason)


def _written(kept: Kept) -> Written:
    return Written(outcome=Outcome.WRITTEN, external_id=kept.id, raw=_raw(kept))


def _raw(kept: Kept) -> Raw:
    body = {} if kept.deleted else kept.body
    return Raw(external_id=kept.id, body=body, at=moment(kept.at_us), version=str(kept.version), deleted=kept.deleted)
