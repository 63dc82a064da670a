"""The one form in which each kind of value is stored and compared.

A normaliser takes a JSON value and returns it in that form, or raises ValueFault. Most values of a bulk import have
the plain form already, so each normaliser first looks for that; types are checked afterwards, against the record type.
"""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from email_validator import EmailNotValidError, validate_email

from isthmus.kernel.marks import NOT_NEGATIVE, Field, Json, Normal
from isthmus.kernel.money import MINOR_DIGITS, InvalidMoney, Money
from isthmus.vault import normal_form

Normaliser: TypeAlias = Callable[[Json], Json]
ColumnNormaliser: TypeAlias = Callable[[Sequence[Json]], Sequence[Json]]
# The common form of an address; what it does not match is judged by the full grammar.
_PLAIN_EMAIL = re.compile(r"[a-z0-9_%+-]++(?:\.[a-z0-9_%+-]++)*+@(?:[a-z0-9]++(?:-++[a-z0-9]++)*+\.)++[a-z]{2,24}")
_PLAIN_MAX = 64
_PLAIN_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,13})\.[0-9]{2}")
_PLAIN_CURRENCY = re.compile(r"[A-Z]{3}")
_PLAIN_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_MONEY_KEYS = {"amount", "currency"}


class ValueFault(Exception):
    """A value has no stored form; caught where the fault is given its place."""

    def __init__(self, code: str, detail: str) -> None:
        """`code` is stable, `detail` says what is wrong and what to send instead."""
        super().__init__(detail)
        self.code = code
        self.detail = detail


def normaliser(declared: Field) -> Normaliser | None:
    """Return the normaliser of a field, or None where every value is in its form already."""
    if declared.handle is not None:
        return _HANDLES[declared.handle.normal]
    found = _COLUMNS.get(declared.column)
    return _not_negative(found) if found and NOT_NEGATIVE in declared.marks else found


def column_normaliser(declared: Field) -> ColumnNormaliser:
    """Return what `normaliser` does for a whole column in which None stays None; raises ValueFault."""
    one = normaliser(declared)
    if one is None:
        return lambda column: column
    if one is _text:
        return lambda column: [value.strip() if isinstance(value, str) else value for value in column]
    return lambda column: [None if value is None else one(value) for value in column]


def _text(value: Json) -> Json:
    return value.strip() if isinstance(value, str) else value


def _float(value: Json) -> Json:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueFault("not-a-number", "NaN and infinity are not numbers here; send a number or null.")
    return value


def _email(value: Json) -> Json:
    if not isinstance(value, str):
        return value
    address = value.strip().lower() if value.isascii() else normal_form(value, Normal.EMAIL)
    if not address or (len(address) <= _PLAIN_MAX and _PLAIN_EMAIL.fullmatch(address)):
        return address
    try:
        return validate_email(address, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise ValueFault("invalid-email", f"{error} Send an address such as name@company.example.") from error


def _handle(normal: Normal) -> Normaliser:
    def form(value: Json) -> Json:
        return normal_form(value, normal) if isinstance(value, str) else value

    return form


def _decimal(value: Json) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueFault("invalid-amount", 'Send the amount as a decimal in a string, such as "123.45".')
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueFault("invalid-amount", f'{value!r} is not a decimal; send a string such as "123.45".') from error
    if not amount.is_finite():
        raise ValueFault("not-a-number", "NaN and infinity are not amounts; send a decimal or null.")
    return amount


def _numeric(value: Json) -> Json:
    return format(_decimal(value).normalize(), "f")


def canonical_amount(amount: Decimal, currency: str) -> str:
    """Return the amount with the decimals of its currency, and more only where it has them: `12.50`, `0.125`, `300`."""
    digits = MINOR_DIGITS.get(currency, 2)
    plain = amount.normalize()
    exponent = plain.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > digits:
        return format(plain, "f")
    return f"{amount:.{digits}f}"


def _money(value: Json) -> Json:
    if not isinstance(value, dict) or value.keys() != _MONEY_KEYS:
        raise ValueFault("invalid-money", 'Send money as {"amount": "123.45", "currency": "EUR"}.')
    given, currency = value["amount"], value["currency"]
    if not isinstance(currency, str):
        raise ValueFault("invalid-money", 'The currency is three capitals of ISO 4217, such as "EUR".')
    if (
        isinstance(given, str)
        and _PLAIN_AMOUNT.fullmatch(given)
        and _PLAIN_CURRENCY.fullmatch(currency)
        and currency not in MINOR_DIGITS
    ):
        return value
    try:
        money = Money(_decimal(given), currency)
    except InvalidMoney as error:
        raise ValueFault(error.code, str(error)) from error
    return {"amount": canonical_amount(money.amount, money.currency), "currency": money.currency}


def _not_negative(inner: Normaliser) -> Normaliser:
    def checked(value: Json) -> Json:
        normal = inner(value)
        amount = normal["amount"] if isinstance(normal, dict) else normal
        if str(amount).startswith("-"):
            raise ValueFault("negative", "The amount is below zero; send zero or more.")
        return normal

    return checked


def _moment(value: Json) -> Json:
    if not isinstance(value, str):
        raise ValueFault("invalid-time", "Send a moment as RFC 3339 text, such as 2026-11-22T09:00:00Z.")
    if _PLAIN_MOMENT.fullmatch(value):
        return value
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueFault("invalid-time", f"{value!r} is not RFC 3339, such as 2026-11-22T09:00:00Z.") from error
    if at.tzinfo is None:
        raise ValueFault("no-time-zone", f"{value!r} names no time zone; add Z or an offset such as +01:00.")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


_COLUMNS: dict[str, Normaliser] = {
    "text": _text,
    "money": _money,
    "numeric": _numeric,
    "timestamptz": _moment,
    "double precision": _float,
}
_HANDLES: dict[Normal, Normaliser] = {
    Normal.EMAIL: _email,
    Normal.PHONE: _handle(Normal.PHONE),
    Normal.DOMAIN: _handle(Normal.DOMAIN),
    Normal.EXACT: _text,
}
