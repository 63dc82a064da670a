"""How numbers, money, time and names are written on the pages. Pure; `now` is an argument."""

import math
from datetime import datetime
from decimal import Decimal

MINUTE, HOUR, DAY = 60, 3_600, 86_400
_MINUS = "\N{MINUS SIGN}"
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "CHF": "CHF ", "INR": "₹", "KRW": "₩"}
_PLURALS = {"person": "people", "spend": "spend", "feedback": "feedback"}
_HISSING = ("s", "x", "ch", "sh")


def number(value: float) -> str:
    """Return a whole number with commas between thousands."""
    return f"{round(value):,}"


def money(amount: Decimal, currency: str) -> str:
    """Return an amount to the unit, without cents, and its currency."""
    sign = _SIGNS.get(currency, f"{currency} ")
    return f"{_MINUS if amount < 0 else ''}{sign}{abs(amount):,.0f}"


def exact_money(amount: Decimal, currency: str) -> str:
    """Return an amount with its cents, if it has any, and its currency."""
    if amount == amount.to_integral_value():
        return money(amount, currency)
    sign = _SIGNS.get(currency, f"{currency} ")
    return f"{_MINUS if amount < 0 else ''}{sign}{abs(amount):,.2f}"


def percent(share: float) -> str:
    """Return a share as per cent: one decimal below ten."""
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"  # noqa: PLR2004 - where 10 % begins, rounded.


def exact_percent(share: float) -> str:
    """Return a share as per cent with four decimals at most, rounded down: what is not all is never shown as all."""
    tenths = math.floor(share * 1_000_000 + 1e-6)
    return f"{tenths // 10_000}.{tenths % 10_000:04d}".rstrip("0").rstrip(".") + "%"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units at most."""
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min" if whole >= 10 * MINUTE else f"{whole // MINUTE} min {whole % MINUTE} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} days" if whole >= 2 * DAY else "1 day"


def ago(at: datetime | None, *, now: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    if seconds < MINUTE:
        return "just now"
    return f"{_largest(seconds)} ago"


def until(at: datetime, *, now: datetime) -> str:
    """Return how long it is until something is due."""
    seconds = (at - now).total_seconds()
    if seconds <= 0:
        return "due now"
    return f"in {_largest(seconds)}" if seconds >= MINUTE else "in under a minute"


def _largest(seconds: float) -> str:
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min"
    if seconds < DAY:
        return f"{int(seconds // HOUR)} h"
    days = int(seconds // DAY)
    return "1 day" if days == 1 else f"{days} days"


def clock(at: datetime) -> str:
    """Return the time of day of a moment in UTC."""
    return at.strftime("%H:%M:%S UTC")


def plain(name: str) -> str:
    """Return a name of code as words: `close_date` gives `close date`."""
    return name.replace("_", " ")


def title(name: str) -> str:
    """Return a name of code as words that begin a line."""
    words = plain(name)
    return words[:1].upper() + words[1:]


def kind(record_type: str, *, count: int = 1) -> str:
    """Return what records of a type are called, one or many: `sales.stage_change` gives `stage changes`."""
    word = plain(record_type.rpartition(".")[2])
    if count == 1 or word in _PLURALS:
        return word if count == 1 else _PLURALS[word]
    if word.endswith(_HISSING):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{number(count)} {singular if count == 1 else plural or f'{singular}s'}"
