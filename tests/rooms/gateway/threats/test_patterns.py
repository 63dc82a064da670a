"""Texts that try to be code are told from texts that speak of it."""

import pytest
from msgspec import Struct

from isthmus.gateway.threats.patterns import LENGTH_MAX, family_in, family_in_query, family_of

SQL = (
    *("' OR '1'='1", "1 OR 1=1", "1' or 1=1 -- -", "admin'--", "' UNION SELECT null,null--", "1; DROP TABLE users"),
    *("'; exec xp_cmdshell('dir')--", "1) AND SLEEP(5)--", "1' AND (SELECT 2 FROM (SELECT(SLEEP(5)))a)-- -"),
    *("x' AND EXTRACTVALUE(1,CONCAT(0x7e,version()))--", "' or ''='", "1' ORDER BY 3-- ", "') OR ('a'='a"),
    *("1 UNION ALL SELECT NULL", "1;SELECT pg_sleep(5)", "'||(select version())||'", "1 AND 4=4"),
)
MARKUP = (
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg/onload=alert(1)>', "javascript:alert(1)"),
    *("' onmouseover='alert(1)", "<iframe src=//x>", "<body onload=alert(1)>"),
)
PATH = (
    *("../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "....//....//etc/passwd", "/etc/passwd", "file:///etc/hosts"),
    *("..\\..\\windows\\win.ini", "%2e%2e/%2e%2e/secret", "php://filter/x"),
)
TEMPLATE = ("{{7*7}}", "${7*7}", "#{7*7}", "{{config.items()}}", "<%= 7*7 %>", "{% import os %}", "${jndi:ldap://x/a}")
PLAIN = (
    *("O'Brien", "D'Angelo & Sons", "Rock 'n' Roll", "Select Union Bank", "Union Select Committee", "5 and 5 = ten"),
    *("drop table of contents", 'He said "yes" and left', "It's 5 or 6 o'clock, isn't it?", "price < 100 and > 5"),
    *("Q3 -- final", "a; b; c", "Don't update; delete the old one", "5 or 10 seats", "1 or 2 (maybe 3)", "2 in 1"),
    *("C:\\Users\\me", "https://example.com/a/b?c=d&e=f", "../", "See ../README for more", "{{first_name}}"),
    *("Hi {{ contact.first_name }}, thanks", "${AMOUNT}", "<b>bold</b>", "I <3 this", "f(x) = y", "AND/OR"),
    *('<a href="https://x.y">link</a>', "the javascript: a guide", "Tom's and Jerry's = fun", "1.5% = low"),
    *("Please insert into the form; update contact set", "select a plan from the list", "100% sure -- no, 99%"),
    *("What about 'A' = 'B'?", "Let's meet at 5; drop me a line", "order by 3 pm", "\"Growth\" and 'Scale' plans"),
)


class Note(Struct):
    """A body with texts in several depths."""

    title: str
    parts: list[dict[str, str]]


@pytest.mark.parametrize(
    ("text", "family"),
    [
        *((text, "sql") for text in SQL),
        *((text, "markup") for text in MARKUP),
        *((text, "path") for text in PATH),
        *((text, "template") for text in TEMPLATE),
    ],
)
def test_a_text_that_tries_to_be_code_is_told(text: str, family: str) -> None:
    assert family_of(text) == family


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_that_people_write_is_let_go(text: str) -> None:
    assert family_of(text) is None


def test_texts_are_found_in_queries_as_they_are_sent_and_at_any_depth_of_a_body() -> None:
    assert family_in_query(b"limit=5&q=%27%20OR%20%271%27=%271") == "sql"
    assert family_in_query(b"q=O%27Brien&limit=50") is None
    assert family_in(Note("a", [{"x": "plain"}, {"y": "{{7*7}}"}])) == "template"
    assert family_in(Note("O'Brien", [{"x": "plain"}])) is None


def test_long_texts_end_soon() -> None:
    for text in ("'" * 50_000, "<a " * 20_000, "../" * 3 + "x" * 50_000, "{{" * 20_000, "1 or " * 20_000, "((" * 9_000):
        family_of(text)
    assert family_of("x" * LENGTH_MAX + "<script>") is None
