"""What the words of a vendor's libraries are made of: paths, and functions that read what is sent to them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from isthmus.connectors.ingest.said import Batch, Said
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Opened, Sent, Told


@dataclass(frozen=True, kw_only=True)
class Path:
    """A path at which a library calls; `kind` is what its events are where they do not say it."""

    path: str
    method: str = "POST"
    kind: str = ""
    kept: bool = True
    bytes_max: int = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Format:
    """The words of one vendor's libraries. All functions are pure.

    `opened` reads what was sent to a path: keys and answer. `batch` reads the events in it, `said` one of them, with
    when it was sent and received. `refusal` words an error.
    """

    name: str
    title: str
    paths: tuple[Path, ...]
    opened: Callable[[Path, Sent], Opened]
    batch: Callable[[Path, Sent], Batch]
    said: Callable[[Mapping[str, Json], datetime | None, datetime], Said]
    refusal: Callable[[IsthmusError], Told]
