"""Calls through the gate to a service: what passes, what never does, and who is let through."""

import hashlib
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.rooms.app.http.caller import Answered, Caller
from tests.rooms.app.http.conftest import Site
from tests.rooms.app.upstreams.service import Service

Add = Callable[..., str]


def told(answer: Answered) -> tuple[dict[str, str], str]:
    """Return the headers and the target that the service met."""
    assert answer.status == 200, answer.body
    met = json.loads(answer.body)
    headers = cast("list[list[str]]", met["headers"])
    assert len({name for name, _ in headers}) == len(headers)
    return dict(headers), str(met["target"])


def raw(site: Site, text: bytes) -> bytes:
    """Send bytes as they stand, and return the first answer; bodies of chunks are left out."""
    with socket.create_connection(("127.0.0.1", site.settings.port), timeout=10) as line:
        line.sendall(text)
        answer = b""
        while not is_whole(answer) and (came := line.recv(65_536)):
            answer += came
        return answer


def is_whole(answer: bytes) -> bool:
    """Tell whether the head of an answer has come, and as much of a body as it says."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end) and len(body) >= int(length[1] if length else 0)


def test_method_path_query_and_body_arrive_as_they_were_sent(owner: Caller, register: Add) -> None:
    path = register()
    answer = owner.call("PUT", f"{path}/echo/a%20b;c/%C3%A9?q=1%2B2&q=%20", b"content", media="text/x-own")
    headers, target = told(answer)
    assert target == "/echo/a%20b;c/%C3%A9?q=1%2B2&q=%20"
    assert (answer.json["method"], answer.json["size"], headers["content-type"]) == ("PUT", 7, "text/x-own")
    assert headers["content-length"] == "7"
    assert told(owner.get(path))[1] == "/"
    head = owner.call("HEAD", f"{path}/echo")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 100


def test_no_credential_and_nothing_of_one_hop_passes(owner: Caller, register: Add) -> None:
    path = register()
    sent = {
        "cookie": "isthmus_session=secret",
        "dpop": "proof",
        "connection": "x-hop, close",
        "x-hop": "1",
        "te": "trailers",
        "proxy-authorization": "Basic eA==",
        "x-forwarded-for": "203.0.113.9",
        "forwarded": "for=203.0.113.9",
        "x-real-ip": "203.0.113.9",
        "x-forwarded-host": "evil.test",
        "isthmus-identity": "forged",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-own": "kept",
    }
    headers, _ = told(owner.call("GET", f"{path}/echo", headers=sent))
    gone = {"authorization", "cookie", "dpop", "x-hop", "te", "proxy-authorization", "forwarded", "x-real-ip"}
    assert not gone & headers.keys()
    assert (headers["traceparent"], headers["x-own"]) == (sent["traceparent"], "kept")
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert headers["x-forwarded-host"].startswith("127.0.0.1:")
    assert headers["isthmus-identity"] != "forged"


def test_the_service_learns_who_calls_by_a_short_token_that_only_it_may_take(
    site: Site, owner: Caller, workspace: int, register: Add
) -> None:
    path = register("ledger")
    text = told(owner.get(f"{path}/echo"))[0]["isthmus-identity"]
    keys = KeySet.import_key_set(json.loads(site.caller().get("/oauth/jwks").body))
    token = jwt.decode(text, keys, algorithms=["ES256"])
    claims = token.claims
    assert (claims["aud"], claims["workspace"], claims["kind"]) == ("ledger", workspace, "key")
    assert claims["iss"] == site.settings.issuer
    assert claims["sub"].startswith("key_")
    assert claims["exp"] - claims["iat"] <= 60
    assert abs(claims["iat"] - time.time()) < 30
    refused = site.caller(text).get("/api/v1/me")
    assert refused.status == 401


def test_only_who_may_use_it_is_let_through_and_others_see_nothing(
    site: Site, owner: Caller, workspace: int, register: Add
) -> None:
    path = register("money", permission="finance:read")
    assert owner.get(f"{path}/echo").status == 200
    assert site.caller(site.key(workspace, "finance.viewer")).get(f"{path}/echo").status == 200
    refused = site.caller(site.key(workspace, "sales.admin")).get(f"{path}/echo")
    assert (refused.status, refused.code) == (403, "grant-missing")
    stranger = site.caller(site.key(site.workspace(), "owner")).get(f"{path}/echo")
    assert (stranger.status, stranger.code) == (404, "upstream-missing")
    assert site.caller().get(f"{path}/echo").status == 401
    assert owner.call("DELETE", "/api/v1/upstreams/money").status == 204
    assert owner.get(f"{path}/echo").status == 404
    assert owner.call("DELETE", "/api/v1/upstreams/money").status == 404


@pytest.mark.parametrize("escape", ["../x", "a/../../x", "%2e%2e/x", "a/%2E./x", "a\\..\\x", "%5c..", "a/./b", "%00"])
def test_a_path_never_leads_out_of_the_service(owner: Caller, service: Service, register: Add, escape: str) -> None:
    path = register()
    answer = owner.get(f"{path}/{escape}")
    assert answer.status == 400
    assert not service.calls


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Content-Length: +5\r\n\r\nabcde",
        "Content-Length: 5, 5\r\n\r\nabcde",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_two_servers_could_read_differently_is_refused(
    site: Site, workspace: int, service: Service, register: Add, framing: str
) -> None:
    path, key = register(), site.key(workspace, "owner")
    head = f"POST {path}/echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
    answer = raw(site, (head + framing).encode())
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 411", b"HTTP/1.1 501")) or answer == b"", answer
    assert not service.calls


def test_two_lengths_reach_the_service_as_one(site: Site, workspace: int, service: Service, register: Add) -> None:
    path, key = register(), site.key(workspace, "owner")
    head = f"POST {path}/echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
    body = "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
    answer = raw(site, (head + body).encode())
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    if service.calls:
        headers = {name for name, _ in cast("list[list[str]]", service.last["headers"])}
        assert "content-length" not in headers
        assert (service.last["size"], service.calls["echo"]) == (5, 1)


def test_an_upgrade_is_refused_in_words(site: Site, workspace: int, service: Service, register: Add) -> None:
    path, key = register(), site.key(workspace, "owner")
    head = f"GET {path}/ws HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: Upgrade\r\n"
    asked = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    answer = raw(site, (head + asked).encode())
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"upgrade-refused" in answer
    assert not service.calls


def test_pages_of_a_service_run_nothing_in_our_origin(owner: Caller, register: Add) -> None:
    answer = owner.get(f"{register()}/pages")
    assert (answer.status, answer.headers["x-own"]) == (200, "1")
    assert "set-cookie" not in answer.headers
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_host_name_leads_to_its_service(owner: Caller, register: Add) -> None:
    register("shop", hosts=["shop.isthmus.test"])
    over = time.monotonic() + 5
    while (answer := owner.call("GET", "/echo/x?a=1", headers={"host": "shop.isthmus.test"})).status == 404:
        assert time.monotonic() < over
        time.sleep(0.1)
    assert told(answer)[1] == "/echo/x?a=1"
    again = owner.post(
        "/api/v1/upstreams", {"name": "b", "url": "https://b.example.com", "hosts": ["shop.isthmus.test"]}
    )
    assert (again.status, again.code) == (409, "upstream-taken")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"url": "http://169.254.169.254/latest"}, "/url"),
        ({"url": "https://10.0.0.1/"}, "/url"),
        ({"url": "ftp://a.example.com"}, "/url"),
        ({"url": "https://user:pw@a.example.com"}, "/url"),
        ({"url": "https://a.example.com/?q=1"}, "/url"),
        ({"permission": "gateway:nothing"}, "/permission"),
        ({"hosts": ["127.0.0.1"]}, "/hosts/0"),
        ({"health_path": "health"}, "/health_path"),
    ],
)
def test_what_cannot_be_registered_says_where(owner: Caller, wrong: dict[str, str], pointer: str) -> None:
    answer = owner.post("/api/v1/upstreams", {"name": "a", "url": "https://a.example.com", **wrong})
    assert (answer.status, answer.code) == (422, "upstream-refused")
    assert {at for at, _ in answer.faults} == {pointer}


def test_a_name_that_leads_into_a_network_not_allowed_is_refused_when_it_is_called(owner: Caller) -> None:
    made = owner.post("/api/v1/upstreams", {"name": "meta", "url": "http://localhost.localdomain:1"})
    assert made.status in {201, 422}
    assert owner.post("/api/v1/upstreams", {"name": "in", "url": "https://ip6-localhost"}).status == 201
    answer = owner.get("/up/in/x")
    assert answer.code in {"outbound-refused", "upstream-failed"}


def test_a_large_body_passes_while_it_comes(site: Site, workspace: int, service: Service, register: Add) -> None:
    path, key, size = register(), site.key(workspace, "owner"), 8 << 20
    line = http.client.HTTPConnection("127.0.0.1", site.settings.port, timeout=30)
    line.putrequest("POST", f"{path}/echo")
    line.putheader("authorization", f"Bearer {key}")
    line.putheader("transfer-encoding", "chunked")
    line.endheaders()
    piece = b"u" * (1 << 16)

    def send(count: int) -> None:
        for _ in range(count):
            line.send(b"%x\r\n%b\r\n" % (len(piece), piece))

    send(8)
    over = time.monotonic() + 10
    while service.last.get("coming", 0) != 8 << 16:
        assert time.monotonic() < over, "the first half did not arrive before the second was sent"
        time.sleep(0.02)
    send(size // len(piece) - 8)
    line.send(b"0\r\n\r\n")
    met = json.loads(line.getresponse().read())
    line.close()
    assert (met["size"], met["digest"]) == (size, hashlib.sha256(b"u" * size).hexdigest())


def pieces_with_times(site: Site, key: str, path: str) -> Iterator[tuple[float, bytes]]:
    """Yield pieces of an answer with the moments at which they came."""
    line = http.client.HTTPConnection("127.0.0.1", site.settings.port, timeout=30)
    line.request("GET", path, headers={"authorization": f"Bearer {key}"})
    answer = line.getresponse()
    while piece := answer.read1(65_536):
        yield time.monotonic(), piece
    line.close()


def test_an_answer_passes_while_it_comes(site: Site, workspace: int, register: Add) -> None:
    path, key = register(), site.key(workspace, "owner")
    came = list(pieces_with_times(site, key, f"{path}/drip?n=4&s=0.2"))
    assert b"".join(piece for _, piece in came) == b"x" * 10 + b"y" * 40
    assert came[-1][0] - came[0][0] > 0.5


def test_a_caller_who_goes_away_ends_the_call_to_the_service(
    site: Site, workspace: int, service: Service, register: Add
) -> None:
    path, key = register(), site.key(workspace, "owner")
    coming = pieces_with_times(site, key, f"{path}/endless")
    line = http.client.HTTPConnection("127.0.0.1", site.settings.port, timeout=30)
    del coming
    line.request("GET", f"{path}/endless", headers={"authorization": f"Bearer {key}"})
    assert line.getresponse().read(100_000)
    line.close()
    assert service.cut_off.wait(5)
