"""What HubSpot's calls tell: properties that changed, records that were deleted, and records that became one.

A call holds up to a hundred events, in any order, some of them twice. An event tells one property and not the record:
where more is needed, such as the pipeline that a stage is of or what a new record holds, the record is asked for.
"""

from collections.abc import Iterable, Iterator

import msgspec

from isthmus.connectors.hubspot.mapping import ALONE
from isthmus.connectors.hubspot.shapes import (
    CALLS,
    COMPANIES,
    CONTACTS,
    DEALS,
    EMAILS,
    MEETINGS,
    NOTES,
    TASKS,
    TICKETS,
)
from isthmus.connectors.hubspot.wire import PARTIAL, Row, moment
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.connector import Raw

_BY_WORD = {"contact": CONTACTS, "company": COMPANIES, "deal": DEALS, "ticket": TICKETS}
_BY_NUMBER = {
    "0-1": CONTACTS,
    "0-2": COMPANIES,
    "0-3": DEALS,
    "0-5": TICKETS,
    "0-27": TASKS,
    "0-46": NOTES,
    "0-47": MEETINGS,
    "0-48": CALLS,
    "0-49": EMAILS,
}
# A record that is not known yet cannot begin without these.
_NEEDED = {COMPANIES: "name", DEALS: "dealname"}
_STAGES = ("dealstage", "pipeline", "hs_pipeline_stage", "hs_pipeline")
_ASKED = ("creation", "restore", "associationChange")
_CHANGED, _DELETED, _MERGED = ("propertyChange",), ("deletion", "privacyDeletion"), ("merge",)


def read(body: bytes) -> Iterable[tuple[str, Raw | str]]:
    """Return what a call tells, oldest first; nothing for events of what is not read. Raises for what is no call."""
    told = msgspec.json.decode(body, type=list[dict[str, Json]])
    found: list[tuple[str, Raw | str]] = []
    asked: dict[tuple[str, str], None] = {}
    changed: dict[tuple[str, str, str], Row] = {}
    for event in sorted(told, key=lambda each: int(str(each.get("occurredAt") or 0))):
        word, _, what = str(event["subscriptionType"]).partition(".")
        feed = _BY_NUMBER.get(str(event.get("objectTypeId"))) if word == "object" else _BY_WORD.get(word)
        if feed is None:
            continue
        if what in _DELETED:
            found.append((feed, _gone(event, str(event["objectId"]))))
        elif what in _MERGED:
            found += [(feed, each) for each in _merged(event)]
        elif what in _ASKED or (what in _CHANGED and event.get("propertyName") in _STAGES):
            # Of an association the event names the end that it is from.
            asked[feed, str(event.get("objectId") or event["fromObjectId"])] = None
        elif what in _CHANGED and event.get("propertyName") in ALONE.get(feed, {}).values():
            at = str(event["occurredAt"])
            said = changed.setdefault((feed, str(event["objectId"]), at), {})
            said[str(event["propertyName"])] = text(event.get("propertyValue"))
    gone = {(feed, each.external_id) for feed, each in found if isinstance(each, Raw)}
    asked |= {(feed, of): None for (feed, of, _), said in changed.items() if not _begins(feed, said)}
    # What is asked for is told whole, so that single properties of it say no more.
    single = {key: said for key, said in changed.items() if key[:2] not in asked}
    return [*_changes(single), *(each for each in asked if each not in gone), *found]


def _begins(feed: str, said: Row) -> bool:
    """Tell whether a record could begin with what is said; one that is not known yet may be behind any event."""
    return feed not in _NEEDED or bool(said.get(_NEEDED[feed]))


def _changes(changed: dict[tuple[str, str, str], Row]) -> Iterator[tuple[str, Raw | str]]:
    for (feed, of, at), said in changed.items():
        body: Row = {"id": of, "properties": said, PARTIAL: True}
        yield feed, Raw(external_id=of, body=body, at=moment(at))


def _gone(event: Row, of: str, *, into: str | None = None) -> Raw:
    return Raw(external_id=of, body={}, at=moment(str(event.get("occurredAt"))), deleted=True, merged_into=into)


def _merged(event: Row) -> Iterator[Raw]:
    """Yield what became part of another: of companies, deals and tickets both parts, since the one is a new record."""
    primary = str(event["primaryObjectId"])
    into = str(event.get("newObjectId") or primary)
    parts = event.get("mergedObjectIds")
    for part in dict.fromkeys([*(map(str, parts) if isinstance(parts, list) else ()), primary]):
        if part != into:
            yield _gone(event, part, into=into)
