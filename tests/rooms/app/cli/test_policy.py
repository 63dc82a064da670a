"""Policies are kept, tried, explained and tested from the command line."""

import json

from tests.rooms.app.cli.conftest import Shell

NIGHTS = """@id("nights") @reason("Nobody reads leads at night.")
forbid (principal, action in Action::"sales:read", resource) when { context.hour < 6 };
"""


def written(shell: Shell) -> str:
    path = shell.here / "nights.cedar"
    path.write_text(NIGHTS, "utf-8")
    return str(path)


def test_a_policy_is_kept_listed_and_removed(shell: Shell) -> None:
    path = written(shell)
    assert "nights (forbid) is shadow" in shell("policy", "add", path, "--shadow").out
    (kept,) = shell("policy", "ls", "--json").rows
    assert (kept["name"], kept["mode"], kept["reason"]) == ("nights", "shadow", "Nobody reads leads at night.")
    assert "nights" in shell("policy").out
    shell("policy", "rm", "nights")
    assert shell("policy", "ls", "--json").rows == []
    assert "no policy" in shell("policy", "rm", "nights", code=3).err


def test_a_decision_is_explained_with_every_step(shell: Shell) -> None:
    shell("policy", "add", written(shell))
    made = shell("keys", "create", "--name", "bi", "--role", "sales.viewer", "--json").row
    asked = ("policy", "explain", "--key", str(made["id"]), "--route", "GET /api/v1/leads", "--at")
    night = shell(*asked, "2026-11-02T03:00")
    assert "is refused" in night.out
    assert "sales:read is granted by the role sales.viewer" in night.out
    assert "STOP  policy nights: forbids: Nobody reads leads at night." in night.out
    assert shell(*asked, "2026-11-02T09:00", "--json").row["allowed"] is True


def test_a_change_is_tried_before_it_is_made(shell: Shell) -> None:
    assert "0 calls tried" in shell("policy", "simulate", "--add", written(shell)).out
    assert shell("policy", "simulate", code=2).out == ""


def test_cases_are_decided_without_a_server_and_one_that_differs_fails(shell: Shell) -> None:
    path, cases = written(shell), shell.here / "cases.json"
    case = {"name": "at night", "route": "GET /api/v1/leads", "at": "2026-11-02T03:00:00Z", "roles": ["sales.viewer"]}
    day = {**case, "name": "by day", "at": "2026-11-02T09:00:00Z", "expect": "allow"}
    cases.write_text(json.dumps([{**case, "expect": "deny"}, day]), "utf-8")
    said = shell.plain("policy", "test", path, "--cases", str(cases), "--json")
    assert (said.code, [(each["decided"], each["by"]) for each in said.rows]) == (
        0,
        [("deny", ["nights"]), ("allow", [])],
    )
    cases.write_text(json.dumps([{**case, "expect": "allow"}]), "utf-8")
    wrong = shell.plain("policy", "test", path, "--cases", str(cases))
    assert (wrong.code, "expected allow, decided deny" in wrong.err) == (1, True)


def test_a_key_is_rotated_and_the_old_one_goes_on(shell: Shell) -> None:
    made = shell("keys", "create", "--name", "bi", "--role", "sales.viewer", "--json").row
    follows = shell("keys", "rotate", str(made["id"]), "--overlap", "7d", "--json").row
    assert follows["key"] != made["key"]
    assert follows["roles"] == ["sales.viewer"]
    old, new = shell("keys", "ls", "--json").rows
    assert (old["status"], new["status"]) == ("active", "active")
    assert old["expires_at"] is not None
    assert new["expires_at"] is None
