"""Bad input over a real socket: each gets its precise error with the fix in words, and nothing is stored."""

import json
import socket

import pytest

from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site

MEGABYTE = 1 << 20
KEY: Json = {"name": "Forms", "roles": ["viewer"]}


def count_of_keys(owner: Caller) -> int:
    return len(owner.get("/api/v1/keys?limit=200").rows)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"name": "A", ', 400, "malformed"),
        (b"name=A", 400, "malformed"),
        (b"", 400, "malformed"),
        (b'{"name": NaN}', 400, "malformed"),
        (b'{"name": "\xff"}', 400, "malformed"),
        (b'{"name": "A", "name": "B"}', 400, "malformed"),
        (b'{"name": "A\\u0000"}', 400, "malformed"),
        (b"[" * 5_000 + b"]" * 5_000, 400, "malformed"),
        (b'{"name": "A", "colour": 1}', 422, "invalid"),
        (b'{"name": 5, "roles": "owner"}', 422, "invalid"),
        (b"null", 422, "invalid"),
        (b'{"name": "A", "roles": ["king"]}', 422, "unknown-role"),
        (b'{"name": "A"}', 422, "invalid-key-wish"),
    ],
)
def test_a_bad_body_is_refused_in_words_and_nothing_is_stored(
    owner: Caller, body: bytes, status: int, code: str
) -> None:
    before = count_of_keys(owner)
    answer = owner.post("/api/v1/keys", body)
    assert (answer.status, answer.code) == (status, code)
    problem = answer.json
    assert problem["type"] == f"/docs/errors/{code}"
    assert problem["detail"]
    assert problem["fix"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert count_of_keys(owner) == before


def test_every_fault_of_a_body_is_named(owner: Caller) -> None:
    answer = owner.post("/api/v1/keys", {"nam": "A", "roles": ["viewer", 5], "expires_at": "soon"})
    assert answer.faults == {
        ("/name", "missing"),
        ("/nam", "unknown-field"),
        ("/roles/1", "wrong-type"),
        ("/expires_at", "wrong-form"),
    }


@pytest.mark.parametrize("length", [10 * MEGABYTE, MEGABYTE + 1])
def test_a_body_over_the_limit_is_refused(owner: Caller, length: int) -> None:
    answer = owner.post("/api/v1/keys", b'{"name": "' + b"A" * length + b'"}')
    assert (answer.status, answer.code) == (413, "too-large")


def test_a_body_far_over_the_limit_is_refused_before_it_is_sent(site: Site, shared_workspace: int) -> None:
    key = site.key(shared_workspace, "owner")
    head = f"POST /api/v1/keys HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", site.settings.port), timeout=10) as wire:
        wire.sendall(f"{head}content-length: 999999999\r\n\r\n".encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_in_pieces_is_refused_when_it_is_over_the_limit(site: Site, shared_workspace: int) -> None:
    key = site.key(shared_workspace, "owner")
    head = f"POST /api/v1/keys HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    piece = b"10000\r\n" + b"A" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", site.settings.port), timeout=10) as wire:
        wire.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(17):
            wire.sendall(piece)
        wire.sendall(b"0\r\n\r\n")
        assert wire.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "media", ["text/plain", "", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_another_content_type_is_refused(owner: Caller, media: str) -> None:
    answer = owner.call("POST", "/api/v1/keys", KEY, media=media)
    assert (answer.status, answer.code) == (415, "unsupported-media")


def test_a_compressed_body_is_refused(owner: Caller) -> None:
    answer = owner.call("POST", "/api/v1/keys", b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert answer.status == 415


def test_a_body_where_none_is_taken_is_refused(owner: Caller) -> None:
    key_id = owner.post("/api/v1/keys", KEY).json["id"]
    assert owner.post(f"/api/v1/keys/{key_id}:revoke", {"why": "old"}).code == "invalid"
    assert owner.post(f"/api/v1/keys/{key_id}:revoke").json["revoked_at"]


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("limit=0", {("/query/limit", "out-of-range")}),
        ("limit=x&lim=1", {("/query/limit", "wrong-type"), ("/query/lim", "unknown-field")}),
        ("cursor=abc", {("/query/cursor", "invalid-cursor")}),
    ],
)
def test_a_bad_parameter_is_named(owner: Caller, query: str, faults: set[tuple[str, str]]) -> None:
    answer = owner.get(f"/api/v1/keys?{query}")
    assert answer.status == 422
    assert answer.faults == faults


