"""The money of two systems is compared to the cent over a seeded year: all that was planted is found, nothing else."""

from decimal import Decimal
from random import Random

import pytest

from isthmus.kernel.marks import Json
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.pairs import NoMoney, Paired, paired
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Vendor

DEALS = 240
CURRENCIES = ("EUR", "USD", "GBP")


def amounts(seed: int) -> list[tuple[str, str, str]]:
    """Return amount, currency and day of each deal of a year."""
    chance = Random(seed)
    found: list[tuple[str, str, str]] = []
    for n in range(DEALS):
        cents = chance.randrange(1, 9_999_999)
        found.append((f"{cents // 100}.{cents % 100:02d}", chance.choice(CURRENCIES), f"2025-{n % 12 + 1:02d}-15"))
    return found


def put(vendor: Vendor, n: int, *, amount: str, currency: str, day: str) -> None:
    """Have a vendor hold a deal; both know it by its number."""
    money: Json = {"amount": amount, "currency": currency}
    own = f"{vendor.name}-{n}"
    vendor.put("deals", own, name=f"Deal {n}", deal_number=f"D-{n}", amount=money, close_date=day)


@pytest.fixture
async def year(bench: Bench, crm: Vendor, erp: Vendor) -> Bench:
    """Two systems that hold the same year of deals, both read."""
    crm.page_rows = erp.page_rows = 100
    for vendor in (crm, erp):
        for n, (amount, currency, day) in enumerate(amounts(seed=7)):
            put(vendor, n, amount=amount, currency=currency, day=day)
        await bench.connect(vendor)
        await bench.sync(vendor.name, parts=("pull",))
    return bench


async def compared(bench: Bench) -> Paired:
    return await bench.read(lambda tx: paired(tx, bench.store.schema["sales.deal"], one="crm", other="erp"))


async def test_a_year_that_agrees_adds_up_to_the_cent_and_nothing_is_invented(year: Bench) -> None:
    found = await compared(year)
    assert found.agree
    assert found.differences == ()
    exact: dict[tuple[str, str], Decimal] = {}
    for amount, currency, day in amounts(seed=7):
        exact[currency, day[:7]] = exact.get((currency, day[:7]), Decimal(0)) + Decimal(amount)
    assert {(each.currency, each.month): each.one for each in found.sums} == exact
    assert {(each.currency, each.month): each.other for each in found.sums} == exact
    assert sum(each.one_records for each in found.sums) == DEALS


async def test_every_planted_difference_is_found_and_no_other(year: Bench, crm: Vendor, erp: Vendor) -> None:
    told = dict(enumerate(amounts(seed=7)))

    def cent_more(n: int) -> tuple[str, str, str]:
        amount, currency, day = told[n]
        return f"{Decimal(amount) + Decimal('0.01'):f}", currency, day

    for n in (1, 15):
        amount, currency, day = cent_more(n)
        put(erp, n, amount=amount, currency=currency, day=day)
    put(crm, 900, amount="10.00", currency="EUR", day="2025-02-01")
    put(erp, 901, amount="20.00", currency="EUR", day="2025-03-01")
    twice = erp.rows["deals"]["erp-4"]
    erp.put("deals", "erp-4-again", **twice.body)
    amount, currency, _ = told[7]
    put(erp, 7, amount=amount, currency=currency, day="2025-12-31")
    await year.sync("crm", "erp", parts=("pull",))
    year.tick(60)
    amount, currency, day = cent_more(10)
    put(crm, 10, amount=amount, currency=currency, day=day)
    await year.sync("crm", parts=("pull",))
    found = await compared(year)
    seen = {
        (each.kind, found.outside[each.key].one, found.outside[each.key].other, each.field): each.at_stake
        for each in found.differences
        if each.kind is not DifferenceKind.AGGREGATE
    }
    cent = Decimal("0.01")
    assert seen == {
        (DifferenceKind.FIELD, ("crm-1",), ("erp-1",), "amount"): (cent, told[1][1]),
        (DifferenceKind.FIELD, ("crm-15",), ("erp-15",), "amount"): (cent, told[15][1]),
        (DifferenceKind.MISSING, ("crm-900",), (), None): (Decimal("10.00"), "EUR"),
        (DifferenceKind.EXTRA, (), ("erp-901",), None): (Decimal("20.00"), "EUR"),
        (DifferenceKind.DUPLICATE, ("crm-4",), ("erp-4", "erp-4-again"), None): (Decimal(told[4][0]), told[4][1]),
        (DifferenceKind.FIELD, ("crm-7",), ("erp-7",), "close_date"): None,
        (DifferenceKind.LATE, ("crm-10",), ("erp-10",), None): seen[
            DifferenceKind.LATE, ("crm-10",), ("erp-10",), None
        ],
    }
    apart = {
        (each.field, each.key): Decimal(each.one or 0) - Decimal(each.other or 0)
        for each in found.differences
        if each.kind is DifferenceKind.AGGREGATE
    }
    exact: dict[tuple[str, str], Decimal] = {}

    def moved(currency: str, month: str, by: Decimal) -> None:
        exact["amount", f"{currency} {month}"] = exact.get(("amount", f"{currency} {month}"), Decimal(0)) + by

    moved(told[1][1], told[1][2][:7], -cent)
    moved(told[15][1], told[15][2][:7], -cent)
    moved("EUR", "2025-02", Decimal(10))
    moved("EUR", "2025-03", Decimal(-20))
    moved(told[4][1], told[4][2][:7], -Decimal(told[4][0]))
    moved(told[7][1], told[7][2][:7], Decimal(told[7][0]))
    moved(told[7][1], "2025-12", -Decimal(told[7][0]))
    moved(told[10][1], told[10][2][:7], cent)
    assert apart == {place: by for place, by in exact.items() if by}


async def test_a_type_without_money_of_both_is_refused_in_words(year: Bench) -> None:
    with pytest.raises(NoMoney, match="do not both speak of money"):
        await year.read(lambda tx: paired(tx, year.store.schema["sales.account"], one="crm", other="erp"))
