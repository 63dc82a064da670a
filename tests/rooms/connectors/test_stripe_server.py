"""Reading and writing a localstripe, a Stripe that somebody else wrote, with Stripe's own SDK beside us."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from isthmus.connectors.stripe import CONNECTOR
from isthmus.connectors.stripe.cursor import Cursor
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.connector import ConnectorError, Outcome, Raw
from tests.rooms.connectors.stripe_front import before
from tests.rooms.connectors.stripe_room import (
    CHARGES,
    CUSTOMERS,
    FEEDS,
    INVOICES,
    REFUNDS,
    SUBSCRIPTIONS,
    Row,
    StripeServer,
    change,
    given,
    ids,
    opened,
    pages,
    rows,
)

MONEY = {INVOICES: "total", CHARGES: "amount", REFUNDS: "amount"}
DECIMALS = {"eur": 2, "jpy": 0, "kwd": 3}


@pytest.fixture(params=["as localstripe answers", "as Stripe documents"])
async def address(request: pytest.FixtureRequest, stripe_server: StripeServer) -> AsyncIterator[str]:
    """The server itself, whose lists begin with the oldest, and one whose lists begin with the newest."""
    if request.param == "as localstripe answers":
        yield stripe_server.url
    else:
        async with before(stripe_server.url) as front:
            yield front.url


def said(feed: str, row: Raw | None) -> dict[str, Observation]:
    """Return what an object says, by record type."""
    assert row is not None
    return {each.type: each for each in CONNECTOR.normalise(feed, row)}


def numbers(found: list[Raw]) -> list[str]:
    return [row.external_id for row in found]


async def test_the_check_says_who_we_are_there(stripe_server: StripeServer) -> None:
    async with opened(stripe_server.url) as session:
        assert await session.check() == f"Stripe at {stripe_server.url} (test mode)"


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        ({"key": "rk_test_unknown"}, "make a restricted key"),
        ({"key": "pk_test_published"}, "make a restricted key"),
        ({"key": "sk_live_money"}, "`mode` set to live"),
        ({"mode": "live"}, "Give a key of live mode"),
        ({"mode": "live", "key": "sk_live_money"}, "Leave `url` out"),
        ({"mode": "both"}, "to live or to test"),
        ({"url": "ftp://127.0.0.1"}, "Give `url` such as"),
        ({"follow": "stars"}, "events or to lists"),
        ({"page_rows": "101"}, "Give 100 and 300"),
        ({"overlap_s": "long"}, "Leave them out"),
        ({"feeds": "customers,coupons"}, "Name some of customers"),
        ({"feeds": "credit_notes"}, "leave credit_notes out of `feeds`"),
    ],
)
async def test_a_wrong_setting_is_reported_with_its_fix(
    stripe_server: StripeServer, wrong: dict[str, str], fix: str
) -> None:
    with pytest.raises(ConnectorError) as caught:
        async with opened(stripe_server.url, **wrong) as session:
            await session.check()
    assert fix in caught.value.fix
    assert "money" not in str(caught.value)


async def test_stripes_sdk_and_we_see_the_same_money_in_every_currency(
    stripe_server: StripeServer, address: str
) -> None:
    buyer = stripe_server.buyer(name="Many Currencies", email="pay@many.example")
    plan = stripe_server.plan("Harbour", 1_999)
    stripe_server.subscription(buyer, plan, 3)
    amounts = (("eur", 1), ("eur", 99_999_999), ("jpy", 500), ("kwd", 12_340))
    charges = [stripe_server.charge(buyer, amount, currency) for currency, amount in amounts]
    stripe_server.make("refunds", charge=charges[-1], amount=2_340)
    sdk = stripe_server.sdk.v1
    theirs = {
        CUSTOMERS: sdk.customers.list(),
        SUBSCRIPTIONS: sdk.subscriptions.list({"status": "all"}),
        INVOICES: sdk.invoices.list(),
        CHARGES: sdk.charges.list(),
        REFUNDS: sdk.refunds.list(),
    }
    async with opened(address, page_rows="4") as session:
        for feed, listed in theirs.items():
            told = {each["id"]: each for each in listed.auto_paging_iter()}
            found = {row.external_id: row for row in await rows(session, feed)}
            assert set(found) == set(told) == await ids(session, feed)
            for number, row in found.items():
                for name in [MONEY[feed]] if feed in MONEY else []:
                    theirs_exact = Decimal(told[number][name]) / 10 ** DECIMALS[told[number]["currency"]]
                    [observation] = said(feed, row).values()
                    amount = observation.fields["amount"]
                    assert isinstance(amount, dict)
                    assert Decimal(str(amount["amount"])) == (-theirs_exact if feed == REFUNDS else theirs_exact)
                    assert amount["currency"] == told[number]["currency"].upper()


async def test_what_an_account_bought_is_linked_and_has_the_name_of_its_product(stripe_server: StripeServer) -> None:
    buyer = stripe_server.buyer(name="Linked")
    number = stripe_server.subscription(buyer, stripe_server.plan("Lighthouse", 4_500, interval="year"), 2)
    async with opened(stripe_server.url) as session:
        [sold] = [row for row in await rows(session, SUBSCRIPTIONS) if row.external_id == number]
        [bill] = [row for row in await rows(session, INVOICES) if row.body["subscription"] == number]
    subscription = said(SUBSCRIPTIONS, sold)["finance.subscription"]
    terms: Row = {"plan": "Lighthouse", "recurring": {"amount": "90.00", "currency": "EUR"}, "billing_interval": "year"}
    assert subscription.fields.items() >= {**terms, "quantity": 2, "status": "active"}.items()
    assert subscription.links["account_id"].external_id == buyer
    invoice = said(INVOICES, bill)["finance.invoice"]
    assert {name: link.external_id for name, link in invoice.links.items()} == {
        "account_id": buyer,
        "subscription_id": number,
    }
    assert invoice.fields["paid"] == invoice.fields["amount"] == {"amount": "90.00", "currency": "EUR"}


async def test_what_was_made_or_edited_after_the_cursor_is_read_and_nothing_else(
    stripe_server: StripeServer, address: str
) -> None:
    edited, left = stripe_server.customer(name="Edited later"), stripe_server.customer(name="Left alone")
    async with opened(address) as session:
        first = await pages(session, CUSTOMERS)
        told = await pages(session, CUSTOMERS, first[-1].cursor)
        assert {edited, left} <= set(numbers([row for page in first for row in page.rows]))
        stripe_server.make(f"customers/{edited}", name="Edited")
        made = stripe_server.customer(name="Made later")
        news = await pages(session, CUSTOMERS, told[-1].cursor)
        found = {row.external_id: row for page in news for row in page.rows}
        assert set(found) == {edited, made}
        assert said(CUSTOMERS, found[edited])["sales.account"].fields["name"] == "Edited"
        at = found[edited].at
        assert at is not None
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
        assert await rows(session, CUSTOMERS, news[-1].cursor) == []


async def test_a_deleted_customer_is_told_of_by_its_event_and_missing_among_the_ids(
    stripe_server: StripeServer, address: str
) -> None:
    number = stripe_server.customer(name="Soon gone")
    async with opened(address) as session:
        cursor = (await pages(session, CUSTOMERS))[-1].cursor
        stripe_server.delete(f"customers/{number}")
        [gone] = [row for row in await rows(session, CUSTOMERS, cursor) if row.external_id == number]
        assert gone.deleted
        assert number not in await ids(session, CUSTOMERS)


async def test_a_burst_of_one_second_is_read_whole_and_goes_on_where_it_was_interrupted(
    stripe_server: StripeServer, address: str
) -> None:
    made = [stripe_server.customer(name=f"Burst {each}") for each in range(11)]
    async with opened(address, page_rows="3") as session:
        cursor = (await pages(session, CUSTOMERS))[-1].cursor
        cursor = (await pages(session, CUSTOMERS, cursor))[-1].cursor
        for number in made:
            stripe_server.make(f"customers/{number}", phone="+49 30 555")
        whole = await pages(session, CUSTOMERS, cursor)
        assert sorted(row.external_id for page in whole for row in page.rows) == sorted(made)
        assert len({page.cursor for page in whole}) == len(whole) == 4
        assert [page.more for page in whole] == [True, True, True, False]
        rest = await rows(session, CUSTOMERS, whole[1].cursor)
        assert set(numbers(rest)) == {row.external_id for page in whole[2:] for row in page.rows}


async def test_a_list_goes_on_where_it_was_interrupted_also_when_that_object_is_gone(
    stripe_server: StripeServer, address: str
) -> None:
    made = {stripe_server.customer(name=f"Listed {each}") for each in range(5)}
    async with opened(address, page_rows="2") as session:
        reading = session.read(CUSTOMERS, cursor=None)
        begun = [await anext(reading) for _ in range(2)]
        rest = await rows(session, CUSTOMERS, begun[-1].cursor)
        read = {row.external_id for page in begun for row in page.rows}
        assert made <= read | set(numbers(rest))
        assert not read & set(numbers(rest))
        last = begun[-1].rows[-1].external_id
        stripe_server.delete(f"customers/{last}")
        again = await rows(session, CUSTOMERS, begun[-1].cursor)
        assert made - {last} <= read | set(numbers(again))


async def test_after_a_long_silence_everything_is_listed_anew(stripe_server: StripeServer) -> None:
    number = stripe_server.customer(name="Long known")
    old = Cursor(since=int((datetime.now(UTC) - timedelta(days=40)).timestamp())).text()
    async with opened(stripe_server.url) as session:
        assert number in numbers(await rows(session, CUSTOMERS, old))
        assert {number} <= set(numbers(await rows(session, CUSTOMERS, old)))


async def test_without_events_every_run_reads_the_lists(stripe_server: StripeServer) -> None:
    number = stripe_server.customer(name="Listed each time")
    async with opened(stripe_server.url, follow="lists") as session:
        first = await pages(session, CUSTOMERS)
        assert number in numbers(await rows(session, CUSTOMERS, first[-1].cursor))


async def test_what_is_written_is_there_when_stripes_sdk_is_asked(stripe_server: StripeServer) -> None:
    company: Row = {"name": "Written Works", "phone": "+49 30 5550777", "street": "Allee 7", "city": "Berlin"}
    company |= {"country": "DE", "description": "Made here", "custom": {"tier": "gold", "seats": 5}}
    async with opened(stripe_server.url) as session:
        [made] = await session.write(CUSTOMERS, [change("sales.account", company, key="works")])
        number = made.external_id or ""
        told = said(CUSTOMERS, made.raw)["sales.account"]
        assert told.fields.items() >= (company | {"custom": {"tier": "gold", "seats": "5"}}).items()
        there = stripe_server.sdk.v1.customers.retrieve(number)
        assert (there.name, there.phone, there.metadata["tier"]) == ("Written Works", "+49 30 5550777", "gold")  # pyright: ignore[reportOptionalSubscript] - it was just written.
        fields: Row = {"city": "Kiel", "phone": None, "custom": {"tier": "silver"}}
        edit = change("sales.account", fields, of=number, version=told.version, key="edit")
        [edited] = await session.write(CUSTOMERS, [edit])
        again = said(CUSTOMERS, edited.raw)["sales.account"].fields
        assert again.items() >= {"street": "Allee 7", "city": "Kiel", "phone": None, "country": "DE"}.items()
        assert again["custom"] == {"tier": "silver"}
    address = stripe_server.get(f"customers/{number}")["address"]
    assert address == {"line1": "Allee 7", "city": "Kiel", "country": "DE"}


async def test_a_customer_that_moved_since_it_was_read_is_left_alone(stripe_server: StripeServer) -> None:
    number = stripe_server.customer(name="Contended")
    async with opened(stripe_server.url) as session:
        [row] = [row for row in await rows(session, CUSTOMERS) if row.external_id == number]
        stripe_server.make(f"customers/{number}", name="Changed there")
        ours = change("sales.account", {"name": "Changed here"}, of=number, version=row.version)
        [answer] = await session.write(CUSTOMERS, [ours])
        assert answer.outcome is Outcome.MOVED
        assert stripe_server.get(f"customers/{number}")["name"] == "Changed there"
        [fresh] = [row for row in await rows(session, CUSTOMERS) if row.external_id == number]
        ours = change("sales.account", {"name": "Changed here"}, of=number, version=fresh.version)
        assert [each.outcome for each in await session.write(CUSTOMERS, [ours])] == [Outcome.WRITTEN]


async def test_a_person_is_the_contact_of_the_customer_that_is_its_account(stripe_server: StripeServer) -> None:
    number = stripe_server.customer(name="Without contact")
    human: Row = {"email": "ada@contact.example", "first_name": "Ada", "language": "de"}
    async with opened(stripe_server.url) as session:
        new = change("sales.person", human, links={"account_id": number}, key="ada")
        [made] = await session.write(CUSTOMERS, [new])
        [again] = await session.write(CUSTOMERS, [new])
        assert (made.outcome, made.external_id) == (again.outcome, again.external_id) == (Outcome.WRITTEN, number)
        person = said(CUSTOMERS, made.raw)["sales.person"]
        assert person.fields == {"email": "ada@contact.example", "language": "de"}
        assert person.links["account_id"].external_id == number
        other = change("sales.person", {"email": "bob@contact.example"}, links={"account_id": number}, key="bob")
        [refused] = await session.write(CUSTOMERS, [other])
        assert (refused.outcome, "has another contact" in refused.reason) == (Outcome.REFUSED, True)
        lone = change("sales.person", {"email": "lone@human.example", "first_name": "Lone", "last_name": "Wolf"})
        [own] = await session.write(CUSTOMERS, [lone])
        assert stripe_server.get(f"customers/{own.external_id}")["name"] == "Lone Wolf"
        [same] = await session.write(CUSTOMERS, [lone])
        assert same.external_id == own.external_id
        [taken] = await session.write(CUSTOMERS, [change("sales.person", of=number, deleted=True)])
        assert taken.outcome is Outcome.WRITTEN
    there = stripe_server.get(f"customers/{number}")
    assert (there["name"], there["email"]) == ("Without contact", "")


async def test_a_customer_that_still_buys_is_not_deleted_and_one_that_does_not_is(stripe_server: StripeServer) -> None:
    buyer = stripe_server.buyer(name="Buys")
    subscription = stripe_server.subscription(buyer, stripe_server.plan("Pier", 100))
    gone = change("sales.account", of=buyer, deleted=True)
    async with opened(stripe_server.url) as session:
        [refused] = await session.write(CUSTOMERS, [gone])
        assert (refused.outcome, "cancel them first" in refused.reason) == (Outcome.REFUSED, True)
        ended: Row = {"status": "canceled", "cancel_reason": "moved away"}
        [canceled] = await session.write(SUBSCRIPTIONS, [change("finance.subscription", ended, of=subscription)])
        assert said(SUBSCRIPTIONS, canceled.raw)["finance.subscription"].fields["status"] == "canceled"
        assert stripe_server.get(f"subscriptions/{subscription}")["status"] == "canceled"
        for _ in range(2):
            [deleted] = await session.write(CUSTOMERS, [gone])
            assert (deleted.outcome, deleted.raw is not None and deleted.raw.deleted) == (Outcome.WRITTEN, True)
        assert buyer not in await ids(session, CUSTOMERS)


async def test_each_change_of_a_batch_gets_its_own_answer(stripe_server: StripeServer) -> None:
    number = stripe_server.customer(name="Among others")
    subscription = stripe_server.subscription(stripe_server.buyer(name="Buyer"), stripe_server.plan("Mole", 100))
    bad: Json = {"amount": "1.00", "currency": "EUR"}
    async with opened(stripe_server.url) as session:
        answers = await session.write(
            CUSTOMERS,
            [
                change("sales.account", {"name": "Gone"}, of="cus_nobody"),
                change("sales.person", {"first_name": "Nameless"}),
                change("sales.account", {"name": "Renamed"}, of=number),
            ],
        )
        answers += await session.write(
            SUBSCRIPTIONS,
            [
                change("finance.subscription", {"status": "paused"}, of=subscription),
                change("finance.subscription", {"plan": "New"}),
                change("finance.subscription", of=subscription, deleted=True),
            ],
        )
        answers += await session.write(INVOICES, [change("finance.invoice", {"amount": bad}, of="in_1")])
    refused = Outcome.REFUSED
    assert [each.outcome for each in answers] == [Outcome.MOVED, refused, Outcome.WRITTEN, *[refused] * 4]
    assert "e-mail" in answers[1].reason
    assert "in Stripe itself" in answers[3].reason
    assert "sell it there" in answers[4].reason
    assert "cancel it instead" in answers[5].reason
    assert "only read" in answers[6].reason


def test_the_feeds_of_a_connection_are_those_it_names() -> None:
    assert [feed.name for feed in CONNECTOR.feeds_of(given("http://127.0.0.1"))] == FEEDS.split(",")
    assert CONNECTOR.feeds_of({"key": "sk_live_x"}) == CONNECTOR.feeds
