"""A vendor whose authorisation server is npm oidc-provider, a person's browser, and a connector that reads there."""

import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from urllib.parse import parse_qsl, urlsplit

from isthmus.sync.calls import Calls, calling
from isthmus.sync.connector import (
    Authorise,
    Change,
    Connector,
    ConnectorError,
    Feed,
    Leave,
    OAuth,
    Page,
    Session,
    Setting,
    Written,
)
from tests.counterparts import require_npm

CLIENT, SECRET, REDIRECT = "isthmus", "a-secret+with/signs%of=its own", "https://hub.example/back"
STEPS_MAX = 8


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_vendor(*redirects: str) -> Generator[str]:
    """Run the authorisation server and yield its address."""
    root = require_npm({"oidc-provider": "9.13.3"})
    script = root / "vendor-consent.mjs"
    shutil.copyfile(Path(__file__).with_name("vendor_consent.mjs"), script)
    port = free_port()
    command = ["node", str(script), str(port), CLIENT, SECRET, *(redirects or (REDIRECT,))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().strip() == "ready"
        yield f"http://127.0.0.1:{port}"
        running.terminate()


def asked(url: str, *, cookies: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, bytes]:
    """Return the answer to a GET, and its body; cookies are kept."""
    parts, jar = urlsplit(url), cookies if cookies is not None else {}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=20)
    cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
    connection.request("GET", f"{parts.path}?{parts.query}", headers={"cookie": cookie})
    answer = connection.getresponse()
    body = answer.read()
    for name, value in answer.getheaders():
        if name.lower() == "set-cookie":
            key, _, rest = value.partition(";")[0].partition("=")
            jar[key] = rest
    connection.close()
    return answer, body


def consented(url: str, *, redirect: str = REDIRECT) -> dict[str, str]:
    """Follow a person's browser through the vendor's pages; returns the parameters with which it comes back."""
    cookies: dict[str, str] = {}
    for _ in range(STEPS_MAX):
        if url.startswith(redirect):
            return dict(parse_qsl(urlsplit(url).query))
        answer, body = asked(url, cookies=cookies)
        location = answer.getheader("location")
        assert location is not None, (answer.status, body[:2_000])
        url = location if "://" in location else f"{urlsplit(url).scheme}://{urlsplit(url).netloc}{location}"
    raise AssertionError(url)


def used(vendor: str) -> dict[str, int]:
    """Return how many grants of each kind the vendor has given tokens for."""
    return json.loads(asked(f"{vendor}/used")[1])


class Listening:
    """A session that asks the vendor who we are; it reads and writes nothing."""

    def __init__(self, calls: Calls) -> None:
        """`calls` carry the person's token."""
        self._calls = calls

    async def check(self) -> str:
        """Return who we are there."""
        found = await self._calls.ask("GET", "/me")
        assert isinstance(found, dict)
        return str(found["sub"])

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield one empty page, once the vendor has taken the token."""
        del feed, cursor
        yield Page(rows=(), cursor=await self.check(), more=False)

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield no ids."""
        del feed
        yield []

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Refuse."""
        raise ConnectorError(f"{feed} is only read; {len(changes)} changes.", fix="None.")


def books(*, refresh_s: int | None = 5_184_000) -> Connector:
    """Return the connector; the setting `url` says where its vendor is."""

    @asynccontextmanager
    async def by_consent(settings: dict[str, str], leave: Leave, authorise: Authorise) -> AsyncGenerator[Session]:
        async with calling(settings["url"], title="Books", dice=Random(1), leave=leave, authorise=authorise) as calls:
            yield Listening(calls)

    @asynccontextmanager
    async def by_key(settings: dict[str, str], leave: Leave) -> AsyncGenerator[Session]:
        async with calling(settings["url"], title="Books", dice=Random(1), leave=leave) as calls:
            yield Listening(calls)

    return Connector(
        name="books",
        title="Books",
        about="Accounts, by a person's consent.",
        proven="npm oidc-provider.",
        feeds=(Feed(name="entries", types=("sales.account",)),),
        settings=(
            Setting(name="url", about="Address of the vendor."),
            Setting(name="client_id", about="Id of our program there.", default=""),
            Setting(name="client_secret", about="Its secret.", secret=True, default=""),
        ),
        begin=by_key,
        normalise=lambda _feed, _raw: (),
        express=lambda _feed, _change: {},
        oauth=OAuth(
            authorize_url="{url}/auth",
            token_url="{url}/token",
            scopes=("openid",),
            begin=by_consent,
            refresh_s=refresh_s,
        ),
    )
