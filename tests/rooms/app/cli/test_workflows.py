"""`isthmus workflows` shows, edits, starts, pauses and cancels."""

import json
from uuid import UUID

from isthmus.kernel.ids import text_of
from tests.rooms.app.cli.conftest import Shell

LEADS = "Id,E-Mail,First Name,Company\n1,ann@acme.example,Ann,Acme\n"


def test_a_workflow_is_shown_edited_and_looked_at_in_versions(shell: Shell) -> None:
    found = {str(each["name"]): each for each in shell("workflows", "--json").rows}
    assert {name: each["subject"] for name, each in found.items()} == {
        "follow-up": "sales.lead",
        **dict.fromkeys(("rescue", "check-in", "onboarding", "renewal"), "sales.account"),
    }
    shown = shell("workflows", "show", "check-in").row
    path = shell.here / "check-in.json"
    path.write_text(json.dumps({**shown, "title": "Ask how it goes"}), "utf-8")
    assert "version 2" in shell("workflows", "edit", "check-in", "--file", str(path), "--note", "words").err
    versions = shell("workflows", "versions", "check-in", "--json").rows
    assert [(each["version"], each["title"], each["note"]) for each in versions] == [
        (2, "Ask how it goes", "words"),
        (1, "Check-in", "standard"),
    ]
    path.write_text('{"title": "T", "steps": [{"kind": "dance"}]}', "utf-8")
    assert "cannot be read" in shell("workflows", "edit", "check-in", "--file", str(path), code=1).err


def test_runs_are_started_listed_paused_and_cancelled(shell: Shell) -> None:
    (shell.here / "leads.csv").write_text(LEADS, "utf-8")
    shell("import", str(shell.here / "leads.csv"), "--type", "sales.lead", "--no-pipeline")
    lead = shell("query", "select id from sales_lead", "--json").rows[0]["id"]
    begun = shell("workflows", "start", "follow-up", lead_id(str(lead)), "--json").row
    own = str(begun["id"])
    assert "runs for this record" in shell("workflows", "start", "follow-up", lead_id(str(lead)), code=5).err
    assert "is paused" in shell("workflows", "pause", own).err
    assert own in shell("workflows", "runs", "--state", "paused").out
    assert shell("workflows", "cancel", own, "--reason", "enough", "--json").row["reason"] == "enough"


def lead_id(text: str) -> str:
    """The outside form of an id."""
    return text_of("lead", UUID(text))
