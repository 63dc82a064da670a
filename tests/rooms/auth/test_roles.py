"""Roles say what may be done; each step of the ladder holds the one below it."""

from itertools import pairwise

import pytest

from isthmus.auth.roles import (
    DOMAIN_ROLES,
    WORKSPACE_ROLES,
    GrantTooWide,
    UnknownRole,
    all_permissions,
    check_grant,
    permissions_of,
    surviving,
)

DOMAINS = ("making", "selling")


def allowed(*roles: str, permissions: tuple[str, ...] = ()) -> frozenset[str]:
    return permissions_of(roles, permissions, domains=DOMAINS)


def test_each_step_of_the_ladder_holds_the_one_below() -> None:
    steps = [allowed(role) for role in ("making.viewer", "making.analyst", "making.editor", "making.admin", "owner")]
    assert all(lower < upper for lower, upper in pairwise(steps))
    assert steps[-1] == all_permissions(domains=DOMAINS)


def test_personal_fields_begin_with_the_editor() -> None:
    assert "making:read_personal" not in allowed("making.analyst")
    assert "making:read_personal" in allowed("making.editor")


def test_a_domain_role_holds_in_its_domain_only_and_in_all_without_one() -> None:
    assert allowed("making.viewer") == {"making:read"}
    assert allowed("viewer") == {"making:read", "selling:read"}


def test_an_auditor_sees_no_record_and_a_machine_no_personal_field() -> None:
    assert allowed("auditor") == {"audit:read", "privacy:read"}
    assert allowed("integration") == {f"{domain}:{verb}" for domain in DOMAINS for verb in ("read", "write")}


def test_only_the_owner_and_nobody_else_may_make_keys() -> None:
    holders = {role for role in (*WORKSPACE_ROLES, *DOMAIN_ROLES) if "gateway:write" in allowed(role)}
    assert holders == {"owner"}


def test_single_permissions_and_whole_areas_can_be_granted() -> None:
    assert allowed(permissions=("making:write", "sync:*")) == {"making:write", "sync:read", "sync:write"}


def test_every_unknown_role_and_permission_is_named() -> None:
    with pytest.raises(UnknownRole) as refused:
        permissions_of(["owner", "king", "mining.viewer"], ["making:fly", "making:read"], domains=DOMAINS)
    assert [each.pointer for each in refused.value.faults] == ["/roles/1", "/roles/2", "/permissions/0"]


def test_what_is_stored_and_no_longer_exists_allows_nothing() -> None:
    assert surviving(["king", "making.viewer"], ["mining:read"], domains=DOMAINS) == {"making:read"}


def test_nobody_grants_more_than_they_have() -> None:
    check_grant(frozenset({"making:read"}), giver=allowed("making.editor"))
    with pytest.raises(GrantTooWide):
        check_grant(allowed("making.admin"), giver=allowed("making.editor"))
