"""A workspace with a SAML identity provider that is real: npm samlp."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from isthmus.auth.people.sign_in import People
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.saml.providers import SamlProvider, SamlWish, add_saml_provider
from isthmus.store.database import Database, Scope
from isthmus.vault import KeyStore, Vault
from tests.counterparts import require_npm
from tests.rooms.auth.saml.crafting import Pair, pair
from tests.rooms.console.stage import RealClock

DOMAINS = ("making",)
ORIGIN = "https://hub.example"
ADA: dict[str, object] = {"subject": "ada-1", "claims": {"email": "ada@northwind.example", "displayName": "Ada Byron"}}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str, *, person: Mapping[str, object] | None = None) -> str:
    """Return a page of the provider, asked for by somebody."""
    parts = urlsplit(url)
    who = urlsafe_b64encode(json.dumps(person or {}).encode()).decode().rstrip("=")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=20)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"cookie": f"who={who}"})
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, (answer.status, body[:2_000])
        return body
    finally:
        connection.close()


def posted(page: str) -> tuple[str, str]:
    """Return where a provider's page posts to, and the response that it posts."""
    action = re.search(r'action="([^"]*)"', page)
    value = re.search(r'name="SAMLResponse"\s+value="([^"]*)"', page)
    assert action is not None, page[:2_000]
    assert value is not None, page[:2_000]
    return unescape(action[1]), unescape(value[1])


@pytest.fixture(scope="session")
def keys() -> Pair:
    """The provider's key, good at this moment."""
    return pair(ends=RealClock().now().replace(year=RealClock().now().year + 1))


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory, keys: Pair) -> Iterator[str]:
    """The provider's metadata."""
    root = require_npm({"samlp": "8.0.0"})
    script = root / "saml-provider.mjs"
    shutil.copyfile(Path(__file__).with_name("provider.mjs"), script)
    own = tmp_path_factory.mktemp("saml")
    (own / "cert.pem").write_text(keys.certificate, "ascii")
    (own / "key.pem").write_bytes(keys.key)
    port = free_port()
    command = ["node", "--no-deprecation", str(script), str(port), str(own / "cert.pem"), str(own / "key.pem")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().strip() == "ready"
        yield fetch(f"http://127.0.0.1:{port}/metadata")
        running.terminate()


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
        return await add_saml_provider(tx, wish, domains=DOMAINS, giver=None)
