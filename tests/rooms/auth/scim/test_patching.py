"""Changes as the standard has them, and as Entra and Okta send them."""

import pytest

from isthmus.auth.scim.attributes import USERS, Document, groups
from isthmus.auth.scim.errors import InvalidPath, InvalidSyntax, NoTarget, NotChangeable, ScimRefused, TooManyAtOnce
from isthmus.auth.scim.patching import changed
from isthmus.kernel.marks import Json

GROUPS = groups(("viewer",))
WORK: Json = {"value": "ada@work.example", "type": "work", "primary": True}
HOME: Json = {"value": "ada@home.example", "type": "home"}
ADA: Document = {"userName": "ada", "active": True, "name": {"givenName": "Ada"}, "emails": [WORK, HOME]}
TEAM: Document = {"displayName": "Team", "members": [{"value": "user_1"}, {"value": "user_2"}, {"value": "user_3"}]}


def user(*operations: Json) -> Document:
    """Return Ada after operations."""
    return changed(ADA, {"Operations": list(operations)}, USERS)


def members(*operations: Json) -> list[str]:
    """Return who is in the team after operations."""
    team = changed(TEAM, {"Operations": list(operations)}, GROUPS)
    own = team.get("members", [])
    assert isinstance(own, list)
    return [str(each["value"]) for each in own if isinstance(each, dict)]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "replace", "value": {"active": False}},
        {"op": "REPLACE", "path": "Active", "value": False},
        {"op": "replace", "value": {"id": "user_9", "schemas": [], "active": "false"}},
        {"op": "Add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": "false"},
        {"op": "replace", "value": {"urn:ietf:params:scim:schemas:core:2.0:User": {"active": False}}},
    ],
)
def test_somebody_is_made_inactive_in_every_way_clients_have(operation: Json) -> None:
    assert user(operation)["active"] is False


def test_entra_names_parts_with_dots_and_values_by_filters() -> None:
    made = user(
        {
            "op": "Replace",
            "value": {
                "name.familyName": "Byron",
                "displayName": "Ada Byron",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "Sales",
            },
        },
        {"op": "Add", "path": 'emails[type eq "work"].value', "value": "byron@work.example"},
        {"op": "Add", "path": 'emails[type eq "other"].value', "value": "byron@other.example"},
        {"op": "Replace", "path": 'phoneNumbers[type eq "work"].value', "value": "1"},
        {"op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager", "value": "x"},
    )
    assert made["name"] == {"givenName": "Ada", "familyName": "Byron"}
    assert made["displayName"] == "Ada Byron"
    emails = made["emails"]
    assert isinstance(emails, list)
    assert emails[0] == {"value": "byron@work.example", "type": "work", "primary": True}
    assert emails[2] == {"value": "byron@other.example", "type": "other"}


def test_removing_named_members_leaves_the_others() -> None:
    assert members({"op": "Remove", "path": "members", "value": [{"value": "user_2"}]}) == ["user_1", "user_3"]
    assert members({"op": "remove", "path": 'members[value eq "user_2"]'}) == ["user_1", "user_3"]
    assert members({"op": "remove", "path": "members", "value": {"value": "user_2"}}) == ["user_1", "user_3"]
    assert members({"op": "remove", "path": "members", "value": []}) == ["user_1", "user_2", "user_3"]
    assert members({"op": "remove", "path": "members", "value": [{"value": "user_9"}]}) == [
        "user_1",
        "user_2",
        "user_3",
    ]
    assert members({"op": "remove", "path": "members"}) == []


def test_members_are_added_once_and_replaced_whole() -> None:
    assert (
        members({"op": "add", "path": "members", "value": [{"value": "user_1"}, {"value": "user_4"}]})[-1] == "user_4"
    )
    assert len(members({"op": "add", "value": {"members": [{"value": "user_1"}]}})) == 3
    assert members({"op": "replace", "path": "members", "value": [{"value": "user_7"}]}) == ["user_7"]


def test_a_new_primary_value_takes_the_place_of_the_old_one() -> None:
    emails = user({"op": "add", "path": "emails", "value": [{"value": "new@x.example", "primary": True}]})["emails"]
    assert isinstance(emails, list)
    assert [isinstance(each, dict) and each.get("primary", False) for each in emails] == [False, False, True]
    emails = user({"op": "replace", "path": 'emails[type eq "home"].primary', "value": True})["emails"]
    assert isinstance(emails, list)
    assert [isinstance(each, dict) and each["primary"] for each in emails] == [False, True]


def test_all_operations_are_done_or_none() -> None:
    before = repr(ADA)
    with pytest.raises(NoTarget):
        user({"op": "replace", "path": "title", "value": "Boss"}, {"op": "remove"})
    with pytest.raises(NotChangeable):
        user({"op": "remove", "path": 'emails[type eq "home"]'}, {"op": "replace", "path": "id", "value": "user_9"})
    assert repr(ADA) == before


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ({"op": "replace", "path": "groups", "value": []}, NotChangeable),
        ({"op": "replace", "path": "shoeSize", "value": 3}, InvalidPath),
        ({"op": "replace", "path": "name.shoe", "value": "x"}, InvalidPath),
        ({"op": "replace", "path": 'emails[value sw "z"].type', "value": "x"}, NoTarget),
        ({"op": "move", "path": "title", "value": "x"}, InvalidSyntax),
        ({"op": "replace", "value": "x"}, InvalidSyntax),
        ({"op": "replace", "path": "active", "value": "perhaps"}, ScimRefused),
        ({"op": "replace", "path": "title", "value": "x" * 501}, ScimRefused),
        ({"op": "add", "path": "emails", "value": [{"value": f"{n}@x"} for n in range(30)]}, TooManyAtOnce),
        ("x", InvalidSyntax),
    ],
)
def test_what_cannot_be_done_is_refused(operation: Json, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        user(operation)


def test_a_message_without_operations_or_with_too_many_is_refused() -> None:
    bodies: list[dict[str, Json]] = [{}, {"Operations": []}, {"Operations": "x"}]
    for body in bodies:
        with pytest.raises(InvalidSyntax):
            changed(ADA, body, USERS)
    many: list[Json] = [{"op": "add", "path": "title", "value": "x"}] * 1_001
    with pytest.raises(TooManyAtOnce):
        changed(ADA, {"Operations": many}, USERS)
