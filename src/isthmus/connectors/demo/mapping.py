"""The words of the five fake systems into ours and back; pure, one table for every feed.

Normalising leaves wrong values as they are, so that the store rejects them with its reason instead of losing them.
"""

from collections.abc import Iterable

from isthmus.connectors.demo.shapes import SHAPES
from isthmus.kernel.marks import Json
from isthmus.store.observation import Link, Observation
from isthmus.sync.connector import Change, Raw


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Yield what a raw record says; a field that the system did not send is not spoken of."""
    shape = SHAPES[feed]
    yield Observation(
        type=shape.type,
        system=feed.partition(".")[0],
        external_id=raw.external_id,
        fields=shape.fields(raw.body),
        links={name: Link(external_id=to) for name, to in shape.links(raw.body).items()},
        at=raw.at,
        version=raw.version,
    )


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return a change in the system's words; fields that it has no place for are absent from the result."""
    return SHAPES[feed].express(change.fields, links=change.links)
