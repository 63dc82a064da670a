"""A workspace with one user who has a password."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from isthmus.auth.people.links import create_login_link, use_link
from isthmus.auth.people.logins import Login, LoginWish, create_login, find_login
from isthmus.auth.people.sign_in import People
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.sessions import NewSession
from isthmus.store.database import Database, Scope
from isthmus.vault import KeyStore, Vault
from tests.conftest import NOW

DOMAINS = ("making",)
EMAIL, PASSWORD = "ada@example.com", "seven unrelated grey lamps"
ROUNDS = int(os.environ.get("RACE_ROUNDS", "1"))
"""How often a race is run; 1,000 before a release."""
CALLERS = 32


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """A vault of the test's own."""
    keys = KeyStore(tmp_path / "people.sqlite", kek=os.urandom(32))
    yield Vault(keys)
    keys.close()


@pytest.fixture
def people(database: Database, vault: Vault) -> People:
    """What signing in works with."""
    return People.over(database, vault, domains=DOMAINS)


@pytest.fixture
def visitor() -> Visitor:
    """Somebody at a browser."""
    return Visitor(address="192.0.2.7", agent="Mozilla/5.0 (X11; Linux) Firefox/150", request_id="req", now=NOW)


def later(visitor: Visitor, **by: float) -> Visitor:
    """Return the same visitor at a later moment."""
    return replace(visitor, now=visitor.now + timedelta(**by))


async def invited(people: People, scope: Scope, *, email: str = EMAIL, roles: tuple[str, ...] = ("viewer",)) -> str:
    """Invite somebody and return the token of the link."""
    async with people.database.transaction(scope) as tx:
        wish = LoginWish(email=email, name="Ada Byron", roles=roles)
        login = await create_login(tx, people.vault, wish, domains=DOMAINS, giver=None)
        return await create_login_link(tx, login.id)


@pytest.fixture
async def session(people: People, scope: Scope, visitor: Visitor) -> NewSession:
    """The session with which the user came in by the link."""
    opened = await use_link(people, visitor, token=await invited(people, scope), password=PASSWORD)
    assert isinstance(opened, NewSession)
    return opened


@pytest.fixture
async def user(people: People, scope: Scope, session: NewSession) -> Login:
    """The user."""
    del session
    async with people.database.transaction(scope) as tx:
        row = await (await tx.connection.execute("select id from person_login")).fetchone()
        assert row is not None
        return await find_login(tx, people.vault, row[0])


async def actions(people: People, scope: Scope) -> list[str]:
    """Return what the audit log says happened, in order."""
    async with people.database.transaction(scope) as tx:
        rows = await (await tx.connection.execute("select action from audit order by id")).fetchall()
    return [row[0] for row in rows]
