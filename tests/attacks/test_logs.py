"""Logs hold no secret, and nobody outside can write a line of their own into them."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.target import FORM, Target

FORGED = '{"event": "forged", "level": "error"}'


def log_files(target: Target) -> Iterator[Path]:
    """Yield the files that the program says something in."""
    yield target.data_dir / "up.log"
    yield from (target.data_dir / "logs").rglob("*.log*")


def test_no_log_holds_a_secret_that_was_sent_to_the_wrong_place(target: Target, cookie: str) -> None:
    canary = secrets.token_urlsafe(24)
    key = target.keys["viewer"]
    sent: tuple[tuple[str, str, bytes | None, dict[str, str]], ...] = (
        ("GET", f"/api/v1/leads?cursor={canary}", None, {}),
        ("GET", f"/{canary}", None, {}),
        ("GET", f"/enter/{canary}", None, {}),
        ("POST", "/sign-in", f"email={canary}%40example.com&password={canary}".encode(), {"content_type": FORM}),
        ("POST", "/oauth/token", f"grant_type=x&client_secret={canary}".encode(), {"content_type": FORM}),
        ("POST", "/api/v1/campaigns", f'{{"{canary}": "{canary}"'.encode(), {}),
        ("GET", "/api/v1/me", None, {"authorization": f"Bearer {canary}"}),
        ("GET", "/me", None, {"cookie": f"{cookie}x{canary}"}),
        ("GET", "/api/v1/me", None, {"x_request_id": f"{canary} {key}"}),
    )
    for method, path, body, headers in sent:
        status, _, _ = target.call(method, path, body, **headers)
        assert status < 500, path
    hidden = [
        canary,
        cookie.partition("=")[2],
        *(each.rpartition("_")[0].rpartition("_")[2] for each in target.keys.values()),
    ]
    assert all(len(each) > 20 for each in hidden), hidden
    found = [file.name for file in log_files(target) for each in hidden if each in file.read_text("utf-8")]
    assert found == []


def test_nobody_outside_writes_a_line_into_a_log(target: Target) -> None:
    for way in (f"%0a{FORGED}", f"%0d%0a{FORGED}", f"%e2%80%a8{FORGED}"):
        escaped = way.replace('"', "%22").replace(" ", "%20").replace("{", "%7B").replace("}", "%7D")
        assert target.call("GET", f"/api/v1/leads?status={escaped}", key=target.keys["viewer"])[0] == 422
        target.call("GET", f"/nothing{escaped}", user_agent=FORGED, x_forwarded_for=FORGED)
    for file in log_files(target):
        for line in file.read_text("utf-8").splitlines():
            assert not line.startswith(FORGED[:10]), file
            if file.parent.name == "logs":
                assert json.loads(line)["event"] != "forged"


def test_the_search_of_logs_finds_what_is_in_them(target: Target) -> None:
    assert any("isthmus answers at" in file.read_text("utf-8") for file in log_files(target))
