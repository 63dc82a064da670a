"""The words of the five fake systems into ours and back; pure, one table for every feed.

Reading leaves wrong values as they are, so that the store rejects them with its reason instead of losing them.
"""

from collections.abc import Mapping

from msgspec import Struct

from isthmus.connectors.demo.shapes import SHAPES
from isthmus.kernel.marks import Json


class Said(Struct, frozen=True, kw_only=True):
    """What a row says in our words; `links` are ids of the same system by our field."""

    type: str
    fields: dict[str, Json]
    links: dict[str, str]


def in_our_words(feed: str, body: dict[str, Json]) -> Said:
    """Return what a row says; a field that the system did not send is not spoken of."""
    shape = SHAPES[feed]
    return Said(type=shape.type, fields=shape.fields(body), links=shape.links(body))


def in_their_words(feed: str, fields: Mapping[str, Json], *, links: Mapping[str, str]) -> dict[str, Json]:
    """Return our fields in the system's words; those that it has no place for are absent from the result."""
    return SHAPES[feed].express(fields, links=links)
