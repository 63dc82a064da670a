"""A workspace makes roles of its own: inherited, free of rings, never wider than their maker; accounts own keys."""

from datetime import timedelta
from uuid import UUID

import pytest

from isthmus.auth.accounts import (
    AccountDisabled,
    AccountExists,
    AccountWish,
    InvalidAccount,
    create_account,
    switch_account,
)
from isthmus.auth.credentials import REMEMBERED, Credentials
from isthmus.auth.custom_roles import InvalidRole, RoleInUse, RoleMissing, list_roles, remove, save
from isthmus.auth.keys import KeyEnded, KeyWish, create_key, find_key, revoke_key, rotate_key
from isthmus.auth.keytext import InvalidKey, KeyText
from isthmus.auth.roles import CustomRole, GrantTooWide, UnknownRole, roles_held
from isthmus.kernel.errors import Unauthenticated
from isthmus.store.database import Database, Scope
from tests.conftest import NOW

DOMAINS = ("making", "selling")
LATER = NOW + REMEMBERED


async def saved(database: Database, scope: Scope, name: str, *parents: str, permissions: tuple[str, ...] = ()) -> None:
    async with database.transaction(scope) as tx:
        role = CustomRole(name=name, parents=parents, permissions=permissions)
        await save(tx, role, domains=DOMAINS, giver=None)


async def key(database: Database, scope: Scope, wish: KeyWish) -> KeyText:
    async with database.transaction(scope) as tx:
        return (await create_key(tx, wish, domains=DOMAINS, giver=None))[1]


async def test_a_role_holds_what_its_parents_hold_and_more(database: Database, scope: Scope) -> None:
    await saved(database, scope, "desk", "making.viewer", permissions=("selling:write",))
    await saved(database, scope, "head", "desk", permissions=("making:analyse",))
    text = await key(database, scope, KeyWish(name="x", roles=("head",)))
    principal = await Credentials(database, domains=DOMAINS).key(text.text, now=NOW)
    assert principal.permissions == {"making:read", "selling:write", "making:analyse"}
    assert principal.roles == ("desk", "head", "making.viewer")


async def test_a_changed_role_changes_what_its_holders_may(database: Database, scope: Scope) -> None:
    await saved(database, scope, "desk", permissions=("making:read",))
    text = await key(database, scope, KeyWish(name="x", roles=("desk",)))
    credentials = Credentials(database, domains=DOMAINS)
    assert (await credentials.key(text.text, now=NOW)).permissions == {"making:read"}
    await saved(database, scope, "desk", permissions=("selling:read",))
    assert (await credentials.key(text.text, now=LATER)).permissions == {"selling:read"}
    async with database.transaction(scope) as tx:
        await remove(tx, "desk")
    assert (await credentials.key(text.text, now=LATER + REMEMBERED)).permissions == frozenset()


async def test_rings_unknown_names_and_names_of_built_in_roles_are_refused(database: Database, scope: Scope) -> None:
    await saved(database, scope, "one", permissions=("making:read",))
    await saved(database, scope, "two", "one")
    for name, parent in (("one", "two"), ("one", "one")):
        with pytest.raises(InvalidRole):
            await saved(database, scope, name, parent)
    with pytest.raises(UnknownRole):
        await saved(database, scope, "three", "nobody")
    with pytest.raises(UnknownRole):
        await saved(database, scope, "three", permissions=("making:fly",))
    for name in ("owner", "viewer", "Big", "a.b", "x"):
        with pytest.raises(InvalidRole):
            await saved(database, scope, name, "making.viewer")
    async with database.transaction(scope) as tx:
        assert set(await list_roles(tx)) == {"one", "two"}


