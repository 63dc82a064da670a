"""What a provider may answer, and what of it is refused."""

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from isthmus.auth.people.errors import UpstreamRefused
from isthmus.auth.people.sign_in import People
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.sessions import NewSession
from isthmus.auth.upstream.signing_in import Returned, come_back, go_out
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.stream.outbound import OutboundRefused
from tests.rooms.auth.upstream.conftest import CLIENT, REDIRECT, set_up, wish

Claims = dict[str, Json]
KEY, OTHER = ECKey.generate_key("P-256", {"kid": "one"}), ECKey.generate_key("P-256", {"kid": "one"})
PUBLIC: Json = {"kid": "one", "use": "sig", **{each: str(value) for each, value in KEY.as_dict(private=False).items()}}


def signed(claims: Claims, *, key: ECKey = KEY, kid: str = "one") -> str:
    """Return an ID token."""
    return jwt.encode({"alg": "ES256", "kid": kid}, claims, key, algorithms=["ES256"])


def unsigned(claims: Claims) -> str:
    """Return one without a signature."""
    parts = ({"alg": "none"}, claims)
    return ".".join(urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts) + "."


def with_public_key_as_secret(claims: Claims) -> str:
    """Return one whose secret is the public key."""
    secret = OctKey.import_key(KEY.as_pem(private=False))
    return jwt.encode({"alg": "HS256", "kid": "one"}, claims, secret, algorithms=["HS256"])


def by_somebody_else(claims: Claims) -> str:
    """Return one that another key signed."""
    return signed(claims, key=OTHER)


def by_a_key_that_is_not_named(claims: Claims) -> str:
    """Return one whose key the provider does not show."""
    return signed(claims, kid="two")


def no_token(claims: Claims) -> str:
    """Return what is no token."""
    return json.dumps(claims)


@dataclass
class Liar:
    """A provider that says what it is told to say."""

    url: str = ""
    claims: Claims = field(default_factory=dict[str, Json])
    sign: Callable[[Claims], str] = signed
    metadata: Claims = field(default_factory=dict[str, Json])
    keys: list[Json] = field(default_factory=list[Json])
    userinfo: Claims = field(default_factory=dict[str, Json])
    redirects: bool = False
    asked: list[str] = field(default_factory=list[str])

    def answer(self, path: str) -> Claims:
        """Return what is served."""
        known: dict[str, Claims] = {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/auth",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "userinfo_endpoint": f"{self.url}/userinfo",
                **self.metadata,
            },
            "/keys": {"keys": self.keys},
            "/token": {"id_token": self.sign(self.claims), "access_token": "at"},
            "/userinfo": self.userinfo,
        }
        return known[path]


@pytest.fixture
def liar() -> Iterator[Liar]:
    """The provider, served."""
    liar = Liar(keys=[PUBLIC])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            liar.asked.append(self.path)
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.dumps(liar.answer(self.path)).encode()
            self.send_response(302 if liar.redirects else 200)
            self.send_header("location", f"{liar.url}{self.path}")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the server calls it by this name.

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server calls it by this name.
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield liar
    server.shutdown()
    server.server_close()
    thread.join()


async def come(people: People, scope: Scope, visitor: Visitor, liar: Liar, **lies: Json) -> NewSession:
    """Sign in at the provider, whose token says what it should but for the lies."""
    issuer = await set_up(people, scope, wish(liar.url, mail_domains=("northwind.example",)))
    out = await go_out(people, visitor, issuer=issuer.id, redirect_uri=REDIRECT, next_page="/")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(out.url).query).items()}
    at = visitor.now.timestamp()
    said: Claims = {"iss": liar.url, "aud": CLIENT, "sub": "ada", "nonce": asked["nonce"], "iat": at, "exp": at + 60}
    said |= {"email": "ada@northwind.example", "email_verified": True, "name": "Ada Byron"}
    liar.claims = {name: value for name, value in (said | lies).items() if value is not None}
    back = Returned(secret=out.secret, state=asked["state"], code="code", iss=liar.url)
    return (await come_back(people, visitor, back, redirect_uri=REDIRECT))[0]


async def test_what_is_true_is_taken(people: People, scope: Scope, visitor: Visitor, liar: Liar) -> None:
    session = await come(people, scope, visitor, liar, amr=["pwd", "mfa"])
    assert session.workspace == scope.workspace
    assert "/userinfo" not in liar.asked


@pytest.mark.parametrize(
    "lies",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "somebody"},
        {"aud": [CLIENT, "somebody"]},
        {"aud": [CLIENT, "somebody"], "azp": "somebody"},
        {"aud": None},
        {"iss": "http://127.0.0.1:1"},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"sub": None},
        {"sub": 7},
        {"email_verified": "yes"},
        {"email": "ada@northwind.example.evil.test"},
    ],
)
async def test_a_token_that_lies_is_refused(
    people: People, scope: Scope, visitor: Visitor, liar: Liar, lies: Claims
) -> None:
    with pytest.raises(UpstreamRefused):
        await come(people, scope, visitor, liar, **lies)


@pytest.mark.parametrize(
    "sign",
    [
        unsigned,
        with_public_key_as_secret,
        by_somebody_else,
        by_a_key_that_is_not_named,
        no_token,
    ],
)
async def test_a_signature_that_does_not_hold_is_refused(
    people: People, scope: Scope, visitor: Visitor, liar: Liar, sign: Callable[[Claims], str]
) -> None:
    liar.sign = sign
    with pytest.raises(UpstreamRefused):
        await come(people, scope, visitor, liar)


async def test_what_is_told_of_somebody_else_is_refused(
    people: People, scope: Scope, visitor: Visitor, liar: Liar
) -> None:
    liar.userinfo = {"sub": "eve", "email": "ada@northwind.example", "email_verified": True}
    with pytest.raises(UpstreamRefused, match="somebody else"):
        await come(people, scope, visitor, liar, email=None)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"jwks_uri": "http://169.254.169.254/latest/meta-data"},
        {"jwks_uri": "http://[::ffff:169.254.169.254]/"},
        {"token_endpoint": "http://evil.example/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": None},
    ],
)
async def test_a_provider_leads_nowhere_it_must_not(
    people: People, scope: Scope, visitor: Visitor, liar: Liar, metadata: Claims
) -> None:
    liar.metadata = metadata
    with pytest.raises(UpstreamRefused):
        await come(people, scope, visitor, liar)


async def test_a_redirect_is_not_followed(people: People, scope: Scope, visitor: Visitor, liar: Liar) -> None:
    liar.redirects = True
    with pytest.raises(UpstreamRefused, match="302"):
        await come(people, scope, visitor, liar)
    assert liar.asked == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    "issuer", ["http://127.0.0.1:1", "http://idp.example", "https://10.1.2.3", "ftp://idp.example"]
)
async def test_a_provider_within_the_own_network_is_the_owners_word(people: People, scope: Scope, issuer: str) -> None:
    with pytest.raises(OutboundRefused):
        await set_up(people, scope, wish(issuer, internal=False))
