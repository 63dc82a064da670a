"""The record types as the stream sees them, and a Valkey that may be lost."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from isthmus.app.discovery import schema as all_types
from isthmus.store.database import Database, Scope
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker
from tests.conftest import NOW
from tests.rooms.stream.stage import OwnValkey


@pytest.fixture
def schema() -> Schema:
    """All record types."""
    return all_types()


@pytest.fixture
def valkey() -> Iterator[OwnValkey]:
    """A Valkey of the test's own, not started."""
    with OwnValkey() as own:
        yield own


@pytest.fixture
async def broker(valkey: OwnValkey) -> AsyncIterator[Broker]:
    """The tails in that Valkey."""
    broker = Broker(valkey.client())
    yield broker
    await broker.close()


@pytest.fixture
async def second(database: Database) -> Scope:
    """Another workspace, in the name of a tester."""
    async with database.plain() as connection:
        cursor = await connection.execute(
            "insert into workspace (slug, name, created_at) values (%s, 'Second', %s) returning id",
            (f"second-{secrets.token_hex(6)}", NOW),
        )
        row = await cursor.fetchone()
    assert row is not None
    return Scope(workspace=int(row[0]), actor="user:tester", cause="test", now=NOW)
