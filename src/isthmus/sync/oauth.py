"""Speaking with a vendor's authorisation server: the address for a person's consent, and tokens for a code or a token.

RFC 6749 §4.1, §5 and §6, with the code challenge of RFC 7636. Nothing here keeps or logs a token.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.stream.outbound import OutboundRefused
from isthmus.sync.calls import HOUSE, TOO_MANY, UNAUTHORISED
from isthmus.sync.connector import Connector, ConnectorError, KeyRefused, NotAsDocumented, OAuth, Throttled

CLIENT, SECRET = "client_id", "client_secret"
WAIT_S, EARLY_S = 30.0, 60.0
SAID_MAX = 200
_OK, _BAD, _BROKEN = 200, 400, 500
_FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
_OVER = frozenset({"invalid_grant", "access_denied"})


class ConsentNeeded(KeyRefused):
    """A person has to consent, for the first time or again."""

    code, title = "consent-needed", "The connection needs a person's consent"


class ClientRefused(KeyRefused):
    """The vendor does not know us as the program that we say we are."""

    code, title = "client-refused", "The vendor refuses the program's own key"


class Tokens(Struct, frozen=True, kw_only=True):
    """What a vendor gave: `told` are further fields of its answer that sessions need."""

    access: str
    refresh: str = ""
    told: dict[str, str] = {}


class _Answer(Struct, frozen=True, kw_only=True):
    access_token: str
    refresh_token: str | None = None
    expires_in: float | str | None = None
    refresh_token_expires_in: float | str | None = None


@dataclass(frozen=True, kw_only=True)
class Granted:
    """Tokens, when to renew them, and when the refresh token dies of age, if it does."""

    tokens: Tokens = field(repr=False)
    renew_at: datetime
    refresh_expires_at: datetime | None


def oauth_of(connector: Connector) -> OAuth:
    """Return how a person consents; raises ConnectorError for a connector that has no such way."""
    if connector.oauth is None:
        raise ConnectorError(
            f"{connector.title} is connected with a key, and not by a person's consent.",
            fix=f"isthmus connect add {connector.name}",
        )
    return connector.oauth


def address(template: str, settings: Mapping[str, str]) -> str:
    """Return an address with the settings that it names in braces; raises ConnectorError for one not to be called.

    A setting that stands for a whole address stands at the beginning, as it is; others are only a part of one.
    """
    whole = {name: value.rstrip("/") if "://" in value else quote(value, safe="") for name, value in settings.items()}
    try:
        url = template.format_map(whole)
        HOUSE.check(url, plain_names=False)
    except KeyError as error:
        raise ConnectorError(f"The setting {error} is missing.", fix="Give it to the connection.") from error
    except OutboundRefused as error:
        raise ConnectorError(error.detail, fix=error.fix) from error
    return url


def challenge_of(verifier: str) -> str:
    """Return the code challenge of a verifier (RFC 7636 §4.2, S256)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def consent_url(oauth: OAuth, settings: Mapping[str, str], *, state: str, redirect_uri: str, verifier: str) -> str:
    """Return where a person's browser is sent to consent."""
    url = address(oauth.authorize_url, settings)
    asked = {
        "response_type": "code",
        "client_id": settings[CLIENT],
        "redirect_uri": redirect_uri,
        **({"scope": " ".join(oauth.scopes)} if oauth.scopes else {}),
        "state": state,
        **({"code_challenge": challenge_of(verifier), "code_challenge_method": "S256"} if oauth.pkce else {}),
        **oauth.parameters,
    }
    return f"{url}{'&' if '?' in url else '?'}{urlencode(asked, quote_via=quote)}"


async def exchange(
    connector: Connector, settings: Mapping[str, str], *, code: str, verifier: str, redirect_uri: str, now: datetime
) -> Granted:
    """Return the tokens for a code; raises ConsentNeeded when it is not taken, and what `renew` raises."""
    oauth = oauth_of(connector)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    if oauth.pkce:
        form["code_verifier"] = verifier
    return await _asked(connector, oauth, settings, form, before=None, now=now)


