"""Columns and ways: what a vendor's value becomes, what is written back, and what is left unsaid."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError
from isthmus.sync.rest.columns import Column, col, digest, either, express, link, money, names, when, word, writable
from isthmus.sync.rest.connector import table
from isthmus.sync.rest.ways import (
    BLANK,
    CLOCK,
    DAY,
    MOMENT,
    OWN_ID,
    PERCENT,
    TEXT,
    UNIX_MS,
    UNIX_S,
    Row,
    Way,
    primary,
    words,
)


def said(column: Column, row: Row) -> Row:
    """Return what a column says of a row, links among it."""
    found = word("sales.account", [column], row)
    return {**found.fields, **found.links}


def test_absent_null_and_blank_are_three_things() -> None:
    column = col("name", "title")
    assert said(column, {}) == {}
    assert said(column, {"title": None}) == {"name": None}
    assert said(column, {"title": ""}) == {"name": None}
    nested = col("city", "address.town")
    assert said(nested, {"address": {}}) == {}
    assert said(nested, {"address": None}) == {"city": None}
    assert express([column], {"name": None}, current={"title": "Old"}) == {"title": None}
    assert express([col("name", "title", BLANK)], {"name": None}, current={"title": "Old"}) == {"title": ""}
    assert express([column], {"city": "Ghent"}, current={"title": "Old"}) == {}


@pytest.mark.parametrize(
    ("way", "theirs", "ours"),
    [
        (UNIX_S, 1793610000, "2026-11-02T09:00:00Z"),
        (UNIX_MS, 1793610000500, "2026-11-02T09:00:00.500000Z"),
        (PERCENT, 35, 0.35),
        (CLOCK, "01:30", 5400),
        (OWN_ID, 7, "7"),
        (DAY, "2026-11-02", "2026-11-02"),
        (words({"hot": "high", "cold": "low"}), "cold", "low"),
    ],
)
def test_a_way_there_and_back_is_the_same(way: Way, theirs: Json, ours: Json) -> None:
    assert way.read(theirs) == ours
    assert way.write(ours, None) == theirs
    assert way.read(None) is None


def test_a_time_without_a_zone_is_utc_and_nonsense_is_none() -> None:
    assert MOMENT.read("2026-11-02 08:55:59") == "2026-11-02T08:55:59Z"
    assert MOMENT.read("2026-11-02T10:00:00+02:00") == "2026-11-02T08:00:00Z"
    assert (MOMENT.read("soon"), DAY.read("soon"), CLOCK.read("soon"), TEXT.read(7)) == (None, None, None, None)


def test_a_word_stays_that_already_means_what_is_wanted() -> None:
    way = words({"lunch": "meeting", "meeting": "meeting"}, other="task")
    assert (way.read("brunch"), way.read("lunch")) == ("task", "meeting")
    assert way.write("meeting", "lunch") == "lunch"
    assert way.write("meeting", "call") == "lunch"
    assert express([col("kind", "type", way)], {"kind": "note"}, current=None) == {}, "there is no word for it"


def test_the_primary_one_of_a_list_is_changed_and_the_others_stay() -> None:
    held: Json = [{"value": "a", "primary": False}, {"value": "b", "primary": True, "label": "home"}]
    way = primary()
    assert way.read(held) == "b"
    assert way.write("c", held) == [{"value": "a", "primary": False}, {"value": "c", "primary": True, "label": "home"}]
    assert way.write("c", None) == [{"value": "c", "primary": True, "label": "work"}]
    assert way.write(None, held) == [{"value": "a", "primary": False}]


def test_money_keeps_its_cents_in_main_and_in_smallest_units() -> None:
    main, minor = money("amount", "value", "currency"), money("amount", "cents", "code", minor=True)
    assert said(main, {"value": 0.1, "currency": "eur"}) == {"amount": {"amount": "0.10", "currency": "EUR"}}
    assert said(minor, {"cents": 1999, "code": "JPY"}) == {"amount": {"amount": "1999", "currency": "JPY"}}
    assert said(main, {"value": "much", "currency": "EUR"}) == {"amount": None}
    wanted: Json = {"amount": "123456789012.34", "currency": "EUR"}
    assert express([main], {"amount": wanted}, current=None) == {"value": 123456789012.34, "currency": "EUR"}
    assert express([minor], {"amount": wanted}, current=None) == {"cents": 12345678901234, "code": "EUR"}
    assert express([main], {"amount": None}, current={"value": 5, "currency": "EUR"}) == {"value": None}


def test_halves_of_a_name_are_written_as_one_and_an_unnamed_half_stays() -> None:
    column = names("first_name", "last_name", "name")
    assert said(column, {"name": "Wren van der Ashdown"}) == {"first_name": "Wren", "last_name": "van der Ashdown"}
    assert express([column], {"last_name": "Vale"}, current={"name": "Wren Ashdown"}) == {"name": "Wren Vale"}
    assert express([column], {"first_name": None}, current={"name": "Wren Ashdown"}) == {"name": "Ashdown"}


def test_a_moment_of_a_day_and_a_clock_goes_back_to_both() -> None:
    column = when("due_at", "day", "clock")
    assert said(column, {"day": "2026-11-24", "clock": None}) == {"due_at": "2026-11-24T00:00:00Z"}
    written = express([column], {"due_at": "2026-11-24T13:15:00+01:00"}, current=None)
    assert written == {"day": "2026-11-24", "clock": "12:15"}


def test_a_link_is_named_by_its_id_and_cleared_by_null() -> None:
    column = link("account_id", "org")
    assert said(column, {"org": 7}) == {"account_id": "7"}
    assert said(column, {"org": None}) == {"account_id": None}
    assert express([column], {"account_id": "8"}, current={"org": 7}) == {"org": 8}
    assert express([column], {"account_id": None}, current={"org": 7}) == {"org": None}


def test_what_stands_as_it_is_wanted_is_not_written() -> None:
    stage = either("stage", "status", {"won": "w"}, open_="open", place="at", table={"3": "x"})
    columns = [col("name", "title"), stage]
    current: Row = {"title": "Old", "status": "open", "at": 3}
    assert express(columns, {"name": "Old", "stage": "x"}, current=current) == {}
    assert express(columns, {"stage": "w"}, current=current) == {"status": "won"}
    assert said(stage, {"status": "open", "at": 4}) == {}


def test_a_map_is_written_whole_unless_the_vendor_merges_it() -> None:
    column = col("city", "address.town")
    current: Row = {"address": {"town": "Ghent", "street": "Meir"}}
    whole = express([column], {"city": "Bruges"}, current={**current})
    assert whole == {"address": {"town": "Bruges", "street": "Meir"}}
    assert express([column], {"city": "Bruges"}, current={**current}, merges=True) == {"address": {"town": "Bruges"}}
    assert current == {"address": {"town": "Ghent", "street": "Meir"}}, "what is known of a row stays as it is"


def test_what_columns_do_not_read_makes_no_other_version() -> None:
    columns = [col("name", "title")]
    assert digest(columns, {"title": "A", "views": 1}) == digest(columns, {"views": 2, "title": "A"})
    assert digest(columns, {"title": "A"}) != digest(columns, {"title": None})


def test_only_what_is_taken_may_be_written() -> None:
    assert writable([col("name", "title"), col("kind", "type", written="never")]) == ("name",)


def test_a_table_of_a_setting_says_what_is_wrong_with_it() -> None:
    assert table({"stages": "1=new, 2=old"}, "stages", allowed=("new", "old")) == {"1": "new", "2": "old"}
    assert table({}, "stages", allowed=("new",)) == {}
    for wrong in ("one=new", "1=odd", "1"):
        with pytest.raises(ConnectorError) as caught:
            table({"stages": wrong}, "stages", allowed=("new", "old"))
        assert "1=new" in caught.value.fix