def test_a_parameter_that_no_route_takes_is_refused(owner: Caller) -> None:
    assert owner.get("/api/v1/me?verbose=1").faults == {("/query/verbose", "unknown-field")}


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "unauthenticated"),
        ("Bearer", "unauthenticated"),
        ("Basic YTpi", "unauthenticated"),
        ("Bearer ist_live_nothing", "invalid-key"),
        (
            "Bearer ist_live_01M82SYZ66ERX9QYA8ED4Z3A3S_0123456789012345678901234567890123456789012_000000",
            "invalid-key",
        ),
    ],
)
def test_a_wrong_credential_is_refused(site: Site, authorization: str | None, code: str) -> None:
    headers = {"authorization": authorization} if authorization else {}
    answer = site.caller().call("GET", "/api/v1/me", headers=headers)
    assert (answer.status, answer.code) == (401, code)
    assert answer.headers["www-authenticate"] == 'Bearer realm="isthmus"'


def test_a_key_with_another_secret_is_refused(site: Site, shared_workspace: int) -> None:
    one, other = (site.key(shared_workspace, "owner").split("_") for _ in range(2))
    mixed = "_".join([*one[:3], other[3], one[4]])
    assert site.caller(mixed).get("/api/v1/me").code == "invalid-key"


def test_two_credentials_at_once_are_refused(site: Site, shared_workspace: int) -> None:
    key = site.key(shared_workspace, "owner")
    line = f"authorization: Bearer {key}\r\n"
    with socket.create_connection(("127.0.0.1", site.settings.port), timeout=10) as wire:
        wire.sendall(f"GET /api/v1/me HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{line}{line}\r\n".encode())
        answer = b"".join(iter(lambda: wire.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed"


def test_an_unknown_path_and_a_wrong_method_differ(owner: Caller) -> None:
    assert owner.get("/api/v1/nothing").code == "route-missing"
    refused = owner.call("DELETE", "/api/v1/keys")
    assert (refused.status, refused.code) == (405, "method-refused")
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_the_id_of_another_kind_is_not_found(owner: Caller) -> None:
    assert owner.get("/api/v1/leads/deal_01M82SYZ66ERX9QYA8ED4Z3A3S").status == 404
    assert owner.get("/api/v1/leads/lead_01M82SYZ66ERX9QYA8ED4Z3A3S").code == "record-missing"
    assert owner.get("/api/v1/leads/%ff").code == "malformed"


@pytest.mark.parametrize(
    ("version", "status"), [("2026-11-22", 200), ("2027-01-01", 200), ("2020-01-01", 400), ("v1", 400)]
)
def test_a_version_is_pinned_or_refused(owner: Caller, version: str, status: int) -> None:
    answer = owner.get("/api/v1/me", isthmus_version=version)
    assert answer.status == status
    if status == 200:
        assert answer.headers["isthmus-version"] == "2026-11-22"


@pytest.mark.parametrize(("given", "echoed"), [("a-1:B.c_d", True), ("a b", False), ("x" * 129, False), ("ä", False)])
def test_a_request_id_is_echoed_when_it_is_fit_to_be_logged(site: Site, given: str, echoed: bool) -> None:  # noqa: FBT001 - a table.
    found = site.caller().get("/healthz", x_request_id=given).headers["x-request-id"]
    assert found == given if echoed else found.startswith("req_")
