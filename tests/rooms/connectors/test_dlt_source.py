"""dlt as it is, with sources of its own, read through our teller: rows, state, secrets, and what it says of trouble."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from isthmus.connectors.dlt import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Page
from isthmus.sync.programs import ProgramFailed
from tests.counterparts import DLT, require_libraries

TOKEN = "token-of-the-shop"
STREAMS = """
[customers]
type = "sales.account"
key = "id"
updated_at = "changed"
[customers.fields]
name = "name"
city = "address__city"
"""
PAGE_ROWS = 2


@dataclass
class Shop:
    """A web shop's interface: customers page by page, changed since, for who has its token."""

    customers: list[dict[str, Json]] = field(default_factory=list[dict[str, Json]])
    asked: list[str] = field(default_factory=list[str])
    url: str = ""

    def answer(self, path: str, authorisation: str) -> tuple[int, Json]:
        self.asked.append(path)
        if authorisation != f"Bearer {TOKEN}":
            return 401, {"error": f"nobody has {authorisation}"}
        query = parse_qs(urlsplit(path).query)
        since, page = query.get("since", [""])[0], int(query.get("page", ["1"])[0])
        found = [row for row in self.customers if str(row["changed"]) >= since]
        return 200, {"data": [*found[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]]}


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, said = shop.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it.
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shop.url = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield shop
    server.shutdown()
    server.server_close()


def settings_of(shop: Shop, *, token: str = TOKEN) -> dict[str, str]:
    """Return settings of dlt's own source for REST interfaces, incremental by the time of change."""
    pages = {"type": "page_number", "base_page": 1, "total_path": None, "stop_after_empty_page": True}
    since = {"type": "incremental", "cursor_path": "changed", "initial_value": "2026-01-01"}
    endpoint = {"path": "customers", "params": {"since": since}, "data_selector": "data"}
    config = {
        "client": {"base_url": shop.url, "auth": {"type": "bearer"}, "paginator": pages},
        "resources": [{"name": "customers", "primary_key": "id", "endpoint": endpoint}],
    }
    return {
        "python": str(require_libraries(DLT) / "python"),
        "source": "dlt.sources.rest_api:rest_api_source",
        "arguments": json.dumps({"config": config}),
        "environment": json.dumps({"SOURCES__REST_API__CREDENTIALS__TOKEN": token}),
        "streams": STREAMS,
    }


def said(pages: list[Page]) -> list[tuple[str, Json, Json]]:
    return [(raw.external_id, raw.body["name"], raw.body["address__city"]) for page in pages for raw in page.rows]


def customer(number: int, name: str, *, day: int) -> dict[str, Json]:
    return {"id": number, "name": name, "address": {"city": "Ghent"}, "changed": f"2026-11-{day:02}"}


async def test_a_rest_source_of_dlt_is_read_from_its_own_state(shop: Shop) -> None:
    shop.customers += [customer(number, f"Lamps {number}", day=number) for number in (1, 2, 3)]
    async with CONNECTOR.open(settings_of(shop)) as session:
        first = [page async for page in session.read("customers", cursor=None)]
        shop.customers += [customer(2, "Fine lamps", day=5)]
        shop.asked.clear()
        second = [page async for page in session.read("customers", cursor=first[-1].cursor)]
    assert said(first) == [(str(each), f"Lamps {each}", "Ghent") for each in (1, 2, 3)]
    assert said(second) == [("2", "Fine lamps", "Ghent")]
    assert all("since=2026-11-03" in path for path in shop.asked)


async def test_what_the_source_says_of_trouble_is_told_without_the_secret(shop: Shop) -> None:
    wrong = "token-of-nobody"
    async with CONNECTOR.open(settings_of(shop, token=wrong)) as session:
        with pytest.raises(ProgramFailed) as caught:
            await session.check()
    assert "401" in caught.value.detail
    assert wrong not in caught.value.detail
    assert caught.value.fix


async def test_tables_are_read_by_the_sql_source_of_dlt(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("create table clients (id integer primary key, name text, revenue decimal(10, 2))")
        database.execute("insert into clients values (7, 'Lamps', 12.5), (8, 'Oil', null)")
        database.commit()
    streams = """
    [clients]
    type = "sales.account"
    key = "id"
    [clients.fields]
    name = "name"
    annual_revenue = { column = "revenue", currency = "EUR" }
    """
    settings = {
        "python": str(require_libraries(DLT) / "python"),
        "source": "dlt.sources.sql_database:sql_database",
        "environment": json.dumps({"SOURCES__SQL_DATABASE__CREDENTIALS": f"sqlite:///{tmp_path}/shop.db"}),
        "streams": streams,
    }
    async with CONNECTOR.open(settings) as session:
        pages = [page async for page in session.read("clients", cursor=None)]
    adapted = CONNECTOR.adapted(settings)
    told = [word.fields for page in pages for raw in page.rows for word in adapted.normalise("clients", raw)]
    assert told == [
        {"name": "Lamps", "annual_revenue": {"amount": "12.50", "currency": "EUR"}},
        {"name": "Oil", "annual_revenue": None},
    ]
