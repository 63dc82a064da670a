"""Numbers of workspaces are raised by every change of what decides over calls, and followed by every worker."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from isthmus.app.engines import Engines
from isthmus.auth.accounts import AccountWish, create_account, switch_account
from isthmus.auth.credentials import Credentials
from isthmus.auth.custom_roles import save
from isthmus.auth.keys import KeyWish, create_key, revoke_key
from isthmus.auth.keytext import InvalidKey
from isthmus.auth.roles import CustomRole
from isthmus.gateway.epoch import FRESH, Epoch
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database, Scope
from tests.conftest import NOW

DOMAINS = ("making",)


async def number(database: Database, scope: Scope) -> int:
    epoch = Epoch(database)
    await epoch.read(now=NOW)
    return epoch.of(scope.workspace)


async def undone(database: Database, scope: Scope, key_id: UUID) -> None:
    async with database.transaction(scope) as tx:
        await revoke_key(tx, key_id)
        raise RuntimeError


async def until(held: Callable[[], bool]) -> None:
    while not held():  # noqa: ASYNC110 - what is waited for is another program's commit; no event tells of it.
        await asyncio.sleep(0.01)


async def test_every_change_raises_the_number_and_a_rollback_does_not(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        made, _ = await create_key(tx, KeyWish(name="x", roles=("making.viewer",)), domains=DOMAINS, giver=None)
        account = await create_account(
            tx, AccountWish(name="nightly", roles=("making.viewer",)), domains=DOMAINS, giver=None
        )
    before = await number(database, scope)
    with pytest.raises(RuntimeError):
        await undone(database, scope, made.id)
    assert await number(database, scope) == before
    async with database.transaction(scope) as tx:
        await revoke_key(tx, made.id)
        await switch_account(tx, account.id, enabled=False)
        await save(tx, CustomRole(name="desk", permissions=("making:read",)), domains=DOMAINS, giver=None)
    assert await number(database, scope) == before + 3


async def test_the_use_of_a_key_raises_nothing(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        _, text = await create_key(tx, KeyWish(name="x", roles=("making.viewer",)), domains=DOMAINS, giver=None)
    before = await number(database, scope)
    await Credentials(database, domains=DOMAINS).key(text.text, now=NOW)
    assert await number(database, scope) == before


async def test_a_followed_key_is_remembered_for_long_and_refused_as_soon_as_the_number_moves(
    database: Database, scope: Scope
) -> None:
    async with database.transaction(scope) as tx:
        made, text = await create_key(tx, KeyWish(name="x", roles=("making.viewer",)), domains=DOMAINS, giver=None)
    epoch = Epoch(database)
    await epoch.read(now=NOW)
    credentials = Credentials(database, domains=DOMAINS, epochs=epoch)
    first = await credentials.key(text.text, now=NOW)
    later = NOW + timedelta(seconds=10)
    await epoch.read(now=later)
    assert await credentials.key(text.text, now=later) is first
    async with database.transaction(scope) as tx:
        await revoke_key(tx, made.id)
    assert await credentials.key(text.text, now=later) is first, "the number was not read yet"
    await epoch.read(now=later + timedelta(milliseconds=250))
    with pytest.raises(InvalidKey):
        await credentials.key(text.text, now=later + timedelta(milliseconds=250))


async def test_numbers_that_are_not_read_any_more_are_not_trusted(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        made, text = await create_key(tx, KeyWish(name="x", roles=("making.viewer",)), domains=DOMAINS, giver=None)
    epoch = Epoch(database)
    await epoch.read(now=NOW)
    credentials = Credentials(database, domains=DOMAINS, epochs=epoch)
    await credentials.key(text.text, now=NOW)
    async with database.transaction(scope) as tx:
        await revoke_key(tx, made.id)
    assert not epoch.fresh(now=NOW + FRESH)
    with pytest.raises(InvalidKey):
        await credentials.key(text.text, now=NOW + timedelta(seconds=1))


async def test_after_a_standstill_one_reading_is_enough_for_all_callers(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        wish = KeyWish(name="x", roles=("making.viewer",))
        made = [(await create_key(tx, wish, domains=DOMAINS, giver=None))[1].text for _ in range(3)]
    epoch = Epoch(database)
    await epoch.read(now=NOW)
    credentials = Credentials(database, domains=DOMAINS, epochs=epoch)
    before = [await credentials.key(text, now=NOW) for text in made]
    later = NOW + timedelta(seconds=20)
    assert not epoch.fresh(now=later)
    after = await asyncio.gather(*(credentials.key(text, now=later) for text in made))
    assert [new is old for new, old in zip(after, before, strict=True)] == [True] * 3
    assert epoch.fresh(now=later)


async def test_after_a_standstill_a_change_is_seen_and_without_a_database_nothing_opens(
    engines: Engines, database: Database, scope: Scope
) -> None:
    async with database.transaction(scope) as tx:
        made, text = await create_key(tx, KeyWish(name="x", roles=("making.viewer",)), domains=DOMAINS, giver=None)
    own = Database(engines.postgres.app.conninfo)
    await own.open()
    epoch = Epoch(own)
    await epoch.read(now=NOW)
    credentials = Credentials(database, domains=DOMAINS, epochs=epoch)
    await credentials.key(text.text, now=NOW)
    async with database.transaction(scope) as tx:
        await revoke_key(tx, made.id)
    with pytest.raises(InvalidKey):
        await credentials.key(text.text, now=NOW + timedelta(seconds=20))
    async with database.transaction(scope) as tx:
        _, other = await create_key(tx, KeyWish(name="y", roles=("making.viewer",)), domains=DOMAINS, giver=None)
    await credentials.key(other.text, now=NOW + timedelta(seconds=20))
    await own.close()
    with pytest.raises(Unavailable):
        await credentials.key(other.text, now=NOW + timedelta(seconds=40))


async def test_a_watcher_sees_a_change_within_a_second(database: Database, scope: Scope) -> None:
    epoch = Epoch(database)
    watching = asyncio.create_task(epoch.watch(lambda: datetime.now(UTC)))
    try:
        async with asyncio.timeout(10):
            await until(lambda: epoch.fresh(now=datetime.now(UTC)))
            before = epoch.of(scope.workspace)
            async with database.transaction(scope) as tx:
                await save(tx, CustomRole(name="desk", permissions=("making:read",)), domains=DOMAINS, giver=None)
            async with asyncio.timeout(1):
                await until(lambda: epoch.of(scope.workspace) != before)
    finally:
        watching.cancel()
