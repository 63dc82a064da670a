"""What a source of dlt told, in our words; and which settings are refused, with what to do."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import msgspec
import pytest

from isthmus.connectors.dlt import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, Page
from isthmus.sync.programs import Program
from isthmus.sync.streams import Stream, columns_lacking
from isthmus.sync.taps import Message, Place, message_of, paged

FIXTURES = Path(__file__).parent / "fixtures"
PROGRAM = Program(title="dlt shop:shop", command=("/opt/dlt/bin/python",), home=Path("/nowhere"))
STREAM = Stream(
    type="sales.account",
    key="id",
    updated_at="changed",
    fields={"name": "name", "city": "address__city", "custom.line": "address__lines", "custom.none": "address__x__y"},
)
SETTINGS = {"python": "/bin/sh", "source": "shop:shop", "streams": "{}"}


async def recorded() -> AsyncIterator[Message]:
    for line in (FIXTURES / "messages.ndjson").read_bytes().splitlines():
        yield message_of(line, PROGRAM)


async def pages() -> list[Page]:
    names = frozenset({"customers"})
    return [page async for page in paged(recorded(), STREAM, names=names, place=Place(), page_rows=9)]


async def test_what_a_source_told_is_said_in_our_words() -> None:
    streams = msgspec.json.encode({"customers": {**cast("dict[str, Json]", msgspec.to_builtins(STREAM))}}).decode()
    first, last = await pages()
    adapted = CONNECTOR.adapted({"streams": streams})
    [word] = adapted.normalise("customers", first.rows[0])
    assert (word.external_id, word.fields["name"], word.fields["city"]) == ("1", "Lamps", "Ghent")
    assert first.rows[0].body.keys() == {"id", "name", "changed", "address__city", "address__lines"}
    assert "2026-11-04T10:00:00Z" in str(Place.parse(last.cursor).state)


async def test_a_row_that_is_hinted_as_deleted_is_deleted_here() -> None:
    first, _ = await pages()
    assert [(raw.external_id, raw.deleted) for raw in first.rows] == [("1", False), ("2", True)]


async def test_a_part_of_a_map_that_is_none_is_none() -> None:
    names = frozenset({"customers"})

    async def told() -> AsyncIterator[Message]:
        yield Message(type="RECORD", stream="customers", record={"id": 1, "address": None})

    [page, _] = [page async for page in paged(told(), STREAM, names=names, place=Place(), page_rows=9)]
    assert page.rows[0].body["address__city"] is None
    assert "name" not in page.rows[0].body


def test_a_column_within_a_map_is_lacking_only_where_the_map_is() -> None:
    assert set(columns_lacking(STREAM, ["id", "name", "changed", "address"])) == set()
    assert "address__city" in set(columns_lacking(STREAM, ["id", "name", "changed"]))


def test_the_recorded_catalog_has_the_columns_that_were_seen() -> None:
    told = msgspec.json.decode((FIXTURES / "catalog.json").read_bytes())
    assert {each["stream"]: each["seen"] for each in told["streams"]} == {
        "customers": [],
        "notes": ["id", "text", "on"],
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"python": "python"}, "absolute path"),
        ({"source": "shop"}, "names no source"),
        ({"source": "shop:shop; import os"}, "names no source"),
        ({"arguments": "[1]"}, "`arguments` is no map"),
        ({"environment": '{"LD_PRELOAD": "/x.so"}'}, "LD_PRELOAD"),
        ({"environment": '{"PYTHONPATH": "/x"}'}, "PYTHONPATH"),
        ({"environment": '{"SOURCES__TOKEN": 3}'}, "SOURCES__TOKEN"),
        ({"folder": "/there/is/none"}, "There is no folder"),
        ({"quiet_s": "soon"}, "are numbers"),
    ],
)
async def test_settings_that_cannot_be_right_are_refused_with_a_fix(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ConnectorError, match=words) as caught:
        async with CONNECTOR.open(SETTINGS | settings):
            pass
    assert caught.value.fix
