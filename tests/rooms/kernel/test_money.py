"""Money is exact, finite, and never mixed."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel.money import InvalidMoney, Money, exact, minor_digits, total

AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=4, allow_nan=False, allow_infinity=False)
MONEY = st.builds(Money, AMOUNTS, st.sampled_from(["EUR", "USD", "JPY", "KWD"]))


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1e15", "0.00001"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(InvalidMoney):
        Money(Decimal(amount), "EUR")


@pytest.mark.parametrize("currency", ["eur", "EURO", "E1R", "", "ÉUR"])
def test_what_is_no_currency_is_refused(currency: str) -> None:
    with pytest.raises(InvalidMoney):
        Money(Decimal(1), currency)


@given(st.lists(MONEY))
def test_sums_are_exact_whatever_the_order(amounts: list[Money]) -> None:
    assert total(amounts) == total(reversed(amounts))
    for currency, found in total(amounts).items():
        cents = sum(int(each.amount.scaleb(4)) for each in amounts if each.currency == currency)
        assert found.scaleb(4) == cents


@given(MONEY)
def test_money_comes_back_from_json_as_it_went(money: Money) -> None:
    assert msgspec.json.decode(msgspec.json.encode(money), type=Money) == money


@given(MONEY)
def test_the_exact_form_is_the_same_amount_with_the_decimals_of_its_currency(money: Money) -> None:
    shown = exact(money.amount, money.currency)
    assert shown.amount == money.amount
    exponent = shown.amount.as_tuple().exponent
    assert isinstance(exponent, int)
    assert -exponent >= minor_digits(money.currency) or shown.amount != shown.amount.to_integral_value()
