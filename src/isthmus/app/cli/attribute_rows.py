# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# The line above: pyarrow ships no types. It is called here to write files only.
"""Rows of credit: in files, as JSON, and as a table."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import TYPE_CHECKING, TypedDict, cast

import click
import msgspec
import pyarrow as pa
from pyarrow import parquet

from isthmus.analytics.files import NO_CURRENCY
from isthmus.app.cli.output import table
from isthmus.kernel.errors import IsthmusError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isthmus.analytics import Table

COLUMNS = ("bucket", "revenue", "share", "low", "high", "model", "currency", "grade")
SUFFIXES = (".parquet", ".json", ".csv")
_JSON = msgspec.json.Encoder(decimal_format="number")


class NotWritten(IsthmusError):
    """The file cannot be written."""

    code, title = "not-written", "The file cannot be written"


class Credit(TypedDict):
    """What one bucket received: revenue to the minor unit, its share of the currency's total, and the interval."""

    bucket: str
    revenue: Decimal
    share: float
    low: float | None
    high: float | None
    model: str
    currency: str
    grade: str


def check_target(path: Path | None) -> None:
    """Refuse a file that could not be written, before the work is done."""
    if path is None:
        return
    if path.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--out {path}: give it one of the suffixes {', '.join(SUFFIXES)}.")
    if not path.parent.is_dir():
        raise NotWritten(f"There is no directory {path.parent}.", fix="Make it, or choose another --out.")


def rows_of(found: Table) -> list[Credit]:
    """Return the rows, model by model, in the order of the columns above."""
    columns = [found.column(name).combine_chunks().to_pylist() for name in COLUMNS]
    return [cast("Credit", dict(zip(COLUMNS, row, strict=True))) for row in zip(*columns, strict=True)]


def write(found: Table, *, path: Path) -> None:
    """Write the rows whole or not at all; raises NotWritten."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        match path.suffix.lower():
            case ".parquet":
                columns = {name: found.column(name) for name in COLUMNS}
                parquet.write_table(pa.table(columns), unfinished)
            case ".json":
                unfinished.write_bytes(msgspec.json.format(_JSON.encode(rows_of(found)), indent=2) + b"\n")
            case _:
                _write_csv(rows_of(found), unfinished)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise NotWritten(
            f"{path} cannot be written: {error.strerror or error}.", fix="Choose another --out."
        ) from error


def print_rows(document: object) -> None:
    """Print JSON on stdout; revenue is a number with exactly its digits."""
    click.echo(msgspec.json.format(_JSON.encode(document), indent=2).decode())


def show(rows: Sequence[Credit]) -> None:
    """Print a table."""
    table(
        [
            {
                "model": each["model"],
                "bucket": each["bucket"],
                "revenue": each["revenue"],
                "currency": "" if each["currency"] == NO_CURRENCY else each["currency"],
                "share": f"{each['share']:6.1%}",
                "low": "" if each["low"] is None else f"{each['low']:6.1%}",
                "high": "" if each["high"] is None else f"{each['high']:6.1%}",
            }
            for each in rows
        ],
        columns=("model", "bucket", "revenue", "currency", "share", "low", "high"),
        empty="nothing was won",
    )


def _write_csv(rows: Sequence[Credit], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(tuple(row.values()) for row in rows)
