"""Programs registered with the served authorisation server, and people who are signed in to it."""

import json
import secrets
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from isthmus.app.program import Program
from isthmus.auth.oauth.clients import Client, ClientWish, register_client
from isthmus.auth.sessions import session_digest
from isthmus.kernel.marks import Json
from tests.counterparts import require_npm
from tests.rooms.app.http.conftest import Site, scope_of
from tests.rooms.app.http.oauth.program import Registered

DOMAINS = ("finance", "marketing", "product", "sales", "success")
CLIENTS = {"openid-client": "6.8.9", "oauth4webapi": "3.8.8"}
HERE = Path(__file__).parent
Drive = Callable[[str, dict[str, Json]], dict[str, Json]]


@dataclass(frozen=True)
class House:
    """A workspace on the server."""

    site: Site
    workspace: int

    @property
    def issuer(self) -> str:
        """The address of the server."""
        return self.site.settings.issuer

    def register(self, wish: ClientWish) -> Registered:
        """Register a program."""

        async def make(program: Program) -> tuple[Client, str | None]:
            async with program.database.transaction(scope_of(self.workspace)) as tx:
                return await register_client(tx, wish, domains=DOMAINS, giver=None)

        client, secret = self.site.run(make)
        return Registered(self.issuer, client, secret)

    def sign_in(self, *roles: str, proven: timedelta = timedelta(0)) -> str:
        """Open a session with roles, proven so long ago; return its cookie."""
        return self.sign_in_many(1, *roles, proven=proven)[0]

    def sign_in_many(self, count: int, *roles: str, proven: timedelta = timedelta(0)) -> list[str]:
        """Open so many sessions and return their cookies."""
        tokens, now = [secrets.token_urlsafe(32) for _ in range(count)], datetime.now(UTC)
        rows = [
            (
                UUID(bytes=secrets.token_bytes(16)),
                session_digest(token),
                list(roles),
                now,
                now,
                now + timedelta(hours=3),
                now - proven,
            )
            for token in tokens
        ]

        async def make(program: Program) -> None:
            async with program.database.transaction(scope_of(self.workspace)) as tx, tx.connection.cursor() as cursor:
                await cursor.executemany(
                    "insert into session (workspace, id, digest, name, roles, created_at, seen_at, expires_at,"
                    " methods, proven_at) values (current_workspace(), %s, %s, 'Tester', %s, %s, %s, %s, '{pwd}', %s)",
                    rows,
                )

        self.site.run(make)
        return [f"isthmus_session={token}" for token in tokens]


@pytest.fixture
def house(site: Site) -> House:
    """A workspace of the test's own."""
    return House(site, site.workspace())


@pytest.fixture(scope="session")
def drive() -> Drive:
    """Runs a script of a foreign client with Node and returns what it says."""
    modules = require_npm(CLIENTS)

    def run(script: str, given: dict[str, Json]) -> dict[str, Json]:
        place = modules / script
        place.write_bytes((HERE / script).read_bytes())
        done = subprocess.run(
            ["node", str(place)],  # noqa: S607 - whichever Node the machine has.
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return cast("dict[str, Json]", json.loads(done.stdout.splitlines()[-1]))

    return run
