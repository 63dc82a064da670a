"""Stripe's wire forms: seconds since 1970, amounts in the smallest unit as Stripe counts it, and forms with brackets.

What the smallest unit is: https://docs.stripe.com/currencies (zero-decimal, three-decimal, and special cases).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from hashlib import blake2b
from typing import cast

import msgspec

from isthmus.kernel.marks import Json
from isthmus.kernel.words import text

# Stripe's own list, not that of ISO 4217: it counts UGX and ISK in hundredths, which they no longer have.
_ZERO = ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
_THREE = ("BHD", "JOD", "KWD", "OMR", "TND")
_VERSION_BYTES = 12


def digits(currency: str) -> int:
    """Return how many decimals Stripe's smallest unit of a currency has."""
    code = currency.upper()
    return 0 if code in _ZERO else 3 if code in _THREE else 2


def money(minor: Json, currency: Json) -> Json:
    """Return an amount in our form; nothing where the amount or the currency is not told."""
    if not isinstance(currency, str) or isinstance(minor, bool) or not isinstance(minor, int):
        return None
    return {"amount": str(Decimal(minor).scaleb(-digits(currency))), "currency": currency.upper()}


def whole(minor: Decimal) -> int:
    """Return a fraction of the smallest unit rounded as Stripe rounds what it bills: half away from zero."""
    return int(minor.quantize(Decimal(1), ROUND_HALF_UP))


def rows(value: Json) -> list[dict[str, Json]]:
    """Return the objects of a list, whether it stands by itself or in a list object."""
    inner = value.get("data") if isinstance(value, dict) else value
    return [each for each in inner if isinstance(each, dict)] if isinstance(inner, list) else []


def own_id(value: Json) -> str | None:
    """Return the id of an object that is named or expanded."""
    return text(value.get("id")) if isinstance(value, dict) else text(value)


def instant(value: Json) -> datetime | None:
    """Return the time of a number of seconds since 1970."""
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int) and not isinstance(value, bool) else None


def moment(value: Json) -> str | None:
    """Return the time of a number of seconds as `2026-11-22T09:30:00Z`."""
    at = instant(value)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def day(value: Json) -> str | None:
    """Return the date of a number of seconds, in UTC."""
    at = instant(value)
    return at.date().isoformat() if at else None


def form(values: Mapping[str, Json]) -> dict[str, str]:
    """Return values as Stripe takes them: `address[city]=Kiel`, lists by number, and an empty text for nothing."""
    return dict(_flat(values.items(), prefix=""))


def _flat(pairs: object, *, prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in cast("list[tuple[str, Json]]", pairs):
        key = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, dict):
            yield from _flat(value.items(), prefix=key)
        elif isinstance(value, list):
            yield from _flat([(str(at), each) for at, each in enumerate(value)], prefix=key)
        elif isinstance(value, bool):
            yield key, "true" if value else "false"
        else:
            yield key, "" if value is None else str(value)


def digest(value: Json) -> str:
    """Return what tells a value from others."""
    encoded = msgspec.json.encode(value, order="deterministic")
    return blake2b(encoded, digest_size=_VERSION_BYTES).hexdigest()
