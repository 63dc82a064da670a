"""A seeded year of payments and refunds, taken in by a real Stripe of somebody else and booked in a real Tryton.

Both servers say what they were told by their own interfaces; what differs between them is planted, and known.
"""

import time
from collections import defaultdict
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from random import Random

import stripe

from isthmus.app.counterparts.tryton_rpc import TrytonLogin
from isthmus.app.counterparts.tryton_world import day, decimal
from isthmus.kernel.marks import Json
from tests.rooms.connectors.stripe_room import StripeServer, localstripe

DIGITS = {"EUR": 2, "USD": 2, "GBP": 2, "JPY": 0, "KWD": 3}
YEAR, SEED = 2025, 2_025
BUYERS, BOOKED_AT_ONCE = 3, 200
PLANTED_EACH = 2
REFUNDED, WHOLLY, DECLINED = 0.25, 0.3, 0.02
DECEMBER = 12
LAST = datetime(YEAR, 12, 30, 12, tzinfo=UTC)
DECLINING_CARD: Json = {"number": "4000000000000341", "exp_month": "12", "exp_year": "2036", "cvc": "123"}
# What the program asks for the time is answered from a file, so that it lives through a year while we write.
_CLOCK = """\
import pathlib
import os
import time

_place = pathlib.Path(os.environ["TOLD_TIME"])
time.time = lambda: float(_place.read_text("ascii"))
"""


class Plant(StrEnum):
    """How a payment is made to differ between the two."""

    NOT_BOOKED = "not booked"
    ONLY_BOOKED = "only booked"
    OFF = "off by the smallest unit"
    OTHER_CURRENCY = "booked in another currency"
    TWICE = "booked twice"
    REFUND_NOT_BOOKED = "refund not booked"
    REFUND_ONLY_BOOKED = "refund only booked"
    OVER_MONTH_END = "booked in the next month"


@dataclass(frozen=True, kw_only=True)
class Money:
    """A payment, or a refund below zero; `number` is what Stripe calls it."""

    number: str
    amount: Decimal
    currency: str
    on: date

    @property
    def place(self) -> tuple[str, str]:
        """Currency and month."""
        return self.currency, f"{self.on:%Y-%m}"


@dataclass
class Year:
    """What both sides were told, in the order in which it was; `planted` names what differs."""

    taken: list[Money] = field(default_factory=list[Money])
    booked: list[Money] = field(default_factory=list[Money])
    planted: list[tuple[Plant, Money]] = field(default_factory=list[tuple[Plant, Money]])


def sums(told: Iterable[Money]) -> dict[tuple[str, str], Decimal]:
    """Return the exact sums by currency and month."""
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for each in told:
        found[each.place] += each.amount
    return dict(found)


@contextmanager
def stripe_of_a_year(home: Path) -> Generator[tuple[StripeServer, Path]]:
    """Run a localstripe whose time stands in a file, in seconds; at first it is the beginning of the year."""
    told, patches = home / "time", home / "patches"
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(_CLOCK, "utf-8")
    told.write_text(str(datetime(YEAR, 1, 1, tzinfo=UTC).timestamp()), "ascii")
    environment = {"PYTHONPATH": str(patches), "TOLD_TIME": str(told)}
    with localstripe(home, environment=environment) as server:
        yield server, told


def take(server: StripeServer, clock: Path, *, payments: int) -> list[Money]:
    """Have a year of payments taken by Stripe, some paid back later; return what came in and went out, in its order.

    Some cards are declined, of which nothing is returned.
    """
    chance = Random(SEED)
    buyers, broke = [server.buyer(name=f"Buyer {n}") for n in range(BUYERS)], _broke(server)
    charges: dict[int, Money] = {}
    found: list[Money] = []
    for at, of, back in _asked(chance, payments):
        clock.write_text(str(at.timestamp()), "ascii")
        before = charges.get(of)
        if back and before is not None:
            minor = _minor(before) if chance.random() < WHOLLY else chance.randrange(1, _minor(before))
            row = server.make("refunds", charge=before.number, amount=minor)
            found.append(_money(str(row["id"]), -minor, before.currency, at))
            continue
        currency, minor = chance.choice(sorted(DIGITS)), chance.randrange(2, 9_999_999)
        charges[of] = _money(server.charge(chance.choice(buyers), minor, currency.lower()), minor, currency, at)
        found.append(charges[of])
        if chance.random() < DECLINED:
            with suppress(stripe.CardError):
                server.charge(broke, minor, currency.lower())
    clock.write_text(str(time.time()), "ascii")
    return found


def plant(taken: list[Money]) -> Year:
    """Return what is booked of what was taken: all of it, but for one of each kind of difference in some currencies."""
    chance = Random(SEED + 1)
    year = Year(taken=taken, booked=list(taken))
    for turn, kind in enumerate(Plant):
        for number in range(turn, turn + PLANTED_EACH):
            free = [each for each in taken if each not in [one for _, one in year.planted] and _fits(kind, each)]
            chosen = chance.choice([each for each in free if each.currency == sorted(DIGITS)[number % len(DIGITS)]])
            _differ(year, kind, chosen)
    return year


