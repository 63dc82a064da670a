"""Programs are registered, listed, given another secret and removed; a secret goes to stdout alone."""

import json
from typing import cast

from joserfc.jwk import ECKey

from isthmus.kernel.marks import Json
from tests.rooms.app.cli.conftest import Shell

MACHINE = ("clients", "add", "--name", "Reporting", "--grant", "machine", "--scope", "sales:read")


def test_a_secret_goes_to_stdout_once_and_the_rest_to_stderr(shell: Shell) -> None:
    said = shell(*MACHINE)
    secret = said.out.strip()
    assert secret.startswith("iscs_")
    assert "client_id of Reporting" in said.err
    assert secret not in said.err
    listed = shell("clients", "--json")
    assert secret not in listed.out
    (program,) = listed.rows
    assert (program["name"], program["scopes"], program["status"]) == ("Reporting", ["sales:read"], "active")


def test_a_program_is_rotated_and_removed(shell: Shell) -> None:
    made = shell(*MACHINE, "--json").row
    rotated = shell("clients", "rotate", str(made["client_id"]), "--json").row
    assert rotated["client_secret"] != made["client_secret"]
    assert shell("clients", "rm", str(made["client_id"]), "--json").row["status"] == "removed"
    assert shell("clients", "ls", "--json").rows == []
    assert [row["status"] for row in shell("clients", "ls", "--all", "--json").rows] == ["removed"]
    assert "was removed" in shell("clients", "rotate", str(made["client_id"]), code=1).err


def test_public_programs_and_those_with_keys_have_no_secret(shell: Shell) -> None:
    public = shell(
        *("clients", "add", "--name", "App", "--public", "--grant", "code", "--scope", "openid"),
        *("--redirect", "http://127.0.0.1/back", "--json"),
    ).row
    assert (public["method"], public["client_secret"]) == ("none", None)
    key = cast("dict[str, Json]", ECKey.generate_key("P-256").as_dict(private=False))
    (shell.here / "keys.json").write_text(json.dumps({"keys": [key]}), "utf-8")
    signing = shell(*MACHINE, "--keys", "keys.json", "--json").row
    assert (signing["method"], signing["client_secret"]) == ("private_key_jwt", None)


def test_a_program_says_where_it_is_told_that_a_session_ended(shell: Shell) -> None:
    portal = (
        *("clients", "add", "--name", "Portal", "--grant", "code", "--scope", "openid"),
        *("--redirect", "https://portal.example/back", "--back-channel-logout"),
    )
    shell(*portal, "https://portal.example/out")
    (listed,) = shell("clients", "ls", "--json").rows
    assert listed["back_channel_logout"] == "https://portal.example/out"
    assert "begins with https://" in shell(*portal, "http://portal.example/out", code=1).err


def test_wishes_that_make_no_program_are_refused(shell: Shell) -> None:
    assert "could ask for nothing" in shell("clients", "add", "--name", "x", code=1).err
    assert (
        "no scope 'x:y'" in shell("clients", "add", "--name", "x", "--grant", "machine", "--scope", "x:y", code=1).err
    )
    assert "where codes are sent" in shell("clients", "add", "--name", "x", "--grant", "code", code=1).err
    assert shell("clients", "rm", "client_01KAX3V9Q2M4T8Z5N7P6R1S0WD", code=3).out == ""
