"""What does not fit is answered by what to send instead, in words that need no knowledge of our types."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

import pytest
from msgspec import Meta, Struct

from isthmus.kernel.advice import advice
from isthmus.kernel.faults import find_faults
from isthmus.kernel.marks import Json
from isthmus.kernel.money import Money


class Colour(StrEnum):
    """A closed vocabulary."""

    RED = "red"
    DARK_GREEN = "dark_green"


class Part(Struct):
    """Something with a name."""

    name: Annotated[str, Meta(min_length=1, max_length=5)]


Email = Annotated[str, Meta(pattern="^.+@.+$", description="Send an e-mail address such as name@company.example.")]


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("green", Colour, 'Send one of red, dark_green, not the text "green". Did you mean dark_green?'),
        ("x" * 50, Colour | None, f'Send one of red, dark_green, or null, not the text "{"x" * 40}…".'),
        (3, Colour, "Send one of red, dark_green, not the number 3."),
        ("b", Literal["a"], 'Send a, not the text "b".'),
        (12, str, "Send text, not the number 12."),
        (None, str, "Send text, not null."),
        ("12", int | None, 'Send a whole number, or null, not the text "12".'),
        (1.5, int, "Send a whole number, not the number 1.5."),
        (0, Annotated[int, Meta(ge=1, le=200)], "Send a whole number from 1 to 200, not the number 0."),
        (-1, Annotated[int, Meta(ge=0)], "Send a whole number of 0 or more, not the number -1."),
        (True, Annotated[float, Meta(le=1)], "Send a number of 1 or less, not true."),
        ("abcdef", Annotated[str, Meta(max_length=5)], "Send text of at most 5 characters, not 6."),
        ("", Annotated[str, Meta(min_length=1, max_length=5)], "Send text of 1 to 5 characters, not an empty one."),
        (["a", "b"], Annotated[list[str], Meta(max_length=1)], "Send a list of at most 1 items, not 2."),
        ("a", list[str], "Send a list, not text."),
        ([], dict[str, int], "Send an object, not a list."),
        ([], Part, "Send a JSON object, not a list."),
        (12, Money, 'Send money such as {"amount": "12.50", "currency": "EUR"}, not the number 12.'),
        ("12,50", Decimal, 'Send a decimal in a string, such as "12.50", not the text "12,50".'),
        ("soon", date, 'Send a day such as 2026-11-22, not the text "soon".'),
        ({}, str | int | float | bool | None, "Send text, a number, true or false, or null, not an object."),
        ("ada", Email, "Send an e-mail address such as name@company.example."),
        ("ada", Email | None, "Send an e-mail address such as name@company.example."),
        ("a secret", UUID, "Send a UUID, not text."),
        (
            "2026-11-22T09:30:00",
            datetime,
            'Send a moment with its time zone, such as 2026-11-22T09:30:00Z, not the text "2026-11-22T09:30:00".',
        ),
    ],
)
def test_it_says_what_to_send(value: Json, kind: object, said: str) -> None:
    assert advice(value, kind) == said


def test_a_parameter_is_repeated_as_it_stands_in_the_address() -> None:
    assert advice("x", Annotated[int, Meta(ge=1)], strict=False) == 'Send a whole number of 1 or more, not "x".'


def test_what_may_not_be_repeated_is_not() -> None:
    assert advice("1970-13-01", date, echo=False) == "Send a day such as 2026-11-22, not text."
    assert advice(49123, str, echo=False) == "Send text, not this number."


def test_every_fault_inside_a_value_is_put_in_words() -> None:
    found = find_faults([{"name": "Robert"}, {"name": None}, "x"], list[Part])
    assert {each.pointer: each.detail for each in found} == {
        "/0/name": "Send text of 1 to 5 characters, not 6.",
        "/1/name": "Send text of 1 to 5 characters, not null.",
        "/2": "Send a JSON object, not text.",
    }
