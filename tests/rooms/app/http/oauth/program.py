"""A program that asks for tokens by hand, and says exactly what a test wants said."""

import base64
import http.client
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import cast
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

from isthmus.auth.oauth.clients import Client
from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Answered

FORM = "application/x-www-form-urlencoded"
_CSRF = re.compile(rb'name="csrf" value="([0-9a-f]+)"')
Pairs = Mapping[str, str] | Sequence[tuple[str, str]]


def b64(content: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass(frozen=True)
class Key:
    """A DPoP key."""

    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256"))

    @property
    def thumbprint(self) -> str:
        """Its name."""
        return self.key.thumbprint()

    def proof(self, method: str, url: str, *, token: str | None = None, **changed: Json) -> str:
        """Return a proof; `changed` are claims that differ from what is right."""
        claims: dict[str, Json] = {"htm": method, "htu": url, "iat": int(time.time()), "jti": secrets.token_urlsafe(8)}
        if token is not None:
            claims["ath"] = b64(sha256(token.encode()).digest())
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.as_dict(private=False)}
        return jwt.encode(header, {**claims, **changed}, self.key, algorithms=["ES256"])


@dataclass(frozen=True)
class Registered:
    """A registered program with its secret."""

    issuer: str
    client: Client
    secret: str | None = field(repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)

    @property
    def id(self) -> str:
        """Its client_id."""
        return self.client.client_id

    @property
    def basic(self) -> dict[str, str]:
        """What it proves itself with."""
        pair = f"{quote_plus(self.id)}:{quote_plus(self.secret or '')}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answered:
        """Send one request; a redirect is not followed."""
        connection = http.client.HTTPConnection(urlsplit(self.issuer).netloc, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            shown = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, shown, answer.read())
        finally:
            connection.close()

    def post(self, path: str, pairs: Pairs, headers: Mapping[str, str] | None = None) -> Answered:
        """Send a form with the program's own credentials."""
        own = self.basic if self.secret else {}
        public = [] if self.secret else [("client_id", self.id)]
        given = list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs)
        return self.call(
            "POST", path, urlencode([*public, *given]).encode(), {"content-type": FORM, **own, **(headers or {})}
        )

    def token(self, headers: Mapping[str, str] | None = None, **fields: str) -> Answered:
        """Call the token endpoint."""
        return self.post("/oauth/token", fields, headers)

    def asking(self, **changed: str | None) -> dict[str, str]:
        """Return the parameters of a good request; None takes one away."""
        good: dict[str, str | None] = {
            "client_id": self.id,
            "response_type": "code",
            "redirect_uri": self.client.redirects[0] if self.client.redirects else None,
            "scope": " ".join(self.client.scopes),
            "state": "a state",
            "code_challenge": b64(sha256(self.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in {**good, **changed}.items() if value is not None}

    def authorize(self, cookie: str | None, pairs: Pairs) -> Answered:
        """Open the authorisation endpoint as a browser does, as far as the page that asks or the answer."""
        headers = {"cookie": cookie} if cookie else {}
        return self.call("GET", f"/oauth/authorize?{urlencode(pairs)}", headers=headers)

    def consent(self, cookie: str, pairs: Pairs | None = None, *, choice: str = "allow") -> dict[str, str]:
        """Have a person decide, and return the parameters that come back to the program."""
        begun = self.authorize(cookie, pairs or self.asking())
        assert begun.status == 303, (begun.status, begun.body)
        page = begun.headers["location"]
        if not page.startswith("/oauth/consent/"):
            return read_answer(page)
        shown = self.call("GET", page, headers={"cookie": cookie})
        if shown.status == 303:
            return read_answer(shown.headers["location"])
        csrf = _CSRF.search(shown.body)
        assert csrf, (shown.status, shown.body)
        body = urlencode({"csrf": csrf[1].decode(), "choice": choice}).encode()
        sent = self.call("POST", page, body, {"cookie": cookie, "content-type": FORM})
        assert sent.status == 303, (sent.status, sent.body)
        return read_answer(sent.headers["location"])

    def redeem(self, code: str, headers: Mapping[str, str] | None = None, **changed: str) -> Answered:
        """Exchange a code."""
        good = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.client.redirects[0]}
        return self.token(headers, **{**good, "code_verifier": self.verifier, **changed})

    def tokens(self, cookie: str, headers: Mapping[str, str] | None = None, **changed: str) -> dict[str, Json]:
        """Return tokens of a person who says yes."""
        answer = self.redeem(self.consent(cookie, self.asking(**changed))["code"], headers)
        assert answer.status == 200, answer.body
        return answer.json

    def use(self, token: str, path: str = "/api/v1/me", headers: Mapping[str, str] | None = None) -> Answered:
        """Call with a bearer token."""
        return self.call("GET", path, headers={"authorization": f"Bearer {token}", **(headers or {})})


def read_answer(location: str) -> dict[str, str]:
    """Return the parameters of a redirect."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def claims_of(token: str) -> dict[str, Json]:
    """Return the claims of a token, unverified."""
    part = token.split(".")[1]
    return cast("dict[str, Json]", json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def text(value: Json) -> str:
    """Return a text out of JSON."""
    assert isinstance(value, str), value
    return value
