"""SQL databases as systems of record: PostgreSQL, MariaDB and MySQL, SQLite, read and written table by table."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from isthmus.connectors.sql.client import session
from isthmus.connectors.sql.tables import SCAN_S, TYPES, Table, tables_of
from isthmus.kernel.layouts import columns, words
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Change, Connector, Feed, Leave, Raw, Session, Setting, observations

__all__ = ["CONNECTOR"]

ANY_TABLE = "table"
_SCALAR, _ANY = "text number truth null", "text number truth list map null"
_HTTP = "A database speaks no HTTP, so that the proxy of the suite cannot stand before it; see the tests of the folder."


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; it connects when it is first needed."""
    return session(settings, leave=leave)


def adapt(settings: dict[str, str]) -> Connector:
    """Return the connector with the tables of a connection; raises TablesRefused."""
    tables = tables_of(settings.get("tables", "{}"))
    logged = bool(settings.get("publication"))

    def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
        return observations("sql", raw, words(tables[feed], raw.body))

    def express(feed: str, change: Change) -> dict[str, Json]:
        table = tables.get(feed)
        if table is None or not table.write or change.type != table.type:
            return {}
        return columns(table, change.fields, change.links)

    return replace(
        CONNECTOR,
        feeds=tuple(_feed(name, table, logged=logged) for name, table in tables.items()),
        normalise=normalise,
        express=express,
        writable={table.type: table.written for table in tables.values() if table.write},
        adapt=None,
    )


def _feed(name: str, table: Table, *, logged: bool) -> Feed:
    stamped = table.updated_at is not None
    return Feed(
        name=name,
        types=(table.type,),
        writes=(table.type,) if table.write else (),
        page_rows_max=500,
        expects=_expected(table),
        settles_s=table.settles_s if stamped and not logged else None,
        scan_s=table.scan_s or (None if stamped or logged else SCAN_S),
    )


def _expected(table: Table) -> Mapping[str, str]:
    """Return what a row must hold; lists and maps only where a field is meant to take them."""
    expected = dict.fromkeys(table.columns, _SCALAR)
    for way in table.ways.values():
        if way.form == "json":
            expected[way.column] = _ANY
    return expected


def _unmapped(feed: str, raw: Raw) -> Iterable[Observation]:
    """Say nothing: without the settings of a connection no column means anything."""
    del feed, raw
    return ()


def _inexpressible(feed: str, change: Change) -> dict[str, Json]:
    """Say nothing, for the same reason."""
    del feed, change
    return {}


CONNECTOR = Connector(
    name="sql",
    title="SQL database",
    about="Tables of PostgreSQL, MariaDB, MySQL or SQLite as systems of record, both ways.",
    proven="Run against real servers of PostgreSQL 15 and MariaDB 10.11 and files of SQLite, in every test run.",
    feeds=(Feed(name=ANY_TABLE, types=TYPES, writes=TYPES, expects={}),),
    settings=(
        Setting(name="url", about="The database, such as postgresql://reader@db.example/shop.", default=""),
        Setting(name="file", about="SQLite: the path of the file, in the place of `url`.", default="", local=True),
        Setting(name="password", about="The password of that user.", secret=True, default=""),
        Setting(name="tables", about="Which table becomes which record type, as TOML or JSON.", long=True),
        Setting(name="tls", about="verify, or off for a database in your own network.", default="verify"),
        Setting(name="ca", about="Certificate (PEM) of the authority, if it is your own.", default="", long=True),
        Setting(name="publication", about="PostgreSQL: read the log through this publication.", default=""),
        Setting(name="slot", about="PostgreSQL: how the names of its places in the log begin.", default="isthmus"),
        Setting(name="page_rows", about="Rows per statement.", default="500"),
        Setting(name="overlap_s", about="Seconds each run goes back, for transactions that ended late.", default="60"),
    ),
    begin=begin,
    normalise=_unmapped,
    express=_inexpressible,
    allowances=(Rate(count=100, seconds=1),),
    cannot=dict.fromkeys(
        (
            *("too_many_requests", "server_errors", "resets", "truncated_answers", "slow_answers", "expired_token"),
            *("skewed_date_header", "garbage_answers", "storm"),
        ),
        _HTTP,
    ),
    adapt=adapt,
    parts=True,
)
