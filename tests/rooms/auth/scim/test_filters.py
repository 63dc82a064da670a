"""Filters: the whole grammar, and no more than can be answered in good time."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.auth.scim.attributes import USERS, Document
from isthmus.auth.scim.errors import InvalidFilter, InvalidPath
from isthmus.auth.scim.evaluating import looked_up, meets
from isthmus.auth.scim.filters import Path, read_filter, read_path

ADA: Document = {
    "id": "user_1",
    "userName": "Ada@Northwind.example",
    "externalId": "Ab",
    "name": {"familyName": "O'Malley", "givenName": "Ada"},
    "title": "Engineer",
    "active": True,
    "emails": [
        {"value": "ada@northwind.example", "type": "work", "primary": True},
        {"value": "ada@home.example", "type": "home"},
    ],
    "meta": {"lastModified": "2026-11-02T09:30:00.000Z"},
}


@pytest.mark.parametrize(
    "text",
    [
        'userName eq "ada@northwind.example"',
        'USERNAME Eq "ADA@northwind.example"',
        'urn:ietf:params:scim:schemas:core:2.0:User:userName sw "ada"',
        'name.familyName co "o\'mall"',
        'title pr and not (title eq "Boss")',
        'title eq "Boss" or title eq "Engineer"',
        'title eq "Boss" and title pr or active eq true',
        "not(active eq false)",
        'active eq "True"',
        'emails[type eq "work" and value ew "northwind.example"]',
        'emails[type eq "home"] and emails.primary eq true',
        'emails eq "ada@home.example"',
        'emails.type eq "home"',
        'meta.lastModified gt "2026-11-02T09:29:59Z"',
        'meta.lastModified le "2026-11-02T10:30:00+01:00"',
        'externalId eq "Ab"',
        "displayName eq null",
        'nickName ne "x"',
        'title ge "engineer" and title lt "f"',
        "((title pr))",
    ],
)
def test_a_filter_that_holds(text: str) -> None:
    assert meets(ADA, read_filter(text), USERS)


@pytest.mark.parametrize(
    "text",
    [
        'userName ne "ada@northwind.example"',
        'externalId eq "ab"',
        'title eq "Boss" and (title pr or active eq true)',
        'emails[type eq "home" and primary eq true]',
        "emails[not (type pr)]",
        "nickName pr",
        'displayName co "a"',
        'meta.lastModified lt "2026-11-02T09:30:00Z"',
        "title eq 3",
    ],
)
def test_a_filter_that_does_not_hold(text: str) -> None:
    assert not meets(ADA, read_filter(text), USERS)


@pytest.mark.parametrize(
    "text",
    [
        *("", "userName", "userName eq", 'userName is "x"', 'userName eq "x', 'eq "x"', "userName eq x", "(title pr"),
        *(
            "title pr)",
            'emails[type eq "x"',
            "title pr and",
            "title pr title pr",
            'userName eq "\\x"',
            "()",
            "not title pr",
        ),
        *("(" * 30 + "title pr" + ")" * 30, " or ".join(["title pr"] * 60), 'title eq "' + "x" * 2_000 + '"'),
    ],
)
def test_what_is_no_filter_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilter):
        read_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "shoeSize eq 3",
        'name.nick eq "x"',
        "active gt true",
        "title gt null",
        'title eq "x" and shoeSize pr',
        "emails[emails[type pr]]",
    ],
)
def test_what_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilter):
        meets(ADA, read_filter(text), USERS)


@given(st.text(alphabet='abeqnotr()[]". 01\\', max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(InvalidFilter):
        read_filter(text)


def test_what_must_hold_in_any_case_is_looked_up() -> None:
    indexed = ("userName", "emails.value", "id")

    def ask(text: str) -> tuple[str, str] | None:
        return looked_up(read_filter(text), USERS, indexed)

    assert ask('title pr and USERNAME eq "Ada"') == ("userName", "Ada")
    assert ask('emails[type eq "work" and value eq "a@b"]') == ("emails.value", "a@b")
    assert ask('emails eq "a@b"') == ("emails.value", "a@b")
    for text in ('userName eq "a" or title pr', 'not (userName eq "a")', 'userName sw "a"', "userName pr"):
        assert ask(text) is None


def test_paths_are_read() -> None:
    assert read_path("name.familyName") == Path("name", None, "familyName")
    assert read_path('emails[type eq "work"].value').part == "value"
    urn = "urn:ietf:params:scim:schemas:core:2.0:User:name.familyName"
    assert read_path(urn) == Path("urn:ietf:params:scim:schemas:core:2.0:User:name", None, "familyName")
    for text in ("", "name.", "emails[", 'emails[type eq "x"].', "a b", "a.b.c"):
        with pytest.raises(InvalidPath):
            read_path(text)
