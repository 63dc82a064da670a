# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# The lines above: pyarrow ships no types. It is called in this file only, and what comes out of it gets its type here.
"""Reading files in batches of columns: CSV, NDJSON and Parquet, with flat memory and precise words for faults."""

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO, cast

import msgspec

from isthmus.kernel.errors import Invalid

BATCH_ROWS = 5_000
SAMPLE_ROWS = 1_000
_CHUNK_BYTES = 1 << 20
_SNIFF_CHARACTERS = 1 << 16
_CELL_CHARACTERS_MAX = 1_000_000
_DELIMITERS = ",;\t|"
_MARK = b"\xef\xbb\xbf"
KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""What files are by how their names end; those of text may end in .gz after it."""


class FileUnusable(Invalid):
    """The file cannot be read as what it claims to be; nothing of it was stored."""

    code, title = "file-unusable", "The file cannot be read"


class BadLine(msgspec.Struct, frozen=True, kw_only=True):
    """A row that cannot be read: its line (1 is the first of the file; of Parquet, its row) and why."""

    line: int
    reason: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows as columns, with the line of each row, and the lines that cannot be read."""

    columns: Mapping[str, Sequence[object]]
    lines: Sequence[int]
    bad: list[BadLine] = field(default_factory=list[BadLine])


class Reader(Protocol):
    """A file that can be read from its beginning any number of times."""

    @property
    def header(self) -> tuple[str, ...]:
        """The names of its columns."""
        ...

    @property
    def rows_total(self) -> int:
        """About how many rows there are."""
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Yield the rows of some columns."""
        ...


def kind_of(name: str) -> tuple[str, bool]:
    """Return what a file is by its name, and whether it is compressed; raises FileUnusable."""
    suffixes = [each.lower() for each in Path(name).suffixes]
    packed = suffixes[-1:] == [".gz"]
    kind = KINDS.get("".join(suffixes[-2:-1] if packed else suffixes[-1:]), "")
    if not kind or (packed and kind == "parquet"):
        ending = "".join(suffixes[-2:] if packed else suffixes[-1:]) or "nothing"
        raise FileUnusable(f"{name} ends in {ending!r}.", fix="Use .csv, .ndjson, with .gz or without, or .parquet.")
    return kind, packed


def reader_of(
    path: Path, *, encoding: str = "utf-8", delimiter: str | None = None, tolerant: bool = False, absent: object = None
) -> Reader:
    """Open a file by its suffix; raises FileUnusable.

    A `tolerant` one takes the lines that are in the encoding, where else one that is not condemns the file. `absent`
    stands for what a row of NDJSON does not name.
    """
    if not path.is_file():
        raise FileUnusable(f"There is no file {path.name!r}.", fix="Check the path.")
    if path.stat().st_size == 0:
        raise FileUnusable(f"{path.name} is empty.", fix="Export it again.")
    match kind_of(path.name)[0]:
        case "parquet":
            return _Parquet(path)
        case "ndjson":
            return _Ndjson(path, lines=_checked(path, encoding, tolerant=tolerant), absent=absent)
        case _:
            lines = _checked(path, encoding, tolerant=tolerant)
            return _Csv(path, encoding=encoding, delimiter=delimiter, lines=lines, tolerant=tolerant)


def _bytes_of(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if kind_of(path.name)[1] else path.open("rb")


def _text_of(path: Path, *, encoding: str, errors: str) -> TextIO:
    if kind_of(path.name)[1]:
        return cast("TextIO", gzip.open(path, "rt", encoding=encoding, errors=errors, newline=""))
    return path.open(encoding=encoding, errors=errors, newline="")


def _checked(path: Path, encoding: str, *, tolerant: bool) -> int:
    """Read a text file through once, so that nothing of a wrongly encoded one is stored; returns its lines."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if tolerant else "strict")
    except LookupError as error:
        raise FileUnusable(f"There is no encoding {encoding!r}.", fix="Use utf-8 or windows-1252.") from error
    lines = at = 0
    last = b""
    with _bytes_of(path) as file:
        while chunk := _chunk(file, path):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line = lines + chunk[: max(0, error.start)].count(b"\n") + 1
                raise FileUnusable(
                    f"{path.name} is not {encoding}: line {line}, byte {at + error.start + 1}.",
                    fix="Name its encoding in the mapping, such as windows-1252, or save it as UTF-8.",
                ) from error
            if b"\0" in chunk and "16" not in encoding and "32" not in encoding:
                raise FileUnusable(f"{path.name} holds NUL bytes: it is no text.", fix="Name the encoding utf-16.")
            lines += chunk.count(b"\n")
            at += len(chunk)
            last = chunk
    return lines + (not last.endswith(b"\n"))


