"""A fake of an account of HubSpot's: its records, and what searches, lists, merges and deletions do to them.

Its time does not pass by itself: each write moves it on by a millisecond, and tests as far as they like. Searches see
the records as they were `lag_ms` ago.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from isthmus.connectors.hubspot.fake_rules import Definitions, Row, refused
from isthmus.connectors.hubspot.shapes import CONTACTS, DEALS, SHAPES, TICKETS
from isthmus.connectors.hubspot.wire import EPOCH, MILLISECOND, moment

BEGAN_MS = int(datetime(2026, 11, 2, 9, 0, tzinfo=UTC).timestamp()) * 1000
SEARCH_MAX, GROUPS_MAX, FILTERS_MAX, SEARCH_ROWS_MAX = 10_000, 5, 6, 200
_ENDED = {DEALS: "hs_deal_stage_probability"}
_FIRST = {DEALS: {"pipeline": "default"}, TICKETS: {"hs_pipeline": "0"}}
_LIKELY = {
    "appointmentscheduled": "0.2",
    "qualifiedtobuy": "0.4",
    "presentationscheduled": "0.6",
    "decisionmakerboughtin": "0.8",
    "contractsent": "0.9",
    "closedwon": "1",
    "closedlost": "0",
}


def text_of(ms: int) -> str:
    """Return a time as HubSpot writes it."""
    return (EPOCH + ms * MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Record:
    """One record; `seen` is how it was from each time on, for searches, and `into` what it became part of."""

    id: int
    values: dict[str, str]
    made_ms: int
    changed_ms: int
    gone_ms: int | None = None
    into: int | None = None
    seen: list[tuple[int, dict[str, str] | None]] = field(default_factory=list[tuple[int, "dict[str, str] | None"]])


@dataclass
class Tied:
    """An association from one record to another: the numbers of its types."""

    types: set[int] = field(default_factory=set[int])


@dataclass
class Fake:
    """The account. `search_max` is how many records one search tells of, page by page."""

    lag_ms: int = 0
    search_max: int = SEARCH_MAX
    ms: int = BEGAN_MS
    definitions: Definitions = field(default_factory=Definitions)
    records: dict[str, dict[int, Record]] = field(default_factory=lambda: {kind: {} for kind in SHAPES})
    ties: dict[tuple[str, int, str], dict[int, Tied]] = field(
        default_factory=dict[tuple[str, int, str], dict[int, Tied]]
    )
    _last: int = 50

    def make(self, kind: str, given: Mapping[str, str], *, still: bool = False) -> Record:
        """Make a record; while `still`, time does not move on. Raises Refused."""
        values = {name: value for name, value in given.items() if value}
        self.definitions.hold(kind, values)
        self._hold_unique(kind, values, own=None)
        if kind in _FIRST:
            values = {**_FIRST[kind], **values}
        self._last += 1
        self.ms += 0 if still else 1
        record = Record(self._last, {}, self.ms, self.ms)
        self.records[kind][record.id] = record
        if kind in (CONTACTS, DEALS, TICKETS):
            values = {"createdate": text_of(self.ms), **values}
        self._put(kind, record, values)
        return record

    def change(self, kind: str, of: int, given: Mapping[str, str]) -> Record:
        """Change a record, or what it became part of; an empty text clears. Raises Refused."""
        record = self.alive(kind, of)
        if record is None:
            raise refused(404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.")
        self.definitions.hold(kind, given)
        self._hold_unique(kind, given, own=record.id)
        self.ms += 1
        self._put(kind, record, given)
        return record

    def archive(self, kind: str, of: int) -> None:
        """Delete a record; one that is not there is no fault."""
        record = self.records[kind].get(of)
        if record is not None and record.gone_ms is None and record.into is None:
            self.ms += 1
            record.gone_ms = self.ms
            record.seen.append((self.ms, None))

    def restore(self, kind: str, of: int) -> None:
        """Take a record back from those deleted."""
        record = self.records[kind][of]
        self.ms += 1
        record.gone_ms = None
        self._put(kind, record, {})

    def opt_out(self, record: Record) -> None:
        """Let a contact take no e-mail of marketing any more."""
        self.ms += 1
        self._put(CONTACTS, record, {"hs_email_optout": "true"})

    def merge(self, kind: str, primary: int, part: int) -> Record:
        """Make two records one; of companies, deals and tickets that is a new one. Raises Refused."""
        first, second = self.alive(kind, primary), self.alive(kind, part)
        if first is None or second is None or first is second:
            raise refused(400, "VALIDATION_ERROR", "Both records of a merge have to be there, and be two.")
        ends = [first, second]
        survivor = first
        held = {**second.values, **first.values}
        if kind != CONTACTS:
            kept = {name: value for name, value in held.items() if name in self.definitions.names(kind)}
            self._last += 1
            self.ms += 1
            survivor = Record(self._last, {}, self.ms, self.ms)
            self.records[kind][survivor.id] = survivor
            held = kept
        self.ms += 1
        for end in ends:
            if end is not survivor:
                end.into = survivor.id
                end.seen.append((self.ms, None))
                for to in SHAPES[kind].ties:
                    for other, tied in self.ties.pop((kind, end.id, to), {}).items():
                        self.tie(kind, survivor.id, to, other, sorted(tied.types))
        before = str(held.get("hs_merged_object_ids") or "").split(";")
        named = [each for each in (*before, *(str(end.id) for end in ends if end is not survivor)) if each]
        self._put(kind, survivor, held | {"hs_merged_object_ids": ";".join(dict.fromkeys(named))})
        return survivor

    def alive(self, kind: str, of: int) -> Record | None:
        """Return a record that is there; for one that became part of another, that one."""
        record = self.records[kind].get(of)
        while record is not None and record.into is not None:
            record = self.records[kind].get(record.into)
        return None if record is None or record.gone_ms is not None else record

    def living(self, kind: str) -> list[Record]:
        """Return all records that are there, in the order of their numbers."""
        found = self.records[kind].values()
        return sorted((each for each in found if each.gone_ms is None and each.into is None), key=lambda each: each.id)

    def gone(self, kind: str) -> list[Record]:
        """Return the deleted records, in the order of their numbers."""
        return sorted((each for each in self.records[kind].values() if each.gone_ms), key=lambda each: each.id)

    def by(self, kind: str, name: str, value: str) -> Record | None:
        """Return the record that holds a value of a property with unique ones. Raises Refused for other properties."""
        if name not in self.definitions.unique(kind):
            raise refused(400, "VALIDATION_ERROR", f"idProperty {name} is not a unique property")
        found = (each for each in self.living(kind) if each.values.get(name, "").lower() == value.lower())
        return next(found, None)

    def tie(self, kind: str, of: int, to: str, other: int, types: Sequence[int]) -> None:
        """Associate two records; a primary one takes the place of the one before. It moves no stamp. Raises Refused."""
        if self.alive(kind, of) is None or to not in self.records or self.alive(to, other) is None:
            raise refused(404, "OBJECT_NOT_FOUND", f"No {kind} or {to} of that id.")
        shape = SHAPES[kind].ties.get(to)
        known = {shape.plain, shape.primary} - {None} if shape else set[int | None]()
        if not set(types) <= known or not types:
            raise refused(400, "VALIDATION_ERROR", f"Invalid association types {list(types)} from {kind} to {to}")
        ends = self.ties.setdefault((kind, of, to), {})
        if shape is not None and (shape.primary in types or not ends) and shape.primary is not None:
            for each in ends.values():
                each.types.discard(shape.primary)
            types = [*types, shape.primary]
        if shape is not None:
            ends.setdefault(other, Tied()).types |= {*types, shape.plain}

    def untie(self, kind: str, of: int, to: str, other: int) -> None:
        """Take an association away."""
        self.ties.get((kind, of, to), {}).pop(other, None)

    def tied(self, kind: str, of: int, to: str) -> dict[int, Tied]:
        """Return what a record is associated with that is there."""
        return {each: tied for each, tied in self.ties.get((kind, of, to), {}).items() if self.alive(to, each)}

    def search(self, kind: str, asked: Row) -> tuple[list[tuple[Record, dict[str, str]]], int, str | None]:
        """Return a page of what a search finds, how many there are, and where it goes on. Raises Refused."""
        tests = _tests(asked)
        at = self.ms - self.lag_ms
        found = [(each, said) for each in self.records[kind].values() if (said := _then(each, at)) is not None]
        found = [each for each in found if not tests or any(all(test(each[1]) for test in group) for group in tests)]
        sorts = cast("list[Row]", asked.get("sorts") or [{"propertyName": "createdate", "direction": "ASCENDING"}])
        if len(sorts) > 1:
            raise refused(400, "VALIDATION_ERROR", "Only one sort is allowed")
        name, falling = str(sorts[0]["propertyName"]), sorts[0].get("direction") == "DESCENDING"
        found.sort(key=lambda each: _comparable(each[1].get(name, "")), reverse=falling)
        limit, after = int(cast("int", asked.get("limit") or 10)), int(str(asked.get("after") or 0))
        if not 0 < limit <= SEARCH_ROWS_MAX:
            raise refused(400, "VALIDATION_ERROR", f"limit must be between 1 and {SEARCH_ROWS_MAX}")
        if after + limit > self.search_max:
            raise refused(400, "VALIDATION_ERROR", f"A search tells no more than {self.search_max} records")
        more = after + limit < len(found)
        return found[after : after + limit], len(found), str(after + limit) if more else None

    def _put(self, kind: str, record: Record, given: Mapping[str, str]) -> None:
        held = {**record.values, **given}
        held |= {"hs_object_id": str(record.id), SHAPES[kind].by: text_of(self.ms)}
        if kind == DEALS:
            held["hs_deal_stage_probability"] = _LIKELY.get(held.get("dealstage", ""), "0.2")
        if "email" in held:
            held["email"] = held["email"].lower()
        record.values = {name: value for name, value in held.items() if value}
        record.changed_ms = self.ms
        record.seen.append((self.ms, record.values))

    def _hold_unique(self, kind: str, given: Mapping[str, str], *, own: int | None) -> None:
        for name in self.definitions.unique(kind) & given.keys():
            other = self.by(kind, name, given[name]) if given[name] else None
            if other is not None and other.id != own:
                what = "Contact" if kind == CONTACTS else "Object"
                raise refused(409, "CONFLICT", f"{what} already exists. Existing ID: {other.id}")


Test = Callable[[dict[str, str]], bool]


def _then(record: Record, at: int) -> dict[str, str] | None:
    """Return how a record was at a time; nothing when it was not there."""
    found: dict[str, str] | None = None
    for since, values in record.seen:
        if since <= at:
            found = values
    return found


def _tests(asked: Row) -> list[list[Test]]:
    groups = cast("list[Row]", asked.get("filterGroups") or [])
    counts = [len(cast("list[Row]", group["filters"])) for group in groups]
    if len(groups) > GROUPS_MAX or any(count > FILTERS_MAX for count in counts):
        raise refused(400, "VALIDATION_ERROR", "There are too many filters or groups of filters")
    return [[_test(each) for each in cast("list[Row]", group["filters"])] for group in groups]


def _test(each: Row) -> Test:
    name, how, value = str(each["propertyName"]), str(each["operator"]), str(each.get("value") or "")
    wanted = _comparable(value)
    by: dict[str, Callable[[str], bool]] = {
        "EQ": lambda held: _comparable(held) == wanted,
        "NEQ": lambda held: _comparable(held) != wanted,
        "LT": lambda held: _comparable(held) < wanted,
        "LTE": lambda held: _comparable(held) <= wanted,
        "GT": lambda held: _comparable(held) > wanted,
        "GTE": lambda held: _comparable(held) >= wanted,
        "HAS_PROPERTY": lambda _: True,
    }
    if how not in by:
        raise refused(400, "VALIDATION_ERROR", f"Invalid operator {how}")
    return lambda said: name in said and by[how](said[name])


def _comparable(value: str) -> tuple[int, float, str]:
    """Return a value as it is compared: times and numbers by their size."""
    if value.removeprefix("-").replace(".", "", 1).isdecimal():
        return (0, float(value), "")
    at = moment(value) if value[:4].isdecimal() else None
    return (0, (at - EPOCH) / MILLISECOND, "") if at is not None else (1, 0.0, value.lower())
