"""Where a call through proxies comes from: the last hop that is none of the operator's, whatever strangers write."""

import pytest

from isthmus.gateway.hops import HOPS_MAX, Hops, ProxyHeader
from isthmus.gateway.request import Request

PROXY, CALLER = "10.1.0.5", "203.0.113.9"
NETWORKS = ("10.0.0.0/8", "fd00::/8")


def asked(client: str, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    local = client == "127.0.0.1" and not named
    return Request(
        method="GET", path="/", query=b"", headers=named, id="req_1", secure=False, local=local, client=client
    )


def seen(client: str, *, header: ProxyHeader = "x-forwarded-for", **headers: str) -> tuple[str, bool]:
    found = Hops.through(NETWORKS, header=header).caller(asked(client, **headers))
    return found.client, found.secure


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (CALLER, CALLER),
        (f"198.51.100.1, {CALLER}", CALLER),
        (f"198.51.100.1, {CALLER}, 10.9.9.9", CALLER),
        (f"{CALLER}:4711", CALLER),
        ("[2001:db8::7]:4711, 10.9.9.9", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        (f"::ffff:{CALLER}", CALLER),
        (f"{CALLER},fd00::1", CALLER),
        ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("unknown", PROXY),
        (f"{CALLER}, unknown, 10.2.2.2", "10.2.2.2"),
        ("", PROXY),
    ],
)
def test_the_last_hop_that_is_no_proxy_is_the_caller(said: str, expected: str) -> None:
    assert seen(PROXY, x_forwarded_for=said) == (expected, False)


def test_what_a_stranger_says_of_hops_counts_for_nothing() -> None:
    request = asked("198.51.100.1", x_forwarded_for=CALLER, forwarded=f"for={CALLER}", x_forwarded_proto="https")
    assert Hops.through(NETWORKS).caller(request) is request
    assert Hops().caller(request) is request


def test_a_proxy_that_says_nothing_is_the_caller_itself() -> None:
    assert Hops.through(["127.0.0.0/8"]).caller(asked("127.0.0.1")).local
    assert not Hops.through(["127.0.0.0/8"]).caller(asked("127.0.0.1", x_forwarded_for="127.0.0.1")).local


def test_only_the_header_that_the_proxies_write_counts() -> None:
    assert seen(PROXY, forwarded=f"for={CALLER}") == (PROXY, False)
    assert seen(PROXY, header="forwarded", x_forwarded_for=CALLER, x_forwarded_proto="https") == (PROXY, False)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"for={CALLER};proto=https;by=10.1.0.5", (CALLER, True)),
        (f"For={CALLER} ; Proto=HTTPS", (CALLER, True)),
        ('for="[2001:db8::7]:4711"', ("2001:db8::7", False)),
        (f'for=198.51.100.1, for="{CALLER}", for=10.2.2.2;proto=https', (CALLER, True)),
        (f'for="198.51.100.1, for={CALLER};host="a,b"', (CALLER, False)),
        (f'x="\\", for={CALLER}', (CALLER, False)),
        ("for=_hidden", (PROXY, False)),
        (f"for={CALLER};;=", (PROXY, False)),
    ],
)
def test_the_standard_header_is_read_from_its_end_whatever_strangers_leave_open(
    said: str, expected: tuple[str, bool]
) -> None:
    assert seen(PROXY, header="forwarded", forwarded=said) == expected


def test_the_last_proxy_says_whether_the_call_came_encrypted() -> None:
    assert seen(PROXY, x_forwarded_for=CALLER, x_forwarded_proto="https") == (CALLER, True)
    assert seen(PROXY, x_forwarded_for=CALLER, x_forwarded_proto="https, http") == (CALLER, False)


def test_a_list_without_end_is_followed_only_so_far() -> None:
    many = ", ".join([CALLER, *["10.2.2.2"] * HOPS_MAX])
    assert seen(PROXY, x_forwarded_for=many) == ("10.2.2.2", False)
