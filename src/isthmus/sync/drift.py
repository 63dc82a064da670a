"""Drift: a vendor's rows that no longer look as the connector expects, found before they are mapped.

A row that has drifted is kept as it was received, with the reason, and is mapped when the connector was mended.
"""

from collections.abc import Iterable, Mapping
from functools import cache

from isthmus.kernel.errors import Fault
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Feed, Raw

ABSENT, NULL = "absent", "null"
KINDS = ("text", "number", "truth", "list", "map", NULL)
_KIND_OF: Mapping[type, str] = {
    type(None): NULL,
    bool: "truth",
    int: "number",
    float: "number",
    str: "text",
    list: "list",
}


def kind_of(value: Json) -> str:
    """Return the kind of a JSON value, one of `KINDS`."""
    return _KIND_OF.get(type(value), "map")


def drift_of(feed: Feed, body: Mapping[str, Json]) -> Fault | None:
    """Return how a row differs from what its feed expects: which field is missing, or of another kind."""
    for name, words in feed.expects.items():
        expected = _expected(words)
        if name not in body:
            if ABSENT not in expected:
                return _fault(feed, name, f"is missing; {words} was expected")
        elif (kind := kind_of(body[name])) not in expected:
            return _fault(feed, name, f"is now {kind}; {words} was expected")
    return None


def unexpected(feed: Feed, rows: Iterable[Raw]) -> set[str]:
    """Return fields that the vendor sends and nobody expects: they are kept with the row as it was received."""
    if not feed.expects:
        return set()
    known = feed.expects.keys()
    return {f"{feed.name}.{name}" for row in rows if not row.body.keys() <= known for name in row.body.keys() - known}


def _fault(feed: Feed, name: str, what: str) -> Fault:
    detail = f"`{name}` of {feed.name} {what}. The record is kept as received; retry it when the connector is mended."
    return Fault(pointer=f"/{name}", code="drift", detail=detail)


@cache
def _expected(words: str) -> frozenset[str]:
    expected = frozenset(words.split())
    if unknown := expected - {*KINDS, ABSENT}:
        message = f"a field cannot be expected to be {sorted(unknown)}"
        raise ValueError(message)
    return expected
