"""A product whose libraries send to us: there is nothing to read and nothing to write, so it is not acted upon."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.connectors.ingest.mapping import PERSON
from isthmus.connectors.ingest.reading import PEOPLE
from isthmus.kernel.marks import Json


class NothingToChange(Exception):
    """A check acted on a product that only sends. It belongs in `cannot` of the connector, with its reason."""


@dataclass
class Libraries:
    """Implements `isthmus.sync.conformance.Counterpart` for the few checks that a connector without a server has."""

    settings: Mapping[str, str] = field(default_factory=lambda: {"write_key": "a-write-key-of-a-product"})
    wrong: Mapping[str, str] = field(default_factory=dict[str, str])
    feed: str = PEOPLE
    type: str = PERSON
    fields: tuple[str, str] = ("last_name", "city")
    page_rows: int = 1
    refused: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Refuse: nobody edits there."""
        raise NothingToChange(external_id, values)

    def burst(self, count: int) -> list[str]:
        """Refuse: nobody edits there."""
        raise NothingToChange(count)

    def delete(self, external_id: str) -> None:
        """Refuse: nobody edits there."""
        raise NothingToChange(external_id)

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return nothing: nothing is held there."""
        del external_id


@contextmanager
def begin(home: Path) -> Generator[Libraries]:
    """Yield a product."""
    del home
    yield Libraries()
