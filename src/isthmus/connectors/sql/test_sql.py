"""What tables are said to be, rows as real databases sent them in our words and back, and PostgreSQL's log as bytes."""

import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from isthmus.connectors.sql import CONNECTOR
from isthmus.connectors.sql.cursor import Place
from isthmus.connectors.sql.dialects import MARIADB, POSTGRESQL, SQLITE, Dialect
from isthmus.connectors.sql.pgoutput import (
    UNCHANGED,
    Begin,
    Changed,
    Commit,
    Message,
    NotPgoutput,
    Relation,
    Truncated,
    decoded,
    lsn_number,
    lsn_text,
)
from isthmus.connectors.sql.places import reached, where
from isthmus.connectors.sql.tables import TablesRefused, tables_of
from isthmus.connectors.sql.values import Kind, earlier, held
from isthmus.kernel.layouts import stamp_moment
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, Connector, ConnectorError, Raw
from isthmus.sync.drift import drift_of, unexpected

HERE = Path(__file__).parent
KINDS = """
[kinds]
type = "sales.account"
key = "id"
updated_at = "changed"
write = true
mark = "label"
[kinds.fields]
name = "label"
annual_revenue = { column = "amount", currency = "EUR" }
kind = { column = "mood", values = { well = "customer", ill = "prospect" } }
parent_id = { column = "whole", link = true, direction = "in" }
"custom.vip" = { column = "yes", form = "truth" }
"custom.since" = { column = "day", form = "text", direction = "in" }
tags = { column = "told", form = "json" }
"""


def recorded(name: str) -> list[dict[str, Json]]:
    return cast("list[dict[str, Json]]", json.loads((HERE / "fixtures" / f"{name}.json").read_text("utf-8")))


def log() -> list[Message | None]:
    told = cast("list[str]", json.loads((HERE / "fixtures" / "log.json").read_text("utf-8")))
    return [decoded(b64decode(each)) for each in told]


def adapted(tables: str = KINDS) -> Connector:
    return CONNECTOR.adapted({"tables": tables})


def said(kind: str, number: int, tables: str = KINDS) -> Observation:
    """Return what the recorded row of a kind of database says."""
    [body] = [row for row in recorded(kind) if row["id"] == number]
    [word] = adapted(tables).normalise("kinds", Raw(external_id=str(number), body=body))
    return word


def change(**fields: Json) -> Change:
    return Change(record_id=UUID(int=1), type="sales.account", fields=fields)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_row_of_every_type_is_said_exactly(kind: str) -> None:
    word = said(kind, 1)
    assert word.fields["name"] == "Röhre & Co"
    assert word.fields["annual_revenue"] == {"amount": "12345678901234.500000", "currency": "EUR"}
    assert word.fields["kind"] == "customer"
    assert word.fields["tags"] == {"a": [1, None]}
    assert word.fields["custom"] == {"vip": True, "since": "2026-07-01"}
    assert word.links["parent_id"].external_id in ("9007199254740993", "18446744073709551615")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_nothing_stays_nothing(kind: str) -> None:
    word = said(kind, 2)
    assert [word.fields[name] for name in ("name", "annual_revenue", "kind", "tags")] == [None] * 4
    assert cast("dict[str, Json]", word.fields["custom"])["vip"] is False


def test_what_is_written_is_what_was_read() -> None:
    word = said("postgresql", 1)
    back = adapted().express("kinds", change(**word.fields))
    assert back == {
        "label": "Röhre & Co",
        "amount": "12345678901234.500000",
        "mood": "well",
        "yes": True,
        "told": {"a": [1, None]},
    }, "what is only read is not written"


def test_a_link_is_written_as_the_key_of_the_other_row() -> None:
    tables = '[a]\ntype = "sales.deal"\nkey = "id"\nwrite = true\nmark = "m"\n'
    tables += '[a.fields]\naccount_id = { column = "customer", link = true }\n'
    wanted = Change(record_id=UUID(int=1), type="sales.deal", fields={}, links={"account_id": "7"})
    assert adapted(tables).express("a", wanted) == {"customer": "7"}
    [word] = adapted(tables).normalise("a", Raw(external_id="1", body={"id": 1, "customer": 7}))
    assert word.links["account_id"].external_id == "7"


