# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# The lines above: pyarrow ships no types and makes its compute functions at import. It is called in this file only,
# and what comes out of it gets its type here.
"""The edge to Arrow: named columns come in, numpy arrays of known type go out, and what is wrong is said precisely."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.kernel.errors import Invalid

I64: TypeAlias = npt.NDArray[np.int64]
U8: TypeAlias = npt.NDArray[np.uint8]
U16: TypeAlias = npt.NDArray[np.uint16]
U32: TypeAlias = npt.NDArray[np.uint32]
F64: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

SCALE = 4


class Array(Protocol):
    """What we use of `pyarrow.Array`."""

    @property
    def null_count(self) -> int: ...
    @property
    def type(self) -> object: ...
    @property
    def offset(self) -> int: ...
    def __len__(self) -> int: ...
    def buffers(self) -> list[bytes | None]: ...
    def to_numpy(self, zero_copy_only: bool = ...) -> npt.NDArray[np.generic]: ...  # noqa: FBT001 - pyarrow's signature.
    def take(self, indices: "Array", /) -> "Array": ...
    def to_pylist(self) -> list[object]: ...


class Chunks(Protocol):
    """What we use of `pyarrow.ChunkedArray`."""

    def combine_chunks(self) -> Array: ...


class Table(Protocol):
    """What we use of `pyarrow.Table`; every table that this room takes or gives is one."""

    @property
    def num_rows(self) -> int: ...
    @property
    def column_names(self) -> list[str]: ...
    def column(self, i: str, /) -> Chunks: ...
    def filter(self, mask: Array, /) -> "Table": ...


class MissingColumn(Invalid):
    """A table lacks a column that the question needs."""

    code, title = "missing-column", "A column is missing"


class UnusableColumn(Invalid):
    """A column is there and its type or its values cannot be used."""

    code, title = "unusable-column", "A column cannot be used"


def array(values: I64 | F64 | U8 | Bools, *, absent: Bools | None = None) -> Array:
    """Return numbers as an Arrow array, null where absent."""
    return pa.array(values, mask=absent)


def words(values: Sequence[str]) -> Array:
    """Return texts as an Arrow array."""
    return pa.array(values, pa.string())


def strings(values: Array) -> list[str]:
    """Return an Arrow array of texts as a list."""
    return [str(value) for value in values.to_pylist()]


def named(codes: I64, *, names: Array) -> Array:
    """Return a dictionary column: each code stands for its name."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names)


def table(columns: Mapping[str, Array]) -> Table:
    """Return a table of these columns."""
    return pa.table(dict(columns))


def column(table: Table, *, name: str, of: str) -> Array:
    """Return the column as one array without nulls; `of` names the table in errors.

    Raises:
        MissingColumn: it is absent.
        UnusableColumn: it holds nulls.
    """
    found = column_or_empty(table, name=name, of=of)
    if found.null_count:
        first = int(np.argmax(_bools(pc.is_null(found))))
        raise UnusableColumn(
            f"Column `{name}` of {of} is empty in {found.null_count} rows, first in row {first + 1}.",
            fix="Fill these cells or leave the rows out.",
        )
    return found


def column_or_empty(table: Table, *, name: str, of: str) -> Array:
    """Return the column as one array, nulls and all; raises MissingColumn when it is absent."""
    found = optional(table, name=name)
    if found is None:
        there = ", ".join(table.column_names) or "no column at all"
        raise MissingColumn(f"{of} has no column `{name}`; found: {there}.", fix=f"Add or rename the column `{name}`.")
    return found


def optional(table: Table, *, name: str) -> Array | None:
    """Return the column as one array, nulls and all, or None when it is absent."""
    if name not in table.column_names:
        return None
    return table.column(name).combine_chunks()


def texts(values: Array) -> Array:
    """Return the values as text."""
    return pc.cast(values, pa.string())


def encode(values: Array) -> tuple[U32, Array]:
    """Return codes and the distinct names in byte order, so that codes do not depend on the order of rows."""
    encoded = pc.dictionary_encode(values)
    order = integers(pc.sort_indices(encoded.dictionary))
    rank = np.empty(order.size, dtype=np.uint32)
    rank[order] = np.arange(order.size, dtype=np.uint32)
    return rank[integers(encoded.indices)], texts(encoded.dictionary.take(pa.array(order)))


def positions(values: Array, *, among: Array) -> I64:
    """Return where each value stands in `among`, -1 where it does not."""
    return integers(pc.fill_null(pc.index_in(values, value_set=among), -1))


def integers(values: Array) -> I64:
    """Return integers without nulls as int64."""
    return np.asarray(values.to_numpy(zero_copy_only=False)).astype(np.int64)


