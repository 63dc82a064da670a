"""PostHog's wire forms: its questions in HogQL, the columns of its answers, its moments, and what rows hold."""

from datetime import UTC, datetime
from typing import cast

import msgspec

from isthmus.kernel.marks import Json

PERSONS, EVENTS = "persons", "events"
FEEDS = (PERSONS, EVENTS)
Row = dict[str, Json]

COLUMNS: dict[str, tuple[str, ...]] = {
    PERSONS: ("id", "created_at", "properties", "is_identified"),
    EVENTS: ("uuid", "event", "timestamp", "distinct_id", "person_id", "properties"),
}
EXPECTED: dict[str, dict[str, str]] = {
    PERSONS: {"id": "text", "created_at": "text null", "properties": "map", "is_identified": "truth number null"},
    EVENTS: {
        **dict.fromkeys(("uuid", "event", "timestamp"), "text"),
        "distinct_id": "text null",
        "person_id": "text null",
        "properties": "map",
    },
}
OWN = {PERSONS: "id", EVENTS: "uuid"}
# Millions of visitors have no name; those are persons who signed in, or of whom an address is known.
KNOWN = "(is_identified = true or JSONExtractString(properties, 'email') != '')"
# Clocks of devices run ahead: what is to come is read when it has come, else what is before it would be passed over.
HAPPENED = "timestamp <= now()"


def asking(feed: str, where: str, *, limit: int, ids: bool = False) -> str:
    """Return a question for rows of a feed, in an order in which no two are alike.

    Ids are compared as text: ClickHouse sorts UUIDs by their second half, and may do so otherwise tomorrow.
    """
    columns = OWN[feed] if ids else ", ".join(COLUMNS[feed])
    order = "toString(id)" if feed == PERSONS else "timestamp, toString(uuid)"
    return f"select {columns} from {feed} where {where} order by {order} limit {limit}"  # noqa: S608 - names and numbers of ours; what is told of rows goes in as values.


def moment(value: Json) -> datetime | None:
    """Return a time as PostHog tells it, in the zone of the project, in UTC."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def told(at: datetime) -> str:
    """Return a time to the microsecond, as HogQL's toDateTime reads it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def row_of(feed: str, values: Json) -> Row | None:
    """Return a row of an answer by the names of its columns, its properties as a map; None when it is no such row."""
    names = COLUMNS[feed]
    if not isinstance(values, list) or len(values) != len(names):
        return None
    row: Row = dict(zip(names, values, strict=True))
    if isinstance(row["properties"], str):
        try:
            row["properties"] = cast("Json", msgspec.json.decode(row["properties"] or "{}"))
        except msgspec.DecodeError:
            # The engine keeps it aside, since it is no map.
            return row
    return row
