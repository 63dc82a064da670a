"""Roles of one's own, service accounts and SAML providers at the command line, in the shapes of the interface."""

from tests.rooms.app.cli.conftest import Shell
from tests.rooms.auth.saml.crafting import described


def test_a_role_of_ones_own_is_made_listed_and_removed(shell: Shell) -> None:
    made = shell("roles", "set", "desk", "--parent", "sales.viewer", "--scope", "finance:read", "--json").row
    assert (made["name"], made["built_in"], made["parents"]) == ("desk", False, ["sales.viewer"])
    assert made["allows"] == ["finance:read", "sales:read"]
    listed = {str(each["name"]): each for each in shell("roles", "--json").rows}
    assert (listed["owner"]["built_in"], listed["desk"]["allows"]) == (True, ["finance:read", "sales:read"])
    assert shell("roles", "rm", "desk", "--json").row == {"name": "desk", "removed": True}
    said = shell("roles", "rm", "desk", code=3)
    assert "no role 'desk'" in said.err
    assert "fix: List the roles." in said.err
    assert "no role 'emperor'" in shell("roles", "set", "desk", "--parent", "emperor", code=1).err


def test_a_service_account_owns_keys_and_is_disabled_and_let_in(shell: Shell) -> None:
    made = shell("keys", "account", "create", "export", "--role", "sales.viewer", "--about", "Nightly", "--json").row
    own = str(made["id"])
    assert (made["name"], made["roles"], made["keys"]) == ("export", ["sales.viewer"], 0)
    shell("keys", "create", "--name", "warehouse", "--account", own)
    assert "is disabled since" in shell("keys", "account", "disable", own).out
    (shown,) = shell("keys", "account", "--json").rows
    assert (shown["keys"], shown["disabled_at"] is None) == (1, False)
    assert shell("keys", "account", "enable", own, "--json").row["disabled_at"] is None
    assert "'export'" in shell("keys", "account", "create", "export", "--role", "viewer", code=5).err


def test_a_saml_provider_is_set_up_by_its_metadata_listed_and_removed(shell: Shell) -> None:
    file = shell.here / "northwind.xml"
    file.write_text(described(), "utf-8")
    add = (
        "users",
        "saml",
        "add",
        "--title",
        "Northwind",
        "--metadata",
        str(file),
        "--mail-domain",
        "northwind.example",
    )
    said = shell(*add, "--role", "viewer")
    own = said.out.strip()
    assert own.startswith("saml_")
    assert "register our metadata there: <address of isthmus>/sign-in/saml/" in said.err
    (shown,) = shell("users", "saml", "--json").rows
    assert (shown["id"], shown["entity"]) == (own, "https://id.example/entity")
    assert (shown["roles"], shown["mail_domains"]) == (["viewer"], ["northwind.example"])
    assert shell("users", "saml", "rm", own, "--json").row == {"id": own, "removed": True}
    assert "fix: List the providers." in shell("users", "saml", "rm", own, code=3).err
    file.write_text("<nothing/>", "utf-8")
    assert "fix:" in shell(*add, code=1).err
