"""Xero's rows in our words, and a session with our own organisation of its documented protocol."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from isthmus.connectors.xero import CONNECTOR
from isthmus.connectors.xero.conformance import booked
from isthmus.connectors.xero.cursor import Cursor
from isthmus.connectors.xero.mapping import merged
from isthmus.connectors.xero.vendor import TENANT
from isthmus.connectors.xero.vendor_http import Site, serving
from isthmus.connectors.xero.wire import CONTACTS, CREDIT_NOTES, INVOICES, PAYMENTS, Row, decimal, moment, money, told
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, ConnectorError, Outcome, Raw, Throttled

HERE = Path(__file__).parent / "fixtures"
CUSTOMER, SELLER = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"
EUR, RECORD = "EUR", UUID(int=7)


def said(feed: str, at: int) -> list[Observation]:
    """Return what a row of a fixture says."""
    body = msgspec.json.decode((HERE / f"{feed}.json").read_bytes(), type=list[Row])[at]
    return list(CONNECTOR.normalise(feed, Raw(external_id=str(at), body=body)))


def eur(amount: str) -> Json:
    """Return an amount."""
    return {"amount": amount, "currency": EUR}


@pytest.fixture
def site() -> Iterator[Site]:
    """An organisation."""
    with serving(Site()) as running:
        yield running


async def pages_of(site: Site, feed: str, cursor: str | None = None, **settings: str) -> tuple[list[Raw], str]:
    """Return the rows that a run reads, and its last cursor."""
    rows: list[Raw] = []
    async with CONNECTOR.open(site.custom | settings) as session:
        async for page in session.read(feed, cursor=cursor):
            rows += page.rows
            cursor = page.cursor
    assert cursor is not None
    return rows, cursor


def test_a_customer_is_an_account_and_its_contact_a_person() -> None:
    account, person = said(CONTACTS, 0)
    assert (account.type, account.fields) == (
        "sales.account",
        {
            "name": "Fabrikam GmbH",
            "tax_id": "DE123456789",
            "phone": "+49 431 555 0100",
            "website": None,
            "street": "Hafenstr. 1, Hof",
            "city": "Kiel",
            "region": "SH",
            "postal_code": "24103",
            "country": "Germany",
        },
    )
    assert (person.fields["email"], person.links["account_id"].external_id) == ("ada@fabrikam.example", CUSTOMER)
    assert [each.type for each in said(CONTACTS, 1)] == ["finance.vendor"]


def test_an_invoice_a_bill_and_a_credit_note_say_what_they_are_worth() -> None:
    (invoice,) = said(INVOICES, 0)
    assert (invoice.type, invoice.fields["amount"], invoice.fields["status"]) == (
        "finance.invoice",
        eur("119.0"),
        "paid",
    )
    assert (invoice.fields["issued_on"], invoice.fields["due_on"]) == ("2026-11-02", "2026-11-16")
    assert invoice.links["account_id"].external_id == CUSTOMER
    (bill,) = said(INVOICES, 1)
    assert (bill.type, bill.fields["amount"], bill.fields["category"]) == ("finance.spend", eur("500.0"), "media_spend")
    # Its lines are of two departments, and so it is of neither.
    assert (bill.fields["department"], bill.links["vendor_id"].external_id) == (None, SELLER)
    assert said(INVOICES, 2) == []
    (note,) = said(CREDIT_NOTES, 0)
    assert (note.type, note.fields["amount"], note.fields["tax"]) == ("finance.invoice", eur("-11.9"), eur("-1.9"))
    assert said(CREDIT_NOTES, 1) == []


def test_money_that_came_is_a_payment_and_money_that_went_back_one_below_zero() -> None:
    (came,) = said(PAYMENTS, 0)
    assert (came.fields["amount"], came.fields["method"]) == (eur("119.0"), "Business Account")
    assert came.links["invoice_id"].external_id == "22222222-0000-4000-8000-000000000001"
    (back,) = said(PAYMENTS, 1)
    assert back.fields["amount"] == {"amount": "-11.9", "currency": "USD"}
    assert said(PAYMENTS, 2) == []


@pytest.mark.parametrize(
    ("value", "amount"), [(0.1, "0.1"), (1e21, "1000000000000000000000"), ("12.50", "12.50"), (True, None), ("", None)]
)
def test_an_amount_is_told_as_it_was_written(value: Json, amount: str | None) -> None:
    assert money(value, EUR) == (None if amount is None else eur(amount))
    assert (decimal(value) is None) == (amount is None)


def test_times_are_read_whatever_zone_they_name() -> None:
    at = moment("/Date(1573755038314+1300)/")
    assert at is not None
    assert (at.isoformat(), told(at)) == ("2019-11-14T18:10:38.314000+00:00", "/Date(1573755038314+0000)/")
    assert moment("2019-11-14") is None


def test_an_address_is_sent_whole_and_a_phone_in_one_piece() -> None:
    body = msgspec.json.decode((HERE / "contacts.json").read_bytes(), type=list[Row])[0]
    change = Change(record_id=RECORD, type="sales.account", fields={"city": "Ghent", "phone": "1", "tax_id": None})
    sent = merged(CONNECTOR.express(CONTACTS, change), body)
    assert sent["TaxNumber"] == ""
    (place,) = _rows(sent["Addresses"])
    assert (place["AddressType"], place["City"], place["AddressLine2"]) == ("POBOX", "Ghent", "Hof")
    (phone,) = _rows(sent["Phones"])
    assert (phone["PhoneNumber"], phone["PhoneAreaCode"]) == ("1", "")


async def test_all_that_is_booked_is_read(site: Site) -> None:
    booked(site)
    kinds: list[str] = []
    for feed in (CONTACTS, INVOICES, CREDIT_NOTES, PAYMENTS):
        rows, _ = await pages_of(site, feed)
        kinds += [each.type for row in rows for each in CONNECTOR.normalise(feed, row)]
    money_types = ["finance.invoice", "finance.spend", "finance.invoice", "finance.payment"]
    assert kinds == ["sales.account", "sales.person", "finance.vendor", *money_types]


async def test_a_contact_that_was_merged_says_into_which(site: Site) -> None:
    site.organisation.contact({"Name": "Kept"})
    (kept, gone) = [str(site.organisation.contact({"Name": name})["ContactID"]) for name in ("One", "Two")]
    _, cursor = await pages_of(site, CONTACTS)
    site.organisation.merge(gone, kept)
    rows, _ = await pages_of(site, CONTACTS, cursor)
    assert [(each.deleted, each.merged_into) for each in rows if each.external_id == gone][-1] == (True, kept)


async def test_many_of_one_second_are_read_whole_though_one_moves_meanwhile(site: Site) -> None:
    """Neither what shifts over the edge of a page is missed, long after the overlap is over."""
    organisation = site.organisation
    made = [str(organisation.contact({"Name": f"N{at}"}, still=True)["ContactID"]) for at in range(20)]
    seen: set[str] = set()
    async with CONNECTOR.open(site.custom | {"page_rows": "5"}) as session:
        async for page in session.read(CONTACTS, cursor=None):
            seen |= {row.external_id for row in page.rows}
            if len(seen) == 10:
                organisation.tick(3_600)
                organisation.contact({"ContactID": made[0], "FirstName": "Moved"})
    assert seen == set(made)


async def test_several_organisations_are_told_with_their_ids(site: Site) -> None:
    async with CONNECTOR.open(site.custom | {"tenant_id": "of-another"}) as session:
        with pytest.raises(ConnectorError, match="lets us read no"):
            await session.check()
    async with CONNECTOR.open(site.custom) as session:
        assert await session.check() == f"Northwind Traders at {site.url}"
    async with CONNECTOR.open(site.custom | {"tenant_id": TENANT}) as session:
        assert await session.check()


async def test_a_used_up_day_is_told_with_how_long_to_wait(site: Site) -> None:
    booked(site)
    async with CONNECTOR.open(site.custom) as session:
        await session.check()
        site.organisation.minute_left, site.organisation.wait_s, site.organisation.problem = 0, 40_000, "day"
        with pytest.raises(Throttled) as caught:
            await session.check()
        assert caught.value.retry_after_s == 40_000
        site.organisation.minute_left, site.organisation.wait_s, site.organisation.problem = 0, 1, "minute"
        assert await session.check()


async def test_a_new_contact_that_is_sent_again_after_its_key_was_forgotten_is_the_same(site: Site) -> None:
    change = Change(record_id=RECORD, type="sales.account", fields={"name": "Once"}, key="k-1")
    async with CONNECTOR.open(site.custom) as session:
        (first,) = await session.write(CONTACTS, [change])
        site.organisation.answered.clear()
        (again,) = await session.write(CONTACTS, [change])
    assert (first.outcome, again.outcome) == (Outcome.WRITTEN, Outcome.WRITTEN)
    assert first.external_id == again.external_id


async def test_money_is_not_written_and_a_person_needs_a_company(site: Site) -> None:
    async with CONNECTOR.open(site.custom) as session:
        lone = Change(record_id=RECORD, type="sales.person", fields={"email": "a@b.example"}, key="k")
        (answer,) = await session.write(CONTACTS, [lone])
        (paid,) = await session.write(INVOICES, [lone])
        company = site.organisation.contact({"Name": "Contoso"})
        links = {"account_id": str(company["ContactID"])}
        (made,) = await session.write(CONTACTS, [msgspec.structs.replace(lone, links=links)])
    assert (answer.outcome, paid.outcome) == (Outcome.REFUSED, Outcome.REFUSED)
    assert (made.outcome, made.external_id) == (Outcome.WRITTEN, company["ContactID"])
    assert site.organisation.held[CONTACTS][str(made.external_id)]["EmailAddress"] == "a@b.example"


def test_a_cursor_of_somebody_else_is_refused() -> None:
    with pytest.raises(ConnectorError):
        Cursor.parse('{"log": 3}')


def _rows(value: Json) -> list[Row]:
    assert isinstance(value, list)
    return [each for each in value if isinstance(each, dict)]
