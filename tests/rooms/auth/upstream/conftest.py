"""A workspace with an identity provider that is real: npm oidc-provider."""

import http.client
import json
import os
import shutil
import socket
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from isthmus.auth.people.sign_in import People
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.upstream.issuers import Issuer, IssuerWish, add_issuer
from isthmus.auth.upstream.signing_in import Out, Returned
from isthmus.store.database import Database, Scope
from isthmus.vault import KeyStore, Vault
from tests.counterparts import require_npm
from tests.rooms.console.stage import RealClock

DOMAINS = ("making",)
REDIRECT = "https://hub.example/sign-in/upstream/back"
CLIENT, SECRET = "isthmus", "a-secret+with/signs%of=its own"
STEPS_MAX = 8


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Browser:
    """Follows redirects at the provider, with cookies, as somebody."""

    claims: Mapping[str, object]
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    def follow(self, url: str) -> dict[str, str]:
        """Return the parameters with which the provider sends the browser back."""
        self.cookies["who"] = urlsafe_b64encode(json.dumps(self.claims).encode()).decode().rstrip("=")
        for _ in range(STEPS_MAX):
            if url.startswith(REDIRECT):
                return dict(parse_qsl(urlsplit(url).query))
            url = self._step(url)
        raise AssertionError(url)

    def _step(self, url: str) -> str:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=20)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"cookie": cookie})
        answer = connection.getresponse()
        body = answer.read()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition(";")[0].partition("=")
                self.cookies[key] = rest
        connection.close()
        location = answer.getheader("location")
        assert location is not None, (answer.status, body[:2_000])
        return location if "://" in location else f"{parts.scheme}://{parts.netloc}{location}"


def returned(out: Out, answer: dict[str, str]) -> Returned:
    """Return what comes back to us."""
    given = {name: answer.get(name, "") for name in ("state", "code", "iss", "error")}
    return Returned(secret=out.secret, **given)


@pytest.fixture(scope="session")
def provider() -> Iterator[str]:
    """The provider's address."""
    root = require_npm({"oidc-provider": "9.13.3"})
    script = root / "upstream-provider.mjs"
    shutil.copyfile(Path(__file__).with_name("provider.mjs"), script)
    port = free_port()
    command = ["node", str(script), str(port), CLIENT, SECRET, REDIRECT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().strip() == "ready"
        yield f"http://127.0.0.1:{port}"
        running.terminate()


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """A vault of the test's own."""
    keys = KeyStore(tmp_path / "upstream.sqlite", kek=os.urandom(32))
    yield Vault(keys)
    keys.close()


@pytest.fixture
def people(database: Database, vault: Vault) -> People:
    """What signing in works with."""
    return People.over(database, vault, domains=DOMAINS)


@pytest.fixture
def visitor() -> Visitor:
    """Somebody at a browser, now: providers know no other time."""
    return Visitor(address="192.0.2.7", agent="Firefox/150", request_id="req", now=RealClock().now())


def wish(issuer: str, *, mail_domains: tuple[str, ...] = (), internal: bool = True) -> IssuerWish:
    """Return a provider to be set up."""
    return IssuerWish(
        title="Northwind",
        issuer=issuer,
        client=CLIENT,
        secret=SECRET,
        internal=internal,
        roles=("viewer",),
        mail_domains=mail_domains,
    )


async def set_up(people: People, scope: Scope, wanted: IssuerWish) -> Issuer:
    """Set a provider up."""
    async with people.database.transaction(scope) as tx:
        return await add_issuer(tx, people.vault, wanted, domains=DOMAINS, giver=None)
