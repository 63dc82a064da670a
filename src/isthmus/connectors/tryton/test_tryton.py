"""The mapping, from rows as a real server sent them; and back."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import msgspec
import pytest

from isthmus.connectors.tryton import CONNECTOR
from isthmus.connectors.tryton.cursor import Cursor, Place
from isthmus.connectors.tryton.mapping import (
    FIELDS,
    INVOICES,
    OPPORTUNITIES,
    PARTIES,
    STAGES,
    STATES,
    Refusal,
    buttons,
    host,
    telling,
    values,
)
from isthmus.connectors.tryton.wire import day, day_form, decimal_form, last_change, moment, moment_form
from isthmus.connectors.tryton.writing import raw
from isthmus.domains.finance.records import INVOICE
from isthmus.domains.sales.records import ACCOUNT, DEAL, PERSON, DealStage
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, ConnectorError

TYPES: dict[str, RecordType] = {each.name: each for each in (ACCOUNT, PERSON, DEAL, INVOICE)}
AT = datetime(2026, 11, 22, 9, 30, 1, 250_000, tzinfo=UTC)
Row = dict[str, Json]


def recorded(feed: str) -> list[Row]:
    text = (Path(__file__).parent / "fixtures" / f"{feed}.json").read_text("utf-8")
    return cast("list[Row]", json.loads(text))


def row_named(feed: str, name: str) -> Row:
    """Return a copy of the recorded row of that name."""
    found = [row for row in recorded(feed) if name in (row.get("name"), row.get("description"), row.get("number"))]
    return deepcopy(found[0])


def said(feed: str, row: Row) -> Observation:
    """Return the one thing that a row says."""
    [observation] = CONNECTOR.normalise(feed, raw(row))
    return observation


def wanted(kind: str, fields: Row, *, of: str | None = "7", links: dict[str, str] | None = None) -> Row:
    """Return what a change means in Tryton."""
    feed = {"sales.deal": OPPORTUNITIES}.get(kind, PARTIES)
    change = Change(record_id=UUID(int=1), type=kind, fields=fields, links=links or {}, external_id=of)
    return CONNECTOR.express(feed, change)


@pytest.mark.parametrize("feed", [PARTIES, OPPORTUNITIES, INVOICES])
def test_every_recorded_row_becomes_a_valid_record(feed: str) -> None:
    rows = recorded(feed)
    assert rows
    for row in rows:
        observation = said(feed, row)
        kind = TYPES[observation.type]
        given = {name: value for name, value in observation.fields.items() if value is not None}
        assert not [name for name in observation.fields if kind.field(name) is None]
        assert all(kind.field(name) and kind.field(name).to for name in observation.links)  # pyright: ignore[reportOptionalMemberAccess] - asked for just before
        msgspec.convert(given, kind.struct, strict=False)
        assert observation.at == last_change(row)
        assert observation.version == row["_timestamp"]


def test_a_company_comes_with_its_tax_id_domain_phone_and_address() -> None:
    company = said(PARTIES, row_named(PARTIES, "Quince & Compass Foods"))
    assert company.type == "sales.account"
    assert company.fields == {
        "name": "Quince & Compass Foods",
        "tax_id": "FR40303265045",
        "website": "https://quince-compass.example",
        "domain": "quince-compass.example",
        "phone": "+33 1 55 50 01 02",
        "street": "12 rue des Coings",
        "postal_code": "75011",
        "city": "Paris",
        "region": None,
        "country": "FR",
        "tags": [],
    }


def test_a_party_in_the_category_person_is_a_person_and_the_category_is_no_tag() -> None:
    row = row_named(PARTIES, "Ines Quettier")
    cast("list[Json]", row["categories"]).append({"id": 9, "name": "Newsletter"})
    person = said(PARTIES, row)
    assert person.type == "sales.person"
    assert person.fields["email"] == "ines.quettier@quince-compass.example"
    assert (person.fields["first_name"], person.fields["last_name"]) == ("Ines", "Quettier")
    assert person.fields["tags"] == ["Newsletter"]


def test_a_contact_that_was_deactivated_is_not_taken_and_a_mobile_number_is_a_phone() -> None:
    row = row_named(PARTIES, "Ines Quettier")
    for each in cast("list[Row]", row["contact_mechanisms"]):
        each["active"] = each["type"] != "phone"
    assert said(PARTIES, row).fields["phone"] is None
    cast("list[Json]", row["contact_mechanisms"]).append(
        {"id": 90, "type": "mobile", "value": "+33 6 55 50 01 99", "active": 1}
    )
    assert said(PARTIES, row).fields["phone"] == "+33 6 55 50 01 99"


def test_a_change_of_a_contact_alone_moves_the_time_of_the_party() -> None:
    row = row_named(PARTIES, "Ines Quettier")
    before = raw(row)
    cast("list[Row]", row["contact_mechanisms"])[0]["last_modified_at"] = moment_form(AT + timedelta(days=9))
    assert raw(row).at == AT + timedelta(days=9) != before.at
    assert raw(row).version == before.version


def test_a_deactivated_party_counts_as_deleted() -> None:
    row = row_named(PARTIES, "Ines Quettier")
    assert not raw(row).deleted
    assert raw(row | {"active": 0}).deleted


def test_a_deal_comes_with_its_exact_amount_stage_owner_and_customer() -> None:
    deal = said(OPPORTUNITIES, row_named(OPPORTUNITIES, "Cold chain reporting"))
    assert deal.type == "sales.deal"
    assert deal.fields["amount"] == {"amount": "31250.50", "currency": "EUR"}
    assert deal.fields["stage"] == "needs_analysis"
    assert deal.fields["owner_id"] == "sales.desk@isthmus.example"
    assert deal.fields["close_date"] == "2026-12-03"
    assert deal.fields["probability"] == 0.4
    assert deal.fields["won"] is None
    customer = row_named(PARTIES, "Quince & Compass Foods")
    assert {name: link.external_id for name, link in deal.links.items()} == {"account_id": str(customer["id"])}


def test_a_deal_with_a_human_links_the_person_and_one_without_customer_says_so() -> None:
    row = row_named(OPPORTUNITIES, "Cold chain reporting")
    row["party"] = {"id": 8, "categories": [{"id": 1, "name": "Person"}]}
    assert set(said(OPPORTUNITIES, row).links) == {"person_id"}
    alone = said(OPPORTUNITIES, row | {"party": None})
    assert not alone.links
    assert alone.fields["account_id"] is None


def test_a_deal_without_amount_or_description_still_has_a_name() -> None:
    row = row_named(OPPORTUNITIES, "Cold chain reporting") | {"amount": None, "description": "  "}
    deal = said(OPPORTUNITIES, row)
    assert deal.fields["amount"] is None
    assert deal.fields["name"] == f"Opportunity {row['number']}"


@pytest.mark.parametrize(("state", "won"), [("won", True), ("lost", False), ("cancelled", False)])
def test_a_deal_that_ended_says_how_and_when(state: str, won: bool) -> None:  # noqa: FBT001 - a column of the table
    row = row_named(OPPORTUNITIES, "Cold chain reporting") | {"state": state}
    deal = said(OPPORTUNITIES, row)
    assert deal.fields["won"] is won
    assert deal.fields["closed_at"] == "2026-12-03T00:00:00Z"


def test_stages_and_states_cover_each_other() -> None:
    assert set(STATES) == set(DealStage)
    assert set(STAGES.values()) <= set(DealStage)
    for stage, state in STATES.items():
        assert buttons(state, state) == ()
        assert STATES[STAGES[state]] == state, stage


def test_an_invoice_says_what_is_owed_and_what_was_paid() -> None:
    row = row_named(INVOICES, "2026-1")
    invoice = said(INVOICES, row)
    assert invoice.fields["amount"] == {"amount": "11424.00", "currency": "EUR"}
    assert invoice.fields["status"] == "open"
    assert invoice.fields["paid"] == {"amount": "0.00", "currency": "EUR"}
    assert invoice.fields["due_on"] == "2026-11-14"
    paid = row | {
        "state": "paid",
        "amount_to_pay": decimal_form("0"),
        "reconciled": day_form("2026-11-20"),
    }
    assert said(INVOICES, paid).fields["paid"] == {"amount": "11424.00", "currency": "EUR"}
    assert said(INVOICES, paid).fields["paid_at"] == "2026-11-20T00:00:00Z"


def test_supplier_invoices_and_credit_notes_are_left_out() -> None:
    row = row_named(INVOICES, "2026-1")
    assert not list(CONNECTOR.normalise(INVOICES, raw(row | {"type": "in"})))
    assert not list(CONNECTOR.normalise(INVOICES, raw(row | {"total_amount": decimal_form("-5.00")})))


def test_what_was_read_of_a_deal_means_the_same_when_it_is_written() -> None:
    for row in recorded(OPPORTUNITIES):
        deal = said(OPPORTUNITIES, row)
        links = {name: link.external_id for name, link in deal.links.items()}
        back = wanted("sales.deal", deal.fields, links=links)
        assert back["description"] == row["description"]
        assert back["amount"] == row["amount"]
        assert back["currency"] == cast("Row", row["currency"])["code"]
        assert back["conversion_probability"] == row["conversion_probability"]
        assert back["end_date"] == row["end_date"]
        assert back["party"] == cast("Row", row["party"])["id"]
        assert buttons(cast("str", row["state"]), cast("str", back["state"])) == ()


def test_what_was_read_of_a_party_changes_nothing_when_it_is_written() -> None:
    for row in recorded(PARTIES):
        party = said(PARTIES, row)
        written = values(wanted(party.type, party.fields), current=row)
        assert written["name"] == row["name"]
        contacts = {each["id"]: each["value"] for each in cast("list[Row]", row["contact_mechanisms"])}
        for command in cast("list[list[Json]]", written.get("contact_mechanisms", [])):
            verb, [number], value = cast("tuple[str, list[int], Row]", command)
            assert (verb, value) == ("write", {"value": contacts[number]})


def test_half_a_name_keeps_the_other_half() -> None:
    row = row_named(PARTIES, "Marit Osterloh")
    assert values(wanted("sales.person", {"last_name": "Quist"}), current=row)["name"] == "Marit Quist"
    assert values(wanted("sales.person", {"first_name": None}), current=row)["name"] == "Osterloh"
    assert values(wanted("sales.person", {"email": "m@x.example"}, of=None), current={}).get("name") is None


def test_a_contact_is_made_changed_or_removed() -> None:
    row = row_named(PARTIES, "Marit Osterloh")
    mail = next(each for each in cast("list[Row]", row["contact_mechanisms"]) if each["type"] == "email")
    change = values(wanted("sales.person", {"email": "new@x.example"}), current=row)
    assert change["contact_mechanisms"] == [["write", [mail["id"]], {"value": "new@x.example"}]]
    assert values(wanted("sales.person", {"email": None}), current=row)["contact_mechanisms"] == [
        ["delete", [mail["id"]]]
    ]
    made = values(wanted("sales.person", {"email": "new@x.example"}), current={})
    assert made["contact_mechanisms"] == [["create", [{"type": "email", "value": "new@x.example"}]]]
    assert "contact_mechanisms" not in values(wanted("sales.person", {"email": None}), current={})


def test_a_new_person_enters_the_category_and_a_change_does_not_touch_it() -> None:
    assert wanted("sales.person", {"first_name": "Ada"}, of=None)["category"] == "Person"
    assert "category" not in wanted("sales.person", {"first_name": "Ada"})


def test_a_tax_id_of_unknown_kind_is_refused_with_the_way_out() -> None:
    with pytest.raises(Refusal, match="enter it in Tryton"):
        values(wanted("sales.account", {"tax_id": "12-3456789"}), current={})
    known = values(wanted("sales.account", {"tax_id": "DE136695976"}), current={})
    assert known["identifiers"] == [["create", [{"type": "eu_vat", "code": "DE136695976"}]]]


def test_a_record_of_ours_is_known_again_only_by_more_than_its_name() -> None:
    company = wanted("sales.account", {"name": "Acme", "website": "https://acme.example"}, of=None)
    assert telling(PARTIES, company, written=values(company, current={})) == [
        ["name", "=", "Acme"],
        ["contact_mechanisms.value", "=", "https://acme.example"],
    ]
    assert telling(PARTIES, {"name": "Acme"}, written={"name": "Acme"}) == []
    deal: Row = {"description": "Renewal", "amount": decimal_form("5.00")}
    assert telling(OPPORTUNITIES, deal, written=deal) == []
    assert len(telling(OPPORTUNITIES, deal, written=deal | {"party": 3})) == 3


def test_a_won_deal_is_left_to_the_sale_in_tryton() -> None:
    with pytest.raises(Refusal, match="confirming its sale"):
        buttons("opportunity", "won")
    with pytest.raises(Refusal, match="nowhere from won to lead"):
        buttons("won", "lead")
    assert buttons("lost", "opportunity") == ("lead", "opportunity")
    assert buttons("converted", "opportunity") == ()


def test_every_field_that_may_be_written_is_one_of_the_record_type() -> None:
    for kind, names in CONNECTOR.writable.items():
        assert not [name for name in names if TYPES[kind].field(name) is None]


def test_an_invoice_is_never_written() -> None:
    change = Change(record_id=UUID(int=1), type="finance.invoice", fields={"status": "paid"})
    assert CONNECTOR.express(INVOICES, change) == {}


def test_a_cleared_value_is_written_as_cleared_and_an_absent_one_not_at_all() -> None:
    assert wanted("sales.deal", {"close_date": None, "amount": None}) == {"end_date": None, "amount": None}
    assert wanted("sales.deal", {"account_id": None}) == {"party": None}


@pytest.mark.parametrize(
    ("website", "domain"),
    [
        ("https://www.acme.example/de?x=1", "acme.example"),
        ("Acme.example:8080", "acme.example"),
        ("http://user@shop.acme.example", "shop.acme.example"),
        ("localhost", None),
        (None, None),
    ],
)
def test_the_domain_of_a_website(website: str | None, domain: str | None) -> None:
    assert host(website) == domain


def test_times_and_days_keep_their_value_on_the_way_there_and_back() -> None:
    assert moment(moment_form(AT)) == AT
    assert day(day_form("2026-02-28")) == "2026-02-28"
    assert moment("2026-02-28") is None


def test_a_run_begins_a_while_back_and_never_ends_before_where_it_began() -> None:
    begun = Cursor(places={PARTIES: Place(AT, 7)}).begun(overlap=timedelta(seconds=60))
    assert begun.places[PARTIES] == Place(AT - timedelta(seconds=60))
    assert begun.ended().places[PARTIES] == Place(AT, 7)
    assert begun.begun(overlap=timedelta(seconds=60)) == begun
    assert Cursor.parse(begun.text()) == begun
    later = begun.moved(PARTIES, Place(AT, 9)).ended()
    assert later == Cursor(places={PARTIES: Place(AT, 9)})


def test_a_cursor_of_something_else_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConnectorError, match="Read the feed from the start"):
        Cursor.parse('{"offset": 3}')


def test_every_feed_asks_for_the_time_of_change_and_the_version() -> None:
    assert set(FIELDS) == {feed.name for feed in CONNECTOR.feeds}
    for names in FIELDS.values():
        assert {"last_modified_at", "_timestamp"} <= set(names)
