"""JSON in the one form of RFC 8785 (JCS), so that equal values have equal bytes wherever they are hashed."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

INTEGER_MAX = 2**53 - 1
_EXPONENT_DIGITS_MAX, _FRACTION_ZEROS_MAX = 21, 6


def canonical_json(value: object) -> bytes:
    """Return the canonical form of a JSON value.

    Raises ValueError for what has none: a number that is not finite, a whole number that no double holds exactly, a
    lone surrogate, a key that is no text; TypeError for what is no JSON.
    """
    return _text(value).encode("utf-8", errors="strict")


def _text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(_text(each) for each in cast('Sequence[object]', value))}]"
    if isinstance(value, Mapping):
        return _members(cast("Mapping[object, object]", value))
    message = f"{type(value).__name__} is no JSON"
    raise TypeError(message)


def _whole(value: int) -> str:
    if abs(value) > INTEGER_MAX:
        message = f"{value} is beyond the whole numbers that are exact everywhere"
        raise ValueError(message)
    return str(value)


def _members(value: Mapping[object, object]) -> str:
    named: list[tuple[str, object]] = []
    for name, each in value.items():
        if not isinstance(name, str):
            message = f"{name!r} is no name of a member"
            raise TypeError(message)
        named.append((name, each))
    # The order is that of UTF-16 code units, which differs from that of code points beyond the basic plane.
    named.sort(key=lambda each: each[0].encode("utf-16-be", errors="strict"))
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{_text(each)}" for name, each in named) + "}"


def number_text(value: float) -> str:
    """Return a double as ECMAScript writes it (ECMA-262, Number::toString)."""
    if not math.isfinite(value):
        message = f"{value} is no JSON number"
        raise ValueError(message)
    if value == 0:
        return "0"
    sign, digits, point = _digits(value)
    count = len(digits)
    if count <= point <= _EXPONENT_DIGITS_MAX:
        return f"{sign}{digits}{'0' * (point - count)}"
    if 0 < point <= _EXPONENT_DIGITS_MAX:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -_FRACTION_ZEROS_MAX < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    mantissa = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{sign}{mantissa}e{point - 1:+d}"


def _digits(value: float) -> tuple[str, str, int]:
    """Return sign, shortest digits that name the double, and where the point stands among them."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = whole + fraction
    point = len(whole) + int(exponent or 0)
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    return "-" if value < 0 else "", stripped.rstrip("0"), point