def _chunk(file: BinaryIO, path: Path) -> bytes:
    try:
        return file.read(_CHUNK_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileUnusable(
            f"{path.name} is not a whole file of gzip: {error}", fix="It may be cut off; copy or export it again."
        ) from error


def _unique(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise FileUnusable(
            f"{path.name} has the columns {', '.join(map(repr, twice))} twice.", fix="Rename one of each."
        )
    if not any(header):
        raise FileUnusable(f"{path.name} has no header line.", fix="Put the names of the columns into the first line.")
    return tuple(header)


class _Csv:
    def __init__(self, path: Path, *, encoding: str, delimiter: str | None, lines: int, tolerant: bool) -> None:
        self._path = path
        self._errors = "surrogateescape" if tolerant else "strict"
        self._encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        self._delimiter = delimiter or self._sniffed()
        self.rows_total = max(0, lines - 1)
        with self._opened() as file:
            first = next(self._rows(file), (1, []))[1]
        self.header = _unique(path, [name.strip() for name in first] if isinstance(first, list) else [])

    def _opened(self) -> TextIO:
        return _text_of(self._path, encoding=self._encoding, errors=self._errors)

    def _sniffed(self) -> str:
        with self._opened() as file:
            head = file.readline(_SNIFF_CHARACTERS)
        return max(_DELIMITERS, key=head.count) if any(each in head for each in _DELIMITERS) else ","

    def _rows(self, file: Iterable[str]) -> Iterator[tuple[int, list[str] | str]]:
        """Yield (line, cells), or (line, why it cannot be read)."""
        csv.field_size_limit(_CELL_CHARACTERS_MAX)
        rows = csv.reader(file, delimiter=self._delimiter, strict=True)
        while True:
            line = rows.line_num + 1
            try:
                yield line, next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, f"{error}: a quote is not closed, or the file is cut off here"

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Yield the rows of some columns."""
        positions = [self.header.index(name) for name in columns]
        width = len(self.header)
        with self._opened() as file:
            rows = self._rows(file)
            next(rows)
            while some := list(islice(rows, BATCH_ROWS)):
                if self._errors != "strict":
                    some = [(line, self._readable(cells)) for line, cells in some]
                good = [(line, cells) for line, cells in some if isinstance(cells, list) and len(cells) == width]
                bad = [
                    _bad(line, cells, width)
                    for line, cells in some
                    if (cells and len(cells) != width) or isinstance(cells, str)
                ]
                turned = list(zip(*(cells for _, cells in good), strict=True)) or [()] * width
                taken = {name: turned[position] for name, position in zip(columns, positions, strict=True)}
                yield Batch(columns=taken, lines=[line for line, _ in good], bad=bad)

    def _readable(self, cells: list[str] | str) -> list[str] | str:
        """Return the cells of a row, or why they cannot be read: bytes that are no text stand in them as surrogates."""
        try:
            "".join(cells).encode()
        except UnicodeEncodeError:
            return f"it is not {self._encoding.removesuffix('-sig')}"
        return cells


def _bad(line: int, cells: list[str] | str, width: int) -> BadLine:
    if isinstance(cells, str):
        return BadLine(line=line, reason=cells)
    reason = f"it has {len(cells)} of {width} cells: it is cut off, or a quote or delimiter is wrong"
    return BadLine(line=line, reason=reason, cells=tuple(cells))


class _Ndjson:
    def __init__(self, path: Path, *, lines: int, absent: object) -> None:
        self._path, self.rows_total, self._absent = path, lines, absent
        self._decoder = msgspec.json.Decoder(dict[str, object])
        names: dict[str, None] = {}
        for row in islice(self._rows(), SAMPLE_ROWS):
            if isinstance(row[1], dict):
                names |= dict.fromkeys(row[1])
        if not names:
            raise FileUnusable(f"{path.name} holds no JSON objects.", fix="Put one JSON object on each line.")
        self.header = tuple(names)

    def _rows(self) -> Iterator[tuple[int, dict[str, object] | str]]:
        with _bytes_of(self._path) as file:
            for line, text in enumerate(file, start=1):
                told = text.removeprefix(_MARK) if line == 1 else text
                if told.strip():
                    try:
                        yield line, self._decoder.decode(told)
                    except msgspec.MsgspecError as error:
                        yield line, f"it is not a JSON object: {error}"

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Yield the rows of some columns; a key that a row lacks is what stands for that."""
        rows = self._rows()
        while some := list(islice(rows, BATCH_ROWS)):
            good = [(line, row) for line, row in some if isinstance(row, dict)]
            bad = [BadLine(line=line, reason=row) for line, row in some if isinstance(row, str)]
            taken: dict[str, Sequence[object]] = {
                name: [row.get(name, self._absent) for _, row in good] for name in columns
            }
            yield Batch(columns=taken, lines=[line for line, _ in good], bad=bad)


class _Parquet:
    def __init__(self, path: Path) -> None:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - only who reads Parquet waits for it.

        self._path = path
        try:
            file = parquet.ParquetFile(path)
        except (ArrowInvalid, OSError) as error:
            raise FileUnusable(
                f"{path.name} is not a whole Parquet file: {error}", fix="It may be cut off; copy or export it again."
            ) from error
        with file:
            self.rows_total = int(file.metadata.num_rows)
            self.header = _unique(path, [str(name) for name in file.schema_arrow.names])

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Yield the rows of some columns; raises FileUnusable where the file is damaged inside."""
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - only who reads Parquet waits for it.

        start = 1
        try:
            with parquet.ParquetFile(self._path) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
                    taken = {name: cast("list[object]", batch.column(name).to_pylist()) for name in columns}
                    yield Batch(columns=taken, lines=range(start, start + batch.num_rows))
                    start += int(batch.num_rows)
        except (ArrowInvalid, OSError) as error:
            raise FileUnusable(
                f"{self._path.name} is damaged after row {start - 1:,}: {error}",
                fix="Export it again and import it again: rows that are stored are not stored twice.",
            ) from error
