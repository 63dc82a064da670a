"""Databases that others wrote, as processes of their own: Debian's PostgreSQL and MariaDB, and a file of SQLite."""

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import psycopg

from tests.counterparts import require_debian
from tests.rooms.app.engines import stage
from tests.rooms.app.engines.counterpart_postgres import PASSWORD, certificates, foreign_postgres, free_port

Rows = list[tuple[object, ...]]


class _Cursor(Protocol):
    description: object

    def execute(self, query: str, given: Sequence[object] = ...) -> object: ...
    def fetchall(self) -> Rows: ...


class _Connection(Protocol):
    def cursor(self) -> _Cursor: ...
    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class SqlServer:
    """A database, and how its own people speak with it: beside the connector, by the driver alone."""

    kind: str
    url: str
    admin: Callable[[], _Connection]
    authority: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def settings(self) -> dict[str, str]:
        """What connects to it."""
        if self.kind == "sqlite":
            return {"file": self.url}
        return {"url": self.url, "password": PASSWORD, "ca": self.authority}

    def do(self, query: str, *given: object) -> Rows:
        """Run a statement as the owner; placeholders are `?`."""
        marked = query if self.kind == "sqlite" else query.replace("?", "%s")
        with self.lock, closing(self.admin()) as connection:
            cursor = connection.cursor()
            cursor.execute(marked, given)
            return list(cursor.fetchall()) if cursor.description else []

    def all(self, script: str) -> None:
        """Run statements, one after the other."""
        for each in script.split(";;"):
            if each.strip():
                self.do(each)


@contextmanager
def postgresql() -> Generator[SqlServer]:
    """Run Debian's PostgreSQL, whose log can be read."""
    with foreign_postgres(wal_level="logical", fsync="off") as foreign:
        yield SqlServer(
            kind="postgresql",
            url=f"postgresql://admin@127.0.0.1:{foreign.port}/company",
            admin=lambda: cast("_Connection", psycopg.connect(foreign.url(), autocommit=True)),
            authority=foreign.authority.read_text("utf-8"),
        )


@contextmanager
def mariadb() -> Generator[SqlServer]:
    """Run Debian's MariaDB as an ordinary user with a database `company`."""
    program = require_debian("mariadb-server", binary="mariadbd")
    above = Path(tempfile.mkdtemp(prefix="isthmus-mariadb-", dir=stage.quick_parent()))
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    server: subprocess.Popen[bytes] | None = None
    try:
        made = certificates(above)
        authority = made.authority.read_text("utf-8")
        for path in (*above.iterdir(), above):
            if account is not None:
                os.chown(path, account.pw_uid, account.pw_gid)
        port = free_port()
        (above / "grants.sql").write_text(
            f"create user admin@'127.0.0.1' identified by '{PASSWORD}';\n"
            "grant all on *.* to admin@'127.0.0.1' with grant option;\ncreate database company character set utf8mb4;\n"
        )
        data, quiet = above / "data", subprocess.DEVNULL
        owner = account.pw_name if account else None
        small = ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"]
        install = [shutil.which("mariadb-install-db") or "/usr/bin/mariadb-install-db", "--no-defaults"]
        install += [f"--datadir={data}", "--skip-test-db", "--auth-root-authentication-method=normal", *small]
        subprocess.run(install, cwd=above, user=owner, stdin=quiet, stdout=quiet, stderr=quiet, check=True)
        given = [str(program), "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1"]
        given += [f"--socket={above}/s.sock", f"--init-file={above}/grants.sql", f"--pid-file={above}/pid", *small]
        given += [f"--ssl-cert={made.certificate}", f"--ssl-key={made.key}", f"--ssl-ca={made.authority}"]
        with (above.with_name(f"{above.name}.log")).open("wb") as log:
            server = subprocess.Popen(given, cwd=above, user=owner, stdin=quiet, stdout=log, stderr=log)
        connect = cast("Callable[..., _Connection]", import_module("pymysql").connect)

        def admin() -> _Connection:
            return connect(
                host="127.0.0.1",
                port=port,
                user="admin",
                password=PASSWORD,
                database="company",
                autocommit=True,
                charset="utf8mb4",
                ssl_disabled=True,
            )

        found = SqlServer(
            kind="mariadb", url=f"mariadb://admin@127.0.0.1:{port}/company", admin=admin, authority=authority
        )
        stage.until(lambda: _answers(found))
        yield found
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        shutil.rmtree(above)
        above.with_name(f"{above.name}.log").unlink(missing_ok=True)


@contextmanager
def sqlite(home: Path) -> Generator[SqlServer]:
    """Make a file of SQLite."""
    path = home / "company.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("pragma journal_mode = wal")

    def admin() -> _Connection:
        return cast("_Connection", sqlite3.connect(path, isolation_level=None, timeout=30))

    yield SqlServer(kind="sqlite", url=str(path), admin=admin)


def _answers(server: SqlServer) -> bool:
    try:
        server.do("select 1")
    except Exception:  # noqa: BLE001 - the driver has no types, and any error means that it is not up yet.
        return False
    return True
