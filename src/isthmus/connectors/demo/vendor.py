"""The vendors' side: what the fake systems remember, in one SQLite file that outlives whoever reads it.

Time does not pass here. The file keeps the `now` of its creation, and every write moves it on by one millisecond, so
stamps grow, never repeat, and never ask a clock.
"""

import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec

from isthmus.connectors.demo.making import make_world
from isthmus.connectors.demo.plants import Plants, Rows, make_plants
from isthmus.connectors.demo.rows_billing import billing_rows
from isthmus.connectors.demo.rows_crm import crm_rows
from isthmus.connectors.demo.rows_desk import desk_rows
from isthmus.connectors.demo.rows_marketing import marketing_rows
from isthmus.connectors.demo.rows_product import product_rows
from isthmus.connectors.demo.world import World
from isthmus.kernel.marks import Json

BUSY_TIMEOUT_S = 30.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
STEP_US = 1000
ROWS_OF: dict[str, Callable[[World, Plants], Rows]] = {
    "crm": crm_rows,
    "marketing": marketing_rows,
    "billing": billing_rows,
    "product": product_rows,
    "desk": desk_rows,
}
_SCHEMA = (
    """create table if not exists kept (
        feed text not null, id text not null, at_us integer not null, version integer not null,
        deleted integer not null, body text not null, primary key (feed, id)) without rowid""",
    "create index if not exists kept_by_change on kept (feed, at_us, id)",
    "create table if not exists setting (name text primary key, value text not null) without rowid",
    "create table if not exists answered (key text primary key, id text not null) without rowid",
)


@dataclass(frozen=True)
class Kept:
    """A row as it is kept; `at_us` are Unix microseconds of its last change, `version` counts its changes."""

    id: str
    at_us: int
    version: int
    deleted: bool
    body: dict[str, Json]


