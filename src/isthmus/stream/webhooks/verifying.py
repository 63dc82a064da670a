"""Signatures of those who send to us: one verifier for each way in which vendors sign, chosen by a connector.

A verifier is a value without secrets. It proves the exact bytes of a body, tells the vendor's id of the message, and
refuses what is older than `TOLERANCE_S`, so that what somebody recorded cannot be sent again later.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal, Protocol, runtime_checkable
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from isthmus.kernel.errors import Unauthenticated
from isthmus.stream.webhooks.signing import HMAC_PREFIX, PUBLIC_PREFIX, signed_content

TOLERANCE_S = 300
_MILLISECOND_DIGITS = 3
_Headers = Mapping[str, str]


class SignatureRefused(Unauthenticated):
    """The signature is missing, wrong, or too old; nothing of what was sent is kept."""

    code, title = "signature-refused", "The signature does not prove the sender"


class Verifier(Protocol):
    """Proves who sent a body."""

    def verify(self, body: bytes, headers: _Headers, *, secrets: Sequence[str], now: datetime) -> str:
        """Return the vendor's id of the message ("" where it has none); raises SignatureRefused.

        Names of headers are in small letters. Any of `secrets` may have signed.
        """
        ...


@runtime_checkable
class AddressVerifier(Protocol):
    """Proves who sent a body to an address, for vendors that sign the address too."""

    def verify_at(self, url: str, body: bytes, headers: _Headers, *, secrets: Sequence[str], now: datetime) -> str:
        """Return as `Verifier.verify` does; `url` is the address as the vendor knows it, with its query."""
        ...


@dataclass(frozen=True)
class StandardWebhooks:
    """Standard Webhooks, and Svix whose headers begin with `svix-`: `whsec_…` secrets and `whpk_…` public keys."""

    prefix: str = "webhook"

    def verify(self, body: bytes, headers: _Headers, *, secrets: Sequence[str], now: datetime) -> str:
        """Return the message's id; raises SignatureRefused."""
        message_id = _header(headers, f"{self.prefix}-id")
        at = _stamp(_header(headers, f"{self.prefix}-timestamp"), now=now)
        signed = signed_content(message_id, at, body)
        for given in _header(headers, f"{self.prefix}-signature").split(" "):
            version, _, signature = given.partition(",")
            if any(_proves(version, signature, signed, each) for each in secrets):
                return message_id
        raise _wrong()


@dataclass(frozen=True)
class Stripe:
    """Stripe's header `Stripe-Signature: t=…,v1=…`; the id of the message is that of the event in the body."""

    header: str = "stripe-signature"

    def verify(self, body: bytes, headers: _Headers, *, secrets: Sequence[str], now: datetime) -> str:
        """Return the event's id; raises SignatureRefused."""
        pairs = [each.strip().partition("=")[::2] for each in _header(headers, self.header).split(",")]
        stamps = [value for name, value in pairs if name == "t"]
        if len(stamps) != 1:
            raise _wrong()
        at = _stamp(stamps[0], now=now)
        signed = b"%d.%s" % (at, body)
        wanted = [hmac.digest(each.encode(), signed, "sha256").hex() for each in secrets]
        if not any(_same(value, each) for name, value in pairs if name == "v1" for each in wanted):
            raise _wrong()
        return _id_in(body)


@dataclass(frozen=True)
class HubSpot:
    """HubSpot's third signature: method, address, body and time in milliseconds, as one text; it tells no id."""

    header: str = "x-hubspot-signature-v3"
    stamp_header: str = "x-hubspot-request-timestamp"

    def verify_at(self, url: str, body: bytes, headers: _Headers, *, secrets: Sequence[str], now: datetime) -> str:
        """Return nothing, since HubSpot tells no id; raises SignatureRefused."""
        given, told = _header(headers, self.header), _header(headers, self.stamp_header)
        _stamp(told[:-_MILLISECOND_DIGITS], now=now)
        signed = f"POST{url}".encode() + body + told.encode()
        wanted = [hmac.digest(each.encode(), signed, "sha256") for each in secrets]
        if not any(_same(given, base64.b64encode(each).decode()) for each in wanted):
            raise _wrong()
        return ""


