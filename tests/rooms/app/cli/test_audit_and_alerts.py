"""The audit log and alerts at the command line, over what commands themselves have done."""

import csv
import io

import msgspec

from tests.rooms.app.cli.conftest import Shell


def test_what_was_done_is_found_excluded_and_taken_along(shell: Shell) -> None:
    made = shell("keys", "create", "--name", "Forms", "--scope", "sales:write", "--json").row
    shell("keys", "create", "--name", "Other", "--scope", "sales:read", "--json")
    shell("keys", "revoke", str(made["id"]))
    found = shell("audit", "search", "action:key.*", "since:1h", "--json").rows
    assert [each["action"] for each in found] == ["key.revoked", "key.created", "key.created"]
    assert all(str(each["actor"]).startswith("cli:") for each in found)
    fewer = shell("audit", "search", "action:key.*", "-action:key.created", "--json").rows
    assert [each["action"] for each in fewer] == ["key.revoked"]
    assert len(shell("audit", "search", "action:key.*", "--limit", "2", "--json").rows) == 2
    before = str(found[0]["id"])
    assert len(shell("audit", "search", "action:key.*", "--before", before, "--json").rows) == 2
    lines = shell("audit", "export", "action:key.*").out.splitlines()
    assert [msgspec.json.decode(each)["action"] for each in lines] == ["key.revoked", "key.created", "key.created"]
    table = list(csv.DictReader(io.StringIO(shell("audit", "export", "--format", "csv").out)))
    assert table[0]["action"] == "audit.exported"
    assert {each["action"] for each in table} >= {"key.created", "key.revoked"}
    assert "key.revoked" in shell("audit").out


def test_a_search_that_cannot_be_read_says_where(shell: Shell) -> None:
    said = shell("audit", "search", "actr:x", code=1)
    assert "There is no field 'actr', at character 1." in said.err


def test_a_channel_is_added_from_a_file_listed_and_taken_away(shell: Shell) -> None:
    assert "nobody is told" in shell("alerts", "channels").err
    mail = shell("alerts", "add", "on call", "--email", "oncall@example.test", "--json").row
    secret = shell.here / "webhook.txt"
    secret.write_text("https://hooks.example.test/services/T0/secret\n", encoding="utf-8")
    chat = shell("alerts", "add", "chat", "--webhook-file", str(secret), "--json").row
    assert [each["kind"] for each in shell("alerts", "channels", "--json").rows] == ["email", "webhook"]
    assert "secret" not in shell("alerts", "channels").out
    assert "Set smtp_url" in shell("alerts", "try", str(mail["id"]), code=6).err
    shell("alerts", "rm", str(chat["id"]))
    assert [each["name"] for each in shell("alerts", "channels", "--json").rows] == ["on call"]
    shell("alerts", "rm", str(chat["id"]), code=3)


def test_an_address_that_leads_inside_is_refused(shell: Shell) -> None:
    secret = shell.here / "webhook.txt"
    secret.write_text("https://169.254.169.254/latest", encoding="utf-8")
    assert "not one of the internet" in shell("alerts", "add", "x", "--webhook-file", str(secret), code=1).err


def test_without_alerts_it_says_so_and_objectives_are_shown(shell: Shell) -> None:
    assert shell("alerts", "ls", "--json").rows == []
    assert "nothing alarms" in shell("alerts").err
    assert "Answers within 200 ms" in shell("alerts", "objectives").out
    shell("alerts", "ack", "alrt_01KAX3V9Q2M4T8Z5N7P6R1S0WD", code=3)
