"""The money of a seeded year in a real Stripe of somebody else and a real Tryton is compared to the cent.

MONEY_PAYMENTS=5000 uv run pytest -n0 tests/journeys/test_the_money_of_a_year.py        a year of that many payments
"""

import os
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from isthmus.app.clock import SystemClock
from isthmus.app.counterparts.tryton import TrytonServer, tryton
from isthmus.app.discovery import connectors
from isthmus.store.database import Scope
from isthmus.sync.connections import connect
from isthmus.sync.ingest import Store
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.pairs import Paired, paired
from isthmus.sync.running import synchronise
from isthmus.sync.runs import Engine
from tests.journeys.money_year import (
    DIGITS,
    PLANTED_EACH,
    Money,
    Plant,
    Year,
    book,
    plant,
    stripe_of_a_year,
    sums,
    take,
)
from tests.rooms.connectors.stripe_front import before
from tests.rooms.connectors.stripe_room import StripeServer, given

PAYMENTS = int(os.environ.get("MONEY_PAYMENTS", "120"))
TYPE, TAKEN, BOOKED = "finance.payment", "billing", "erp"
Told = tuple[DifferenceKind, str, str | None, tuple[Decimal, str] | None]


@pytest.fixture(scope="module")
def erp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    """A Tryton of its own: what is posted there cannot be taken back."""
    with tryton(tmp_path_factory.mktemp("books"), report=print) as server:
        yield server


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StripeServer, list[Money]]]:
    """A Stripe that has taken a year of payments."""
    with stripe_of_a_year(tmp_path_factory.mktemp("taken")) as (server, clock):
        yield server, take(server, clock, payments=PAYMENTS)


async def compared(store: Store, workspace: int, erp: TrytonServer, url: str) -> Paired:
    """Connect both, take in all they hold, and compare their money."""
    engine = Engine(store=store, clock=SystemClock(), chance=Random(7), connectors=connectors())
    books = {"url": erp.url, "database": erp.database, "key": erp.key}
    bills = given(url, feeds="customers,charges,refunds")

    def scope() -> Scope:
        return engine.scope(workspace=workspace, actor="user:tester", cause="test")

    for name, vendor, settings in ((TAKEN, "stripe", bills), (BOOKED, "tryton", books)):
        async with store.database.transaction(scope()) as tx:
            await connect(tx, store.vault, engine.connectors[vendor], name=name, settings=settings)
    for name in (TAKEN, BOOKED):
        run = await synchronise(engine, workspace=workspace, connection=name, parts=("pull",))
        assert (run.error, run.rejected) == (None, 0)
    async with store.database.transaction(scope()) as tx:
        return await paired(tx, store.schema[TYPE], one=TAKEN, other=BOOKED)


def expected(year: Year) -> Counter[Told]:
    """Return what has to be told of the records, by what Stripe calls them."""
    found: Counter[Told] = Counter()
    for kind, money in year.planted:
        whole, unit = (money.amount, money.currency), Decimal(1).scaleb(-DIGITS[money.currency])
        told: Told = {
            Plant.NOT_BOOKED: (DifferenceKind.MISSING, money.number, None, whole),
            Plant.REFUND_NOT_BOOKED: (DifferenceKind.MISSING, money.number, None, whole),
            Plant.ONLY_BOOKED: (DifferenceKind.EXTRA, money.number, None, whole),
            Plant.REFUND_ONLY_BOOKED: (DifferenceKind.EXTRA, money.number, None, whole),
            Plant.OFF: (DifferenceKind.FIELD, money.number, "amount", (unit, money.currency)),
            Plant.OTHER_CURRENCY: (DifferenceKind.FIELD, money.number, "amount.currency", None),
            Plant.TWICE: (DifferenceKind.DUPLICATE, money.number, None, whole),
            Plant.OVER_MONTH_END: (DifferenceKind.FIELD, money.number, "at", None),
        }[kind]
        found[told] += 1
    return found


async def numbers(store: Store, scope: Scope, found: Paired) -> dict[str, str]:
    """Return what the payment provider calls the records that differ."""
    async with store.database.transaction(scope) as tx:
        rows = await tx.connection.execute(
            "select id::text, reference from finance_payment where workspace = current_workspace() and id = any(%s)",
            ([each.key for each in found.differences if each.kind is not DifferenceKind.AGGREGATE],),
        )
        return dict(await rows.fetchall())


async def test_a_year_is_exact_to_the_cent_and_all_that_was_planted_is_found_and_no_more(
    store: Store, scope: Scope, erp: TrytonServer, taken: tuple[StripeServer, list[Money]], tmp_path: Path
) -> None:
    del tmp_path
    server, payments = taken
    year = plant(payments)
    book(erp.login(), year.booked)
    async with before(server.url) as front:
        found = await compared(store, scope.workspace, erp, front.url)
    assert len(year.planted) == len(Plant) * PLANTED_EACH
    names = await numbers(store, scope, found)
    told: Counter[Told] = Counter(
        (each.kind, names[each.key], each.field, each.at_stake)
        for each in found.differences
        if each.kind is not DifferenceKind.AGGREGATE
    )
    assert told == expected(year)
    one, other = sums(year.taken), sums(year.booked)
    places = one.keys() | other.keys()
    assert {(each.currency, each.month): (each.one, each.other) for each in found.sums} == {
        place: (one.get(place, Decimal(0)), other.get(place, Decimal(0))) for place in places
    }
    apart = {" ".join(place) for place in places if one.get(place, 0) != other.get(place, 0)}
    assert {each.key for each in found.differences if each.kind is DifferenceKind.AGGREGATE} == apart
    assert sum(each.one_records for each in found.sums) == len(year.taken)
    assert sum(each.other_records for each in found.sums) == len(year.booked)
