"""Cursors go on where a list ended, in that list only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.gateway.cursors import Cursors, InvalidCursor

LIST = Cursors(key=b"k" * 32, bound="/things?[]")


@given(st.text(st.characters(codec="utf-8")))
def test_a_cursor_returns_its_place(after: str) -> None:
    assert LIST.read(LIST.write(after)) == after


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_an_altered_cursor_is_refused(place: int, change: int) -> None:
    cursor = bytearray(LIST.write("019a").encode())
    cursor[place % len(cursor)] ^= change
    with pytest.raises(InvalidCursor):
        LIST.read(cursor.decode("latin-1"))


@pytest.mark.parametrize(
    "other", [Cursors(key=b"k" * 32, bound="/things?[1]"), Cursors(key=b"o" * 32, bound="/things?[]")]
)
def test_a_cursor_of_another_list_or_workspace_is_refused(other: Cursors) -> None:
    with pytest.raises(InvalidCursor):
        other.read(LIST.write("019a"))


@pytest.mark.parametrize("cursor", ["", "a", "====", "ä", "a" * 2000])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        LIST.read(cursor)
