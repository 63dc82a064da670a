"""What a tap told, in our words; which catalog selects a stream; and where the cursor stands when."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec
import pytest

from isthmus.connectors.singer import CONNECTOR
from isthmus.connectors.singer.catalog import selected
from isthmus.connectors.singer.layouts import TYPES, Tapped
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Connector, ConnectorError, FeedTrouble, NotAsDocumented, Page
from isthmus.sync.programs import HIDDEN, Program, command_of, secrets_in
from isthmus.sync.streams import StreamsRefused, streams_of
from isthmus.sync.taps import Message, Place, message_of, paged, raw_of

FIXTURES = Path(__file__).parent / "fixtures"
STREAMS = """
[customers]
type = "sales.account"
key = "id"
updated_at = "_sdc_last_modified"
[customers.fields]
name = "name"
"""
PROGRAM = Program(title="tap-shop", command=("/opt/tap-shop",), home=Path("/nowhere"), secrets=("secret-key",))


def customers(text: str = STREAMS) -> Tapped:
    return streams_of(text, Tapped, types=TYPES, setting="streams")["customers"]


def adapted() -> Connector:
    return CONNECTOR.adapted({"streams": STREAMS})


def recorded() -> list[Message]:
    return [message_of(line, PROGRAM) for line in (FIXTURES / "messages.ndjson").read_bytes().splitlines()]


def catalog() -> Json:
    return msgspec.json.decode((FIXTURES / "catalog.json").read_bytes(), type=dict[str, Json])


async def pages(messages: Sequence[Message], *, rows: int = 2, stream: Tapped | None = None) -> list[Page]:
    async def told() -> AsyncIterator[Message]:
        for each in messages:
            yield each

    names = frozenset({"customers"})
    return [page async for page in paged(told(), stream or customers(), names=names, place=Place(), page_rows=rows)]


def row(number: int) -> Message:
    return Message(type="RECORD", stream="customers", record={"id": number, "name": f"Lamps {number}"})


def state(value: Json) -> Message:
    return Message(type="STATE", value=value)


async def broken() -> AsyncIterator[Message]:
    yield row(1)
    yield state("one")
    raise FeedTrouble("It broke.", fix="Mend it.")


async def test_what_a_tap_told_is_said_in_our_words() -> None:
    first, last = await pages(recorded())
    [word] = adapted().normalise("customers", first.rows[0])
    assert (word.type, word.external_id, word.fields) == ("sales.account", "1", {"name": "Lamps"})
    assert word.at is not None
    assert word.at.tzinfo is UTC
    assert word.at > datetime(2026, 1, 1, tzinfo=UTC)
    assert set(first.rows[0].body) == {"id", "name", "_sdc_last_modified"}, "what is not mapped is not kept"
    assert cast("dict[str, Json]", Place.parse(last.cursor).state).keys() == {"bookmarks"}
    assert (last.rows, last.more) == ((), False)


async def test_a_state_is_kept_only_with_the_rows_that_were_told_before_it() -> None:
    found = await pages([row(1), state("one"), row(2), row(3), state("three"), row(4), row(5)])
    assert [[raw.external_id for raw in page.rows] for page in found] == [["1", "2"], ["3", "4"], ["5"], []]
    assert [Place.parse(page.cursor).state for page in found] == ["one", "three", "three", "three"]


async def test_what_was_told_before_a_trouble_is_stored_before_it() -> None:
    found = paged(broken(), customers(), names=frozenset({"customers"}), place=Place(), page_rows=9)
    page = await anext(found)
    assert ([raw.external_id for raw in page.rows], Place.parse(page.cursor).state) == (["1"], "one")
    with pytest.raises(FeedTrouble):
        await anext(found)


@pytest.mark.parametrize(("absent", "emptied"), [("kept", False), ("deleted", True)])
async def test_a_new_version_has_the_keys_compared_only_where_a_reading_tells_everything(
    absent: str, *, emptied: bool
) -> None:
    stream = customers(STREAMS.replace('key = "id"', f'key = "id"\nabsent = "{absent}"'))
    found = await pages([row(1), Message(type="ACTIVATE_VERSION", stream="customers")], stream=stream)
    assert found[-1].emptied is emptied


async def test_rows_of_other_streams_are_passed_over() -> None:
    [last] = await pages([Message(type="RECORD", stream="notes", record={"id": 1})])
    assert last.rows == ()


async def test_batches_in_files_are_refused() -> None:
    with pytest.raises(NotAsDocumented):
        await pages([Message(type="BATCH", stream="customers")])


def test_a_row_that_was_deleted_there_is_deleted_here() -> None:
    assert raw_of(customers(), {"id": 1, "_sdc_deleted_at": "2026-11-23T10:00:00Z"}).deleted
    assert not raw_of(customers(), {"id": 1, "_sdc_deleted_at": None}).deleted


def test_a_row_without_a_key_keeps_its_own_id() -> None:
    one, two = (raw_of(customers(), {"id": None, "name": name}) for name in ("Lamps", "Oil"))
    assert one.external_id != two.external_id
    assert one.external_id.startswith("without key ")


def test_a_number_without_room_is_told_as_text() -> None:
    assert raw_of(customers(), {"id": 2**64}).body["id"] == str(2**64)


def test_only_the_stream_and_the_columns_that_are_read_are_selected() -> None:
    found, names = selected(catalog(), "customers", customers())
    [entry] = cast("list[dict[str, list[dict[str, Json]]]]", found["streams"])
    said = {tuple(cast("list[str]", each["breadcrumb"])): each["metadata"] for each in entry["metadata"]}
    assert names == {"customers"}
    assert cast("dict[str, Json]", said[()])["selected"] is True
    assert cast("dict[str, Json]", said["properties", "name"])["selected"] is True
    assert cast("dict[str, Json]", said["properties", "secret"])["selected"] is False


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        (STREAMS.replace("[customers", "[people"), "has no stream people; there are: customers"),
        (STREAMS.replace('"name"', '"nom"'), "customers has no column nom; it has id, name"),
    ],
)
def test_what_the_tap_does_not_have_is_told_with_what_it_has(streams: str, words: str) -> None:
    [(name, stream)] = streams_of(streams, Tapped, types=TYPES, setting="streams").items()
    with pytest.raises(FeedTrouble, match=words):
        selected(catalog(), name, stream)


def test_a_description_that_does_not_fit_is_told_with_every_fault() -> None:
    with pytest.raises(StreamsRefused) as caught:
        customers(STREAMS.replace("sales.account", "sales.nothing").replace('"id"', "[]"))
    assert [fault.pointer for fault in caught.value.faults] == ["/streams/customers/type", "/streams/customers/key"]


def test_a_line_that_is_no_message_is_told_without_secrets() -> None:
    with pytest.raises(NotAsDocumented) as caught:
        message_of(b"signed in with secret-key", PROGRAM)
    assert f"signed in with {HIDDEN}" in caught.value.detail


def test_secrets_are_found_however_deep_and_however_written() -> None:
    assert secrets_in({"a": [{"key": 'sec"ret/1'}], "short": "abc"}) == ("sec%22ret%2F1", 'sec\\"ret/1', 'sec"ret/1')


@pytest.mark.parametrize("text", ["", "tap-jsonl", "'/opt/tap", "/opt/there/is/none"])
def test_a_command_that_cannot_be_run_is_refused_with_a_fix(text: str) -> None:
    with pytest.raises(ConnectorError) as caught:
        command_of(text, setting="command")
    assert caught.value.fix


@pytest.mark.parametrize("text", ["{of somebody else}", '{"going":1}', "[]"])
def test_a_cursor_of_others_is_refused(text: str) -> None:
    with pytest.raises(IsthmusError):
        Place.parse(text)
