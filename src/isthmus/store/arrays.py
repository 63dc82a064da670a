"""Arrays as parameters: what statements over many rows are given, written without a call for each element."""

from collections.abc import Sequence
from types import NoneType
from uuid import UUID

from psycopg import AsyncConnection, DataError
from psycopg.abc import Buffer
from psycopg.rows import TupleRow
from psycopg.types.array import ListDumper

_TEXTS = frozenset({str, NoneType})
_IDS = {UUID}


class Lists(ListDumper):
    """Writes lists of ids and of texts by themselves, and all others as the driver does."""

    def dump(self, obj: Sequence[object]) -> Buffer | None:
        """Return the text form of an array (PostgreSQL manual, 8.15.6); raises DataError for a text with NUL."""
        kinds = set(map(type, obj))
        if kinds == _IDS:
            return f"{{{','.join([f'{each.int:032x}' for each in obj if isinstance(each, UUID)])}}}".encode()
        if kinds and kinds <= _TEXTS:
            whole = f"{{{','.join(['NULL' if each is None else _quoted(str(each)) for each in obj])}}}"
            if "\0" in whole:
                raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
            return whole.encode()
        return super().dump(list(obj))


def _quoted(text: str) -> str:
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def write_lists(connection: AsyncConnection[TupleRow]) -> None:
    """Have a connection write lists this way."""
    connection.adapters.register_dumper(list, Lists)
