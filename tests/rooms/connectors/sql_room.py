"""Sessions with real databases, a table of every type they have, and what PostgreSQL writes into its log.

python -m tests.rooms.connectors.sql_room        records the fixtures of the connector anew
"""

import asyncio
import json
from base64 import b64encode
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from uuid import UUID

from isthmus.connectors import sql as connector
from isthmus.connectors.sql import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, Page, Raw, Session
from tests.rooms.connectors.sql_servers import SqlServer, mariadb, postgresql, sqlite

FIXTURES = Path(connector.__file__).parent / "fixtures"
RECORD = UUID(int=1)
KINDS = """
[kinds]
type = "sales.account"
key = "id"
updated_at = "changed"
zone = "Europe/Brussels"
ignored = []
[kinds.fields]
name = "label"
"""
TABLES = {
    "postgresql": """
create type mood as enum ('well', 'ill');;
create table kinds (id bigint primary key, label varchar(40), amount numeric(20, 6), ratio double precision,
    yes boolean, whole bigint, aware timestamptz, naive timestamp, day date, clock time, span interval, mood mood,
    told jsonb, tags text[], number uuid, changed timestamp);;
insert into kinds values (1, 'Röhre & Co', 12345678901234.500000, 0.1, true, 9007199254740993,
    '2026-07-01 12:00:00.123456+02', '2026-07-01 12:00:00', '2026-07-01', '12:30:00', '1 day 2 hours', 'well',
    '{"a": [1, null]}', '{x,"y z"}', '00000000-0000-0000-0000-000000000007', '2026-01-02 03:04:05.678901'),
    (2, null, null, 'NaN', false, -1, 'infinity', null, '-infinity', null, null, null, null, null, null, null)
""",
    "mariadb": """
create table kinds (id bigint primary key, label varchar(40), amount decimal(20, 6), ratio double, yes tinyint(1),
    whole bigint unsigned, aware timestamp(6) null, naive datetime, day date, clock time,
    mood enum('well', 'ill'), told json, changed datetime(6)) character set utf8mb4;;
insert into kinds values (1, 'Röhre & Co', 12345678901234.500000, 0.1, 1, 18446744073709551615,
    '2026-07-01 10:00:00.123456', '2026-07-01 12:00:00', '2026-07-01', '12:30:00', 'well',
    '{"a": [1, null]}', '2026-01-02 03:04:05.678901'),
    (2, null, null, null, 0, 0, null, null, null, null, null, null, null)
""",
    "sqlite": """
create table kinds (id integer primary key, label text, amount text, ratio real, yes boolean, whole integer,
    told json, changed text);;
insert into kinds values (1, 'Röhre & Co', '12345678901234.500000', 0.1, 1, 9007199254740993, '{"a": [1, null]}',
    '2026-01-02 03:04:05.678901'), (2, null, null, null, 0, -1, null, null)
""",
}
LOGGED = """
create table logged (id int primary key, label text, weight numeric);;
alter table logged alter label set storage external;;
create publication recorded for table logged
"""
STORY = """
insert into logged values (1, 'one', 1.50), (2, null, null);;
update logged set label = repeat('long ', 2000) where id = 1;;
update logged set weight = 2.25 where id = 1;;
update logged set id = 3 where id = 2;;
delete from logged where id = 3;;
truncate logged
"""


def opened(server: SqlServer, tables: str, **settings: str) -> AbstractAsyncContextManager[Session]:
    """Open a session as a person would connect it; without overlap unless one is given."""
    return CONNECTOR.open(given(server, tables, **settings))


def given(server: SqlServer, tables: str, **settings: str) -> dict[str, str]:
    """Return settings as a person would give them."""
    return server.settings | {"tables": tables, "overlap_s": "0"} | settings


async def pages(session: Session, feed: str, cursor: str | None = None) -> list[Page]:
    """Read a feed to its end."""
    return [page async for page in session.read(feed, cursor=cursor)]


async def rows(session: Session, feed: str, cursor: str | None = None) -> list[Raw]:
    """Read the rows of a feed."""
    return [row for page in await pages(session, feed, cursor) for row in page.rows]


def change(
    kind: str, fields: dict[str, Json] | None = None, *, of: str | None = None, key: str = "k", deleted: bool = False
) -> Change:
    """Return a change of a record, or a new one."""
    return Change(record_id=RECORD, type=kind, fields=fields or {}, external_id=of, key=key, deleted=deleted)


async def recorded(server: SqlServer) -> list[dict[str, Json]]:
    """Return the rows of the table of every type as the connector receives them."""
    async with opened(server, KINDS) as session:
        return [row.body for row in await rows(session, "kinds")]


def log_of(server: SqlServer) -> list[str]:
    """Return what PostgreSQL writes into its log of a small story, in base64."""
    server.all(LOGGED)
    server.do("select pg_create_logical_replication_slot('recorded', 'pgoutput')")
    server.all(STORY)
    found = server.do(
        "select data from pg_logical_slot_get_binary_changes('recorded', null, null, 'proto_version', '1',"
        " 'publication_names', 'recorded')"
    )
    server.do("select pg_drop_replication_slot('recorded')")
    return [b64encode(cast("bytes", told)).decode() for (told,) in found]


async def _record() -> None:
    with TemporaryDirectory() as home:
        servers: dict[str, AbstractContextManager[SqlServer]] = {
            "postgresql": postgresql(),
            "mariadb": mariadb(),
            "sqlite": sqlite(Path(home)),
        }
        for kind, running in servers.items():
            with running as server:
                server.all(TABLES[kind])
                _write(f"{kind}.json", cast("Json", await recorded(server)))
                if kind == "postgresql":
                    _write("log.json", cast("Json", log_of(server)))


def _write(name: str, told: Json) -> None:
    written = json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True)
    (FIXTURES / name).write_text(f"{written}\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(_record())
