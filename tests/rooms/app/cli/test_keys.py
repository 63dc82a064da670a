"""Keys are shown once, on stdout alone; links are made for people."""

import re

from isthmus.auth.keytext import read_key_text
from tests.rooms.app.cli.conftest import Shell


def test_a_key_goes_to_stdout_once_and_the_warning_to_stderr(shell: Shell) -> None:
    said = shell("keys", "create", "--name", "forms", "--scope", "sales:write", "--expires", "90d")
    text = read_key_text(said.out.strip())
    assert said.out == f"{text.text}\n"
    assert text.text.startswith("ist_live_")
    assert "not shown again" in said.err
    assert text.text not in said.err
    listed = shell("keys", "--json")
    assert text.text not in listed.out
    (key,) = listed.rows
    assert (key["name"], key["scopes"], key["status"]) == ("forms", ["sales:write"], "active")


def test_a_revoked_key_leaves_the_list_and_stays_on_the_record(shell: Shell) -> None:
    made = shell("keys", "create", "--name", "bi", "--role", "finance.viewer", "--json").row
    revoked = shell("keys", "revoke", str(made["id"]), "--json").row
    assert revoked["status"] == "revoked"
    assert shell("keys", "ls", "--json").rows == []
    assert [row["status"] for row in shell("keys", "ls", "--all", "--json").rows] == ["revoked"]
    assert shell("keys", "revoke", str(made["id"]), "--json").row["revoked_at"] == revoked["revoked_at"]


def test_a_test_key_opens_a_sandbox_only(shell: Shell) -> None:
    shell("keys", "ls")
    assert "is live" in shell("keys", "create", "--name", "x", "--role", "owner", "--test", code=5).err
    base = ("keys", "create", "--name", "x", "--role", "owner", "--test", "--json", "--data-dir", str(shell.data_dir))
    made = shell.plain(*base).row
    assert (made["kind"], made["workspace"]) == ("test", "sandbox")
    assert str(made["key"]).startswith("ist_test_")
    sandbox = Shell(shell.data_dir, shell.here, "sandbox")
    assert made["id"] in [each["id"] for each in sandbox("keys", "ls", "--json").rows]
    assert made["id"] not in [each["id"] for each in shell("keys", "ls", "--json").rows]


def test_wishes_that_make_no_key_are_refused(shell: Shell) -> None:
    assert "--role" in shell("keys", "create", "--name", "x", code=2).err
    assert "no role 'emperor'" in shell("keys", "create", "--name", "x", "--role", "emperor", code=1).err
    assert (
        "no length of time"
        in shell("keys", "create", "--name", "x", "--role", "owner", "--expires", "soon", code=2).err
    )
    past = shell("keys", "create", "--name", "x", "--role", "owner", "--expires", "2020-01-01", code=1)
    assert "coming ten years" in past.err
    assert shell("keys", "revoke", "key_01KAX3V9Q2M4T8Z5N7P6R1S0WD", code=3).out == ""


def test_a_link_signs_in_once_under_the_address_that_is_given(shell: Shell) -> None:
    said = shell("users", "link", "--url", "https://hub.example/")
    assert re.fullmatch(r"https://hub\.example/enter/[\w-]{40,}\n", said.out)
    assert "once, within 24 hours" in said.err
