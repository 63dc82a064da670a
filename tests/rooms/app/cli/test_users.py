"""Users at the command line: invited, given roles, shut out, let in again; identity providers set up."""

import re

import pytest

from tests.rooms.app.cli.conftest import Shell

ADA = "ada@example.com"


@pytest.fixture
def invited(shell: Shell) -> Shell:
    """A shell in a workspace with one user who is invited."""
    said = shell(
        "users", "invite", ADA, "--name", "Ada Byron", "--role", "sales.editor", "--url", "https://hub.example"
    )
    assert re.fullmatch(r"https://hub\.example/join/\d+\.[\w-]{43}\n", said.out)
    assert "within three days" in said.err
    return shell


def test_an_invited_user_is_listed(invited: Shell) -> None:
    (row,) = invited("users", "--json").rows
    assert (row["email"], row["name"], row["roles"], row["status"]) == (ADA, "Ada Byron", ["sales.editor"], "invited")
    assert ADA in invited("users", "ls").out
    assert "is a user here" in invited("users", "invite", "ADA@example.com", "--name", "Again", code=5).err


def test_a_user_gets_other_roles_is_shut_out_and_let_in(invited: Shell) -> None:
    assert invited("users", "roles", ADA, "--role", "viewer", "--json").row["roles"] == ["viewer"]
    assert "no role 'emperor'" in invited("users", "roles", ADA, "--role", "emperor", code=1).err
    assert invited("users", "disable", ADA, "--json").row["status"] == "disabled"
    assert invited("users", "enable", ADA, "--json").row["status"] == "invited"
    assert "no such user" in invited("users", "disable", "nobody@example.com", code=3).err


def test_a_user_gets_a_new_link_and_only_a_user_forgets_factors(invited: Shell) -> None:
    made = invited("users", "link", ADA, "--forget-factors", "--json").row
    assert made["email"] == ADA
    assert "/join/" in str(made["link"])
    assert "Name the user" in invited("users", "link", "--forget-factors", code=2).err


def test_a_provider_that_does_not_answer_or_may_not_be_called_is_not_set_up(shell: Shell) -> None:
    add = ("users", "provider", "add", "--title", "Northwind", "--client", "isthmus", "--issuer")
    assert "not encrypted" in shell(*add, "http://id.example.com", code=1).err
    assert "could not be asked" in shell(*add, "http://127.0.0.1:9", "--internal", code=4).err
    assert shell("users", "provider", "--json").rows == []
    assert shell("users", "provider", "rm", "idp_01KAX3V9Q2M4T8Z5N7P6R1S0WD", code=3).out == ""
