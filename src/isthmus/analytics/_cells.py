# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# The lines above: pyarrow ships no types and makes its compute functions at import; what comes out gets its type here.
"""Cells of files: what people write in CSV and Parquet becomes moments, money, yes and no, or a precise refusal."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from isthmus.analytics._arrow import F64, I64, SCALE, Array, Bools, Table, UnusableColumn, array, strings, texts
from isthmus.kernel.errors import Invalid, NotFound

_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_AMOUNT_MAX = 9e14
_NOISE = 0.01
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_ZONED = r"(?i)(z|[+-]\d{2}:?\d{2})$"
_MESSAGE_MAX = 200


class FileMissing(NotFound):
    """There is no file at that path."""

    code, title = "file-missing", "The file does not exist"


class UnreadableFile(Invalid):
    """The file is of a kind that is not read, or broken."""

    code, title = "unreadable-file", "The file cannot be read"


def read(path: Path) -> Table:
    """Return the table of a `.parquet` or `.csv` file; every cell of a CSV is text, an empty one is null.

    Raises:
        FileMissing: nothing is there.
        UnreadableFile: another suffix, or what is inside is broken or names a column twice.
    """
    if not path.is_file():
        raise FileMissing(f"There is no file {path}.", fix="Check the path.")
    reader = {".parquet": _parquet, ".csv": _csv}.get(path.suffix.lower())
    if reader is None:
        raise UnreadableFile(f"{path} is neither .parquet nor .csv.", fix="Convert it, or give it the right suffix.")
    try:
        table = reader(path)
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0][:_MESSAGE_MAX] if str(error) else type(error).__name__
        raise UnreadableFile(f"{path} is broken: {said}", fix="Export it again; the end may be cut off.") from error
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UnreadableFile(f"{path} has the column {twice[0]} more than once.", fix="Remove or rename one of them.")
    return table


def times(values: Array, *, name: str, of: str) -> Array:
    """Return UTC timestamps with microseconds; text is read as RFC 3339 or a date, without a zone as UTC.

    Raises:
        UnusableColumn: naming the first row that is no time.
    """
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return pc.cast(pc.cast(values, pa.timestamp("us"), safe=False), pa.timestamp("us", "UTC"))
    if not _textual(values):
        raise UnusableColumn(
            f"Column `{name}` of {of} is {values.type}, not a time.",
            fix="Give timestamps such as 2026-11-22T10:00:00Z.",
        )
    text = texts(values)
    text = pc.if_else(pc.match_substring_regex(text, _DATE), pc.binary_join_element_wise(text, "T00:00:00Z", ""), text)
    zoned = pc.match_substring_regex(pc.utf8_slice_codeunits(text, 10), _ZONED)
    text = pc.if_else(zoned, text, pc.binary_join_element_wise(text, "Z", ""))
    try:
        return _instants(text)
    except pa.ArrowInvalid as error:
        row, cell = _first(text)
        raise UnusableColumn(
            f"Column `{name}` of {of} has {cell.removesuffix('Z')!r} in row {row}, which is no time.",
            fix="Write times such as 2026-11-22T10:00:00Z.",
        ) from error


def truths(values: Array, *, name: str, of: str) -> Bools:
    """Return booleans from booleans, 0 and 1, or the usual words for yes and no.

    Raises:
        UnusableColumn: naming the first row that is neither.
    """
    if pa.types.is_boolean(values.type):
        return _bools(values)
    text = pc.utf8_lower(texts(values))
    yes, no = (_bools(pc.is_in(text, value_set=pa.array(each))) for each in (_TRUE, _FALSE))
    if not np.all(yes | no):
        row = int(np.argmin(yes | no))
        cell = strings(text.take(pa.array([row])))[0]
        raise UnusableColumn(
            f"Column `{name}` of {of} has {cell!r} in row {row + 1}, neither true nor false.",
            fix="Write true or false.",
        )
    return yes


def money(values: Array, *, kept: Bools, name: str, of: str) -> tuple[I64, int]:
    """Return amounts as whole ten-thousandths, zero where not kept, and how many had to be rounded (half to even).

    Raises:
        UnusableColumn: a kept amount is empty, no number, not finite, negative or over 9 × 10^14, naming its row.
    """
    if pa.types.is_floating(values.type):
        found = np.asarray(pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)).astype(np.float64)
        return _from_floats(np.where(kept, found, 0.0), name=name, of=of)
    cells = pc.if_else(array(kept), texts(values), "0")
    fast = _decimals(cells)
    if fast is not None and not np.any(fast < 0):
        return fast, 0
    return _from_texts(cells.to_pylist(), name=name, of=of)


def filled(values: Array, *, default: str) -> Array:
    """Return texts with `default` in empty cells."""
    return pc.fill_null(texts(values), default)


def equal(values: Array, *, word: str) -> Bools:
    """Tell which cells are that word; an empty cell is not."""
    return _bools(pc.fill_null(pc.equal(texts(values), word), fill_value=False))


def _parquet(path: Path) -> Table:
    # A directory of partitions is not asked for, and its names would add columns: exactly this file is read.
    return pq.ParquetFile(path).read()


def _csv(path: Path) -> Table:
    with csv.open_csv(path) as opened:
        names = opened.schema.names
    kinds = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    return csv.read_csv(path, convert_options=kinds, parse_options=csv.ParseOptions(newlines_in_values=True))


def _decimals(cells: Array) -> I64 | None:
    """Return texts as ten-thousandths when each has at most four decimals and fits, else None."""
    try:
        exact = pc.cast(cells, pa.decimal128(18, SCALE))
        scaled = pc.cast(pc.multiply(exact, pa.scalar(Decimal(10**SCALE))), pa.int64())
    except pa.ArrowInvalid:
        return None
    if scaled.null_count:
        return None
    return np.asarray(scaled.to_numpy(zero_copy_only=False)).astype(np.int64)


def _from_floats(values: F64, *, name: str, of: str) -> tuple[I64, int]:
    wrong = ~np.isfinite(values) | (values < 0) | (values > _AMOUNT_MAX)
    if np.any(wrong):
        row = int(np.argmax(wrong))
        raise _refused(str(values[row]), row=row, name=name, of=of)
    scaled = values * 10.0**SCALE
    whole = np.rint(scaled)
    return whole.astype(np.int64), int(np.count_nonzero(np.abs(scaled - whole) > _NOISE))


def _from_texts(cells: list[str | None], *, name: str, of: str) -> tuple[I64, int]:
    """Read one by one: only for files with long decimals, or to name the row that is wrong."""
    found, rounded = np.zeros(len(cells), dtype=np.int64), 0
    for row, cell in enumerate(cells):
        try:
            amount = Decimal(cell if cell is not None else "empty")
        except InvalidOperation:
            raise _refused(cell or "nothing", row=row, name=name, of=of) from None
        if not amount.is_finite() or amount < 0 or amount > Decimal(_AMOUNT_MAX):
            raise _refused(str(cell), row=row, name=name, of=of)
        scaled = amount.scaleb(SCALE)
        whole = scaled.to_integral_value(ROUND_HALF_EVEN)
        rounded += whole != scaled
        found[row] = int(whole)
    return found, rounded


def _refused(cell: str, *, row: int, name: str, of: str) -> UnusableColumn:
    return UnusableColumn(
        f"Column `{name}` of {of} has {cell} in row {row + 1}, which is no amount that can be won.",
        fix="Write a number from 0 to 9 × 10^14, such as 123.45, in every row that was won.",
    )


def _textual(values: Array) -> bool:
    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))


def _instants(cells: Array) -> Array:
    """Return UTC moments; nanoseconds are cut off, and cost the years before 1677 and after 2262."""
    try:
        return pc.cast(cells, pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return pc.cast(pc.cast(cells, pa.timestamp("ns", "UTC")), pa.timestamp("us", "UTC"), safe=False)


def _first(cells: Array) -> tuple[int, str]:
    """Return row, counted from one, and text of the first cell that is no time."""
    for row, cell in enumerate(cells.to_pylist()):
        if cell is not None:
            try:
                _instants(pa.array([str(cell)]))
            except pa.ArrowInvalid:
                return row + 1, str(cell)
    return 1, ""


def _bools(values: Array) -> Bools:
    return np.asarray(values.to_numpy(zero_copy_only=False)).astype(np.bool_)
