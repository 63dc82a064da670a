# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# The line above: pyarrow ships no types. It is called in one function here, which returns bytes.
"""Changes as files: one for each batch; for CSV and Parquet one for each set of columns, since theirs have no gaps."""

import csv
import io
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import cast
from uuid import UUID, uuid5

import msgspec

from isthmus.connectors.files.layouts import Drop
from isthmus.connectors.files.mapping import said
from isthmus.kernel.layouts import unfit
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, Outcome, Raw, Written

OURS = UUID("2c8d6a0b-94f7-5d43-8b1e-0f5a7c3e9d21")
"""The space of names in which the keys of new rows are made, each from the key of its change."""
_DIGEST_BYTES = 8
Row = dict[str, Json]


def row_of(drop: Drop, change: Change) -> tuple[str, Row]:
    """Return the key of a change's row, and the row."""
    (key,) = drop.keys
    external_id = change.external_id or str(uuid5(OURS, change.key))
    if change.deleted:
        return external_id, {key: external_id, cast("str", drop.deleted): True}
    return external_id, {key: external_id, **said(drop, change.fields, change.links)}


def refusal(drop: Drop, feed: str, change: Change) -> str:
    """Return why a change cannot be written; nothing when it can."""
    if drop.write is None:
        return f"{feed} is only read."
    if change.deleted and drop.deleted is None:
        return f"{feed} has no column that marks rows as deleted; name one as `deleted`."
    if change.deleted and change.external_id is None:
        return "What never was there cannot be deleted."
    return unfit(drop, change.fields)


def files_of(drop: Drop, feed: str, changes: Sequence[tuple[Change, Row]]) -> list[tuple[str, bytes]]:
    """Return the files of a batch: the end of each name, which says what is in it, and its content."""
    groups: dict[tuple[str, ...], list[tuple[Change, Row]]] = {}
    for each in changes:
        columns = tuple(sorted(each[1])) if drop.format != "ndjson" else ()
        groups.setdefault(columns, []).append(each)
    return [(_tail(drop, feed, some), _content(drop, [row for _, row in some])) for some in groups.values()]


def answer(change: Change, external_id: str, row: Row) -> Written:
    """Return that a change was handed over; what the other side makes of it is read from its own files."""
    body: Mapping[str, Json] = {} if change.deleted else row
    raw = Raw(external_id=external_id, body=dict(body), deleted=change.deleted)
    return Written(outcome=Outcome.WRITTEN, external_id=external_id, raw=raw)


def _tail(drop: Drop, feed: str, changes: Sequence[tuple[Change, Row]]) -> str:
    keys = "\n".join(f"{change.key} {change.external_id or ''}" for change, _ in changes)
    return f"{feed}-{blake2b(keys.encode(), digest_size=_DIGEST_BYTES).hexdigest()}.{drop.format}"


def _content(drop: Drop, rows: Sequence[Row]) -> bytes:
    if drop.format == "ndjson":
        return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    return _csv(drop, rows) if drop.format == "csv" else _parquet(rows)


def _csv(drop: Drop, rows: Sequence[Row]) -> bytes:
    told = io.StringIO(newline="")
    sheet = csv.writer(told, delimiter=drop.delimiter or ",", lineterminator="\n")
    sheet.writerow(rows[0])
    sheet.writerows([_cell(row[name]) for name in rows[0]] for row in rows)
    return told.getvalue().encode(drop.encoding)


def _cell(value: Json) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


def _parquet(rows: Sequence[Row]) -> bytes:
    from pyarrow import array, parquet, string, table  # noqa: PLC0415 - only who writes Parquet waits for it.

    columns: dict[str, list[Json]] = {}
    for name in rows[0]:
        cells = [row[name] for row in rows]
        kinds = {type(cell) for cell in cells if cell is not None}
        plain = len(kinds) == 1 and kinds <= {bool, int, float}
        columns[name] = cells if plain else [None if cell is None else _cell(cell) for cell in cells]
    arrays = {
        name: array(cells, None if any(each is not None for each in cells) else string())
        for name, cells in columns.items()
    }
    sink = io.BytesIO()
    parquet.write_table(table(arrays), sink)
    return sink.getvalue()
