"""The text of a key."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.auth.keytext import InvalidKey, new_key_text, read_key_text

ID = UUID("019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071")
KEY = new_key_text(ID, kind="live")


def test_a_key_has_the_form_that_scanners_look_for() -> None:
    assert re.fullmatch(r"ist_live_[0-9A-Z]{26}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", KEY.text)
    assert new_key_text(ID, kind="test").text.startswith("ist_test_")


def test_a_key_is_read_back() -> None:
    assert read_key_text(KEY.text) == KEY


def test_two_keys_share_neither_secret_nor_digest() -> None:
    other = new_key_text(ID, kind="live")
    assert other.text.split("_")[3] != KEY.text.split("_")[3]
    assert other.digest != KEY.digest


@given(st.integers(min_value=0, max_value=len(KEY.text) - 1), st.characters(codec="ascii"))
def test_a_mistyped_key_is_told_without_asking_anybody(place: int, character: str) -> None:
    if KEY.text[place] == character:
        return
    with pytest.raises(InvalidKey):
        read_key_text(KEY.text[:place] + character + KEY.text[place + 1 :])


@given(st.text())
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidKey):
        read_key_text(text)


@pytest.mark.parametrize(
    "text",
    [KEY.text[:-1], KEY.text + "x", KEY.text.lower(), " " + KEY.text],
    ids=["cut", "longer", "lower-case", "after-a-space"],
)
def test_a_cut_or_changed_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidKey):
        read_key_text(text)


def test_a_key_never_shows_itself_in_a_log() -> None:
    assert KEY.text not in repr(KEY)
