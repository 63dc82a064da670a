"""Sign-in of the fake: three flows of OAuth 2.0 at one address, and tokens that end."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from isthmus.connectors.salesforce.fake.faults import Refused
from isthmus.connectors.salesforce.fake.records import Records
from isthmus.connectors.salesforce.signing import GENERAL_HOSTS, JWT_GRANT
from isthmus.connectors.salesforce.wire import Row

CLIENT_ID = "3MVG9.of.the.fake"
ORGANISATION_ID = "00DgL0000000001UAA"
ASSERTION_MAX = timedelta(minutes=5)
LIFE = timedelta(hours=2)


class Unauthorised(Exception):
    """What the token endpoint says no to: `error` and `error_description`."""

    def __init__(self, error: str, description: str) -> None:
        """Both are Salesforce's words."""
        super().__init__(description)
        self.error, self.description = error, description


class Tokens:
    """The connected app with its secret, key and refresh token, and the access tokens that are out."""

    def __init__(self, records: Records, *, secret: str, refresh_token: str, public_key: str) -> None:
        """`public_key` is that of the certificate which the app was given, in PEM form; empty for none."""
        self._records, self._secret, self._refresh_token = records, secret, refresh_token
        self._public_key = public_key
        self._given: dict[str, tuple[str, float]] = {}
        self._codes: dict[str, tuple[str, str]] = {}

    def consent(self, *, challenge: str, redirect_uri: str) -> str:
        """Let a person of the organisation consent; returns the code that their browser brings to the program."""
        code = f"aPrx{len(self._codes)}.of.ines"
        self._codes[code] = (challenge, redirect_uri)
        return code

    def give(self, form: Mapping[str, str], *, url: str) -> Row:
        """Return a token for what was sent; raises Unauthorised."""
        match form.get("grant_type"):
            case "client_credentials":
                self._client(form)
                user = self._records.robot
            case "authorization_code":
                user = self._consented(form)
            case "refresh_token":
                # Where the app does not ask programs of people for its secret, they have none.
                self._client(form, public="client_secret" not in form)
                if form.get("refresh_token") != self._refresh_token:
                    raise Unauthorised("invalid_grant", "expired access/refresh token")
                user = self._records.human
            case grant if grant == JWT_GRANT:
                user = self._asserted(form.get("assertion", ""), url=url)
            case _:
                raise Unauthorised("unsupported_grant_type", "grant type not supported")
        token = sha256(f"{len(self._given)} {user} {url} {self._secret}".encode()).hexdigest()
        said = f"{ORGANISATION_ID[:15]}!{token}"
        self._given[said] = (user, (self._records.now + LIFE).timestamp())
        return {
            "access_token": said,
            "scope": "api",
            "instance_url": url,
            "id": f"https://login.salesforce.com/id/{ORGANISATION_ID}/{user}",
            **({"refresh_token": self._refresh_token} if form.get("code") else {}),
            "token_type": "Bearer",
            "issued_at": str(int(self._records.now.timestamp() * 1000)),
            "signature": "c2lnbmF0dXJl",
        }

    def user_of(self, header: str) -> str:
        """Return who a token is for; raises Refused for one that is over, or none of ours."""
        user, until = self._given.get(header.removeprefix("Bearer "), ("", 0.0))
        if not header.startswith("Bearer ") or until <= self._records.now.timestamp():
            raise Refused(401, "INVALID_SESSION_ID", "Session expired or invalid")
        return user

    def end(self) -> None:
        """End all tokens that are out."""
        self._given.clear()

    def _consented(self, form: Mapping[str, str]) -> str:
        self._client(form, public=True)
        challenge, redirect_uri = self._codes.pop(form.get("code", ""), ("", ""))
        if not challenge or redirect_uri != form.get("redirect_uri"):
            raise Unauthorised("invalid_grant", "expired authorization code")
        proof = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if proof != challenge:
            raise Unauthorised("invalid_grant", "invalid code verifier")
        return self._records.human

    def _client(self, form: Mapping[str, str], *, public: bool = False) -> None:
        if form.get("client_id") != CLIENT_ID:
            raise Unauthorised("invalid_client_id", "client identifier invalid")
        if not public and form.get("client_secret") != self._secret:
            raise Unauthorised("invalid_client", "invalid client credentials")

    def _asserted(self, assertion: str, *, url: str) -> str:
        try:
            claims = jwt.decode(assertion, RSAKey.import_key(self._public_key), algorithms=["RS256"]).claims
        except (JoseError, ValueError) as error:
            raise Unauthorised("invalid_grant", "invalid assertion") from error
        left = float(str(claims.get("exp", 0))) - self._records.now.timestamp()
        if not 0 < left <= ASSERTION_MAX.total_seconds():
            raise Unauthorised("invalid_grant", "expired authorization code")
        if claims.get("aud") not in (url, *(f"https://{host}" for host in GENERAL_HOSTS)):
            raise Unauthorised("invalid_grant", "audience is invalid")
        if claims.get("iss") != CLIENT_ID:
            raise Unauthorised("invalid_client_id", "client identifier invalid")
        for row in self._records.rows("User"):
            if row["Username"] == claims.get("sub"):
                return str(row["Id"])
        raise Unauthorised("invalid_grant", "user hasn't approved this consumer")
