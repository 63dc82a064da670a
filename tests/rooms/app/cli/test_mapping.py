"""Mappings at the terminal: kept from a file, tried, put in force, replayed, taken back."""

import json

import msgspec
from msgspec import Struct

from tests.rooms.app.cli.conftest import Shell


class _Found(Struct):
    looked: int
    fields: list[dict[str, object]]


def test_a_mapping_is_saved_tried_activated_replayed_and_rolled_back(shell: Shell) -> None:
    shell.connect("crm")
    shell("sync", "run", "crm", "--only", "pull")
    file = shell.here / "accounts.json"
    file.write_text('{"type": "sales.account", "fields": {"name": {"transforms": ["upper"]}}, "surprise": 1}')
    assert "holds no mapping" in shell("mapping", "save", "crm", str(file), "--reason", "Louder.", code=1).err
    file.write_text(json.dumps({"type": "sales.account", "fields": {"name": {"transforms": ["upper"]}}}))
    saved = shell("mapping", "save", "crm", str(file), "--reason", "Louder.", "--json").row
    own = str(saved["id"])
    plan = shell("mapping", "plan", own, "--json", "--limit", "1").row
    assert isinstance(plan["looked"], int)
    assert plan["looked"] > 0
    assert plan["fields"] == {"name": plan["changed"]}
    assert isinstance(plan["out"], dict)
    assert plan["out"]["changed"] == 0
    assert "nothing that goes out would change" in shell("mapping", "plan", own).err
    assert "in force" in shell("mapping", "activate", own).out
    done = shell("mapping", "replay", "crm", "sales.account", "--json").row
    assert (done["read"], done["rejected"]) == (plan["looked"], 0)
    quiet = "select count(*) as quiet, (select count(*) from sales_account) as all from sales_account"
    (row,) = shell("query", f"{quiet} where name <> upper(name)", "--json").rows
    assert (row["quiet"], row["all"]) == (0, done["changed"]), "ids that are one company are one record"
    assert shell("mapping", "rollback", own, "--json").row["in_force"] is False
    assert [each["reason"] for each in shell("mapping", "--json").rows] == ["Louder."]


def test_the_fields_of_a_system_are_listed_with_what_becomes_of_each(shell: Shell) -> None:
    shell.connect("crm")
    shell("sync", "run", "crm", "--only", "pull")

    def listed(*more: str) -> dict[object, dict[str, object]]:
        said = shell("mapping", "fields", "crm", "sales.account", "--json", *more)
        found = msgspec.json.decode(said.out, type=_Found)
        assert found.looked > 0
        return {each["path"]: each for each in found.fields}

    assert listed()["Name"]["becomes"] == ["name"]
    unread = listed("--unread")
    assert "Name" not in unread
    assert all(each["filled"] and not each["becomes"] for each in unread.values())
    assert "describes no fields" in shell("mapping", "fields", "crm", "sales.account", "--ask").err
