"""Consenting at a terminal: the browser's way back ends there by itself, or is pasted."""

import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from isthmus.connectors.xero.vendor import CLIENT, SECRET
from isthmus.connectors.xero.vendor_http import Site, serving
from tests.rooms.app.cli.conftest import SECONDS_MAX, Shell
from tests.rooms.sync.consent_room import asked, free_port

BACK = "https://hub.example/back"


@pytest.fixture
def vendor() -> Iterator[Site]:
    """An organisation in Xero."""
    with serving(Site()) as running:
        yield running


def connect(shell: Shell, vendor: Site) -> None:
    """Connect the organisation, without a consent yet."""
    shell.environment["BOOKS_SECRET"] = SECRET
    places = dict.fromkeys(("url", "identity_url", "login_url"), vendor.url) | {"client_id": CLIENT}
    settings = [word for name, value in places.items() for word in ("--set", f"{name}={value}")]
    secret = ("--secret", "client_secret=env:BOOKS_SECRET")
    said = shell("connect", "add", "xero", "--name", "books", *settings, *secret)
    assert (said.out, "connect authorize books" in said.err) == ("connected books\n", True)


def authorize(shell: Shell, *arguments: str) -> "subprocess.Popen[str]":
    """Begin a consent, where something can be pasted."""
    command = [sys.executable, "-m", "isthmus.app.cli", "connect", *arguments, "--data-dir", str(shell.data_dir)]
    return subprocess.Popen(
        [*command, "--workspace", shell.workspace],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=shell.here,
    )


def gone(running: "subprocess.Popen[str]") -> str:
    """Consent at the address that is printed, and return where the browser ends."""
    assert running.stdout is not None
    sent, _ = asked(running.stdout.readline().strip())
    return str(sent.getheader("location"))


def test_the_way_back_ends_at_the_terminal_by_itself_or_pasted_and_a_forged_one_is_refused(
    shell: Shell, vendor: Site
) -> None:
    connect(shell, vendor)
    with authorize(shell, "books", "--oauth", "--redirect-uri", BACK) as running:
        forged = gone(running).replace("state=", "state=9")
        out, err = running.communicate(f"\n{forged}\n", timeout=SECONDS_MAX)
    assert (running.returncode, "was used before" in err) == (1, True), err
    with authorize(shell, "authorize", "books", "--redirect-uri", BACK) as running:
        out, err = running.communicate(f"{gone(running)}\n", timeout=SECONDS_MAX)
    answer = f"connected books, which answers as Northwind Traders at {vendor.url}\n"
    assert (running.returncode, out) == (0, answer), err
    redirect = f"http://localhost:{free_port()}/callback"
    with authorize(shell, "authorize", "books", "--redirect-uri", redirect) as running:
        back = gone(running)
        assert back.startswith(redirect)
        assert asked(back.replace("/callback", "/other", 1))[0].status == HTTPStatus.NOT_FOUND
        status, page = asked(back)
        out, err = running.communicate(timeout=SECONDS_MAX)
    assert (status.status, b"You can close this page" in page) == (HTTPStatus.OK, True)
    assert (running.returncode, out) == (0, answer), err
    assert SECRET not in out + err
