"""What stands in one file: its rows, and the lines that cannot be read, each with its cause."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from isthmus.connectors.files.layouts import Drop
from isthmus.connectors.files.mapping import UNREADABLE
from isthmus.kernel.layouts import WHOLE_MAX, moment_of, stamp_moment, truth
from isthmus.kernel.marks import Json
from isthmus.sync.cells import plain
from isthmus.sync.connector import FeedTrouble, Raw
from isthmus.sync.readers import Batch, FileUnusable, Reader, kind_of, reader_of

VERSION_BYTES = 12
_ABSENT = object()


class Columns(FeedTrouble):
    """A file has not the columns that were named."""

    code, title = "file-columns", "A file is not as it was described"


class FileBroken(FeedTrouble):
    """A file cannot be read at all."""

    code, title = "file-broken", "A file cannot be read"


class Rows:
    """The rows of one file that lies here; `shift` is how many lines were before those that lie here."""

    def __init__(self, drop: Drop, name: str, path: Path, *, shift: int = 0) -> None:
        """Open a file; raises Columns and FileBroken."""
        self._drop, self._name, self._shift = drop, name, shift
        self.kind = kind_of(name)[0]
        self._zone = ZoneInfo(drop.zone)
        try:
            reader = reader_of(
                path, encoding=drop.encoding, delimiter=drop.delimiter, tolerant=tolerant(drop), absent=_ABSENT
            )
        except FileUnusable as error:
            raise FileBroken(error.detail.replace(path.name, name, 1), fix=error.fix) from error
        gone = [each for each in drop.columns if each not in reader.header]
        if gone and self.kind != "ndjson":
            raise Columns(
                f"{name} has no column {', '.join(gone)}; it has {', '.join(reader.header)}.", fix="Correct `files`."
            )
        self._reader: Reader = reader
        self._read = drop.columns if drop.ignored is None else self._all(reader.header, drop.ignored)

    @property
    def lines(self) -> int:
        """How many lines, or rows of Parquet, the file has here."""
        return self._reader.rows_total + (1 if self.kind == "csv" else 0)

    def batches(self) -> Iterator[list[Raw]]:
        """Yield the rows, those that cannot be read last in each batch; raises FileBroken for damage inside."""
        try:
            for batch in self._reader.batches(self._read):
                yield self._told(batch)
        except (FileUnusable, UnicodeDecodeError) as error:
            raise FileBroken(f"{self._name}: {error}", fix="Put it there again.") from error

    def _told(self, batch: Batch) -> list[Raw]:
        rows: list[Raw] = []
        cells = zip(*(batch.columns[name] for name in self._read), strict=True)
        for line, row in zip(batch.lines, cells, strict=True):
            said = zip(self._read, row, strict=True)
            rows.append(self._raw(line, {name: self._said(cell) for name, cell in said if cell is not _ABSENT}))
        return rows + [self._bad(each.line, each.reason) for each in batch.bad]

    def _raw(self, line: int, body: dict[str, Json]) -> Raw:
        drop = self._drop
        parts = [body.get(name) for name in drop.keys]
        blank = [name for name, part in zip(drop.keys, parts, strict=True) if part in (None, "")]
        if blank or any(isinstance(part, dict | list) for part in parts):
            return self._bad(line, f"its key {', '.join(blank or drop.keys)} is empty or no single value")
        external_id = joined([str(part) for part in parts])
        gone = drop.deleted is not None and truth(body.get(drop.deleted))
        lacking = [name for name in drop.columns if name not in body and name != drop.deleted]
        if lacking and not drop.partial and not gone:
            return self._bad(line, f"it lacks {', '.join(lacking)}; rows that say less need `partial = true`")
        stamp = body.get(drop.updated_at) if drop.updated_at is not None else None
        return Raw(
            external_id=external_id,
            body={} if gone else body,
            at=stamp_moment(stamp, zone=self._zone) if stamp is not None else None,
            version=version_of(body),
            deleted=gone,
        )

    def _bad(self, line: int, reason: str) -> Raw:
        cause = f"{'Row' if self.kind == 'parquet' else 'Line'} {line + self._shift} of {self._name}: {reason}"
        empty: dict[str, Json] = dict.fromkeys(self._drop.keys)
        return Raw(external_id=f"{self._name}:{line + self._shift}", body={**empty, UNREADABLE: cause})

    def _said(self, cell: object) -> Json:  # noqa: PLR0911 - one line for each type.
        """Return what a cell says: a blank one nothing, and a time that names no zone is of the layout's."""
        match cell:
            case str():
                return cell if cell.strip() else None
            case bool() | None:
                return cell
            case int():
                return cell if abs(cell) <= WHOLE_MAX else str(cell)
            case float():
                return cell if isfinite(cell) else None
            case datetime():
                return moment_of(cell, zone=self._zone).isoformat()
            case date() | time():
                return cell.isoformat()
            case _:
                return plain(cell)

    @staticmethod
    def _all(header: Sequence[str], ignored: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in header if name and name not in ignored)


def tolerant(drop: Drop) -> bool:
    """Tell whether lines can be told apart in an encoding without understanding all of them."""
    return not any(each in drop.encoding for each in ("16", "32"))


def joined(parts: Sequence[str]) -> str:
    """Return the id of a key of one column or more."""
    if len(parts) == 1:
        return parts[0]
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)


def version_of(body: Mapping[str, Json]) -> str:
    """Return a digest of a row."""
    return blake2b(msgspec.json.encode(body, order="sorted"), digest_size=VERSION_BYTES).hexdigest()
