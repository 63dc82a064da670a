"""Airbyte's own source for manifests, as it is, read through its protocol; and sources that end badly."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from isthmus.connectors.airbyte import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, Page
from isthmus.sync.programs import HIDDEN, ProgramFailed
from tests.conformance.servers.airbyte import PLAIN
from tests.counterparts import AIRBYTE, require_libraries

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
CURSOR: Json = {
    "type": "DatetimeBasedCursor",
    "cursor_field": "changed",
    "datetime_format": "%Y-%m-%d",
    "start_datetime": "2026-01-01",
    "start_time_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "since"},
}
PROPERTIES: Json = {
    name: {"type": ["string", "integer", "object", "null"]} for name in ("id", "name", "address", "changed")
}


@dataclass
class Shop:
    """A web shop's interface: customers changed since, for who has its token."""

    customers: list[Json] = field(default_factory=list[Json])
    asked: list[str] = field(default_factory=list[str])
    url: str = ""

    def answer(self, path: str, authorisation: str) -> tuple[int, Json]:
        self.asked.append(path)
        if authorisation != f"Bearer {TOKEN}":
            return 401, {"error": "the token is of nobody"}
        since = parse_qs(urlsplit(path).query).get("since", [""])[0]
        found = [row for row in self.customers if isinstance(row, dict) and str(row["changed"]) >= since]
        return 200, {"data": [*found]}


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
    """Return settings of a manifest that reads the shop, incrementally by the day of change."""
    requester: Json = {
        "type": "HttpRequester",
        "url_base": shop.url,
        "path": "/customers",
        "http_method": "GET",
        "authenticator": {"type": "BearerAuthenticator", "api_token": "{{ config['token'] }}"},
    }
    selector: Json = {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}}
    stream: Json = {
        "type": "DeclarativeStream",
        "name": "customers",
        "primary_key": "id",
        "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object", "properties": PROPERTIES}},
        "retriever": {"type": "SimpleRetriever", "requester": requester, "record_selector": selector},
        "incremental_sync": CURSOR,
    }
    manifest: Json = {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["customers"]},
        "streams": [stream],
        "spec": {
            "type": "Spec",
            "connection_specification": {"type": "object", "required": ["token"], "properties": {}},
        },
    }
    return {
        "command": str(require_libraries(AIRBYTE) / "source-declarative-manifest"),
        "config": json.dumps({"token": token, "__injected_declarative_manifest": manifest}),
        "streams": STREAMS,
    }


def said(pages: list[Page]) -> list[tuple[str, Json, Json]]:
    return [(raw.external_id, raw.body["name"], raw.body["address__city"]) for page in pages for raw in page.rows]


def customer(number: int, name: str, *, day: int) -> Json:
    return {"id": number, "name": name, "address": {"city": "Ghent"}, "changed": f"2026-11-{day:02}"}


async def test_a_manifest_is_read_from_its_own_state(shop: Shop) -> None:
    shop.customers += [customer(number, f"Lamps {number}", day=number) for number in (1, 2, 3)]
    async with CONNECTOR.open(settings_of(shop)) as session:
        first = [page async for page in session.read("customers", cursor=None)]
        shop.customers += [customer(2, "Fine lamps", day=5)]
        shop.asked.clear()
        second = [page async for page in session.read("customers", cursor=first[-1].cursor)]
    assert sorted(said(first)) == [(str(each), f"Lamps {each}", "Ghent") for each in (1, 2, 3)]
    assert sorted(said(second)) == [("2", "Fine lamps", "Ghent"), ("3", "Lamps 3", "Ghent")]
    assert shop.asked
    assert all("since=2026-11-03" in path for path in shop.asked)


async def test_a_config_that_the_source_refuses_is_told_in_its_words(shop: Shop) -> None:
    async with CONNECTOR.open(settings_of(shop, token="token-of-nobody")) as session:
        with pytest.raises(ConnectorError) as caught:
            await session.check()
    assert "source-declarative-manifest" in caught.value.detail
    assert "401" in caught.value.detail or "nobody" in caught.value.detail
    assert "token-of-nobody" not in caught.value.detail
    assert caught.value.fix


FAULT: Json = {"message": f"The key {TOKEN} is over.", "failure_type": "config_error"}
OF: Json = {"name": "customers"}


def trace(**more: Json) -> str:
    return json.dumps({"type": "TRACE", "trace": {"emitted_at": 0, **more}})


def scripted(home: Path, *lines: str, code: int = 0) -> dict[str, str]:
    """Return settings of a source that discovers rightly, and then tells a row and these lines."""
    script = home / "source.py"
    record = json.dumps({"type": "RECORD", "record": {"stream": "customers", "data": {"id": "1"}, "emitted_at": 0}})
    script.write_text(
        "import runpy, sys\n"
        f"if sys.argv[1] != 'read':\n    runpy.run_path({str(PLAIN)!r}, run_name='__main__')\n"
        f"else:\n    print({chr(10).join((record, *lines))!r})\n    sys.exit({code})\n",
        "utf-8",
    )
    config = json.dumps({"rows": str(home / "rows.json"), "key": TOKEN})
    return {"command": f"{sys.executable} -I -S {script}", "config": config, "streams": STREAMS}


@pytest.mark.parametrize(
    ("lines", "code", "words", "fix"),
    [
        ([trace(type="ERROR", error=FAULT)], 1, f"failed: The key {HIDDEN} is over.", "Correct `config`."),
        ([trace(type="ERROR", error={"message": "Slow down.", "failure_type": "transient_error"})], 0, "Slow", "again"),
        (
            [trace(type="STREAM_STATUS", stream_status={"stream_descriptor": OF, "status": "INCOMPLETE"})],
            0,
            "customers is complete",
            "by hand",
        ),
        ([], 3, "ended with 3", "by hand"),
        (['{"type": "RECORD", "record": {"data": []}}'], 0, "of another form", "protocol"),
    ],
)
async def test_what_was_told_before_a_failure_is_read_and_the_failure_told(
    tmp_path: Path, lines: list[str], code: int, words: str, fix: str
) -> None:
    seen: list[str] = []
    async with CONNECTOR.open(scripted(tmp_path, *lines, code=code)) as session:
        found = session.read("customers", cursor=None)
        seen += [raw.external_id for raw in (await anext(found)).rows]
        with pytest.raises(ProgramFailed if "form" not in words else ConnectorError) as caught:
            await anext(found)
    assert seen == ["1"]
    assert words in caught.value.detail
    assert fix in caught.value.fix
    assert TOKEN not in str(caught.value)


async def test_a_config_that_changed_by_itself_is_told_to_a_person(tmp_path: Path) -> None:
    control: Json = {"type": "CONTROL", "control": {"type": "CONNECTOR_CONFIG", "connectorConfig": {"config": {}}}}
    async with CONNECTOR.open(scripted(tmp_path, json.dumps(control))) as session:
        pages = [page async for page in session.read("customers", cursor=None)]
    assert "changed its own config" in pages[-1].note


async def test_the_check_names_what_the_config_lacks(tmp_path: Path) -> None:
    async with CONNECTOR.open(scripted(tmp_path) | {"config": "{}"}) as session:
        with pytest.raises(ConnectorError, match="refuses its config") as caught:
            await session.check()
    assert caught.value.fix == "Give in `config`: rows, key."
