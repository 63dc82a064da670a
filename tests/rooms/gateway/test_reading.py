"""Bodies and parameters: what cannot be read is malformed, what is read and wrong names every fault."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from isthmus.gateway.reading import DEPTH_MAX, read_json, read_parameters, read_value
from isthmus.kernel.errors import Invalid, Malformed
from isthmus.kernel.marks import Json
from isthmus.kernel.money import Money


class Colour(StrEnum):
    """Two colours."""

    RED = "red"
    BLUE = "blue"


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the whole."""

    name: Annotated[str, Meta(min_length=1)]
    price: Money | None = None


class Whole(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sent."""

    count: Annotated[int, Meta(ge=0)]
    at: datetime | None = None
    colour: Colour | None = None
    share: float | None = None
    parts: list[Part] = []
    named: dict[str, Part] = {}


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked."""

    limit: Annotated[int, Meta(ge=1, le=10)] = 5
    colours: list[Colour] = []
    share: float | None = None
    exact: bool = False


def faults_of(body: bytes) -> set[tuple[str, str]]:
    with pytest.raises(Invalid) as refused:
        read_json(body, Whole)
    return {(each.pointer, each.code) for each in refused.value.faults}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"count": 1', "byte 11"),
        (b'{"count": }', "byte 10"),
        (b'{"count": 1} x', "byte 13"),
        (b"", "empty"),
        (b'{"count": NaN}', "NaN and Infinity are not JSON: byte 10"),
        (b'{"count": 1, "share": Infinity}', "NaN and Infinity are not JSON"),
        (b'{"count": -Infinity}', "NaN and Infinity are not JSON"),
        (b'{"count": 1, "colour": "\xff"}', "not UTF-8: byte 24"),
        (b'{"count": 1, "count": 2}', "repeated"),
        (b'{"count": 1, "named": {"a": {"name": "x", "name": "y"}}}', "repeated"),
        (b'{"count": 1, "colour": "\\u0000"}', "NUL"),
        (b"[" * 40 + b"]" * 40, "nested"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested"),
        (b'\xef\xbb\xbf{"count": 1}', "byte 0"),
    ],
)
def test_what_is_not_json_is_malformed_and_says_where(body: bytes, said: str) -> None:
    with pytest.raises(Malformed) as refused:
        read_json(body, Whole)
    assert said in refused.value.detail
    assert refused.value.fix


def test_every_fault_of_a_body_is_named() -> None:
    body: Json = {
        "count": -1,
        "at": "yesterday",
        "colour": "green",
        "share": "half",
        "parts": [{"name": ""}, {"name": "a", "prize": 1}, {}],
        "named": {"a/b": {"name": 5}},
        "more": True,
    }
    assert faults_of(msgspec.json.encode(body)) == {
        ("/count", "out-of-range"),
        ("/at", "wrong-form"),
        ("/colour", "unknown-value"),
        ("/share", "wrong-type"),
        ("/parts/0/name", "wrong-length"),
        ("/parts/1/prize", "unknown-field"),
        ("/parts/2/name", "missing"),
        ("/named/a~1b/name", "wrong-type"),
        ("/more", "unknown-field"),
    }


def test_a_fault_found_by_the_value_itself_has_its_own_code() -> None:
    body = b'{"count": 1, "parts": [{"name": "a", "price": {"amount": "1", "currency": "euro"}}]}'
    assert faults_of(body) == {("/parts/0/price", "invalid-money")}


def test_a_misspelt_field_is_told_what_was_meant() -> None:
    with pytest.raises(Invalid) as refused:
        read_json(b'{"count": 1, "color": "red"}', Whole)
    assert "Did you mean `colour`?" in refused.value.faults[0].detail


def test_a_body_that_is_no_object_is_one_fault() -> None:
    assert faults_of(b"[1, 2]") == {("", "wrong-type")}
    assert faults_of(b'{"count": 1e400}') == {("/count", "out-of-range")}


def test_texts_with_colons_brackets_and_escapes_are_no_structure() -> None:
    body: Json = {"count": 1, "named": {':"[{': {"name": '\\u0000 "}]:[' + "[" * 100}}}
    assert read_json(msgspec.json.encode(body), Whole).named[':"[{'].name.startswith("\\u0000")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8", min_codepoint=1)), inner),
        max_leaves=20,
    )
)
def test_any_json_is_answered_by_a_value_or_by_faults(value: Json) -> None:
    body = msgspec.json.encode({"count": 1, "named": value})
    named = isinstance(value, dict) and all(isinstance(each, dict) and "name" in each for each in value.values())
    if value == {}:
        assert read_json(body, Whole).named == {}
    elif not named:
        assert all(pointer.startswith("/named") for pointer, _ in faults_of(body))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(raw: bytes) -> None:
    with pytest.raises((Malformed, Invalid)) as refused:
        read_json(raw, Whole)
    assert refused.value.detail


def test_nesting_up_to_the_limit_is_read() -> None:
    with pytest.raises(Invalid):
        read_json(b'{"named":' + b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1) + b"}", Whole)


def test_amounts_keep_their_decimals() -> None:
    body = b'{"count": 1, "parts": [{"name": "a", "price": {"amount": "0.10", "currency": "EUR"}}]}'
    assert read_json(body, Whole).parts[0].price == Money(Decimal("0.10"), "EUR")


def test_parameters_are_read_by_their_types() -> None:
    asked = read_parameters(b"limit=7&colours=red&colours=blue&share=0.5&exact=true", Asked)
    assert asked == Asked(limit=7, colours=[Colour.RED, Colour.BLUE], share=0.5, exact=True)


@pytest.mark.parametrize("text", [b"count=1&at=2026", b"count=1&at=0.5", b"count=1&at=-1", b"count=1&at=1e9"])
def test_a_number_is_no_moment(text: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        read_parameters(text, Whole, at="/query")
    assert [each.pointer for each in refused.value.faults] == ["/query/at"]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (b"limit=0&share=x", {("/query/limit", "out-of-range"), ("/query/share", "wrong-type")}),
        (b"limit=1&limit=2", {("/query/limit", "repeated")}),
        (b"limt=1", {("/query/limt", "unknown-field")}),
        (b"share=nan", {("/query/share", "not-finite")}),
        (b"share=inf", {("/query/share", "not-finite")}),
        (b"colours=green", {("/query/colours/0", "unknown-value")}),
    ],
)
def test_parameters_with_faults_name_each(text: bytes, faults: set[tuple[str, str]]) -> None:
    with pytest.raises(Invalid) as refused:
        read_parameters(text, Asked, at="/query")
    assert {(each.pointer, each.code) for each in refused.value.faults} == faults


@pytest.mark.parametrize("text", [b"limit=%zz", b"limit=%ff", b"limit=%00", b"&".join([b"a=1"] * 101), b"limit=\xe4"])
def test_parameters_that_are_no_text_are_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        read_parameters(text, Asked)


def test_a_part_is_read_with_pointers_into_the_whole() -> None:
    with pytest.raises(Invalid) as refused:
        read_value({"name": ""}, Part, at="/parts/3")
    assert [(each.pointer, each.code) for each in refused.value.faults] == [("/parts/3/name", "wrong-length")]
