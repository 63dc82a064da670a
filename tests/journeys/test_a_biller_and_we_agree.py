"""A workspace and a Stripe that somebody else wrote agree, whatever people do on both sides."""

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from random import Random
from typing import cast

import pytest

from isthmus.app.clock import SystemClock
from isthmus.app.discovery import connectors
from isthmus.kernel.marks import Json
from isthmus.sync.conflicts import Choice
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine
from tests.journeys.billing import ACCOUNT, INVOICE, PAYMENT, PERSON, SUBSCRIPTION, Billing, quiet
from tests.rooms.connectors.stripe_front import before
from tests.rooms.connectors.stripe_room import CUSTOMERS, Row, StripeServer, localstripe

EDITS = 6


@pytest.fixture(scope="module")
def biller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeServer]:
    """A localstripe."""
    with localstripe(tmp_path_factory.mktemp("biller")) as server:
        yield server


@pytest.fixture
async def unconnected(store: Store, workspace: int, biller: StripeServer) -> AsyncIterator[Billing]:
    """A workspace, and a Stripe with nothing in it."""
    engine = Engine(store=store, clock=SystemClock(), chance=Random(7), connectors=connectors())
    biller.flush()
    async with before(biller.url) as front:
        yield Billing(store, engine, workspace, biller, front)


@pytest.fixture
async def billing(unconnected: Billing) -> Billing:
    """A workspace that is connected with everything of a Stripe."""
    await unconnected.connect()
    return unconnected


@pytest.fixture
async def customers(unconnected: Billing) -> Billing:
    """A workspace that is connected with the customers of a Stripe alone."""
    await unconnected.connect(feeds=CUSTOMERS)
    return unconnected


def total(amounts: list[Json]) -> dict[str, Decimal]:
    """Return the exact sum of each currency."""
    sums: dict[str, Decimal] = {}
    for amount in amounts:
        money = cast("dict[str, str]", amount)
        sums[money["currency"]] = sums.get(money["currency"], Decimal(0)) + Decimal(money["amount"])
    return sums


async def test_what_was_sold_there_is_here_with_its_money_to_the_cent(billing: Billing) -> None:
    server = billing.server
    buyer = server.buyer(name="Harbour Lantern Freight", email="pay@harbour-lantern.example", metadata={"tier": "gold"})
    server.subscription(buyer, server.plan("Fleet", 3_333), 7)
    taken = [server.charge(buyer, amount, currency) for amount, currency in ((1_099, "usd"), (980, "jpy"))]
    server.make("refunds", charge=taken[0], amount=99)
    server.make("refunds", charge=taken[1])
    run = await billing.sync()
    assert (run.created, run.written) == (1 + 1 + 1 + 1 + 3 + 2, 0)
    assert quiet(await billing.sync(sweep=True))
    assert billing.front.writes == []
    account = await billing.of(ACCOUNT, buyer)
    [person] = await billing.all(PERSON)
    assert person.values["account_id"] == str(account)
    [subscription], [invoice] = await billing.all(SUBSCRIPTION), await billing.all(INVOICE)
    assert subscription.values.items() >= {"plan": "Fleet", "quantity": 7, "account_id": str(account)}.items()
    assert invoice.values["subscription_id"] == str(subscription.id)
    assert invoice.values["paid"] == invoice.values["amount"] == {"amount": "233.31", "currency": "EUR"}
    payments = await billing.all(PAYMENT)
    assert {str(each.values["account_id"]) for each in payments} == {str(account)}
    kept = total([each.values["amount"] for each in payments])
    assert kept == {"EUR": Decimal("233.31"), "USD": Decimal("10.00"), "JPY": Decimal(0)}
    assert sorted(str(each.values["status"]) for each in payments) == ["refunded", *["succeeded"] * 4]


async def test_edits_on_both_sides_of_different_fields_meet_with_one_write_each(customers: Billing) -> None:
    numbers = [customers.server.customer(name=f"Company {each}", phone="+49 30 1") for each in range(EDITS)]
    await customers.settle()
    for at, number in enumerate(numbers):
        record = await customers.of(ACCOUNT, number)
        await customers.edit(ACCOUNT, record, name=f"Company {at} GmbH", city="Kiel", custom={"segment": f"s{at}"})
        customers.server.make(f"customers/{number}", phone=f"+49 30 555 {at:04}")
    run = await customers.sync()
    assert (run.written, len(customers.front.writes), run.conflicts) == (EDITS, EDITS, 0)
    for at, number in enumerate(numbers):
        there, here = customers.server.get(f"customers/{number}"), await customers.ours(ACCOUNT, number)
        name, phone, custom = f"Company {at} GmbH", f"+49 30 555 {at:04}", {"segment": f"s{at}"}
        assert (there["name"], there["phone"], there["metadata"]) == (name, phone, custom)
        assert (here["name"], here["phone"], here["custom"]) == (name, phone, custom)
        assert cast("Row", there["address"])["city"] == here["city"] == "Kiel"
    customers.front.asked.clear()
    for _ in range(2):
        assert quiet(await customers.sync(sweep=True))
    assert customers.front.writes == []


