"""A handle is found by any of its spellings, and by nobody without the key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel.marks import Normal
from isthmus.vault import blind_index, blind_indexes, keyed_digests, normal_form

KEY = bytes(32)


@pytest.mark.parametrize(
    ("kind", "spellings"),
    [
        (Normal.EMAIL, ["Anna@Example.com", " anna@example.COM ", "\uff21nna@example.com"]),
        (Normal.PHONE, ["+49 30 1234-56", "0049 30 123456", "+49(30)123456"]),
        (Normal.DOMAIN, ["https://www.Example.com/about", "example.com", "EXAMPLE.com.", "sales@example.com"]),
        (Normal.EXACT, ["DE 123", " DE 123 "]),
    ],
)
def test_spellings_of_one_handle_have_one_index(kind: Normal, spellings: list[str]) -> None:
    assert len({blind_index(normal_form(each, kind), key=KEY) for each in spellings}) == 1


def test_what_identifies_nobody_has_no_index() -> None:
    assert blind_index(normal_form(" - ", Normal.PHONE), key=KEY) is None
    assert blind_indexes(["", None, 7], key=KEY) == [None, None, None]


@given(st.text(min_size=1), st.binary(min_size=32, max_size=32))
def test_an_index_depends_on_the_key(form: str, key: bytes) -> None:
    other = bytes(each ^ 1 for each in key)
    assert blind_index(form, key=key) != blind_index(form, key=other)


@given(st.lists(st.text()))
def test_many_at_once_are_the_same_as_one_by_one(forms: list[str]) -> None:
    assert blind_indexes(forms, key=KEY) == [blind_index(each, key=KEY) for each in forms]
    contents = [each.encode() for each in forms]
    assert [bytes(each) for each in keyed_digests(contents, key=KEY)] == [
        keyed_digests([each], key=KEY)[0] for each in contents
    ]
