"""MariaDB and MySQL, by PyMySQL: TLS is verified, refusals come out in our words."""

import socket
import ssl
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol, cast

from isthmus.connectors.sql.faults import Busy, Denied, Missing, RowRefused
from isthmus.connectors.sql.places import Where
from isthmus.connectors.sql.values import Plain
from isthmus.sync.connector import ConnectorError, KeyRefused

CONNECT_S, READ_S, WRITE_S = 10, 120, 60
# Strict, so that what does not fit is refused and not cut off; moments are told in UTC.
_BEGIN = "set time_zone = '+00:00', sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES')"
_KEY = frozenset({1044, 1045, 1698, 1251})
_MISSING = frozenset({1146, 1054, 1049})
_DENIED = frozenset({1142, 1143, 1227, 1370})
_BUSY = frozenset({1205, 1213, 1020})
_AWAY = frozenset({2002, 2003, 2006, 2013, 2055, 1053, 1927, 1129, 1040})
_NO_TLS = frozenset({2026})


class _Cursor(Protocol):
    rowcount: int
    description: object

    def execute(self, query: str, args: object) -> object: ...
    def fetchall(self) -> Sequence[tuple[object, ...]]: ...
    def close(self) -> None: ...


class _Connection(Protocol):
    def connect(self, sock: socket.socket) -> None: ...
    def cursor(self) -> _Cursor: ...
    def close(self) -> None: ...


class _Errors(Protocol):
    Error: type[Exception]


class _Driver(Protocol):
    connect: Callable[..., _Connection]
    err: _Errors


def _driver() -> _Driver:
    """Return PyMySQL, which ships no types; it is loaded when a MariaDB is connected."""
    return cast("_Driver", cast("object", import_module("pymysql")))


class Mariadb:
    """Implements `Driven` of `isthmus.connectors.sql.doors`."""

    def __init__(self, connection: _Connection) -> None:
        """Speak over a connection that commits by itself."""
        self._connection = connection

    def run(self, query: str, given: Sequence[Plain]) -> tuple[list[tuple[object, ...]], int]:
        """Run a statement."""
        try:
            cursor = self._connection.cursor()
            try:
                cursor.execute(query, tuple(given))
                return (list(cursor.fetchall()) if cursor.description else []), cursor.rowcount
            finally:
                cursor.close()
        except (_driver().err.Error, OSError) as error:
            raise told(error) from error

    def close(self) -> None:
        """Close the connection."""
        try:
            self._connection.close()
        except _driver().err.Error:
            # It was closed by the other side.
            return


def connected(place: Where, *, address: str, password: str, authority: str) -> Mariadb:
    """Connect to an address under the name that the certificate is tried by."""
    secured = ssl.create_default_context(cadata=authority or None) if place.tls == "verify" else None
    try:
        connection = _driver().connect(
            host=place.host,
            port=place.port,
            user=place.user,
            password=password,
            database=place.database,
            charset="utf8mb4",
            init_command=_BEGIN,
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            write_timeout=WRITE_S,
            autocommit=True,
            local_infile=False,
            defer_connect=True,
            program_name="isthmus",
            **({"ssl": secured} if secured else {"ssl_disabled": True}),
        )
        connection.connect(socket.create_connection((address, place.port), CONNECT_S))
    except (_driver().err.Error, OSError) as error:
        raise unconnected(error, place) from error
    return Mariadb(connection)


def unconnected(error: Exception, place: Where) -> ConnectorError:
    """Return why no connection came about."""
    number, said = _parts(error)
    if number in _KEY:
        return KeyRefused(f"MariaDB refuses {place.user}.", fix="Check the user in `url` and `password`.")
    if number in _NO_TLS or isinstance(error, ssl.SSLError) or "certificate" in said.lower():
        fix = "Give the authority's certificate as `ca`, or `tls` off for a database in your own network."
        return ConnectorError(f"No secured connection to {place.words}: {said}.", fix=fix)
    if number in _MISSING:
        return ConnectorError(f"{said}.", fix="Check `url`.")
    return ConnectorError(f"{place.words} cannot be reached: {said}.", fix="Check that it runs and `url` is right.")


def told(error: Exception) -> ConnectorError:
    """Return an error of the driver in our words."""
    number, said = _parts(error)
    if number in _DENIED:
        return Denied(f"MariaDB: {said}.", fix="Grant it, as `isthmus connect check` says.")
    if number in _MISSING:
        return Missing(f"MariaDB: {said}.", fix="Correct `tables`, or bring it back.")
    if number in _BUSY:
        return Busy(f"MariaDB: {said}.", fix="It is tried again by itself.")
    if number in _AWAY or number == 0:
        return ConnectorError(f"MariaDB does not answer: {said}.", fix="It is tried again by itself.")
    if type(error).__name__ in ("IntegrityError", "DataError", "OperationalError"):
        return RowRefused(f"MariaDB refuses it: {said}.", fix="Mend the value, or the table.")
    return ConnectorError(f"MariaDB: {said}.", fix="See what it says, and correct `tables`.")


def _parts(error: Exception) -> tuple[int, str]:
    match error.args:
        case (int() as number, str() as said, *_):
            return number, said.strip().rstrip(".")
        case _:
            return 0, str(error).strip() or type(error).__name__
