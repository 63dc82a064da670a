"""A workspace with a SAML identity provider that is real: npm samlp."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.auth.people.sign_in import People
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.saml.providers import SamlProvider, SamlWish, add_saml_provider
from isthmus.store.database import Database, Scope
from isthmus.vault import KeyStore, Vault
from tests.rooms.auth.saml.counterpart import running
from tests.rooms.console.stage import RealClock

DOMAINS = ("making",)
ORIGIN = "https://hub.example"
ADA: dict[str, object] = {"subject": "ada-1", "claims": {"email": "ada@northwind.example", "displayName": "Ada Byron"}}


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The provider's metadata."""
    with running(tmp_path_factory.mktemp("saml")) as metadata:
        yield metadata


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """A vault of the test's own."""
    own = KeyStore(tmp_path / "saml.sqlite", kek=os.urandom(32))
    yield Vault(own)
    own.close()


@pytest.fixture
def people(database: Database, vault: Vault) -> People:
    """What signing in works with."""
    return People.over(database, vault, domains=DOMAINS)


@pytest.fixture
def visitor() -> Visitor:
    """Somebody at a browser, now: providers know no other time."""
    return Visitor(address="192.0.2.7", agent="Firefox/150", request_id="req", now=RealClock().now())


async def set_up(
    people: People, scope: Scope, metadata: str, *, mail_domains: tuple[str, ...] = ("northwind.example",)
) -> SamlProvider:
    """Set a provider up."""
    wish = SamlWish(title="Northwind", metadata=metadata, roles=("viewer",), mail_domains=mail_domains)
    async with people.database.transaction(scope) as tx:
        return await add_saml_provider(tx, people.vault, wish, domains=DOMAINS, giver=None)
