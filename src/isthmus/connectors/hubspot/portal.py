"""What an account of HubSpot's is asked: records listed, searched and by their ids, and what their numbers mean.

Owners, pipelines, properties and the account itself are asked for once in a session.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from isthmus.connectors.hubspot.cursor import number
from isthmus.connectors.hubspot.shapes import COMPANIES, DEALS, SHAPES
from isthmus.connectors.hubspot.transport import FORBIDDEN, HubSpotFault, Transport, unreadable
from isthmus.connectors.hubspot.wire import (
    CURRENCY,
    CUSTOM,
    DAY,
    LINKS,
    MERGED,
    OWNER,
    PIPELINE,
    STAGE,
    Row,
    chunks,
    day_in,
    properties,
    rows,
    zone,
)
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.connector import Described, NotAsDocumented

LIST_ROWS_MAX, SEARCH_ROWS_MAX, BATCH_MAX, TIES_MAX = 100, 200, 100, 1_000
CUSTOM_MAX = 200
_PRIVATE = ("hs_object_id",)


@dataclass(frozen=True)
class Account:
    """The account itself: its number, currency, and the zone in which its people read times."""

    number: str
    currency: str
    zone: ZoneInfo


@dataclass(frozen=True)
class Own:
    """The properties that an account has beside HubSpot's own: those that may be written, and those with one holder."""

    readable: tuple[str, ...]
    writable: frozenset[str]
    unique: frozenset[str]
    told: tuple[Described, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A stage of a pipeline, in the order in which people see it."""

    number: str
    pipeline: str
    told: Row


@dataclass(frozen=True)
class Listed:
    """A page of a list, and where it goes on."""

    rows: list[Row]
    after: str | None


class Portal:
    """One account; what its numbers mean is kept for the session."""

    def __init__(self, transport: Transport, *, feeds: Sequence[str], key_property: str) -> None:
        """`feeds` are the objects that are read; `key_property` is the one that holds the keys of what we made."""
        self.transport, self.key_property, self._feeds = transport, key_property, frozenset(feeds)
        self._account: Account | None = None
        self._owners: dict[str, str] | None = None
        self._stages: dict[str, list[Stage]] = {}
        self._pipelines: dict[str, str] = {}
        self._own: dict[str, Own] = {}

    async def account(self) -> Account:
        """Return what is to be known of the account."""
        if self._account is None:
            try:
                said = await self.transport.get("/account-info/v3/details")
            except HubSpotFault as fault:
                raise unreadable(fault, what="the account") from fault
            if "portalId" not in said:
                raise NotAsDocumented("What answers is not HubSpot.", fix="Check `url`, or leave it out.")
            named = text(said.get("timeZone"))
            self._account = Account(str(said["portalId"]), text(said.get("companyCurrency")) or "USD", zone(named))
        return self._account

    async def own(self, feed: str) -> Own:
        """Return the properties of the account's own that an object has."""
        if feed not in self._own:
            try:
                said = await self.transport.get(f"/crm/v3/properties/{feed}")
            except HubSpotFault as fault:
                raise unreadable(fault, what=feed) from fault
            named = sorted(
                (each for each in rows(said, "results") if each.get("hubspotDefined") is not True),
                key=lambda each: str(each.get("name")),
            )
            free = [each for each in named if each.get("name") != self.key_property and each.get("hidden") is not True]
            self._own[feed] = Own(
                readable=tuple(str(each["name"]) for each in free)[:CUSTOM_MAX],
                writable=frozenset(str(each["name"]) for each in free[:CUSTOM_MAX] if _writable(each)),
                unique=frozenset(str(each["name"]) for each in named if each.get("hasUniqueValue") is True),
                told=tuple(_described(each) for each in rows(said, "results")),
            )
        return self._own[feed]

    async def described(self, feed: str) -> list[Described]:
        """Return the properties of an object that are read, as the account describes them."""
        own, asked = await self.own(feed), {f"properties.{name}" for name in await self._asked(feed)}
        return [each for each in own.told if each.path in asked]

    async def owners(self) -> Mapping[str, str]:
        """Return the e-mail addresses of the owners by their numbers; none where the key may not know them."""
        if self._owners is None:
            self._owners = {}
            after: str | None = None
            while True:
                more = [("after", after)] if after else []
                try:
                    said = await self.transport.get("/crm/v3/owners/", [("limit", "100"), *more])
                except HubSpotFault as fault:
                    if fault.status == FORBIDDEN:
                        break
                    raise unreadable(fault, what="owners") from fault
                found = [(str(each.get("id")), text(each.get("email"))) for each in rows(said, "results")]
                self._owners |= {of: email.lower() for of, email in found if email}
                after = _after(said)
                if after is None:
                    break
        return self._owners

    async def stages(self, feed: str) -> list[Stage]:
        """Return the stages of the pipelines of an object, in their order."""
        if feed not in self._stages:
            try:
                said = await self.transport.get(f"/crm/v3/pipelines/{feed}")
            except HubSpotFault as fault:
                raise unreadable(fault, what=feed) from fault
            self._stages[feed] = []
            for pipeline in sorted(rows(said, "results"), key=_order):
                own = str(pipeline.get("id"))
                self._pipelines[own] = text(pipeline.get("label")) or own
                listed = sorted(rows(pipeline, "stages"), key=_order)
                self._stages[feed] += [
                    Stage(str(each.get("id")), own, _stage(each, first=each is listed[0])) for each in listed
                ]
        return self._stages[feed]

    async def listed(self, feed: str, *, after: str | None, limit: int, archived: bool = False) -> Listed:
        """Return a page of all records, in the order of their numbers; where `archived` holds, of those deleted."""
        query = [("limit", str(limit)), ("archived", "true" if archived else "false")]
        query += [("after", after)] if after else []
        asked = _PRIVATE if archived else await self._asked(feed)
        try:
            said = await self.transport.get(f"/crm/v3/objects/{feed}", [*query, ("properties", ",".join(asked))])
        except HubSpotFault as fault:
            raise unreadable(fault, what=feed) from fault
        return Listed(_results(said), _after(said))

    async def ids(self, feed: str, *, after: str | None) -> Listed:
        """Return a page of all records with nothing but their ids."""
        query = [("limit", str(LIST_ROWS_MAX)), ("properties", "hs_object_id")]
        try:
            said = await self.transport.get(f"/crm/v3/objects/{feed}", [*query, *([("after", after)] if after else [])])
        except HubSpotFault as fault:
            raise unreadable(fault, what=feed) from fault
        return Listed(_results(said), _after(said))

    async def search(
        self, feed: str, filters: Sequence[tuple[str, str, str]], *, by: str, limit: int, latest: bool = False
    ) -> tuple[list[Row], int]:
        """Return the first records that all filters hold for, and how many there are; it lags behind what is written.

        A search tells no more than 10,000, page by page, and pages shift while records change: so there is only ever a
        first page, and the next search begins where it ended.
        """
        asked: Row = {
            "filterGroups": [
                {"filters": [{"propertyName": name, "operator": how, "value": value} for name, how, value in filters]}
            ]
            if filters
            else [],
            "sorts": [{"propertyName": by, "direction": "DESCENDING" if latest else "ASCENDING"}],
            "properties": [*await self._asked(feed)],
            "limit": min(limit, SEARCH_ROWS_MAX),
        }
        try:
            said = await self.transport.search(f"/crm/v3/objects/{feed}/search", asked)
        except HubSpotFault as fault:
            raise unreadable(fault, what=feed) from fault
        total = said.get("total")
        return _results(said), total if isinstance(total, int) else 0

    async def read(self, feed: str, ids: Iterable[str]) -> list[Row]:
        """Return the records of these ids that are there; one that became part of another is answered by that."""
        asked: Row = {"properties": [*await self._asked(feed)], "propertiesWithHistory": []}
        found: list[Row] = []
        for some in chunks(ids, BATCH_MAX):
            inputs: list[Json] = [{"id": each} for each in some]
            found += (await self.transport.batch(f"/crm/v3/objects/{feed}/batch/read", inputs, asked)).results
        return list({number(row): row for row in found}.values())

    async def told(self, feed: str, found: Sequence[Row]) -> list[Row]:
        """Return rows with what is told elsewhere: associations with what is read, owners, stages, currency, days."""
        if not found:
            return []
        shape = SHAPES[feed]
        near = [to for to in shape.ties if to in self._feeds]
        ties = {to: await self._ties(feed, to, [number(row) for row in found]) for to in near}
        owners, own = await self.owners(), await self.own(feed)
        stages = {each.number: each for each in await self.stages(feed)} if shape.piped else {}
        answered: list[Row] = []
        for row in found:
            said = properties(row)
            owner = text(said.get("hubspot_owner_id"))
            links: Row = {to: list[Json](by.get(number(row), [])) for to, by in ties.items()}
            told: Row = {LINKS: links, OWNER: owners.get(owner, owner) if owner else None}
            told[CUSTOM] = list(own.readable)
            if shape.piped:
                stage = stages.get(str(said.get(shape.piped[1])))
                told[STAGE] = stage.told if stage else None
                told[PIPELINE] = self._pipelines.get(str(said.get(shape.piped[0])))
            if feed in (DEALS, COMPANIES):
                account = await self.account()
                told[CURRENCY] = text(said.get("deal_currency_code")) or account.currency
                if feed == DEALS:
                    told[DAY] = day_in(said.get("closedate"), account.zone)
            answered.append({name: value for name, value in row.items() if name != "objectWriteTraceId"} | told)
        return answered

    async def _asked(self, feed: str) -> tuple[str, ...]:
        own = (await self.own(feed)).readable
        return (*SHAPES[feed].properties, SHAPES[feed].by, *own)

    async def _ties(self, feed: str, to: str, ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the records that records are associated with, by their ids: the primary one first."""
        found: dict[str, list[str]] = {}
        primary = SHAPES[feed].ties[to].primary
        for some in chunks(ids, TIES_MAX):
            inputs: list[Json] = [{"id": each} for each in some]
            try:
                told = await self.transport.batch(f"/crm/v4/associations/{feed}/{to}/batch/read", inputs)
            except HubSpotFault as fault:
                if fault.status == FORBIDDEN:
                    return {}
                raise unreadable(fault, what=f"{feed} with their {to}") from fault
            for each in told.results:
                ends = sorted(rows(each, "to"), key=lambda end: (not _is_primary(end, primary), _whole(end)))
                found[str(at_path(each, "from", "id"))] = [str(end.get("toObjectId")) for end in ends]
        return found


def merged_in(row: Row) -> list[str]:
    """Return the ids that became part of a record."""
    own = number(row)
    return [each for each in str(properties(row).get(MERGED) or "").split(";") if each.isdecimal() and each != own]


def _is_primary(end: Row, primary: int | None) -> bool:
    return any(each.get("typeId") == primary for each in rows(end, "associationTypes"))


def _whole(end: Row) -> int:
    found = str(end.get("toObjectId"))
    return int(found) if found.isdecimal() else 0


def _results(said: Row) -> list[Row]:
    if not isinstance(said.get("results"), list):
        raise NotAsDocumented("What answers is no list of HubSpot's.", fix="Check `url`, or leave it out.")
    return rows(said, "results")


def _after(said: Row) -> str | None:
    return text(at_path(said, "paging", "next", "after"))


def _described(definition: Row) -> Described:
    label, kind = (text(definition.get(name)) or "" for name in ("label", "type"))
    own = definition.get("hubspotDefined") is not True
    return Described(path=f"properties.{definition.get('name')}", label=label, kind=kind, own=own)


def _writable(definition: Row) -> bool:
    return definition.get("calculated") is not True and at_path(
        definition, "modificationMetadata", "readOnlyValue"
    ) in (
        False,
        None,
    )


def _order(each: Row) -> int:
    found = each.get("displayOrder")
    return found if isinstance(found, int) else 0


def _stage(stage: Row, *, first: bool) -> Row:
    """Return what is to be known of a stage: its name, and whether it is the first of its pipeline, or an end."""
    told = stage.get("metadata")
    said = told if isinstance(told, dict) else {}
    closed = str(said.get("isClosed")).lower() == "true" or said.get("ticketState") == "CLOSED"
    return {
        "label": text(stage.get("label")),
        "probability": text(said.get("probability")),
        "closed": closed,
        "first": first,
    }