def microseconds(values: Array, *, name: str, of: str) -> I64:
    """Return microseconds since 1970 UTC; a moment without a zone is taken as UTC, a date as its midnight in UTC.

    Raises:
        UnusableColumn: the type is neither timestamp nor date.
    """
    if not _timed(values):
        raise UnusableColumn(
            f"Column `{name}` of {of} is {values.type}, not a time.", fix="Give a timestamp, best in UTC, or a date."
        )
    unzoned = pc.cast(pc.cast(values, pa.timestamp("us"), safe=False), pa.int64())
    return integers(unzoned)


def filled(values: Array, *, default: I64, name: str, of: str) -> I64:
    """Return moments as `microseconds` does, with `default` where a cell is empty."""
    moment = pc.cast(values, pa.timestamp("us"), safe=False) if _timed(values) else values
    return np.where(_bools(pc.is_null(values)), default, microseconds(pc.fill_null(moment, 0), name=name, of=of))


def truths(table: Table, *, name: str, of: str, default: bool) -> Bools:
    """Return a column of yes and no; an absent column is `default` in every row.

    Raises:
        UnusableColumn: it is not boolean, or holds nulls.
    """
    if name not in table.column_names:
        return np.full(table.num_rows, default)
    values = column(table, name=name, of=of)
    if not pa.types.is_boolean(values.type):
        raise UnusableColumn(f"Column `{name}` of {of} is {values.type}, not boolean.", fix="Give true or false.")
    return _bools(values)


def ten_thousandths(values: Array, *, name: str, of: str) -> I64:
    """Return decimal or integer amounts without nulls as whole ten-thousandths of the main unit.

    Raises:
        UnusableColumn: the type is float or no number, an amount has more than four decimals, or it is too large.
    """
    if not (pa.types.is_decimal(values.type) or pa.types.is_integer(values.type)):
        raise UnusableColumn(
            f"Column `{name}` of {of} is {values.type}; money is decimal.",
            fix="Cast it to a decimal with at most four decimals before asking.",
        )
    try:
        wide = pc.cast(values, pa.decimal128(38, 0)) if pa.types.is_integer(values.type) else values
        exact = pc.cast(wide, pa.decimal128(38, SCALE))
    except pa.ArrowInvalid as error:
        raise UnusableColumn(
            f"Column `{name}` of {of} holds an amount with more than four decimals or over 10^34 ({error}).",
            fix="Round amounts to at most four decimals.",
        ) from error
    return _decimal_words(exact, name=name, of=of)


def amounts(values: I64, *, scale: int) -> Array:
    """Return integers as decimals of that scale: 12345 at scale 2 is 123.45."""
    halves = np.empty(2 * values.size, dtype=np.int64)
    halves[0::2], halves[1::2] = values, values >> 63
    return pa.Array.from_buffers(pa.decimal128(38, scale), values.size, [None, pa.py_buffer(halves)])


def numbered(names: Array, *, numbers: I64) -> Array:
    """Return `<name>#<number>` for each pair."""
    return texts(pc.binary_join_element_wise(names, pc.cast(pa.array(numbers), pa.string()), "#"))


def repeated(values: Array) -> str | None:
    """Return a value that occurs more than once, the first in byte order, or None."""
    # Measured: on a million texts this is 3.5 times as fast as count_distinct.
    if len(pc.dictionary_encode(values).dictionary) == len(values):
        return None
    codes, names = encode(values)
    return strings(names)[int(np.argmax(np.bincount(codes) > 1))]


def moments(values: I64, *, absent: Bools | None = None) -> Array:
    """Return microseconds as UTC timestamps, null where absent."""
    return pa.array(values, mask=absent).cast(pa.timestamp("us", "UTC"))


def _timed(values: Array) -> bool:
    return pa.types.is_timestamp(values.type) or pa.types.is_date(values.type)


def _bools(values: Array) -> Bools:
    return np.asarray(values.to_numpy(zero_copy_only=False)).astype(np.bool_)


def _decimal_words(exact: Array, *, name: str, of: str) -> I64:
    """Read the 128-bit little-endian words of a decimal column; the high word must be the sign of the low one."""
    buffer = exact.buffers()[1]
    if buffer is None:
        return np.empty(0, dtype=np.int64)
    halves: I64 = np.frombuffer(memoryview(buffer), dtype=np.int64)[2 * exact.offset : 2 * (exact.offset + len(exact))]
    low, high = halves[0::2], halves[1::2]
    if np.any(high != low >> 63):
        raise UnusableColumn(f"Column `{name}` of {of} holds an amount over 9 × 10^14.", fix="Check the unit.")
    return low
