"""A connection is reconciled from the command line: what differs is listed, decided and mended."""

import json
import sqlite3
from contextlib import closing

from tests.rooms.app.cli.conftest import Shell


def change_there(shell: Shell, name: str, value: str) -> str:
    """Change a person of the CRM without moving what tells of changes; returns its id there."""
    base = sqlite3.connect(shell.here / "company.sqlite")
    with closing(base), base:
        own, body = base.execute("select id, body from kept where feed = 'crm.contacts' order by id limit 1").fetchone()
        changed = json.dumps(json.loads(body) | {name: value})
        base.execute("update kept set body = ? where feed = 'crm.contacts' and id = ?", (changed, own))
    return str(own)


def test_what_differs_is_listed_masked_decided_and_mended(shell: Shell) -> None:
    shell.connect("crm")
    shell("sync", "run", "crm", "--only", "pull")
    assert "nothing was compared yet" in shell("reconcile").err
    external_id = change_there(shell, "Title", "Keeper of the Keys")
    found = shell("reconcile", "run", "crm", "--json").row
    assert isinstance(found["accuracy"], float)
    assert 0.9 < found["accuracy"] < 1
    assert isinstance(found["compared"], int)
    assert found["accuracy"] == 1 - 1 / found["compared"]
    assert f"of {found['compared']:,} compared fields agree" in shell("reconcile").err
    (row,) = shell("reconcile", "--json").rows
    assert (row["kind"], row["external_id"], row["there"], row["here"]) == ("field", external_id, "•••", "•••")
    assert "Keeper of the Keys" in shell("reconcile", "ls", "--show-personal").out
    money = shell("reconcile", "money", "crm", "crm", "--type", "sales.deal", "--json").row
    assert (money["agree"], bool(money["sums"]), money["differences"]) == (True, True, [])
    own = str(row["id"])
    assert shell("reconcile", "accept", own, "--reason", "It is true.", "--json").row["status"] == "accepted"
    assert shell("reconcile", "reopen", own, "--json").row["status"] == "open"
    assert shell("reconcile", "ls", "--connection", "crm", "--field", "title", "--json").rows == [row]
    assert shell("reconcile", "ls", "--kind", "missing", "--json").rows == []
    why = ("--field", "title", "--reason", "Known.")
    assert [each["status"] for each in shell("reconcile", "decide", "ignore", *why, "--dry-run", "--json").rows] == [
        "open"
    ]
    assert [each["status"] for each in shell("reconcile", "decide", "ignore", *why, "--json").rows] == ["ignored"]
    shell("reconcile", "decide", "reopen", "--status", "ignored")
    assert "nothing was drawn" in shell("reconcile", "probe", "crm").err
    assert shell("reconcile", "repair", "crm", "--reason", "Read too early.", "--json").row["accuracy"] == 1.0
    shell("reconcile", "ignore", own, "--reason", "Too late.", code=3)