async def renew(
    connector: Connector, settings: Mapping[str, str], tokens: Tokens, *, dies_at: datetime | None, now: datetime
) -> Granted:
    """Return new tokens for a refresh token; `dies_at` is when it dies of age.

    Raises ConsentNeeded when the vendor does not take it any more, ClientRefused when it does not take our own key,
    Throttled, and ConnectorError when it cannot be asked.
    """
    oauth = oauth_of(connector)
    form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh}
    return await _asked(connector, oauth, settings, form, before=(tokens, dies_at), now=now)


async def _asked(
    connector: Connector,
    oauth: OAuth,
    settings: Mapping[str, str],
    form: Mapping[str, str],
    *,
    before: tuple[Tokens, datetime | None] | None,
    now: datetime,
) -> Granted:
    url = address(oauth.token_url, settings)
    own, headers = _proof(oauth, settings)
    try:
        status, body = await HOUSE.post(url, urlencode({**form, **own}).encode(), headers=_FORM | headers)
    except IsthmusError as error:
        raise ConnectorError(
            f"{connector.title} cannot be asked for a token: {error.detail}", fix="It is tried again by itself."
        ) from error
    if status != _OK:
        raise _refusal(connector, status, body)
    return _granted(connector, oauth, body, before=before, now=now)


def _proof(oauth: OAuth, settings: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what proves the program, in the form and in the headers (RFC 6749 §2.3.1)."""
    client, secret = settings[CLIENT], settings.get(SECRET, "")
    if not secret:
        return {"client_id": client}, {}
    if oauth.proof == "body":
        return {"client_id": client, "client_secret": secret}, {}
    pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"
    return {}, {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _refusal(connector: Connector, status: int, body: bytes) -> ConnectorError:
    """Return the error for a refusal; what the vendor said of a token is not repeated beyond its code."""
    code = _code(body)
    if status == TOO_MANY:
        return Throttled(f"{connector.title} asks to slow down.", retry_after_s=WAIT_S, fix="It is tried again.")
    if status >= _BROKEN:
        return ConnectorError(
            f"{connector.title} answered {status} when asked for a token.", fix="It is tried again by itself."
        )
    if code in _OVER:
        return ConsentNeeded(f"{connector.title} does not take the consent any more ({code}).", fix="Consent again.")
    if status == UNAUTHORISED or code in ("invalid_client", "unauthorized_client"):
        return ClientRefused(
            f"{connector.title} refuses the program's own key ({code or status}).",
            fix=f"Give {CLIENT!r} and {SECRET!r} as they stand at the vendor.",
        )
    return NotAsDocumented(
        f"{connector.title} gives no token ({code or status}).", fix="Check the scopes and the redirect address there."
    )


def _code(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=dict[str, Json]).get("error")
    except ValueError:
        return ""
    return found[:SAID_MAX] if isinstance(found, str) and found.isprintable() else ""


def _granted(
    connector: Connector, oauth: OAuth, body: bytes, *, before: tuple[Tokens, datetime | None] | None, now: datetime
) -> Granted:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        told = msgspec.json.decode(body, type=dict[str, Json])
        lives = float(answer.expires_in) if answer.expires_in is not None else float(oauth.access_s)
        age = float(answer.refresh_token_expires_in) if answer.refresh_token_expires_in is not None else oauth.refresh_s
    except ValueError:
        # What was tripped over may hold a piece of a token, so that it is not told.
        detail = f"{connector.title} answered the request for a token in an unknown form."
        raise NotAsDocumented(detail, fix="Check the address.") from None
    old, dies_at = before or (Tokens(access=""), None)
    refresh = answer.refresh_token or old.refresh
    if refresh and (before is None or answer.refresh_token not in (None, old.refresh)):
        dies_at = None if age is None else now + timedelta(seconds=age)
    kept = {name: value for name in oauth.told if isinstance(value := told.get(name), str)}
    return Granted(
        tokens=Tokens(access=answer.access_token, refresh=refresh, told=old.told | kept),
        renew_at=now + timedelta(seconds=lives - min(EARLY_S, lives / 4)),
        refresh_expires_at=dies_at,
    )
