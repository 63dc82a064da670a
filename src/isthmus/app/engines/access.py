"""What a caller needs to know to reach an engine, as frozen values. No text form of them shows a password."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from psycopg.conninfo import make_conninfo

EngineName = Literal["postgres", "valkey"]
EngineStatus = Literal["pending", "healthy", "retrying", "needs attention"]

DEFAULT_JOIN_SECONDS = 30.0
DEFAULT_READY_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Where the engines live or which external ones to use.

    `database_url` and `valkey_url` name external engines, and then nothing of that kind is started.
    `database_app_url` is the login of the restricted role there; without it that role is made on the owner's right.
    `ready_seconds` bounds the wait for crash recovery, `join_seconds` the wait for another program's engines.
    """

    data_dir: Path
    database_url: str | None = field(default=None, repr=False)
    database_app_url: str | None = field(default=None, repr=False)
    valkey_url: str | None = field(default=None, repr=False)
    want_valkey: bool = True
    ready_seconds: float = DEFAULT_READY_SECONDS
    join_seconds: float = DEFAULT_JOIN_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresLogin:
    """One role's way in: `psycopg.connect(login.conninfo, password=login.password)`.

    `host` is a host name, or the directory of the socket. `options` are further libpq parameters as pairs.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    options: tuple[tuple[str, str], ...] = ()

    @property
    def conninfo(self) -> str:
        """The libpq connection string, without the password (embedded engines add a `passfile`)."""
        named = {"host": self.host, "port": str(self.port), "dbname": self.database, "user": self.user}
        return make_conninfo("", **{**named, **dict(self.options)})


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAccess:
    """The two roles of the database: `owner` runs migrations, `app` owns nothing and is bound by row-level security."""

    owner: PostgresLogin
    app: PostgresLogin
    version: int
    """As `server_version_num`: 180006 is 18.6."""
    external: bool


class ValkeyArguments(TypedDict):
    """Keyword arguments of `valkey.Valkey` and `valkey.asyncio.Valkey`."""

    username: str | None
    password: str | None
    db: int
    unix_socket_path: NotRequired[str]
    host: NotRequired[str]
    port: NotRequired[int]
    ssl: NotRequired[bool]
    ssl_cert_reqs: NotRequired[str]
    ssl_check_hostname: NotRequired[bool]
    ssl_ca_certs: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyAccess:
    """The way to Valkey: by `socket_path`, or by `host` and `port` with verified TLS when `tls`."""

    username: str | None
    password: str | None = field(repr=False)
    database: int = 0
    socket_path: str | None = None
    host: str = "localhost"
    port: int = 6379
    tls: bool = False
    ca_file: str | None = None
    version: str = ""
    external: bool = False

    @property
    def arguments(self) -> ValkeyArguments:
        """Arguments for the client. The client checks no host name unless told, so it is told here."""
        arguments = ValkeyArguments(username=self.username, password=self.password, db=self.database)
        if self.socket_path is not None:
            arguments["unix_socket_path"] = self.socket_path
            return arguments
        arguments["host"], arguments["port"] = self.host, self.port
        if self.tls:
            arguments["ssl"], arguments["ssl_cert_reqs"], arguments["ssl_check_hostname"] = True, "required", True
            if self.ca_file is not None:
                arguments["ssl_ca_certs"] = self.ca_file
        return arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The program that supervises the engines: `started` (Unix seconds) tells it from a later one."""

    pid: int
    started: float
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEngines:
    """How to reach engines that run now. `valkey` is None in PostgreSQL-only mode."""

    postgres: PostgresAccess
    valkey: ValkeyAccess | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """How one supervised engine is: `detail` says why when it is not healthy, `restarts` counts since the start."""

    name: EngineName
    status: EngineStatus
    pid: int | None
    restarts: int
    detail: str = ""