def book(login: TrytonLogin, booked: list[Money]) -> None:
    """Book payments in Tryton, as moves of its cash journal that are posted."""
    currencies = _currencies(login)
    company = login.read("company.company", int(str(login.context["company"])), "currency")["currency"]
    [owed, *_] = login.find("account.account", ["type.receivable", "=", True], ["party_required", "=", True])
    [cash] = login.find("account.account", ["name", "=", "Cash and Cash Equivalents"])
    [journal] = login.find("account.journal", ["type", "=", "cash"])
    party = login.find("party.party", ["name", "=", "Tidewater Instruments"])[0]
    periods: dict[str, int] = {}
    rows: list[dict[str, Json]] = []
    for each in booked:
        on, month = day(each.on.year, each.on.month, each.on.day), f"{each.on:%Y-%m}"
        if month not in periods:
            [periods[month]] = login.find("account.period", ["start_date", "<=", on], ["end_date", ">=", on])
        own = currencies[each.currency]
        lines = _lines(each, owed=owed, cash=cash, party=party, currency=None if own == company else own)
        rows.append(
            {
                "journal": journal,
                "company": login.context["company"],
                "period": periods[month],
                "date": on,
                "description": each.number,
                "lines": [["create", lines]],
            }
        )
    for start in range(0, len(rows), BOOKED_AT_ONCE):
        login.press("account.move", "post", *login.create("account.move", *rows[start : start + BOOKED_AT_ONCE]))


def _asked(chance: Random, payments: int) -> list[tuple[datetime, int, bool]]:
    """Return when each payment is taken, its number, and whether it is the way back."""
    first = datetime(YEAR, 1, 1, 0, 30, tzinfo=UTC)
    span_s = int((LAST - first).total_seconds())
    found: list[tuple[datetime, int, bool]] = []
    for number in range(payments):
        at = first + timedelta(seconds=chance.randrange(span_s))
        found.append((at, number, False))
        if chance.random() < REFUNDED:
            found.append((min(at + timedelta(days=chance.uniform(0.1, 45)), LAST + timedelta(hours=1)), number, True))
    return sorted(found)


def _broke(server: StripeServer) -> str:
    """Make a customer whose card is declined."""
    number = server.customer(name="Broke")
    card = server.make("payment_methods", type="card", card=DECLINING_CARD)
    server.make(f"payment_methods/{card['id']}/attach", customer=number)
    server.make(f"customers/{number}", invoice_settings={"default_payment_method": card["id"]})
    return number


def _money(number: str, minor: int, currency: str, at: datetime) -> Money:
    amount = Decimal(minor).scaleb(-DIGITS[currency])
    return Money(number=number, amount=amount, currency=currency, on=at.date())


def _minor(money: Money) -> int:
    return int(money.amount.scaleb(DIGITS[money.currency]))


def _fits(kind: Plant, money: Money) -> bool:
    if kind in (Plant.REFUND_NOT_BOOKED, Plant.REFUND_ONLY_BOOKED):
        return money.amount < 0
    return money.amount > 0 and money.on.month < DECEMBER


def _differ(year: Year, kind: Plant, money: Money) -> None:
    """Have a payment booked in another way than it was taken."""
    place = year.booked.index(money)
    match kind:
        case Plant.NOT_BOOKED | Plant.REFUND_NOT_BOOKED:
            del year.booked[place]
        case Plant.ONLY_BOOKED | Plant.REFUND_ONLY_BOOKED:
            money = replace(money, number=f"{money.number}x")
            year.booked.append(money)
        case Plant.OFF:
            year.booked[place] = replace(money, amount=money.amount + Decimal(1).scaleb(-DIGITS[money.currency]))
        case Plant.OTHER_CURRENCY:
            # In a currency with as many decimals or more, so that the digits stay what they are.
            year.booked[place] = replace(money, currency="KWD" if money.currency != "KWD" else "BHD")
        case Plant.TWICE:
            year.booked.append(money)
        case Plant.OVER_MONTH_END:
            following = date(YEAR, money.on.month + 1, 1)
            year.booked[place] = replace(money, on=following)
    year.planted.append((kind, money))


def _lines(money: Money, *, owed: int, cash: int, party: int, currency: int | None) -> list[Json]:
    """Return both lines of a move; what they say in the company's currency is a rate of one, rounded up to a cent."""
    amount = abs(money.amount)
    value = decimal(f"{max(amount.quantize(Decimal('0.01')), Decimal('0.01')):f}")
    debit, credit = (value, decimal("0")) if money.amount < 0 else (decimal("0"), value)
    customer: dict[str, Json] = {"account": owed, "party": party, "debit": debit, "credit": credit}
    if currency is not None:
        customer |= {"second_currency": currency, "amount_second_currency": decimal(f"{-money.amount:f}")}
    return [customer, {"account": cash, "debit": credit, "credit": debit}]


def _currencies(login: TrytonLogin) -> dict[str, int]:
    """Return the numbers of all currencies there, and make those that are missing."""
    found: dict[str, int] = {}
    for code, digits in (DIGITS | {"BHD": 3}).items():
        there = login.find("currency.currency", ["code", "=", code])
        values: dict[str, Json] = {"name": code, "code": code, "symbol": code, "digits": digits}
        values["rounding"] = decimal(f"{Decimal(1).scaleb(-digits):f}")
        found[code] = there[0] if there else login.create("currency.currency", values)[0]
    return found
