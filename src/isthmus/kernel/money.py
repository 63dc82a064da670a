"""Money: an exact decimal amount with its ISO 4217 currency. Never a float, never added across currencies."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from isthmus.kernel.errors import Invalid

MINOR_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND"), 0),
    **dict.fromkeys(("VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
_CURRENCY_LENGTH = 3
AMOUNT_MAX = Decimal(10) ** 15
_DECIMALS_MAX = 4


class InvalidMoney(Invalid):
    """The amount or the currency is not money."""

    code = "invalid-money"


class Money(Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """An amount in one currency; in JSON `{"amount": "123.45", "currency": "EUR"}`."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        """Refuse what is not money: NaN, infinity, more than four decimals, unknown shapes of currency."""
        if not self.amount.is_finite():
            raise InvalidMoney("The amount is not a finite number.", fix='Send a decimal such as "123.45".')
        if abs(self.amount) >= AMOUNT_MAX:
            raise InvalidMoney("The amount is over 10^15.", fix="Check the unit: amounts are in the main unit.")
        exponent = self.amount.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -_DECIMALS_MAX:
            raise InvalidMoney("The amount has more than four decimals.", fix="Round it to at most four decimals.")
        code = self.currency
        if len(code) != _CURRENCY_LENGTH or not (code.isascii() and code.isalpha() and code.isupper()):
            raise InvalidMoney(f"{code!r} is not a currency.", fix='Use three capitals of ISO 4217, such as "EUR".')


def minor_digits(currency: str) -> int:
    """Return how many decimals the currency's smallest unit has (ISO 4217)."""
    return MINOR_DIGITS.get(currency, 2)


def exact(amount: Decimal, currency: str) -> Money:
    """Return money with the decimals of its currency, and more only where the amount has them."""
    least = amount.quantize(Decimal(1).scaleb(-minor_digits(currency)))
    return Money(least if least == amount else amount.normalize(), currency)


def total(amounts: Iterable[Money]) -> dict[str, Decimal]:
    """Return the exact sum of each currency."""
    sums: dict[str, Decimal] = {}
    for money in amounts:
        sums[money.currency] = sums.get(money.currency, Decimal(0)) + money.amount
    return sums
