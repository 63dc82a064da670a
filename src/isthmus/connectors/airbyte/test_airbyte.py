"""What a source told, in our words; which catalog asks for a stream; and what its states and lines mean."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from isthmus.connectors.airbyte import CONNECTOR
from isthmus.connectors.airbyte.client import configured
from isthmus.connectors.airbyte.layouts import TYPES, Configured
from isthmus.connectors.airbyte.protocol import heard, line_of
from isthmus.kernel.marks import Json
from isthmus.sync.connector import FeedTrouble, NotAsDocumented, Page
from isthmus.sync.programs import Program
from isthmus.sync.streams import streams_of
from isthmus.sync.taps import Message, Place, paged

FIXTURES = Path(__file__).parent / "fixtures"
STREAMS = """
[customers]
type = "sales.account"
key = "id"
updated_at = "changed"
[customers.fields]
name = "name"
city = "address__city"
"""
PROGRAM = Program(title="source-shop", command=("/opt/source-shop",), home=Path("/nowhere"))


def customers(text: str = STREAMS) -> Configured:
    return streams_of(text, Configured, types=TYPES, setting="streams")["customers"]


def catalog() -> dict[str, Json]:
    return msgspec.json.decode((FIXTURES / "catalog.json").read_bytes(), type=dict[str, Json])


def recorded() -> list[bytes]:
    return (FIXTURES / "messages.ndjson").read_bytes().splitlines()


async def messages(lines: Sequence[bytes]) -> list[Message]:
    async def told() -> AsyncIterator[bytes]:
        for each in lines:
            yield each

    return [each async for each in heard(told(), PROGRAM, name="customers", stream=customers())]


async def pages(lines: Sequence[bytes]) -> list[Page]:
    async def told() -> AsyncIterator[Message]:
        for each in await messages(lines):
            yield each

    names = frozenset({"customers"})
    return [page async for page in paged(told(), customers(), names=names, place=Place(), page_rows=9)]


def line(**message: Json) -> bytes:
    return json.dumps(message).encode()


def record(**values: Json) -> bytes:
    return line(type="RECORD", record={"stream": "customers", "data": values, "emitted_at": 0})


async def test_what_a_source_told_is_said_in_our_words() -> None:
    first, last = await pages(recorded())
    [word] = CONNECTOR.adapted({"streams": STREAMS}).normalise("customers", first.rows[0])
    assert (word.type, word.external_id, word.fields) == ("sales.account", "1", {"name": "Lamps 1", "city": "Ghent"})
    [state] = cast("list[dict[str, dict[str, Json]]]", Place.parse(last.cursor).state)
    assert state["stream"]["stream_state"] == {"changed": "2026-11-02"}


def test_a_catalog_asks_for_one_stream_as_the_source_told_it() -> None:
    [entry] = cast("list[dict[str, Json]]", configured(catalog(), "customers", customers())["streams"])
    assert entry["stream"] == cast("list[Json]", catalog()["streams"])[0]
    assert (entry["sync_mode"], entry["primary_key"]) == ("incremental", [["id"]])
    whole = customers(STREAMS.replace("updated_at", 'mode = "full_refresh"\nupdated_at'))
    [entry] = cast("list[dict[str, Json]]", configured(catalog(), "customers", whole)["streams"])
    assert entry["sync_mode"] == "full_refresh"


def test_a_cursor_is_asked_for_only_where_the_source_leaves_it_open() -> None:
    mine = customers(STREAMS.replace("updated_at", 'cursor = "seen"\nupdated_at'))
    stream = {"name": "customers", "supported_sync_modes": ["incremental"], "default_cursor_field": ["changed"]}
    for defined, wanted in ((None, ["seen"]), (True, None)):
        told = cast("Json", {**stream, "source_defined_cursor": defined})
        [entry] = cast("list[dict[str, Json]]", configured({"streams": [told]}, "customers", mine)["streams"])
        assert entry.get("cursor_field") == wanted


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        (STREAMS.replace('key = "id"', 'key = "id"\nstream = "people"'), "has no stream people; there are: customers"),
        (STREAMS.replace('key = "id"', 'key = "number"'), "customers has no column number"),
        (STREAMS.replace('key = "id"', 'key = "id"\nnamespace = "crm"'), "has no stream customers"),
    ],
)
def test_what_the_source_does_not_have_is_told_with_what_it_has(streams: str, words: str) -> None:
    with pytest.raises(FeedTrouble, match=words):
        configured(catalog(), "customers", customers(streams))


def test_a_way_of_reading_that_the_source_has_not_is_told() -> None:
    told: Json = {"name": "customers", "supported_sync_modes": ["full_refresh"]}
    with pytest.raises(FeedTrouble, match="only as full_refresh"):
        configured(
            {"streams": [told]},
            "customers",
            customers(STREAMS.replace("updated_at", 'mode = "incremental"\nupdated_at')),
        )


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ({"type": "GLOBAL", "global": {"a": 1}}, [{"type": "GLOBAL", "global": {"a": 1}}]),
        ({"data": {"customers": 7}}, {"customers": 7}),
        ({"type": "STREAM", "stream": {"stream_descriptor": {"name": "notes"}}}, None),
    ],
)
async def test_a_state_is_kept_in_the_form_in_which_it_is_given_back(state: dict[str, Json], kept: Json) -> None:
    found = await pages([record(id=1), line(type="STATE", state=state)])
    assert Place.parse(found[-1].cursor).state == kept


async def test_a_row_that_a_log_of_a_database_says_is_gone_is_deleted_here() -> None:
    first, _ = await pages(
        [record(id=1, _ab_cdc_deleted_at="2026-11-23T10:00:00Z"), record(id=2, _ab_cdc_deleted_at=None)]
    )
    assert [(raw.external_id, raw.deleted) for raw in first.rows] == [("1", True), ("2", False)]


async def test_rows_of_other_streams_are_passed_over() -> None:
    other = line(type="RECORD", record={"stream": "notes", "data": {"id": 1}, "emitted_at": 0})
    assert await messages([other]) == []


@pytest.mark.parametrize(
    "text", [b"Hello.", b"{no json", b'{"level": "info", "event": "a log of others"}', b"[1]", b"\n"]
)
def test_a_line_that_is_no_message_is_one_of_a_log(text: bytes) -> None:
    assert line_of(text, PROGRAM) is None


def test_a_message_of_another_form_is_told() -> None:
    with pytest.raises(NotAsDocumented, match="of another form"):
        line_of(b'{"type": "RECORD", "record": {"stream": 3}}', PROGRAM)
