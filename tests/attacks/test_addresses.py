"""Addresses that callers may give us never lead to what only this machine or its network can reach."""

import contextlib
import secrets
import socket
from collections.abc import Iterator

import pytest

from isthmus.kernel.marks import Json
from isthmus.stream.outbound import Outbound, OutboundFailed, OutboundRefused
from tests.attacks.target import Target

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Somebody inside, who must not be called: on all addresses of this machine."""
    with socket.socket() as listening:
        listening.bind(("0.0.0.0", 0))  # noqa: S104 - whatever alias is tried, it would hear.
        listening.listen(64)
        listening.settimeout(2)
        yield listening


PLAIN = (
    *("127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::]"),  # noqa: S104 - addresses to try.
    *("[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "example.com@127.0.0.1"),
    *("169.254.169.254", "10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "[fd00::1]", "[fe80::1]"),
)
NAMES = (
    "localhost",
    "localhost.",
    "127.1",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "0",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
)
"""What they mean is looked at when they are called."""


@pytest.mark.parametrize("host", PLAIN)
def test_no_address_that_we_are_given_leads_inside(target: Target, host: str) -> None:
    for scheme in ("https", "http"):
        given: Json = {
            "name": f"Hook {secrets.token_hex(3)}",
            "kind": "webhook",
            "target": f"{scheme}://{host}/hook",
        }
        status, _, body = target.call("POST", "/api/v1/alert-channels", given, key=target.keys["owner"])
        assert status == 422, (status, body)


@pytest.mark.parametrize("host", [*PLAIN, *NAMES])
async def test_no_name_leads_inside_when_it_is_called(listener: socket.socket, host: str) -> None:
    port = int(listener.getsockname()[1])
    for scheme in ("https", "http"):
        with pytest.raises((OutboundRefused, OutboundFailed)):
            await Outbound().get(f"{scheme}://{host}:{port}/hook", headers={})


def test_nobody_inside_was_called(listener: socket.socket) -> None:
    called = list[str]()
    with contextlib.suppress(TimeoutError):
        heard, place = listener.accept()
        heard.close()
        called.append(str(place))
    assert called == []


def test_the_listener_hears_whoever_calls(listener: socket.socket) -> None:
    with socket.create_connection((LOOPBACK, listener.getsockname()[1])):
        heard, place = listener.accept()
        heard.close()
    assert place[0] == LOOPBACK