@dataclass(frozen=True, kw_only=True)
class HmacHeader:
    """A header that holds the HMAC of the body, as many vendors send it, such as `X-Hub-Signature-256: sha256=…`.

    With `stamp_header` the time is signed, as `<stamp><separator><body>` after `before`: seconds since 1970, or with
    `stamp_iso` such as `2026-11-02T09:00:00Z`. Without it only the vendor's id in `id_header`, or else the digest of
    the body, tells a repetition.
    """

    header: str
    algorithm: Literal["sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    id_header: str = ""
    stamp_header: str = ""
    stamp_iso: bool = False
    before: str = ""
    separator: str = "."

    def verify(self, body: bytes, headers: _Headers, *, secrets: Sequence[str], now: datetime) -> str:
        """Return the vendor's id where a header tells it; raises SignatureRefused."""
        given = _header(headers, self.header)
        if not given.startswith(self.prefix):
            raise _wrong()
        signed = body
        if self.stamp_header:
            told = _header(headers, self.stamp_header)
            _stamp(_seconds(told) if self.stamp_iso else told, now=now)
            signed = f"{self.before}{told}{self.separator}".encode() + body
        if not any(_same(given.removeprefix(self.prefix), self._text(each, signed)) for each in secrets):
            raise _wrong()
        return headers.get(self.id_header, "") if self.id_header else ""

    def _text(self, secret: str, signed: bytes) -> str:
        digest = hmac.digest(secret.encode(), signed, self.algorithm)
        return digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode()


@dataclass(frozen=True)
class BasicAuth:
    """A name and a password (RFC 7617), for vendors that sign nothing; a secret is `name:password`.

    `id_at` is where the body, which is JSON, holds the vendor's id of the message, if it does.
    """

    id_at: tuple[str, ...] = ()

    def verify(self, body: bytes, headers: _Headers, *, secrets: Sequence[str], now: datetime) -> str:
        """Return the vendor's id of the message where the body tells it; raises SignatureRefused."""
        del now
        kind, _, given = _header(headers, "authorization").partition(" ")
        wanted = [base64.b64encode(each.encode()).decode() for each in secrets if ":" in each]
        if kind.lower() != "basic" or not any(_same(given.strip(), each) for each in wanted):
            raise _wrong()
        return _text_at(body, self.id_at) if self.id_at else ""


@dataclass(frozen=True)
class SecretInAddress:
    """A parameter of the address that only the vendor was told, for vendors that prove nothing else."""

    parameter: str = "secret"

    def verify_at(self, url: str, body: bytes, headers: _Headers, *, secrets: Sequence[str], now: datetime) -> str:
        """Return nothing, since such vendors tell no id; raises SignatureRefused."""
        del body, headers, now
        given = parse_qs(urlsplit(url).query).get(self.parameter, [])
        if len(given) != 1 or not any(_same(given[0], each) for each in secrets):
            raise _wrong()
        return ""


def message_id(told: str, body: bytes) -> str:
    """Return what tells a message from others: the vendor's id, else the digest of its body."""
    return told or f"sha256:{sha256(body).hexdigest()}"


class _Identified(Struct, frozen=True):
    id: str = ""


def _id_in(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Identified).id
    except msgspec.MsgspecError:
        return ""


def _text_at(body: bytes, path: Sequence[str]) -> str:
    try:
        found: object = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return ""
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON is not known before it is looked at.
    return found if isinstance(found, str) else ""


def _seconds(text: str) -> str:
    try:
        return str(int(datetime.fromisoformat(text).timestamp()))
    except ValueError as error:
        raise _wrong() from error


def _proves(version: str, signature: str, signed: bytes, secret: str) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
        if version == "v1" and not secret.startswith(PUBLIC_PREFIX):
            key = base64.b64decode(secret.removeprefix(HMAC_PREFIX), validate=True)
            return hmac.compare_digest(hmac.digest(key, signed, "sha256"), raw)
        if version == "v1a" and secret.startswith(PUBLIC_PREFIX):
            key = base64.b64decode(secret.removeprefix(PUBLIC_PREFIX), validate=True)
            Ed25519PublicKey.from_public_bytes(key).verify(raw, signed)
            return True
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return False


def _header(headers: _Headers, name: str) -> str:
    found = headers.get(name, "")
    if not found:
        raise SignatureRefused(f"The header {name} is missing.", fix="Sign what you send.")
    return found


def _stamp(text: str, *, now: datetime) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len("9999999999")):
        raise _wrong()
    at = int(text)
    if abs(now.timestamp() - at) > TOLERANCE_S:
        raise SignatureRefused(
            f"It was signed over {TOLERANCE_S} seconds ago, or in the future.", fix="Send it now, and set your clock."
        )
    return at


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _wrong() -> SignatureRefused:
    return SignatureRefused("The signature does not fit what was sent.", fix="Do both sides have the same secret?")
