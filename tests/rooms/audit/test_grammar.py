"""The language of the audit search says what it means, and says exactly what is wrong with what it cannot read."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.audit.grammar import InvalidSearch, parse
from isthmus.kernel.ids import text_of

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
KEY = UUID("019a9a00-0000-7000-8000-000000000001")


def test_an_empty_search_lets_everything_through() -> None:
    assert parse("  ", now=NOW).sql == "true"


def test_values_are_bound_and_never_written_into_the_statement() -> None:
    evil = "x'; drop table audit; --"
    found = parse(f'actor:"{evil}" "{evil}" action:{evil.split(maxsplit=1)[0]}', now=NOW)
    assert "drop" not in found.sql
    assert set(found.values) == {evil, f"%{evil}%".replace("_", "\\_"), "x';"}


def test_terms_of_one_field_are_alternatives_and_fields_must_all_hold() -> None:
    found = parse("action:key.* action:session.ended actor:cli:root", now=NOW)
    assert found.sql == "((action like %s) or (action = %s)) and ((actor = %s))"
    assert found.values == ("key.%", "session.ended", "cli:root")


def test_a_minus_turns_a_term_round_also_where_nothing_is_known() -> None:
    assert parse("-behalf:user:x", now=NOW).sql == "(not coalesce(on_behalf_of = %s, false))"


def test_an_actor_is_found_by_the_id_that_people_see() -> None:
    assert parse(f"actor:{text_of('key', KEY)}", now=NOW).values == (f"key:{KEY}",)
    assert parse(f"record:{text_of('lead', KEY)}", now=NOW).values == (KEY,)
    assert parse(f"record:{KEY}", now=NOW).values == (KEY,)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("since:7d", NOW - timedelta(days=7)),
        ("since:30min", NOW - timedelta(minutes=30)),
        ("until:2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("until:2026-11-22T06:00:00+02:00", datetime(2026, 11, 22, 4, tzinfo=UTC)),
    ],
)
def test_times_are_ages_days_or_moments(text: str, moment: datetime) -> None:
    assert parse(text, now=NOW).values == (moment,)


def test_a_star_in_quotation_marks_and_percent_signs_stand_for_themselves() -> None:
    assert parse('action:"key.*"', now=NOW).values == ("key.*",)
    assert parse("action:100%_*", now=NOW).values == ("100\\%\\_%",)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("actr:x", "There is no field 'actr', at character 1."),
        ("actor:a  acton:b", "There is no field 'acton', at character 10."),
        ('"open', "A quotation mark is not closed, at character 1."),
        ("since:yesterday", "since:yesterday is no time, at character 1."),
        ("record:12", "'12' is no id of a record, at character 1."),
        ("decision:maybe", "decision:maybe is unknown, at character 1."),
        ("actor:", "actor: at character 1 has no value."),
        ('"a"b', "Two terms touch at character 4."),
        ("-", "Nothing stands after the minus, at character 1."),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, detail: str) -> None:
    with pytest.raises(InvalidSearch) as refused:
        parse(text, now=NOW)
    assert refused.value.detail == detail
    assert refused.value.fix
    assert [each.pointer for each in refused.value.faults] == ["/q"]


@given(st.text(max_size=60))
def test_any_text_is_a_search_or_refused_and_binds_as_many_values_as_it_names(text: str) -> None:
    try:
        found = parse(text, now=NOW)
    except InvalidSearch:
        return
    assert found.sql.count("%s") == len(found.values)
