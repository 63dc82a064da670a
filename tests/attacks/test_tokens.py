"""Tokens of ours, changed in every way that has fooled somebody, open nothing; the one they were made of does."""

import base64
import json
import secrets
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from isthmus.kernel.marks import Json
from tests.attacks.target import FORM, Target

Claims = dict[str, Json]
Forge = Callable[[Claims, Claims, str], str]
OWN = ECKey.generate_key("P-256")
PUBLIC = cast("Claims", OWN.as_dict(private=False))


def b64(value: object) -> str:
    """Return JSON in base64url."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def part(token: str, place: int) -> Claims:
    """Return the header (0) or the claims (1)."""
    text = token.split(".")[place]
    return cast("Claims", json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))


def resigned(header: Claims, claims: Claims) -> str:
    """Sign with a key of the attacker's."""
    return jwt.encode(header, claims, OWN, algorithms=["ES256"])


def by_secret(header: Claims, claims: Claims) -> str:
    """Sign with a shared secret that everybody can guess."""
    return jwt.encode({**header, "alg": "HS256"}, claims, OctKey.import_key("isthmus" * 8), algorithms=["HS256"])


FORGERIES: dict[str, Forge] = {
    "no algorithm": lambda head, claims, _: f"{b64({**head, 'alg': 'none'})}.{b64(claims)}.",
    "no algorithm, in capitals": lambda head, claims, _: f"{b64({**head, 'alg': 'NONE'})}.{b64(claims)}.",
    "no algorithm, signature kept": lambda head, claims, sig: f"{b64({**head, 'alg': 'none'})}.{b64(claims)}.{sig}",
    "no signature": lambda head, claims, _: f"{b64(head)}.{b64(claims)}.",
    "signature of zeros": lambda head, claims, _: f"{b64(head)}.{b64(claims)}.{'A' * 86}",
    "claims changed": lambda head, claims, sig: f"{b64(head)}.{b64({**claims, 'scope': 'sales:write'})}.{sig}",
    "another key, our kid": lambda head, claims, _: resigned(head, claims),
    "key in the header": lambda head, claims, _: resigned({**head, "jwk": {**PUBLIC}}, claims),
    "key at an address": lambda head, claims, _: resigned({**head, "jku": "https://elsewhere.example/jwks"}, claims),
    "kid is a path": lambda head, claims, _: by_secret({**head, "kid": "../../../../../dev/null"}, claims),
    "kid is SQL": lambda head, claims, _: resigned({**head, "kid": "x' or '1'='1"}, claims),
    "kid is unknown": lambda head, claims, _: resigned({**head, "kid": "unknown"}, claims),
    "shared secret": lambda head, claims, _: by_secret(head, claims),
    "typ swapped": lambda head, claims, sig: f"{b64({**head, 'typ': 'JWT'})}.{b64(claims)}.{sig}",
    "expired": lambda head, claims, sig: f"{b64(head)}.{b64({**claims, 'exp': int(time.time()) - 60})}.{sig}",
    "no end": lambda head, claims, sig: f"{b64(head)}.{b64({**claims, 'exp': 1 << 40})}.{sig}",
    "another audience": lambda head, claims, sig: f"{b64(head)}.{b64({**claims, 'aud': 'https://e.example'})}.{sig}",
    "critical header": lambda head, claims, sig: f"{b64({**head, 'crit': ['exp'], 'b64': False})}.{b64(claims)}.{sig}",
}


@pytest.fixture(scope="module")
def token(target: Target) -> str:
    """An access token that a program got for itself."""
    wish: Json = {"name": f"Program {secrets.token_hex(3)}", "grants": ["client_credentials"], "scopes": ["sales:read"]}
    status, _, body = target.call("POST", "/api/v1/clients", wish, key=target.keys["owner"])
    assert status < 300, body
    made = cast("dict[str, str]", json.loads(body))
    basic = base64.b64encode(f"{made['client_id']}:{made['client_secret']}".encode()).decode()
    grant = urlencode({"grant_type": "client_credentials"}).encode()
    status, _, body = target.call("POST", "/oauth/token", grant, content_type=FORM, authorization=f"Basic {basic}")
    assert status == 200, body
    return str(json.loads(body)["access_token"])


def test_the_token_as_it_was_issued_opens(target: Target, token: str) -> None:
    assert target.call("GET", "/api/v1/leads", key=token)[0] == 200


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_changed_token_opens_nothing(target: Target, token: str, forgery: str) -> None:
    forged = FORGERIES[forgery](part(token, 0), part(token, 1), token.split(".")[2])
    status, headers, _ = target.call("GET", "/api/v1/leads", key=forged)
    assert status == 401
    assert 'error="invalid_token"' in headers["www-authenticate"]