def test_a_feed_tells_its_type_its_direction_and_what_it_expects() -> None:
    [feed] = adapted().feeds
    assert (feed.name, feed.types, feed.writes) == ("kinds", ("sales.account",), ("sales.account",))
    assert set(adapted().writable["sales.account"]) == {"name", "annual_revenue", "kind", "custom", "tags"}
    for row in recorded("postgresql"):
        mapped = {name: row[name] for name in feed.expects}
        assert drift_of(feed, mapped) is None
        assert unexpected(feed, [Raw(external_id="1", body=mapped | {"new": 1})]) == {"kinds.new"}
    fault = drift_of(feed, {**row_of(feed.expects), "label": ["a", "list"]})
    assert fault is not None
    assert "label" in fault.detail


def row_of(expects: object) -> dict[str, Json]:
    return dict.fromkeys(cast("dict[str, str]", expects), "text")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a", "cannot be read"),
        ('{"a": {"type": "sales.account"}}', "key"),
        ('[a]\ntype = "sales.acount"\nkey = "id"\n[a.fields]\nname = "n"\n', "no record type 'sales.acount'"),
        ('[a]\ntype = "sales.account"\nkey = "id"\nfields = {}\n', "map one column"),
        ('[a]\ntype = "sales.account"\nkey = "id"\nwrite = true\n[a.fields]\nname = "n"\n', "give `mark`"),
        ('[a]\ntype = "sales.account"\nkey = "id"\nstamp = true\n[a.fields]\nname = "n"\n', "needs `updated_at`"),
        ('[a]\ntype = "sales.account"\nkey = "id"\nzone = "Mars"\n[a.fields]\nname = "n"\n', "no zone 'Mars'"),
        ('[a]\ntype = "sales.account"\nkey = "id"\nwhere = "1=1"\n[a.fields]\nname = "n"\n', "unknown field"),
        ('[a]\ntype = "sales.account"\nkey = "id"\n[a.fields]\nname = "n"\ncity = "n"\n', "more than one field"),
        ('[a]\ntype = "sales.account"\nkey = "id"\n[a.fields]\nx = { column = "n", currency = "euro" }\n', "three"),
    ],
)
def test_tables_that_do_not_fit_are_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(TablesRefused) as caught:
        adapted(text)
    assert words in str(caught.value)
    assert caught.value.fix


def test_one_record_type_comes_from_one_table() -> None:
    one = '[{}]\ntype = "sales.account"\nkey = "id"\n[{}.fields]\nname = "n"\n'
    with pytest.raises(TablesRefused, match="comes from more than one table"):
        tables_of(one.format("a", "a") + one.format("b", "b"))