class Vendor:
    """An open file of fake systems; use it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make an empty one that only its owner may read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._base = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._base.execute("pragma journal_mode = wal")
        self._base.execute("pragma synchronous = normal")
        with self._transaction():
            for statement in _SCHEMA:
                self._base.execute(statement)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def setting(self, name: str) -> str | None:
        """Return what was noted at creation."""
        row = self._base.execute("select value from setting where name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def fill(self, system: str, *, seed: int, now: datetime, companies: int) -> None:
        """Fill one system with its world, all of it or nothing; a system that is there already stays as it is.

        All systems of one file show one world: what the file was made with first counts for those that follow.
        """
        if self.setting(f"filled {system}"):
            return
        with self._transaction():
            if self.setting(f"filled {system}"):
                return
            noted = {"seed": str(seed), "now": now.isoformat(), "companies": str(companies), "last_us": str(_us(now))}
            self._base.executemany("insert into setting values (?, ?) on conflict do nothing", noted.items())
            world = make_world(
                seed=int(self.setting("seed") or seed),
                now=datetime.fromisoformat(self.setting("now") or now.isoformat()),
                companies=int(self.setting("companies") or companies),
            )
            encode = msgspec.json.encode
            for feed, rows in ROWS_OF[system](world, make_plants(world)).items():
                self._base.executemany(
                    "insert into kept values (?, ?, ?, 1, 0, ?)",
                    ((feed, row.id, _us(row.at), encode(row.body).decode()) for row in rows),
                )
            self._base.execute("insert into setting values (?, 'yes')", (f"filled {system}",))

    def changed(self, feed: str, *, after: tuple[int, str], rows_max: int) -> list[Kept]:
        """Return rows that changed after (microseconds, id), tombstones too, oldest first."""
        found = self._base.execute(
            "select id, at_us, version, deleted, body from kept"
            " where feed = ? and (at_us, id) > (?, ?) order by at_us, id limit ?",
            (feed, *after, rows_max),
        )
        return [_kept(row) for row in found]

    def count(self, feed: str, *, after: tuple[int, str]) -> int:
        """Return how many rows changed after (microseconds, id)."""
        query = "select count(*) from kept where feed = ? and (at_us, id) > (?, ?)"
        return int(self._base.execute(query, (feed, *after)).fetchone()[0])

    def ids(self, feed: str, *, after: str, ids_max: int) -> list[str]:
        """Return ids of living rows after an id, in order."""
        query = "select id from kept where feed = ? and not deleted and id > ? order by id limit ?"
        return [str(row[0]) for row in self._base.execute(query, (feed, after, ids_max))]

    def get(self, feed: str, row_id: str) -> Kept | None:
        """Return one row, also when it is deleted."""
        query = "select id, at_us, version, deleted, body from kept where feed = ? and id = ?"
        row = self._base.execute(query, (feed, row_id)).fetchone()
        return _kept(row) if row else None

    def put(self, feed: str, row_id: str, body: dict[str, Json]) -> Kept:
        """Merge a body into a row, or make one; a row that was deleted lives again."""
        return self._change(feed, row_id, body, deleted=False)

    def delete(self, feed: str, row_id: str) -> Kept:
        """Turn a row into a tombstone."""
        return self._change(feed, row_id, {}, deleted=True)

    def bring(self, feed: str, bodies: Mapping[str, dict[str, Json]]) -> None:
        """Make rows of an import, by id, all with one stamp."""
        with self._transaction():
            at_us = self._tick()
            rows = ((feed, row_id, at_us, msgspec.json.encode(body).decode()) for row_id, body in bodies.items())
            self._base.executemany("insert into kept values (?, ?, ?, 1, 0, ?)", rows)

    def clear(self, feed: str) -> None:
        """Forget all rows of a feed, without tombstones, as when a system is set up anew."""
        self._base.execute("delete from kept where feed = ?", (feed,))

    def answered(self, key: str) -> str | None:
        """Return the id that an earlier attempt with the same idempotency key made."""
        row = self._base.execute("select id from answered where key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def make(self, feed: str, body: dict[str, Json], *, prefix: str, key: str) -> Kept:
        """Make a row under a new id and remember the key, both or neither."""
        with self._transaction():
            kept = self._store(feed, f"{prefix}{self._tick() - _us(self._now())}", body, deleted=False)
            if key:
                self._base.execute("insert into answered values (?, ?)", (key, kept.id))
        return kept

    def _change(self, feed: str, row_id: str, body: dict[str, Json], *, deleted: bool) -> Kept:
        with self._transaction():
            return self._store(feed, row_id, body, deleted=deleted)

    def _store(self, feed: str, row_id: str, body: dict[str, Json], *, deleted: bool) -> Kept:
        before = self.get(feed, row_id)
        merged = {**before.body, **body} if before else body
        kept = Kept(row_id, self._tick(), before.version + 1 if before else 1, deleted, merged)
        text = msgspec.json.encode(merged).decode()
        self._base.execute(
            "insert or replace into kept values (?, ?, ?, ?, ?, ?)",
            (feed, kept.id, kept.at_us, kept.version, kept.deleted, text),
        )
        return kept

    def _now(self) -> datetime:
        return datetime.fromisoformat(self.setting("now") or EPOCH.isoformat())

    def _tick(self) -> int:
        last = int(self.setting("last_us") or 0) + STEP_US
        self._base.execute("insert or replace into setting values ('last_us', ?)", (str(last),))
        return last

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._base.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._base.execute("rollback")
            raise
        self._base.execute("commit")


def _us(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def moment(at_us: int) -> datetime:
    """Return the moment of Unix microseconds."""
    return EPOCH + timedelta(microseconds=at_us)


def _kept(row: tuple[str, int, int, int, str]) -> Kept:
    body = cast("dict[str, Json]", msgspec.json.decode(row[4]))
    return Kept(row[0], row[1], row[2], bool(row[3]), body)
