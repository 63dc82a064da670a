"""The session of a browser, as the running program gives it over TLS."""

import re

from tests.attacks.target import FORM, Target

LINK = re.compile(r"https://\S+/enter/\S+")


def test_the_session_comes_in_a_cookie_that_only_this_host_sees(target: Target, cookie: str) -> None:
    name, _, token = cookie.partition("=")
    assert name == "__Host-isthmus_session"
    assert len(token) >= 43
    status, headers, _ = target.call(
        "POST", "/sign-in", b"email=ada%40example.com&password=x", origin=target.url, content_type=FORM
    )
    assert status == 401
    assert "set-cookie" not in headers
    assert target.cookie_attributes == {"path=/", "httponly", "samesite=strict", "secure"}
    assert LINK.search(target.said)


def test_a_link_that_was_used_opens_nothing_again(target: Target, cookie: str) -> None:
    assert cookie
    found = LINK.search(target.said)
    assert found
    path = found[0].removeprefix(target.url)
    status, headers, _ = target.call("POST", path, b"", origin=target.url, content_type=FORM)
    assert status >= 400
    assert "set-cookie" not in headers
