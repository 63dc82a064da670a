"""Signing keys on a schedule: published before they sign, kept until nothing they signed is alive."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import LiteralString

import pytest

from isthmus.auth.oauth.jose import NotSigned, header_of, sign, verify
from isthmus.auth.oauth.keyring import JWKS_AGE_S, SERVER, Keyring, Rotation
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from isthmus.vault import KeyStore, Vault
from tests.conftest import NOW

DAY = timedelta(days=1)
SCHEDULE = Rotation(published=DAY, signs=10 * DAY, kept=DAY)
_CLEAR: LiteralString = "delete from oauth_key"
_PRIVATE: LiteralString = "select count(*) from oauth_key where private is not null"


@pytest.fixture
async def keyring(store: Store) -> Keyring:
    """A keyring of a server that has no key yet."""
    await ask(store, _CLEAR)
    return Keyring(store.database, store.vault, rotation=SCHEDULE)


async def ask(store: Store, statement: LiteralString) -> int:
    """Run a statement on what belongs to the whole server; return the first number, if it gives one."""
    scope = Scope(workspace=SERVER, actor="test", cause="test", now=NOW)
    async with store.database.transaction(scope) as tx:
        done = await tx.connection.execute(statement)
        row = await done.fetchone() if done.description else None
    return int(row[0]) if row else 0


async def kid_at(keyring: Keyring, now: datetime) -> str:
    """Return the name of the key that signs at a moment."""
    return (await keyring.signing(now=now)).kid


async def published_at(keyring: Keyring, now: datetime) -> list[object]:
    """Return the names of the keys that are published at a moment."""
    return [each["kid"] for each in await keyring.published(now=now)]


async def test_a_key_is_published_a_day_before_it_signs(keyring: Keyring) -> None:
    first = await kid_at(keyring, NOW)
    assert await published_at(keyring, NOW + 8 * DAY) == [first]
    second, still = await published_at(keyring, NOW + 9 * DAY)
    assert still == first
    assert await kid_at(keyring, NOW + 9 * DAY) == first
    assert await kid_at(keyring, NOW + 10 * DAY) == second
    assert timedelta(seconds=JWKS_AGE_S) < SCHEDULE.published


async def test_a_key_is_kept_until_its_tokens_are_gone(keyring: Keyring) -> None:
    first = await kid_at(keyring, NOW)
    await kid_at(keyring, NOW + 9 * DAY)
    assert first in await published_at(keyring, NOW + 10 * DAY)
    assert first not in await published_at(keyring, NOW + 11 * DAY)
    assert await keyring.verifying(first, now=NOW + 11 * DAY) is None


async def test_a_token_verifies_across_two_rotations_while_its_key_is_kept(store: Store) -> None:
    await ask(store, _CLEAR)
    keyring = Keyring(store.database, store.vault, rotation=Rotation(published=DAY, signs=3 * DAY, kept=8 * DAY))
    signing = await keyring.signing(now=NOW)
    token = sign({"sub": "x"}, key=signing.key, kid=signing.kid, typ="JWT")
    later = NOW
    for _ in range(8):
        later += DAY
        await keyring.signing(now=later)
    assert await kid_at(keyring, later) != signing.kid
    assert len(await published_at(keyring, later)) >= 3
    key = await keyring.verifying(header_of(token)["kid"], now=later)
    assert key is not None
    assert verify(token, key, algorithms=["ES256"]).claims == {"sub": "x"}


async def test_another_worker_signs_with_the_same_key(store: Store, keyring: Keyring) -> None:
    other = Keyring(store.database, store.vault, rotation=SCHEDULE)
    assert await kid_at(keyring, NOW) == await kid_at(other, NOW)
    assert await kid_at(other, NOW - DAY) == await kid_at(keyring, NOW), "a clock that is behind signs too"


async def test_a_server_that_slept_past_its_schedule_still_publishes_first(keyring: Keyring) -> None:
    first = await kid_at(keyring, NOW)
    assert await kid_at(keyring, NOW + 100 * DAY) == first
    assert await kid_at(keyring, NOW + 101 * DAY) != first


async def test_the_private_part_is_destroyed_when_its_key_signs_no_more(store: Store, keyring: Keyring) -> None:
    for day in range(40):
        await keyring.signing(now=NOW + day * DAY)
    assert await ask(store, _PRIVATE) <= 3


async def test_the_private_part_is_stored_sealed(store: Store, keyring: Keyring) -> None:
    await keyring.signing(now=NOW)
    scope = Scope(workspace=SERVER, actor="test", cause="test", now=NOW)
    async with store.database.transaction(scope) as tx:
        row = await (await tx.connection.execute("select public, private from oauth_key")).fetchone()
    assert row is not None
    assert "d" not in row[0]
    assert b'"d"' not in bytes(row[1])


async def test_a_server_whose_key_store_was_lost_begins_with_another_key(
    store: Store, keyring: Keyring, tmp_path: Path
) -> None:
    lost = await kid_at(keyring, NOW)
    empty = KeyStore(tmp_path / "another.sqlite", kek=bytes(32))
    other = Keyring(store.database, Vault(empty), rotation=SCHEDULE)
    made = await kid_at(other, NOW)
    assert made != lost
    assert await kid_at(other, NOW) == made
    empty.close()


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x" * 10_000, "é.b.c"])
async def test_what_is_no_token_is_told_apart(keyring: Keyring, text: str) -> None:
    signing = await keyring.signing(now=NOW)
    with pytest.raises(NotSigned):
        verify(text, signing.key, algorithms=["ES256"])


async def test_a_token_without_a_signature_or_by_a_shared_secret_is_refused(keyring: Keyring) -> None:
    signing = await keyring.signing(now=NOW)
    good = sign({"sub": "x"}, key=signing.key, kid=signing.kid, typ="JWT")
    head, body, _ = good.split(".")
    for forged in (f"{head}.{body}.", f"{head}.{body}.AAAA", f"eyJhbGciOiJIUzI1NiJ9.{body}.AAAA"):
        with pytest.raises(NotSigned):
            verify(forged, signing.key, algorithms=["ES256"])
