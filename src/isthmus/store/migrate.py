"""Migrations: SQL files in one line of history, named by date and by when they run.

`pre` files run before the new code is deployed and must suit the old code too; `post` files run after it.
Each file runs once, in a transaction of its own, under one advisory lock.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Literal, LiteralString, cast

from psycopg import Connection

from isthmus.kernel.errors import IsthmusError

_FORM = re.compile(r"(?P<date>\d{4}_\d{2}_\d{2})_(?P<when>pre|post)_[a-z0-9_]+\.sql")
_LOCK = 4_815_162_342
_LOCK_TIMEOUT = "5s"
_HISTORY: LiteralString = """
create table if not exists migration (
    name text primary key, digest text not null, applied_at timestamptz not null default now()
)
"""


class MigrationChanged(IsthmusError):
    """A migration that was applied here has another content now."""

    code, title = "migration-changed", "An applied migration has changed"


@dataclass(frozen=True)
class Migration:
    """One file of the history."""

    name: str
    when: Literal["pre", "post"]
    sql: str

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        return sha256(self.sql.encode()).hexdigest()


def history() -> list[Migration]:
    """Return all migrations in order; raises ValueError for a file whose name is not of the form."""
    found: list[Migration] = []
    for file in files("isthmus.store").joinpath("migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _FORM.fullmatch(file.name)
        if match is None:
            message = f"{file.name}: name it 2026_11_30_pre_what_it_does.sql"
            raise ValueError(message)
        when: Literal["pre", "post"] = "pre" if match["when"] == "pre" else "post"
        found.append(Migration(file.name, when, file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda each: (each.name[:10], each.when == "post", each.name))


def migrate(connection: Connection, *, upto: Literal["pre", "post"] = "post") -> list[str]:
    """Apply what is missing as the owner, and return the names; `upto="pre"` leaves `post` files for later.

    Raises MigrationChanged when an applied file was edited.
    """
    done: list[str] = []
    connection.autocommit = True
    connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
    try:
        connection.execute(_HISTORY)
        rows = connection.execute("select name, digest from migration").fetchall()
        applied = {str(name): str(digest) for name, digest in rows}
        for each in history():
            if each.name in applied:
                _unchanged(each, applied[each.name])
            elif each.when == "pre" or upto == "post":
                with connection.transaction():
                    connection.execute(f"set local lock_timeout = '{_LOCK_TIMEOUT}'")
                    # The text is a file of this package; nothing from outside is in it.
                    connection.execute(cast("LiteralString", each.sql))
                    connection.execute("insert into migration (name, digest) values (%s, %s)", (each.name, each.digest))
                done.append(each.name)
    finally:
        connection.execute("select pg_advisory_unlock(%s)", (_LOCK,))
    return done


def pending(connection: Connection) -> list[str]:
    """Return the names of migrations that are not applied."""
    exists = connection.execute("select to_regclass('migration') is not null").fetchone()
    if not exists or not exists[0]:
        return [each.name for each in history()]
    applied = {row[0] for row in connection.execute("select name from migration").fetchall()}
    return [each.name for each in history() if each.name not in applied]


def _unchanged(migration: Migration, digest: str) -> None:
    if migration.digest != digest:
        raise MigrationChanged(
            f"{migration.name} was applied here with another content.",
            fix="Restore the file, and put the change into a new migration.",
        )