@pytest.mark.parametrize("choice", [Choice.KEPT, Choice.CLAIMED])
async def test_two_addresses_for_one_contact_wait_for_a_person_whose_word_reaches_both(
    customers: Billing, choice: Choice
) -> None:
    number = customers.server.customer(name="Contested", email="old@contested.example")
    await customers.settle()
    person = await customers.of(PERSON, number)
    await customers.edit(PERSON, person, email="ours@contested.example")
    customers.server.make(f"customers/{number}", email="theirs@contested.example")
    run = await customers.sync()
    assert (run.conflicts, run.written) == (1, 0)
    [case] = await customers.cases(person)
    assert (case.field, case.kept, case.claimed) == ("email", "ours@contested.example", "theirs@contested.example")
    assert quiet(await customers.sync())
    assert customers.front.writes == []
    await customers.resolve(case, choice)
    assert (await customers.sync()).written == (1 if choice == Choice.KEPT else 0)
    agreed = "ours@contested.example" if choice == Choice.KEPT else "theirs@contested.example"
    assert customers.server.get(f"customers/{number}")["email"] == agreed
    assert (await customers.ours(PERSON, number))["email"] == agreed
    assert quiet(await customers.sync(sweep=True))


async def test_an_edit_there_between_our_pull_and_push_is_merged_and_not_overwritten(customers: Billing) -> None:
    number = customers.server.customer(name="Night trains", phone="+49 30 1")
    await customers.settle()
    await customers.edit(ACCOUNT, await customers.of(ACCOUNT, number), name="Night trains, twelve coaches")
    await customers.sync("pull")
    customers.server.make(f"customers/{number}", phone="+49 30 2")
    assert (await customers.sync("push")).written == 1
    there, here = customers.server.get(f"customers/{number}"), await customers.ours(ACCOUNT, number)
    assert (
        (there["name"], there["phone"]) == ("Night trains, twelve coaches", "+49 30 2") == (here["name"], here["phone"])
    )
    assert quiet(await customers.sync())


async def test_what_is_made_here_is_made_there_once_though_answers_get_lost(customers: Billing) -> None:
    await customers.settle()
    account = await customers.create(ACCOUNT, "a-1", name="Breakwater Optics", city="Kiel", country="DE")
    person = await customers.create(
        PERSON, "p-1", first_name="Ana", last_name="Quill", email="ana@breakwater.example", account_id=str(account)
    )
    customers.front.losing = 2
    await customers.sync()
    assert quiet(await customers.sync(sweep=True))
    [number] = await customers.numbers(account)
    assert await customers.numbers(person) == [number]
    there = customers.server.get(f"customers/{number}")
    assert (there["name"], there["email"]) == ("Breakwater Optics", "ana@breakwater.example")
    assert len(customers.server.sdk.v1.customers.list().data) == 1
    assert len(await customers.all(ACCOUNT)) == len(await customers.all(PERSON)) == 1
    assert (await customers.stored(PERSON, person)).values["first_name"] == "Ana"


async def test_deletions_travel_both_ways(customers: Billing) -> None:
    there, here = (customers.server.customer(name=name, email=f"{name}@gone.example") for name in ("there", "here"))
    await customers.settle()
    gone = [await customers.of(ACCOUNT, there), await customers.of(PERSON, there)]
    customers.server.delete(f"customers/{there}")
    await customers.delete(ACCOUNT, await customers.of(ACCOUNT, here))
    run = await customers.sync()
    assert (run.written, run.conflicts) == (1, 0)
    assert [each.id for each in customers.server.sdk.v1.customers.list().data] == []
    assert (await customers.stored(ACCOUNT, gone[0])).deleted_at is not None
    assert (await customers.stored(PERSON, gone[1])).deleted_at is not None
    await customers.sync(sweep=True)
    assert await customers.all(ACCOUNT) == await customers.all(PERSON) == []
    assert quiet(await customers.sync(sweep=True))


async def test_a_subscription_that_is_canceled_here_ends_there_and_money_is_never_written(billing: Billing) -> None:
    buyer = billing.server.buyer(name="Leaves")
    number = billing.server.subscription(buyer, billing.server.plan("Pier", 100))
    await billing.settle()
    [invoice] = await billing.all(INVOICE)
    await billing.edit(INVOICE, invoice.id, status="void")
    record = await billing.of(SUBSCRIPTION, number)
    await billing.edit(SUBSCRIPTION, record, status="canceled", cancel_reason="moved away")
    await billing.sync()
    assert billing.front.writes == [("DELETE", f"/v1/subscriptions/{number}")]
    assert billing.server.get(f"subscriptions/{number}")["status"] == "canceled"
    assert (await billing.stored(SUBSCRIPTION, record)).values["status"] == "canceled"
    assert quiet(await billing.sync(sweep=True))


async def test_calls_that_come_late_and_twice_leave_what_was_said_last(customers: Billing) -> None:
    number = customers.server.customer(name="First", email="calls@us.example")
    customers.server.make(f"customers/{number}", name="Second")
    told: list[Row] = [each.to_dict() for each in customers.server.sdk.v1.events.list({"limit": 100}).data]
    [made] = [each for each in told if each["type"] == "customer.created"]
    [changed] = [each for each in told if each["type"] == "customer.updated"]
    changed = {**changed, "created": int(str(made["created"])) + 1}
    assert [await customers.call(each) for each in (changed, made, changed, made)] == [True, True, False, False]
    assert await customers.work() == 2
    assert (await customers.ours(ACCOUNT, number))["name"] == "Second"
    await customers.sync()
    assert quiet(await customers.sync(sweep=True))
    assert (await customers.ours(ACCOUNT, number))["name"] == "Second"