@pytest.mark.parametrize(
    ("told", "back"),
    [
        ("2026-01-02 03:04:05.678901", "2026-01-02 03:03:05.678901"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:03:05Z"),
        ("2026-01-01 00:00:30+00:00", "2025-12-31 23:59:30+00:00"),
        ("1767322800", "1767322740.0"),
        ("1767322800000", "1767322740000.0"),
        ("0001-01-01 00:00:30", "0001-01-01 00:00:30"),
        ("yesterday", "yesterday"),
    ],
)
def test_a_stamp_is_moved_back_in_its_own_shape(told: str, back: str) -> None:
    assert earlier(told, overlap=timedelta(seconds=60)) == back
    assert earlier(told, overlap=timedelta()) in (told, f"{told}.0")


def test_a_time_without_a_zone_is_of_the_zone_of_its_table() -> None:
    zone = tables_of(KINDS.replace("write = true", 'zone = "Europe/Brussels"'))["kinds"].zone
    assert zone == "Europe/Brussels"
    told = stamp_moment("2026-07-01 12:00:00", zone=ZoneInfo(zone))
    assert told == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert held("2026-07-01T10:00:00+00:00", Kind.LOCAL, zone=ZoneInfo(zone), textual=True) == "2026-07-01 12:00:00"
    assert held('a "b" \\', Kind.TEXT, zone=ZoneInfo(zone), textual=True) == 'a "b" \\'
    assert held(["x", 'y "z"', None], Kind.LIST, zone=ZoneInfo(zone), textual=True) == '{"x","y \\"z\\"",NULL}'


@pytest.mark.parametrize(
    ("dialect", "quoted"),
    [(POSTGRESQL, '"a""b%%s"'), (MARIADB, '`a"b%%s`'), (SQLITE, '"a""b%s"')],
)
def test_names_are_quoted_whatever_they_hold(dialect: Dialect, quoted: str) -> None:
    assert dialect.named('a"b%s') == quoted


def test_the_log_is_decoded_from_real_bytes() -> None:
    told = log()
    relations = [each for each in told if isinstance(each, Relation)]
    assert {(each.schema, each.name, tuple(name for name, _ in each.columns)) for each in relations} == {
        ("public", "logged", ("id", "label", "weight"))
    }
    changed = [each for each in told if isinstance(each, Changed)]
    assert [each.kind for each in changed] == ["insert", "insert", "update", "update", "update", "delete"]
    assert changed[0].new == (b"1", b"one", b"1.50")
    assert changed[1].new == (b"2", None, None)
    assert changed[2].new is not None
    assert changed[2].new[1] == b"long " * 2000
    assert changed[3].new == (b"1", UNCHANGED, b"2.25"), "what is large and did not change is not in the log"
    assert (changed[4].old, changed[4].new) == ((b"2", None, None), (b"3", None, None)), "a key that moved is told"
    assert (changed[5].old, changed[5].new) == ((b"3", None, None), None)
    assert told[-2] == Truncated((relations[0].number,))


def test_transactions_of_the_log_come_in_the_order_of_their_ends() -> None:
    begun = [each.lsn for each in log() if isinstance(each, Begin)]
    ended = [each.end for each in log() if isinstance(each, Commit)]
    assert len(begun) == len(ended) == 6
    assert begun == sorted(begun)
    assert all(lsn < end for lsn, end in zip(begun, ended, strict=True))


def test_every_message_that_breaks_off_is_told() -> None:
    told = [b64decode(each) for each in cast("list[str]", json.loads((HERE / "fixtures/log.json").read_text("utf-8")))]
    for each in told:
        for length in {0, 1, 5, len(each) // 2, len(each) - 1} - {len(each)}:
            if each[:1] == b"B" and length >= 9:
                continue
            if each[:1] == b"C" and length >= 18:
                continue
            with pytest.raises(NotPgoutput):
                decoded(each[:length])
    with pytest.raises(NotPgoutput, match="begins no message"):
        decoded(b"Z")


def test_a_place_in_the_log_is_written_as_postgresql_does() -> None:
    assert lsn_text(0x16B374D848) == "16/B374D848"
    assert lsn_number("16/B374D848") == 0x16B374D848


def test_a_cursor_comes_back_as_it_went() -> None:
    for place in (
        Place(phase="stamped", at="2026-01-01 00:00:00", key="7", going=True),
        Place(phase="log", lsn="0/15D68", skip=3),
        Place(phase="keys", key="9", begun="0/1"),
    ):
        assert Place.parse(place.text()) == place
    with pytest.raises(ConnectorError):
        Place.parse('{"phase": "stamped", "of": "somebody else"}')


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://db.example/shop", "no databases of kind"),
        ("postgresql://user:secret@db.example/shop", "holds a password"),
        ("postgresql://db.example/shop", "lacks a host, a user or a database"),
        ("mariadb://user@db.example", "lacks a host, a user or a database"),
        ("postgresql://user@db.example/shop?options=-c", "more than a database"),
        ("postgresql://user@db.example:port/shop", "cannot be read"),
        ("sqlite:///srv/shop.db", "no databases of kind"),
        ("", "Either a database or a file"),
    ],
)
def test_an_address_that_is_none_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(ConnectorError, match=words) as caught:
        where(url, tls="verify")
    assert caught.value.fix
    assert "secret@" not in str(caught.value)


def test_a_file_has_an_absolute_path_and_no_address_beside_it() -> None:
    assert where("", file="/srv/shop.db").path == Path("/srv/shop.db")
    with pytest.raises(ConnectorError, match="no absolute path"):
        where("", file="shop.db")
    with pytest.raises(ConnectorError, match="Either"):
        where("postgresql://user@db.example/shop", file="/srv/shop.db")
    [file] = [each for each in CONNECTOR.settings if each.name == "file"]
    assert file.local


@pytest.mark.parametrize(
    ("host", "tls"),
    [("169.254.169.254", "off"), ("169.254.169.254", "verify"), ("93.184.215.14", "off")],
)
async def test_an_address_that_may_not_be_called_is_not(host: str, tls: str) -> None:
    with pytest.raises(ConnectorError):
        await reached(where(f"postgresql://user@{host}/shop", tls=tls))
    assert await reached(where("mariadb://user@127.0.0.1/shop", tls="off")) == "127.0.0.1"
