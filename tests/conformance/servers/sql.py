"""The counterparts of SQL: real databases, changed by their own drivers as their people's programs would."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.kernel.marks import Json
from tests.rooms.connectors.sql_servers import SqlServer, mariadb, postgresql, sqlite

PAGE_ROWS = 5
FEED = "customers"
TABLES = """
[customers]
type = "sales.account"
key = "id"
updated_at = "changed"
write = true
mark = "made_as"
[customers.fields]
name = "name"
city = "city"
country = "country"
[orders]
type = "sales.deal"
key = "id"
[orders.fields]
name = "title"
account_id = { column = "customer_id", link = true }
amount = { column = "total", currency = "EUR" }
"""
SCHEMAS = {
    "postgresql": """
create table customers (id serial primary key, name text, city text, country varchar(2), made_as text unique,
    changed timestamptz not null default now());;
create index on customers (changed, id);;
create function stamp() returns trigger language plpgsql as 'begin new.changed := now(); return new; end';;
create trigger stamp before update on customers for each row execute function stamp();;
create table orders (id serial primary key, title text, customer_id int, total numeric(12, 2))
""",
    "mariadb": """
create table customers (id int auto_increment primary key, name text, city text, country varchar(2),
    made_as varchar(200) unique,
    changed datetime(6) not null default current_timestamp(6) on update current_timestamp(6),
    key (changed, id)) character set utf8mb4;;
create table orders (id int auto_increment primary key, title text, customer_id int, total decimal(12, 2))
""",
    "sqlite": """
create table customers (id integer primary key autoincrement, name text, city text,
    country text check (length(country) = 2), made_as text unique,
    changed text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')));;
create index changes on customers (changed, id);;
create trigger stamp after update on customers when new.changed = old.changed
begin update customers set changed = strftime('%Y-%m-%d %H:%M:%f', 'now') where id = new.id; end;;
create table orders (id integer primary key autoincrement, title text, customer_id int, total text)
""",
}


@dataclass
class SqlCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    server: SqlServer
    settings: Mapping[str, str]
    wrong: Mapping[str, str]
    feed: str = FEED
    type: str = "sales.account"
    fields: tuple[str, str] = ("name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"country": "Atlantis"})

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a customer."""
        if external_id is None:
            return self._made("insert into customers (name, city) values (?, ?)", values["name"], values["city"])
        parts = ", ".join(f"{name} = ?" for name in values)
        self.server.do(f"update customers set {parts} where id = ?", *values.values(), int(external_id))  # noqa: S608 - names of our own.
        return external_id

    def burst(self, count: int) -> list[str]:
        """Make customers in one statement, which has one time."""
        [(last,)] = self.server.do("select coalesce(max(id), 0) from customers")
        made = ", ".join("(?, 'Ghent')" for _ in range(count))
        self.server.do(f"insert into customers (name, city) values {made}", *(f"Burst {each}" for each in range(count)))  # noqa: S608 - placeholders only.
        return [str(row[0]) for row in self.server.do("select id from customers where id > ? order by id", last)]

    def delete(self, external_id: str) -> None:
        """Delete a customer."""
        self.server.do("delete from customers where id = ?", int(external_id))

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a customer holds."""
        found = self.server.do("select name, city from customers where id = ?", int(external_id))
        return (
            dict(zip(self.fields, (None if each is None else str(each) for each in found[0]), strict=True))
            if found
            else None
        )

    def _made(self, query: str, *given: object) -> str:
        [(number,)] = self.server.do(f"{query} returning id", *given)
        return str(number)


def given(server: SqlServer, **more: str) -> dict[str, str]:
    """Return settings as a person would give them."""
    return server.settings | {"tables": TABLES, "page_rows": str(PAGE_ROWS), "overlap_s": "0"} | more


@contextmanager
def _filled(running: AbstractContextManager[SqlServer]) -> Generator[SqlCounterpart]:
    with running as server:
        server.all(SCHEMAS[server.kind])
        number = server.do("insert into customers (name, city) values ('Lantern Works', 'Ghent') returning id")[0][0]
        server.do("insert into orders (title, customer_id, total) values ('Lamps', ?, '12.50')", number)
        wrong = {"file": "/none.db"} if server.kind == "sqlite" else {"password": "of nobody here"}
        yield SqlCounterpart(server, given(server), wrong)


KINDS: Mapping[str, Callable[[Path], AbstractContextManager[SqlCounterpart]]] = {
    "postgresql": lambda _: _filled(postgresql()),
    "mariadb": lambda _: _filled(mariadb()),
    "sqlite": lambda home: _filled(sqlite(home)),
}
