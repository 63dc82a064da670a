"""The mapping, from objects as a localstripe sent them and in the forms that Stripe documents; and back."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import cast
from uuid import UUID

import msgspec
import pytest

from isthmus.connectors.stripe import CONNECTOR
from isthmus.connectors.stripe.cursor import Cursor
from isthmus.connectors.stripe.events import FEEDS, read, touched
from isthmus.connectors.stripe.mapping import (
    CHARGES,
    CREDIT_NOTES,
    CUSTOMERS,
    INVOICES,
    MARK,
    REFUNDS,
    STATUSES,
    SUBSCRIPTIONS,
    metadata,
    parameters,
    version,
)
from isthmus.connectors.stripe.transport import StripeFault, unreadable
from isthmus.connectors.stripe.wire import day, digits, form, moment, money
from isthmus.domains.finance.records import INVOICE, PAYMENT, SUBSCRIPTION, InvoiceStatus, SubscriptionStatus
from isthmus.domains.sales.records import ACCOUNT, PERSON
from isthmus.kernel.marks import Json, RecordType
from isthmus.kernel.money import Money
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, ConnectorError, FeedTrouble, Raw
from isthmus.sync.drift import drift_of, unexpected

TYPES: dict[str, RecordType] = {each.name: each for each in (ACCOUNT, PERSON, SUBSCRIPTION, INVOICE, PAYMENT)}
RECORDED = (CUSTOMERS, SUBSCRIPTIONS, INVOICES, CHARGES, REFUNDS)
Row = dict[str, Json]


def recorded(feed: str) -> list[Row]:
    text = (Path(__file__).parent / "fixtures" / f"{feed}.json").read_text("utf-8")
    return cast("list[Row]", json.loads(text))


def but(row: Row, **more: Json) -> Row:
    """Return an object that says some things otherwise."""
    return row | more


def one(feed: str, **match: Json) -> Row:
    """Return a copy of the recorded object that says this."""
    return deepcopy(next(row for row in recorded(feed) if match.items() <= row.items()))


def said(feed: str, body: Row) -> dict[str, Observation]:
    """Return what an object says, by record type."""
    raw = Raw(external_id=str(body["id"]), body=body, version=version(body))
    return {each.type: each for each in CONNECTOR.normalise(feed, raw)}


def links(observation: Observation) -> dict[str, str]:
    return {name: link.external_id for name, link in observation.links.items()}


def wanted(kind: str, fields: Row, *, of: str | None = "cus_7", to: dict[str, str] | None = None) -> Row:
    """Return what a change means in Stripe."""
    feed = SUBSCRIPTIONS if kind == "finance.subscription" else CUSTOMERS
    change = Change(record_id=UUID(int=1), type=kind, fields=fields, links=to or {}, external_id=of)
    return CONNECTOR.express(feed, change)


@pytest.mark.parametrize("feed", RECORDED)
def test_every_recorded_object_becomes_valid_records(feed: str) -> None:
    rows = recorded(feed)
    assert rows
    for row in rows:
        told = said(feed, row)
        assert told
        for observation in told.values():
            kind = TYPES[observation.type]
            given = {name: value for name, value in observation.fields.items() if value is not None}
            assert not [name for name in observation.fields if kind.field(name) is None]
            assert all((field := kind.field(name)) and field.to for name in observation.links)
            msgspec.convert(given, kind.struct, strict=False)


@pytest.mark.parametrize("feed", RECORDED)
def test_every_recorded_object_is_as_expected_and_one_without_its_amount_is_not(feed: str) -> None:
    [own] = [each for each in CONNECTOR.feeds if each.name == feed]
    rows = recorded(feed)
    assert [drift_of(own, row) for row in rows] == [None] * len(rows)
    assert unexpected(own, [Raw(external_id="1", body=row) for row in rows]) == set()
    read = [name for name, kinds in own.expects.items() if "absent" not in kinds]
    for name in read:
        assert drift_of(own, {other: value for other, value in rows[0].items() if other != name}) is not None
        wrong: Json = "text" if "list" in own.expects[name] else [1]
        assert drift_of(own, but(rows[0], **{name: wrong})) is not None


# https://docs.stripe.com/currencies: zero-decimal, three-decimal, and two that lost their hundredths.
@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [
        (1_099, "eur", "10.99"),
        (1, "usd", "0.01"),
        (0, "gbp", "0.00"),
        (-99, "eur", "-0.99"),
        (99_999_999, "usd", "999999.99"),
        (500, "jpy", "500"),
        (7, "mga", "7"),
        (12_340, "kwd", "12.340"),
        (10, "bhd", "0.010"),
        (500, "ugx", "5.00"),
        (100, "isk", "1.00"),
        (45_000, "huf", "450.00"),
    ],
)
def test_an_amount_is_exact_in_the_unit_that_stripe_counts_its_currency_in(
    minor: int, currency: str, amount: str
) -> None:
    said = money(minor, currency)
    assert said == {"amount": amount, "currency": currency.upper()}
    assert Money(Decimal(amount), currency.upper()).amount.scaleb(digits(currency)) == minor


@pytest.mark.parametrize(("minor", "currency"), [(None, "eur"), (5, None), (True, "eur"), ("5", "eur")])
def test_what_is_no_amount_is_none(minor: Json, currency: Json) -> None:
    assert money(minor, currency) is None


def test_a_customer_is_an_account_and_its_address_a_person_of_it() -> None:
    row = one(CUSTOMERS, name="Quince & Compass Foods")
    told = said(CUSTOMERS, row)
    assert told["sales.account"].fields == {
        "name": "Quince & Compass Foods",
        "phone": "+33 1 55 50 01 02",
        "description": None,
        "street": "12 rue des Coings, Cour 3",
        "postal_code": "75011",
        "city": "Paris",
        "region": None,
        "country": "FR",
        "tax_id": "FR40303265045",
        "custom": {"tier": "gold"},
    }
    person = told["sales.person"]
    assert person.fields == {"email": "accounts@quince-compass.example", "language": "fr"}
    assert links(person) == {"account_id": row["id"]}


def test_a_customer_without_name_or_address_still_has_a_name_and_no_person() -> None:
    lead = one(CUSTOMERS, email="lead@nobody.example")
    assert said(CUSTOMERS, lead)["sales.account"].fields["name"] == "lead@nobody.example"
    told = said(CUSTOMERS, lead | {"email": ""})
    assert list(told) == ["sales.account"]
    assert told["sales.account"].fields["name"] == f"[{lead['id']}]"


def test_newer_names_of_companies_and_humans_are_taken() -> None:
    row = one(CUSTOMERS, email="lead@nobody.example") | {
        "business_name": "Acme",
        "individual_name": "Ada Quill Osterloh",
    }
    told = said(CUSTOMERS, row)
    assert told["sales.account"].fields["name"] == "Acme"
    halves = {"first_name": "Ada", "last_name": "Quill Osterloh"}
    assert told["sales.person"].fields.items() >= halves.items()


def test_our_own_mark_is_no_field_of_anybody_and_empty_metadata_says_nothing() -> None:
    row = but(one(CUSTOMERS, email="lead@nobody.example"), metadata={MARK: "key", "gone": ""})
    assert "custom" not in said(CUSTOMERS, row)["sales.account"].fields


def test_a_subscription_says_what_it_costs_and_who_has_it() -> None:
    row = one(SUBSCRIPTIONS, status="active")
    told = said(SUBSCRIPTIONS, row)["finance.subscription"]
    price: Row = {"recurring": {"amount": "147.00", "currency": "EUR"}, "billing_interval": "month", "quantity": 3}
    assert told.fields.items() >= {"plan": "Orchard monthly", "status": "active", **price}.items()
    assert links(told) == {"account_id": row["customer"]}
    assert told.fields["period_ends_on"] == day(row["current_period_end"])
    ended = said(SUBSCRIPTIONS, one(SUBSCRIPTIONS, status="canceled"))["finance.subscription"].fields
    assert (ended["plan"], ended["billing_interval"]) == ("Cellar", "quarter")
    assert ended["canceled_on"] is not None


def price(interval: str, count: int, **more: Json) -> Row:
    """Return an item with a price, as Stripe has told them since 2020."""
    return {
        "quantity": more.pop("quantity", 1),
        "current_period_end": 1_798_000_000,
        "price": {
            "id": "price_1",
            "currency": "usd",
            "recurring": {"interval": interval, "interval_count": count},
            **more,
        },
    }


@pytest.mark.parametrize(
    ("items", "recurring", "interval"),
    [
        ([price("month", 1, unit_amount=1_999, quantity=3)], "59.97", "month"),
        ([price("month", 1, unit_amount_decimal="0.5", unit_amount=None, quantity=3)], "0.02", "month"),
        ([price("year", 1, unit_amount=12_000)], "120.00", "year"),
        ([price("month", 12, unit_amount=12_000)], "120.00", "year"),
        ([price("month", 6, unit_amount=6_000)], "10.00", "month"),
        ([price("week", 1, unit_amount=1_200)], "52.00", "month"),
        ([price("year", 1, unit_amount=12_000), price("month", 1, unit_amount=100)], "11.00", "month"),
        ([price("month", 1, unit_amount=0)], "0.00", "month"),
        ([price("month", 1, unit_amount=None, billing_scheme="tiered")], None, None),
        ([price("month", 1, unit_amount=100), price("month", 1, unit_amount=100, currency="eur")], None, None),
        ([], None, None),
    ],
)
def test_what_a_subscription_costs_in_one_interval(
    items: list[Row], recurring: str | None, interval: str | None
) -> None:
    row = but(one(SUBSCRIPTIONS, status="active"), items={"data": list[Json](items)})
    fields = said(SUBSCRIPTIONS, row)["finance.subscription"].fields
    assert fields["recurring"] == ({"amount": recurring, "currency": "USD"} if recurring else None)
    assert fields.get("billing_interval") == interval


def test_a_paused_collection_is_a_pause_and_every_status_has_its_word() -> None:
    row = one(SUBSCRIPTIONS, status="active")
    paused = said(SUBSCRIPTIONS, but(row, pause_collection={"behavior": "void"}))["finance.subscription"]
    assert paused.fields["status"] == "paused"
    assert set(STATUSES.values()) <= set(SubscriptionStatus)
    newer = {name: value for name, value in row.items() if name != "current_period_end"}
    newer["items"] = {"data": [price("month", 1, unit_amount=5)]}
    assert said(SUBSCRIPTIONS, newer)["finance.subscription"].fields["period_ends_on"] == "2026-12-23"


def test_an_invoice_says_what_is_owed_and_for_what_in_old_and_new_forms() -> None:
    row = one(INVOICES, amount_paid=14_700)
    old = said(INVOICES, row)["finance.invoice"]
    assert old.fields["amount"] == old.fields["paid"] == {"amount": "147.00", "currency": "EUR"}
    assert old.fields["paid_at"] is not None
    assert links(old) == {"account_id": row["customer"], "subscription_id": row["subscription"]}
    newer = {name: value for name, value in row.items() if name not in ("subscription", "tax")}
    newer |= {"number": "ACME-0001", "status": "open", "due_date": 1_798_000_000}
    newer["total_taxes"] = [{"amount": 1_000}, {"amount": 397}]
    newer["parent"] = {"subscription_details": {"subscription": {"id": "sub_expanded"}}}
    told = said(INVOICES, newer)["finance.invoice"]
    assert links(told)["subscription_id"] == "sub_expanded"
    assert told.fields["tax"] == {"amount": "13.97", "currency": "EUR"}
    assert (told.fields["invoice_number"], told.fields["due_on"]) == ("ACME-0001", "2026-12-23")
    for status in ("draft", "open", "paid", "void", "uncollectible"):
        assert said(INVOICES, row | {"status": status})["finance.invoice"].fields["status"] in set(InvoiceStatus)


def test_a_credit_note_is_an_invoice_below_zero_and_what_was_given_back_is_paid_below_zero() -> None:
    note: Row = {"id": "cn_1", "object": "credit_note", "number": "ACME-0001-CN-01", "currency": "eur", "total": 2_000}
    note |= {"status": "issued", "created": 1_795_000_000, "customer": "cus_1", "invoice": "in_1", "tax": 319}
    told = said(CREDIT_NOTES, note | {"type": "post_payment"})["finance.invoice"]
    assert told.fields["amount"] == told.fields["paid"] == {"amount": "-20.00", "currency": "EUR"}
    assert told.fields["tax"] == {"amount": "-3.19", "currency": "EUR"}
    assert links(told) == {"account_id": "cus_1"}
    part = said(CREDIT_NOTES, note | {"pre_payment_amount": 1_500, "post_payment_amount": 500})["finance.invoice"]
    assert part.fields["paid"] == {"amount": "-5.00", "currency": "EUR"}
    gone = said(CREDIT_NOTES, note | {"status": "void", "post_payment_amount": 500})["finance.invoice"].fields
    assert (gone["status"], gone["paid"]) == ("void", {"amount": "0.00", "currency": "EUR"})


def test_charges_and_refunds_are_payments_that_add_up_to_what_stayed() -> None:
    charge, refund = one(CHARGES, currency="kwd"), one(REFUNDS, currency="kwd")
    came, went = said(CHARGES, charge)["finance.payment"], said(REFUNDS, refund)["finance.payment"]
    assert (came.fields["amount"], came.fields["status"]) == ({"amount": "12.340", "currency": "KWD"}, "succeeded")
    assert (went.fields["amount"], went.fields["status"]) == ({"amount": "-2.340", "currency": "KWD"}, "succeeded")
    assert links(came)["account_id"] == links(went)["account_id"] == charge["customer"]
    assert came.fields["reference"] == charge["id"]
    whole = one(CHARGES, currency="jpy")
    assert said(CHARGES, whole)["finance.payment"].fields["status"] == "refunded"


@pytest.mark.parametrize(
    ("more", "status", "amount"),
    [
        ({"status": "pending"}, "pending", "12.340"),
        ({"status": "failed", "failure_message": "Your card was declined."}, "failed", "12.340"),
        ({"captured": False}, "pending", "12.340"),
        ({"amount_captured": 12_000}, "succeeded", "12.000"),
    ],
)
def test_a_charge_that_failed_waits_or_was_captured_in_part_says_so(more: Row, status: str, amount: str) -> None:
    fields = said(CHARGES, one(CHARGES, currency="kwd") | more)["finance.payment"].fields
    assert (fields["status"], fields["amount"]) == (status, {"amount": amount, "currency": "KWD"})
    assert fields["failure_reason"] == more.get("failure_message")


def test_a_payment_names_the_invoice_that_its_charge_paid() -> None:
    charge = but(one(CHARGES, currency="kwd"), invoice="in_1", payment_method_details={"type": "sepa_debit"})
    told = said(CHARGES, charge)["finance.payment"]
    assert (links(told)["invoice_id"], told.fields["method"]) == ("in_1", "sepa_debit")
    refund = but(one(REFUNDS, currency="kwd"), charge=charge)
    assert links(said(REFUNDS, refund)["finance.payment"])["invoice_id"] == "in_1"


def test_what_was_read_of_a_customer_means_the_same_when_it_is_written() -> None:
    row = one(CUSTOMERS, name="Quince & Compass Foods")
    sent = parameters(wanted("sales.account", said(CUSTOMERS, row)["sales.account"].fields), current=row)
    assert (sent["name"], sent["phone"], sent["metadata"]) == (row["name"], row["phone"], row["metadata"])
    after = row | {"address": sent["address"]}
    assert said(CUSTOMERS, after)["sales.account"].fields == said(CUSTOMERS, row)["sales.account"].fields


def test_an_address_goes_whole_and_what_is_cleared_is_sent_empty() -> None:
    row = one(CUSTOMERS, name="Quince & Compass Foods")
    moved = parameters(wanted("sales.account", {"city": "Lyon", "phone": None}), current=row)
    assert form(moved)["address[line2]"] == "Cour 3"
    assert (form(moved)["address[city]"], form(moved)["phone"]) == ("Lyon", "")
    street = form(parameters(wanted("sales.account", {"street": "Quai 1"}), current=row))
    assert (street["address[line1]"], street["address[line2]"]) == ("Quai 1", "")
    made = parameters(wanted("sales.account", {"city": "Lyon", "region": None}, of=None), current={})
    assert made == {"address": {"city": "Lyon"}}
    assert wanted("sales.account", {"country": "France"}) == {}


def test_metadata_is_fifty_short_texts_and_what_is_no_longer_wanted_is_cleared() -> None:
    row: Row = {"metadata": {"old": "1", "tier": "gold", MARK: "key"}}
    sent = parameters(wanted("sales.account", {"custom": {"tier": "silver", "seats": 5, "vip": True}}), current=row)
    assert sent["metadata"] == {"old": "", "tier": "silver", "seats": "5", "vip": "true"}
    long: Row = {"k" * 41: "x", "value": "v" * 501, "[x]": "1", "": "1", "none": None}
    assert metadata(long) == {}
    assert len(metadata({f"key {each}": each for each in range(60)})) == 49


def test_a_person_is_somebodys_contact_or_a_customer_of_its_own() -> None:
    human: Row = {"email": "ada@x.example", "first_name": "Ada", "last_name": "Quill", "language": "de"}
    contact: Row = {"email": "ada@x.example", "preferred_locales": ["de"]}
    assert wanted("sales.person", human, of=None, to={"account_id": "cus_1"}) == contact | {"customer": "cus_1"}
    assert wanted("sales.person", human, of=None) == contact | {"name": "Ada Quill"}
    assert wanted("sales.person", {"first_name": "Ada"}, of=None) == {}
    assert wanted("sales.person", {"last_name": "Quill"}) == {}
    assert wanted("sales.person", {"email": None}) == {"email": None}


def test_money_is_never_written_and_a_subscription_never_made() -> None:
    change = Change(record_id=UUID(int=1), type="finance.invoice", fields={"status": "paid"})
    assert CONNECTOR.express(INVOICES, change) == {}
    assert wanted("finance.subscription", {"status": "active"}, of=None) == {}
    assert wanted("finance.subscription", {"plan": "Other", "quantity": 9}, of="sub_1") == {}
    ended = wanted("finance.subscription", {"status": "canceled", "cancel_reason": "price"}, of="sub_1")
    assert ended == {"status": "canceled", "cancellation_details": {"comment": "price"}}


def test_every_field_that_may_be_written_is_one_of_the_record_type() -> None:
    for kind, names in CONNECTOR.writable.items():
        assert not [name for name in names if TYPES[kind].field(name) is None]


def test_the_version_follows_what_is_written_and_nothing_else() -> None:
    row = one(CUSTOMERS, name="Quince & Compass Foods")
    same = but(row, balance=5, delinquent=True, address={**cast("Row", row["address"]), "state": ""})
    assert version(row) == version(same)
    assert version(row) != version(row | {"name": "Other"})
    assert version(row) != version(but(row, metadata={}))
    sold = one(SUBSCRIPTIONS, status="active")
    assert version(sold) == version(sold | {"current_period_end": 1}) != version(sold | {"status": "past_due"})


def test_a_form_is_flat_with_brackets() -> None:
    values: Row = {
        "name": "A",
        "address": {"city": None},
        "items": [{"plan": "p", "n": 2}],
        "on": True,
        "expand": ["a"],
    }
    assert form(values) == {
        "name": "A",
        "address[city]": "",
        "items[0][plan]": "p",
        "items[0][n]": "2",
        "on": "true",
        "expand[0]": "a",
    }


def event(kind: str, told: Row, **more: Json) -> Row:
    return {"id": "evt_1", "object": "event", "type": kind, "created": 1_795_000_000, "data": {"object": told}, **more}


@pytest.mark.parametrize(
    ("feed", "told", "number"),
    [
        (CUSTOMERS, {"object": "customer", "id": "cus_1"}, "cus_1"),
        (CUSTOMERS, {"object": "tax_id", "id": "txi_1", "customer": "cus_1"}, "cus_1"),
        (CUSTOMERS, {"object": "charge", "id": "ch_1", "customer": "cus_1"}, None),
        (CHARGES, {"object": "refund", "id": "re_1", "charge": "ch_1"}, "ch_1"),
        (CHARGES, {"object": "dispute", "id": "dp_1", "charge": {"id": "ch_1"}}, "ch_1"),
        (CHARGES, {"object": "payment_intent", "id": "pi_1", "latest_charge": "ch_1"}, "ch_1"),
        (INVOICES, {"object": "credit_note", "id": "cn_1", "invoice": "in_1"}, "in_1"),
        (REFUNDS, {"object": "refund", "id": "re_1"}, "re_1"),
        (REFUNDS, {"id": "x"}, None),
    ],
)
def test_an_event_tells_which_object_to_look_at(feed: str, told: Row, number: str | None) -> None:
    assert touched(feed, event("x.updated", told)) == number


def test_a_call_tells_of_the_object_as_it_was_at_the_time_of_the_event() -> None:
    customer = one(CUSTOMERS, name="Quince & Compass Foods")
    [(feed, raw)] = read(json.dumps(event("customer.updated", customer)).encode())
    assert (feed, raw.external_id, raw.body) == (CUSTOMERS, customer["id"], customer)
    assert raw.at == datetime.fromtimestamp(1_795_000_000, UTC)
    assert raw.version == version(customer)
    [(_, gone)] = read(json.dumps(event("customer.deleted", customer)).encode())
    assert gone.deleted
    canceled = one(SUBSCRIPTIONS, status="canceled")
    [(feed, ended)] = read(json.dumps(event("customer.subscription.deleted", canceled)).encode())
    assert (feed, ended.deleted) == (SUBSCRIPTIONS, False)


def test_a_call_does_not_rename_a_subscription_whose_product_it_does_not_name() -> None:
    row = but(one(SUBSCRIPTIONS, status="active"), items={"data": [price("month", 1, unit_amount=5, product="prod_1")]})
    [(_, made)] = read(json.dumps(event("customer.subscription.created", row)).encode())
    [(_, changed)] = read(json.dumps(event("customer.subscription.updated", row)).encode())
    assert said(SUBSCRIPTIONS, made.body)["finance.subscription"].fields["plan"] == "prod_1"
    assert "plan" not in said(SUBSCRIPTIONS, changed.body)["finance.subscription"].fields


def test_a_call_about_something_else_tells_nothing_and_one_that_is_no_event_is_not_understood() -> None:
    assert list(read(json.dumps(event("payout.paid", {"object": "payout", "id": "po_1"})).encode())) == []
    with pytest.raises(KeyError):
        read(b"{}")
    with pytest.raises(msgspec.DecodeError):
        read(b"[1]")
    assert set(FEEDS.values()) == {feed.name for feed in CONNECTOR.feeds}


def test_a_cursor_is_its_own_text_and_that_of_something_else_is_refused_with_the_way_out() -> None:
    cursor = Cursor(since=5, listing=True, after="cus_1", seen=("evt_1",))
    assert Cursor.parse(cursor.text()) == cursor
    with pytest.raises(ConnectorError, match="Read the feed from the start"):
        Cursor.parse('{"offset": 3}')


def test_a_list_that_may_not_be_read_troubles_that_feed_alone() -> None:
    fault = StripeFault(403, {"message": "No permission"})
    assert isinstance(unreadable(fault, what="charges"), FeedTrouble)
    assert "`follow` to lists" in unreadable(fault, what="events").fix


def test_times_are_seconds_and_utc() -> None:
    assert (day(1_795_000_000), moment(1_795_000_000)) == ("2026-11-18", "2026-11-18T11:06:40Z")
    assert day(None) is None
