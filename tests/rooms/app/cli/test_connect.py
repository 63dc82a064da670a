"""Connecting systems: secrets never in clear, nothing kept that does not answer."""

from pathlib import Path

from tests.rooms.app.cli.conftest import Shell

TRYTON = ("connect", "add", "tryton", "--name", "erp", "--set", "url=https://erp.example", "--set", "database=main")


def test_connectors_are_listed_with_what_proves_them_and_which_are_fake(shell: Shell) -> None:
    rows = shell("connect", "connectors", "--json").rows
    fake = {str(row["name"]): row["fake"] for row in rows}
    assert fake["demo"] is True
    assert fake["tryton"] is False
    assert all(row["proven"] and row["settings"] for row in rows)
    few = shell("connect", "--list").out
    assert all(f"{name}  " in few for name in fake)
    assert "[fake: for demonstrations and tests]" in few
    assert "settings" not in few
    one = shell("connect", "--list", "tryton").out
    assert "\n  settings  url" in one
    assert "demo  " not in one
    assert "There are: " in shell("connect", "--list", "nope", code=3).err


def test_a_system_that_answers_is_connected_shown_paused_and_removed(shell: Shell) -> None:
    added = shell.connect("crm", "--every", "15m", "--create", "sales.lead", "--no-delete")
    assert added.out.startswith("connected crm, which answers as demo crm")
    assert "next: isthmus sync run crm" in added.err
    shown = shell("connect", "show", "crm", "--json").row
    assert (shown["status"], shown["every_s"], shown["create"], shown["delete"]) == (
        "pending",
        900,
        ["sales.lead"],
        False,
    )
    assert shell("connect", "pause", "crm", "--reason", "upgrade", "--json").row["reason"] == "upgrade"
    assert shell("sync", "run", "crm", code=5).out == ""
    assert shell("connect", "resume", "crm", "--json").row["status"] == "pending"
    assert "say --yes" in shell("connect", "rm", "crm", code=2).err
    assert shell("connect", "rm", "crm", "--yes").out == "removed crm\n"
    assert shell("connect", "ls", "--json").rows == []


def test_without_connections_the_next_step_is_said_and_stdout_is_empty(shell: Shell) -> None:
    said = shell("connect")
    assert said.out == ""
    assert "isthmus connect --list" in said.err


def test_a_connection_that_is_not_there_is_not_found(shell: Shell) -> None:
    said = shell("connect", "show", "nowhere", code=3)
    assert said.out == ""
    assert "There is no connection 'nowhere'." in said.err


def test_a_secret_in_clear_is_refused_with_the_way_that_is_safe(shell: Shell) -> None:
    for clear in (("--set", "key=hunter2"), ("--secret", "key=hunter2")):
        said = shell(*TRYTON, *clear, code=2)
        assert "--secret key=@FILE" in said.err
        assert "hunter2" not in said.err + said.out


def test_a_secret_that_nobody_can_be_asked_for_is_a_usage_error(shell: Shell) -> None:
    assert "Nobody can be asked" in shell(*TRYTON, "--secret", "key", code=2).err


def test_secrets_come_from_files_and_from_the_environment_and_are_never_shown(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text("hunter2\n", "utf-8")
    file.chmod(0o644)
    shell.environment["ERP_PASSWORD"] = "hunter3"
    said = shell(*TRYTON, "--secret", f"key=@{file}", "--secret", "password=env:ERP_PASSWORD", "--no-check", "--json")
    assert "chmod 600" in said.err
    assert said.row["secrets"] == ["key", "password"]
    shown = shell("connect", "show", "erp").out + shell("connect", "show", "erp", "--json").out
    assert "hunter" not in shown + said.out + said.err


def test_a_secret_whose_file_or_variable_is_missing_is_not_found(shell: Shell) -> None:
    assert "cannot be read" in shell(*TRYTON, "--secret", "key=@nowhere.txt", code=3).err
    assert "is not set" in shell(*TRYTON, "--secret", "key=env:NO_SUCH_THING", code=3).err


def test_a_system_that_does_not_answer_is_not_kept(shell: Shell) -> None:
    unusable = ("--set", "system=nonsense", "--set", f"path={shell.here / 'x.sqlite'}", "--set", "now=today")
    assert "Choose one of crm" in shell("connect", "add", "demo", "--name", "crm", *unusable, code=6).err
    assert shell("connect", "ls", "--json").rows == []


def test_every_setting_at_fault_is_named(shell: Shell) -> None:
    said = shell("connect", "add", "demo", "--name", "crm", "--set", "sytem=crm", code=1)
    assert "/settings/sytem" in said.err
    assert "/settings/path" in said.err


def test_a_name_is_used_once_and_settings_can_be_changed(shell: Shell) -> None:
    shell.connect("crm")
    assert "There is a connection named 'crm'" in shell.connect("crm", code=5).err
    changed = shell("connect", "set", "crm", "--set", "latency_ms=1", "--every", "1h", "--json").row
    assert changed["every_s"] == 3600
    assert isinstance(changed["settings"], dict)
    assert changed["settings"]["latency_ms"] == "1"
