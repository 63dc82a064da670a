"""PostgreSQL, by psycopg: TLS is verified, an endless moment is told as text, errors come out in our words."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import LiteralString, cast

import psycopg
from psycopg import errors
from psycopg.abc import Buffer
from psycopg.adapt import Transformer
from psycopg.pq import Format
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.string import TextLoader

from isthmus.connectors.sql.faults import Busy, Denied, Missing, RowRefused
from isthmus.connectors.sql.places import Where
from isthmus.connectors.sql.values import Plain
from isthmus.sync.connector import ConnectorError, KeyRefused

CONNECT_S, STATEMENT_MS = 10, 120_000
OPTIONS = f"-c statement_timeout={STATEMENT_MS} -c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=iso_8601"
_Load = Callable[[Buffer], object]
_REFUSED = (errors.DataError, errors.IntegrityError, errors.RaiseException, errors.GeneratedAlways)
_MISSING = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)
_BUSY = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable, errors.ObjectInUse)


class Postgres:
    """Implements `Driven` of `isthmus.connectors.sql.doors`."""

    def __init__(self, connection: psycopg.Connection) -> None:
        """Speak over a connection that commits by itself."""
        self.connection = connection

    def run(self, query: str, given: Sequence[Plain]) -> tuple[list[tuple[object, ...]], int]:
        """Run a statement."""
        try:
            cursor = self.connection.execute(cast("LiteralString", query), tuple(given))
            return (cursor.fetchall() if cursor.description else []), cursor.rowcount
        except psycopg.Error as error:
            raise told(error) from error

    def loaded(self, told: bytes, kind: int) -> object:
        """Return a value in text as this driver reads values of its type."""
        return Transformer(self.connection).get_loader(kind, Format.TEXT).load(told)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class _Day(DateLoader):
    def load(self, data: Buffer) -> object:  # pyright: ignore[reportIncompatibleMethodOverride] - a day beyond those of Python is told as text.
        return _or_text(super().load, data)


class _Local(TimestampLoader):
    def load(self, data: Buffer) -> object:  # pyright: ignore[reportIncompatibleMethodOverride] - as above.
        return _or_text(super().load, data)


class _Moment(TimestamptzLoader):
    def load(self, data: Buffer) -> object:  # pyright: ignore[reportIncompatibleMethodOverride] - as above.
        return _or_text(super().load, data)


def connected(place: Where, *, address: str, password: str, authority: str) -> Postgres:
    """Connect to an address under the name that the certificate is tried by."""
    with TemporaryDirectory(prefix="isthmus-sql-") as folder:
        root = "system"
        if authority:
            own = Path(folder, "authority.pem")
            own.write_text(authority, "utf-8")
            root = str(own)
        secured = place.tls == "verify"
        try:
            connection = psycopg.connect(
                host=place.host,
                hostaddr=address,
                port=place.port,
                dbname=place.database,
                user=place.user,
                password=password,
                # No file of this machine gives a password.
                passfile="/dev/null",
                sslmode="verify-full" if secured else "disable",
                sslrootcert=root if secured else None,
                gssencmode="disable",
                require_auth=None if secured else "!password",
                connect_timeout=CONNECT_S,
                options=OPTIONS,
                application_name="isthmus",
                client_encoding="utf8",
                autocommit=True,
            )
        except psycopg.Error as error:
            raise unconnected(error, place) from error
    for name, loader in (("date", _Day), ("timestamp", _Local), ("timestamptz", _Moment)):
        connection.adapters.register_loader(name, loader)
    # An interval of a month has no length: it is told as text, in the form of ISO 8601.
    connection.adapters.register_loader("interval", TextLoader)
    # Poolers that stand between would give a prepared statement to another.
    connection.prepare_threshold = None
    return Postgres(connection)


def unconnected(error: psycopg.Error, place: Where) -> ConnectorError:
    """Return why no connection came about."""
    said = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    low = said.lower()
    if "authentication failed" in low or "no password supplied" in low or "is not permitted to log in" in low:
        return KeyRefused(f"PostgreSQL refuses {place.user}.", fix="Check the user in `url` and `password`.")
    if "certificate" in low or "ssl" in low:
        fix = "Give the authority's certificate as `ca`, or `tls` off for a database in your own network."
        return ConnectorError(f"No secured connection to {place.words}: {said}.", fix=fix)
    if "does not exist" in low:
        return ConnectorError(f"{said.removeprefix('FATAL:').strip()}.", fix="Check `url`.")
    return ConnectorError(f"{place.words} cannot be reached: {said}.", fix="Check that it runs and `url` is right.")


def told(error: psycopg.Error) -> ConnectorError:
    """Return an error of the driver in our words."""
    said = error.diag.message_primary or str(error).strip() or type(error).__name__
    if isinstance(error, errors.InsufficientPrivilege):
        return Denied(f"PostgreSQL: {said}.", fix="Grant it, as `isthmus connect check` says.")
    if isinstance(error, _MISSING):
        return Missing(f"PostgreSQL: {said}.", fix="Correct `tables`, or bring it back.")
    if isinstance(error, _BUSY):
        return Busy(f"PostgreSQL: {said}.", fix="It is tried again by itself.")
    if isinstance(error, _REFUSED):
        return RowRefused(f"PostgreSQL refuses it: {said}.", fix="Mend the value, or the table.")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return ConnectorError(f"PostgreSQL does not answer: {said}.", fix="It is tried again by itself.")
    return ConnectorError(f"PostgreSQL: {said}.", fix="See what it says, and correct `tables`.")


def _or_text(load: object, data: Buffer) -> object:
    with suppress(psycopg.DataError):
        return cast("_Load", load)(data)
    return bytes(data).decode()