async def test_nobody_makes_a_role_wider_than_their_own(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        with pytest.raises(GrantTooWide):
            await save(
                tx, CustomRole(name="wide", parents=("owner",)), domains=DOMAINS, giver=frozenset({"making:read"})
            )


async def test_a_role_that_another_inherits_stays(database: Database, scope: Scope) -> None:
    await saved(database, scope, "one", permissions=("making:read",))
    await saved(database, scope, "two", "one")
    async with database.transaction(scope) as tx:
        with pytest.raises(RoleInUse):
            await remove(tx, "one")
        await remove(tx, "two")
        await remove(tx, "one")
        with pytest.raises(RoleMissing):
            await remove(tx, "one")


async def test_roles_of_another_workspace_are_not_there(database: Database, scope: Scope) -> None:
    await saved(database, scope, "desk", permissions=("making:read",))
    other = Scope(workspace=scope.workspace + 10_000, actor="x", cause="x", now=NOW)
    async with database.transaction(other) as tx:
        assert await list_roles(tx) == {}


def test_inheritance_reaches_the_roles_below_in_each_domain() -> None:
    assert roles_held(("making.editor",), domains=DOMAINS) >= {"making.editor", "making.analyst", "making.viewer"}
    assert "selling.viewer" in roles_held(("viewer",), domains=DOMAINS)
    assert "selling.viewer" not in roles_held(("making.admin",), domains=DOMAINS)


async def test_the_keys_of_an_account_allow_at_most_what_it_is_granted_and_end_with_it(
    database: Database, scope: Scope
) -> None:
    async with database.transaction(scope) as tx:
        wish = AccountWish(name="nightly", roles=("making.viewer",))
        account = await create_account(tx, wish, domains=DOMAINS, giver=None)
        with pytest.raises(AccountExists):
            await create_account(tx, wish, domains=DOMAINS, giver=None)
        with pytest.raises(InvalidAccount):
            await create_account(tx, AccountWish(name="Bad Name"), domains=DOMAINS, giver=None)
    plain = await key(database, scope, KeyWish(name="x", account=account.id))
    wide = await key(database, scope, KeyWish(name="y", roles=("making.editor",), account=account.id))
    credentials = Credentials(database, domains=DOMAINS)
    for text in (plain, wide):
        principal = await credentials.key(text.text, now=NOW)
        assert (principal.permissions, principal.client) == ({"making:read"}, "nightly")
    async with database.transaction(scope) as tx:
        await switch_account(tx, account.id, enabled=False)
        with pytest.raises(AccountDisabled):
            await create_key(tx, KeyWish(name="z", account=account.id), domains=DOMAINS, giver=None)
    for text in (plain, wide):
        with pytest.raises(InvalidKey):
            await credentials.key(text.text, now=LATER)
    async with database.transaction(scope) as tx:
        assert (await switch_account(tx, account.id, enabled=True)).keys == 2
    assert await credentials.key(plain.text, now=LATER)


async def test_a_rotated_key_goes_on_for_the_overlap_and_its_successor_takes_over(
    database: Database, scope: Scope
) -> None:
    only = {"making.thing": frozenset({UUID(int=7)})}
    old = await key(database, scope, KeyWish(name="x", roles=("making.viewer",), only=only))
    overlap = timedelta(hours=2)
    async with database.transaction(scope) as tx:
        made, new = await rotate_key(tx, old.id, overlap=overlap, domains=DOMAINS, giver=None)
        assert (made.rotated_from, made.roles, made.only) == (old.id, ["making.viewer"], only)
        assert (await find_key(tx, old.id)).expires_at == NOW + overlap
    credentials = Credentials(database, domains=DOMAINS)
    assert (await credentials.key(new.text, now=NOW + overlap)).only == only
    assert await credentials.key(old.text, now=NOW + overlap - timedelta(seconds=1))
    with pytest.raises(Unauthenticated):
        await credentials.key(old.text, now=NOW + overlap)


async def test_an_ended_key_is_not_rotated_and_an_early_end_is_not_put_off(database: Database, scope: Scope) -> None:
    end = NOW + timedelta(hours=1)
    short = await key(database, scope, KeyWish(name="x", roles=("making.viewer",), expires_at=end))
    async with database.transaction(scope) as tx:
        made, _ = await rotate_key(tx, short.id, overlap=timedelta(days=1), domains=DOMAINS, giver=None)
        assert (await find_key(tx, short.id)).expires_at == end
        assert made.expires_at == end
        await revoke_key(tx, short.id)
        with pytest.raises(KeyEnded):
            await rotate_key(tx, short.id, overlap=timedelta(days=1), domains=DOMAINS, giver=None)
