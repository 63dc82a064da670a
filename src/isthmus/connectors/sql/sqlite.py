"""SQLite: a file on this machine, by the standard library."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from isthmus.connectors.sql.faults import Busy, Denied, Missing, RowRefused
from isthmus.connectors.sql.values import Plain
from isthmus.sync.connector import ConnectorError

BUSY_S = 10.0
_CHECK = "Check `file`, and that isthmus may read and write the file and its directory."


class Sqlite:
    """Implements `Driven` of `isthmus.connectors.sql.doors`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Speak over a connection that commits by itself."""
        self._connection = connection

    def run(self, query: str, given: Sequence[Plain]) -> tuple[list[tuple[object, ...]], int]:
        """Run a statement."""
        try:
            cursor = self._connection.execute(query, tuple(given))
            return cursor.fetchall(), cursor.rowcount
        except sqlite3.Error as error:
            raise told(error) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def connected(path: Path, *, writes: bool) -> Sqlite:
    """Open a file that is there; it is never made."""
    mode = "rw" if writes else "ro"
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise ConnectorError(f"{path} cannot be opened: {error}.", fix=_CHECK) from error
    return Sqlite(connection)


def told(error: sqlite3.Error) -> ConnectorError:
    """Return an error of the driver in our words."""
    said = str(error)
    low = said.lower()
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError):
        return RowRefused(f"SQLite refuses it: {said}.", fix="Mend the value, or the table.")
    if "no such table" in low or "no such column" in low or "has no column" in low:
        return Missing(f"SQLite: {said}.", fix="Correct `tables`, or bring the table back.")
    if "locked" in low or "busy" in low:
        return Busy(f"SQLite: {said}.", fix="It is tried again by itself.")
    if "readonly" in low:
        return Denied("The file may not be written.", fix=_CHECK)
    return ConnectorError(f"SQLite: {said}.", fix=_CHECK)
