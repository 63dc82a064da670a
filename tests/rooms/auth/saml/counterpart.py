"""npm samlp as an identity provider of its own, and its pages as a browser without scripts sees them."""

import http.client
import json
import re
import shutil
import socket
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

from tests.counterparts import require_npm
from tests.rooms.auth.saml.crafting import pair
from tests.rooms.console.stage import RealClock


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cookie_of(person: Mapping[str, object]) -> str:
    """Return what the cookie `who` tells the provider."""
    return urlsafe_b64encode(json.dumps(person).encode()).decode().rstrip("=")


def fetch(url: str, *, person: Mapping[str, object] | None = None) -> str:
    """Return a page of the provider, asked for by somebody."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=20)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"cookie": f"who={cookie_of(person or {})}"})
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


@contextmanager
def running(own: Path) -> Generator[str]:
    """Run the provider, with a fresh key in a directory, and give its metadata."""
    root = require_npm({"samlp": "8.0.0"})
    script = root / "saml-provider.mjs"
    shutil.copyfile(Path(__file__).with_name("provider.mjs"), script)
    keys = pair(ends=RealClock().now() + timedelta(days=1))
    (own / "cert.pem").write_text(keys.certificate, "ascii")
    (own / "key.pem").write_bytes(keys.key)
    port = free_port()
    command = ["node", "--no-deprecation", str(script), str(port), str(own / "cert.pem"), str(own / "key.pem")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline().strip() == "ready"
        try:
            yield fetch(f"http://127.0.0.1:{port}/metadata")
        finally:
            server.terminate()
