"""Signatures of Standard Webhooks: HMAC-SHA256 (`v1`, secrets `whsec_…`) and ed25519 (`v1a`, keys `whsk_…`, `whpk_…`).

What is signed is `<id>.<unix seconds>.<body>`. While a secret is being replaced both sign, and the receiver takes
either (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

import base64
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from isthmus.vault import entropy

SECRET_BYTES = 32
KEPT_MAX = 2
HMAC_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"
Kind: TypeAlias = Literal["hmac", "ed25519"]


class Secret(Struct, frozen=True, kw_only=True):
    """One secret of an endpoint; from `until` on it signs no more."""

    key: bytes
    made_at: datetime
    until: datetime | None = None


def new_secret(*, now: datetime) -> Secret:
    """Return a fresh secret; for ed25519 it is the seed of the private key."""
    return Secret(key=entropy(SECRET_BYTES), made_at=now)


def replaced(secrets: Sequence[Secret], *, now: datetime, overlap: timedelta) -> tuple[Secret, ...]:
    """Return a fresh secret and the newest of the old ones, which signs as well until the overlap is over."""
    fresh = new_secret(now=now)
    kept = [msgspec.structs.replace(each, until=now + overlap) for each in living(secrets, now=now)[: KEPT_MAX - 1]]
    return (fresh, *kept) if overlap else (fresh,)


def living(secrets: Sequence[Secret], *, now: datetime) -> list[Secret]:
    """Return the secrets that sign now, the newest first."""
    return [each for each in secrets if each.until is None or each.until > now]


def secret_text(secret: Secret, kind: Kind) -> str:
    """Return what the receiver verifies with: the shared secret, or the public key."""
    if kind == "hmac":
        return HMAC_PREFIX + _text(secret.key)
    return PUBLIC_PREFIX + _text(Ed25519PrivateKey.from_private_bytes(secret.key).public_key().public_bytes_raw())


def pack_secrets(secrets: Sequence[Secret]) -> bytes:
    """Return secrets as they are sealed."""
    return msgspec.json.encode(secrets)


def unpack_secrets(packed: bytes) -> list[Secret]:
    """Return the secrets that were packed."""
    return msgspec.json.decode(packed, type=list[Secret])


def headers_of(message_id: str, body: bytes, secrets: Sequence[Secret], kind: Kind, *, now: datetime) -> dict[str, str]:
    """Return the three headers of a message that is sent now, with a signature by each secret that lives."""
    at = int(now.timestamp())
    signed = signed_content(message_id, at, body)
    version = "v1" if kind == "hmac" else "v1a"
    signatures = [f"{version},{_text(_signature(each.key, signed, kind))}" for each in living(secrets, now=now)]
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": " ".join(signatures)}


def signed_content(message_id: str, at: int, body: bytes) -> bytes:
    """Return what is signed."""
    return b"%s.%d.%s" % (message_id.encode(), at, body)


def _signature(key: bytes, signed: bytes, kind: Kind) -> bytes:
    if kind == "hmac":
        return hmac.digest(key, signed, "sha256")
    return Ed25519PrivateKey.from_private_bytes(key).sign(signed)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
