"""Signing in: an access token for what the settings hold, by one of three flows of OAuth 2.0, renewed when it is over.

Client credentials: https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_client_credentials_flow.htm
JWT bearer: https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_jwt_flow.htm
Refresh token: https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_refresh_token_flow.htm
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from isthmus.connectors.salesforce.strict import as_map
from isthmus.kernel.words import text
from isthmus.sync.calls import Answer, Calls
from isthmus.sync.connector import ConnectorError, KeyRefused

# Fields of a token answer: which instance to speak with, and an address that ends in our own id.
INSTANCE, IDENTITY = "instance_url", "id"
TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 - a path, and no password.
VERSIONS_PATH = "/services/data/"
# Here anybody signs in, whatever organisation they are of; an organisation's own address speaks for it alone.
GENERAL_HOSTS = ("login.salesforce.com", "test.salesforce.com")
# Salesforce takes an assertion for at most five minutes; its own clock says from when.
ASSERTION_S = 180
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FIX = "In Salesforce, look at the connected app and its policies, and give `client_id` and its secret or key anew."
_REFUSED = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves who we are; exactly one of secret, refresh token and private key decides the flow."""

    client_id: str
    secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    private_key: str = field(repr=False)
    user: str

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Credentials":
        """Return the credentials; raises ConnectorError where something is missing."""
        names = ("client_id", "client_secret", "refresh_token", "private_key", "user")
        given = cls(*(settings.get(name, "").strip() for name in names))
        if not given.client_id:
            raise ConnectorError("There is no `client_id`.", fix="Give the consumer key of the connected app.")
        if given.private_key and not given.user:
            raise ConnectorError("A key signs in as somebody.", fix="Give `user`, the name that they sign in with.")
        if not (given.secret or given.refresh_token or given.private_key):
            fix = "Give `client_secret`, `refresh_token`, or `private_key` with `user`; or let a person consent."
            raise ConnectorError("There is nothing to sign in with.", fix=fix)
        return given

    def form(self, *, audience: str, now: int) -> dict[str, str]:
        """Return what to ask for a token with; `now` is the time of Salesforce's clock, in seconds since 1970."""
        if self.refresh_token:
            told = {"grant_type": "refresh_token", "client_id": self.client_id, "refresh_token": self.refresh_token}
            return told | ({"client_secret": self.secret} if self.secret else {})
        if self.private_key:
            return {"grant_type": JWT_GRANT, "assertion": self._assertion(audience=audience, now=now)}
        return {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.secret}

    def _assertion(self, *, audience: str, now: int) -> str:
        from joserfc import errors, jwk, jwt  # noqa: PLC0415 - only who signs in with a key waits for it.

        claims = {"iss": self.client_id, "sub": self.user, "aud": audience, "exp": now + ASSERTION_S}
        try:
            key = jwk.RSAKey.import_key(self.private_key.replace("\\n", "\n"))
            return jwt.encode({"alg": "RS256"}, claims, key)
        except (errors.JoseError, ValueError) as error:
            raise ConnectorError("`private_key` is no RSA key in PEM form.", fix="Give the key whole.") from error


def spoken_with(url: str, instance_url: str) -> str:
    """Return the address to speak with: an organisation's own stays, and the general ones lead to an instance."""
    return instance_url if instance_url and urlsplit(url).hostname in GENERAL_HOSTS else url


def own_id(identity: str) -> str:
    """Return our own id from the address that names us."""
    return identity.rpartition("/")[2]


def audience_of(url: str) -> str:
    """Return whom an assertion is for: the general address for sandboxes or all others, or the test server itself."""
    host = urlsplit(url).hostname or ""
    if not host.endswith(".salesforce.com"):
        return url
    sandbox = host == GENERAL_HOSTS[1] or ".sandbox." in host
    return f"https://{GENERAL_HOSTS[1] if sandbox else GENERAL_HOSTS[0]}"


class SigningIn:
    """Holds the token of one session; `authorise` is what `Calls` asks for headers."""

    def __init__(self, calls: Calls, credentials: Credentials) -> None:
        """`calls` speak with the address that was given, without a token."""
        self._calls, self._credentials = calls, credentials
        self._token = ""
        self.base, self.user_id = calls.base, ""

    async def authorise(self, fresh: bool) -> dict[str, str]:  # noqa: FBT001 - as Calls asks it.
        """Return the header that proves who we are; raises KeyRefused and ConnectorError."""
        if fresh or not self._token:
            await self._sign_in()
        return {"Authorization": f"Bearer {self._token}"}

    async def _sign_in(self) -> None:
        now = await self._their_now() if self._credentials.private_key else 0
        form = self._credentials.form(audience=audience_of(self._calls.base), now=now)
        answer = await self._calls.send("POST", TOKEN_PATH, form=form, safe=True)
        if answer.status in _REFUSED:
            raise KeyRefused(f"Salesforce does not let us in: {_reason(answer)}.", fix=FIX)
        told = as_map(answer.json()) if answer.good else {}
        token = text(told.get("access_token"))
        if token is None:
            raise ConnectorError(f"{self._calls.base} gives no token ({answer.status}).", fix="Check `url`.")
        self._token = token
        self.base = spoken_with(self._calls.base, text(told.get(INSTANCE)) or "")
        self.user_id = own_id(text(told.get(IDENTITY)) or "")

    async def _their_now(self) -> int:
        """Return the time by Salesforce's clock, by which it judges assertions."""
        answer = await self._calls.send("GET", VERSIONS_PATH)
        try:
            return int(parsedate_to_datetime(answer.headers.get("date", "")).timestamp())
        except ValueError as error:
            raise ConnectorError(f"{self._calls.base} does not tell the time.", fix="Check `url`.") from error


def _reason(answer: Answer) -> str:
    """Return Salesforce's own words for a refusal, which never repeat what was sent."""
    try:
        told = as_map(answer.json())
    except ConnectorError:
        return f"it answered {answer.status}"
    words = (text(told.get("error")), text(told.get("error_description")))
    return ", ".join(each for each in words if each) or f"it answered {answer.status}"
