"""Where a database is: its address, read and guarded before anything is sent there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from isthmus.connectors.sql.dialects import DIALECTS, SQLITE, Dialect
from isthmus.sync.addresses import numeric
from isthmus.sync.connector import ConnectorError

EXAMPLES = "postgresql://reader@db.example/shop or mariadb://reader@db.example/shop"
Tls = Literal["verify", "off"]


@dataclass(frozen=True, kw_only=True)
class Where:
    """A database: on a host, or in a file (`path`)."""

    dialect: Dialect
    host: str
    port: int
    user: str
    database: str
    tls: Tls = "verify"
    path: Path | None = None

    @property
    def words(self) -> str:
        """Where it is, for sentences."""
        return str(self.path) if self.path else f"{self.host}:{self.port}/{self.database}"


def where(url: str, *, file: str = "", tls: str = "verify") -> Where:
    """Read an address, or the path of a file of SQLite; raises ConnectorError with its fix."""
    if bool(url.strip()) == bool(file):
        raise ConnectorError("Either a database or a file is connected.", fix=f"Give `file`, or `url` as {EXAMPLES}.")
    if file:
        path = Path(file)
        if not path.is_absolute():
            raise ConnectorError("The file has no absolute path.", fix="Give `file` such as /srv/shop.db.")
        return Where(dialect=SQLITE, host="", port=0, user="", database="", path=path)
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ConnectorError("The address cannot be read.", fix=f"Give `url` such as {EXAMPLES}.") from error
    dialect = DIALECTS.get(parts.scheme)
    if dialect is None:
        raise ConnectorError(f"There are no databases of kind {parts.scheme!r}.", fix=f"Give `url` such as {EXAMPLES}.")
    if parts.password is not None:
        raise ConnectorError("The address holds a password.", fix="Give it as the secret `password` instead.")
    if parts.query or parts.fragment:
        raise ConnectorError("The address holds more than a database.", fix=f"Give `url` such as {EXAMPLES}.")
    if tls not in ("verify", "off"):
        raise ConnectorError(f"`tls` is {tls!r}.", fix="Give verify, or off for a database in your own network.")
    database = unquote(parts.path).removeprefix("/")
    if not parts.hostname or not parts.username or not database:
        raise ConnectorError("The address lacks a host, a user or a database.", fix=f"Give `url` such as {EXAMPLES}.")
    return Where(
        dialect=dialect,
        host=parts.hostname,
        port=port or dialect.port,
        user=unquote(parts.username),
        database=database,
        tls="off" if tls == "off" else "verify",
    )


async def reached(place: Where) -> str:
    """Return the numeric address to connect to; raises ConnectorError for one that may not be called.

    Without TLS only this machine and private networks are reached.
    """
    own_only = "Leave `tls` at verify." if place.tls == "off" else ""
    return await numeric(place.host, port=place.port, setting="url", own_only=own_only)
