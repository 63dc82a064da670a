"""Keys are made, shown once, used, listed and revoked, and every change leaves a line in the audit log."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from isthmus.auth.credentials import REMEMBERED, Credentials
from isthmus.auth.keys import ApiKey, InvalidKeyWish, KeyMissing, KeyWish, create_key, find_key, list_keys, revoke_key
from isthmus.auth.keytext import InvalidKey, KeyText, new_key_text
from isthmus.auth.roles import GrantTooWide
from isthmus.kernel.errors import Unauthenticated
from isthmus.store.database import Database, Scope
from tests.conftest import NOW

DOMAINS = ("making",)
LATER = NOW + REMEMBERED


async def made(
    database: Database, scope: Scope, roles: tuple[str, ...] = ("making.editor",), permissions: tuple[str, ...] = ()
) -> tuple[ApiKey, KeyText]:
    async with database.transaction(scope) as tx:
        wish = KeyWish(name="Forms", roles=roles, permissions=permissions)
        return await create_key(tx, wish, domains=DOMAINS, giver=None)


async def test_a_key_opens_its_workspace_with_its_permissions(database: Database, scope: Scope) -> None:
    key, text = await made(database, scope, roles=("making.viewer",), permissions=("audit:read",))
    principal = await Credentials(database, domains=DOMAINS).key(text.text, now=NOW)
    assert (principal.workspace, principal.id, principal.kind) == (scope.workspace, key.id, "key")
    assert principal.permissions == {"making:read", "audit:read"}


async def test_no_table_holds_the_text_of_a_key(database: Database, scope: Scope) -> None:
    _, text = await made(database, scope)
    secret = text.text.split("_")[3]
    async with database.transaction(scope) as tx:
        for table in ("api_key", "audit"):
            rows = await (await tx.connection.execute(f"select row_to_json({table})::text from {table}")).fetchall()  # noqa: S608 - two names.
            assert rows
            assert all(secret not in row[0] for row in rows)


async def test_a_wrong_secret_an_unknown_key_and_a_revoked_key_are_refused(database: Database, scope: Scope) -> None:
    key, text = await made(database, scope)
    credentials = Credentials(database, domains=DOMAINS)
    for wrong in (new_key_text(key.id, kind="live"), new_key_text(UUID(int=5), kind="live")):
        with pytest.raises(InvalidKey):
            await credentials.key(wrong.text, now=NOW)
    async with database.transaction(scope) as tx:
        await revoke_key(tx, key.id)
    with pytest.raises(InvalidKey):
        await credentials.key(text.text, now=NOW)


async def test_a_revoked_key_is_refused_everywhere_after_a_second(database: Database, scope: Scope) -> None:
    key, text = await made(database, scope)
    elsewhere = Credentials(database, domains=DOMAINS)
    await elsewhere.key(text.text, now=NOW)
    async with database.transaction(scope) as tx:
        await revoke_key(tx, key.id)
    with pytest.raises(InvalidKey):
        await elsewhere.key(text.text, now=LATER)


async def test_a_key_ends_when_it_expires_even_while_it_is_remembered(database: Database, scope: Scope) -> None:
    end = NOW + timedelta(milliseconds=500)
    async with database.transaction(scope) as tx:
        wish = KeyWish(name="Short", roles=("making.viewer",), expires_at=end)
        _, text = await create_key(tx, wish, domains=DOMAINS, giver=None)
    credentials = Credentials(database, domains=DOMAINS)
    await credentials.key(text.text, now=NOW)
    with pytest.raises(Unauthenticated):
        await credentials.key(text.text, now=end)


async def test_calls_at_the_same_moment_ask_once_and_the_use_is_written(database: Database, scope: Scope) -> None:
    key, text = await made(database, scope)
    credentials = Credentials(database, domains=DOMAINS)
    principals = await asyncio.gather(*(credentials.key(text.text, now=LATER) for _ in range(50)))
    assert {each.id for each in principals} == {key.id}
    async with database.transaction(scope) as tx:
        assert (await find_key(tx, key.id)).last_used_at == LATER


async def test_making_and_revoking_are_audited_once(database: Database, scope: Scope) -> None:
    key, _ = await made(database, scope)
    async with database.transaction(scope) as tx:
        for _ in range(2):
            assert (await revoke_key(tx, key.id)).revoked_at == NOW
        rows = await (
            await tx.connection.execute("select action, actor from audit where record_id = %s order by id", (key.id,))
        ).fetchall()
    assert rows == [("key.created", "user:tester"), ("key.revoked", "user:tester")]


async def test_a_key_that_is_rolled_back_leaves_no_line(database: Database, scope: Scope) -> None:
    async def make_two() -> None:
        async with database.transaction(scope) as tx:
            await create_key(tx, KeyWish(name="A", roles=("owner",)), domains=DOMAINS, giver=None)
            await create_key(tx, KeyWish(name="B"), domains=DOMAINS, giver=None)

    with pytest.raises(InvalidKeyWish):
        await make_two()
    async with database.transaction(scope) as tx:
        assert await list_keys(tx, limit=10) == []
        assert (await (await tx.connection.execute("select count(*) from audit")).fetchone()) == (0,)


async def test_keys_of_another_workspace_do_not_exist(database: Database, scope: Scope) -> None:
    key, _ = await made(database, scope)
    other = Scope(workspace=scope.workspace + 100_000, actor="user:other", cause="test", now=NOW)
    async with database.transaction(other) as tx:
        assert await list_keys(tx, limit=10) == []
        for act in (find_key, revoke_key):
            with pytest.raises(KeyMissing):
                await act(tx, key.id)


@pytest.mark.parametrize("end", [NOW, NOW - timedelta(days=1), NOW + timedelta(days=4_000)])
async def test_a_key_ends_in_the_coming_ten_years_or_never(database: Database, scope: Scope, end: datetime) -> None:
    wish = KeyWish(name="A", roles=("owner",), expires_at=end)
    async with database.transaction(scope) as tx:
        with pytest.raises(InvalidKeyWish):
            await create_key(tx, wish, domains=DOMAINS, giver=None)


async def test_nobody_makes_a_key_that_may_do_more_than_themselves(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        with pytest.raises(GrantTooWide):
            await create_key(tx, KeyWish(name="A", roles=("owner",)), domains=DOMAINS, giver=frozenset({"making:read"}))
