"""The mapping, from rows as the fake sent them; and back."""

import json
from copy import deepcopy
from pathlib import Path
from typing import cast
from uuid import UUID

import msgspec
import pytest

from isthmus.connectors.hubspot import CONNECTOR, feeds_for
from isthmus.connectors.hubspot.cursor import number
from isthmus.connectors.hubspot.events import read
from isthmus.connectors.hubspot.expressing import customs, differing
from isthmus.connectors.hubspot.mapping import (
    kind_of,
    lead_status,
    money,
    share,
    spoken,
    stage_of,
    status_of,
    whole,
)
from isthmus.connectors.hubspot.shapes import COMPANIES, CONTACTS, DEALS, SHAPES, TASKS, TICKETS
from isthmus.connectors.hubspot.wire import (
    EPOCH,
    LINKS,
    Row,
    chunks,
    day_in,
    milliseconds,
    moment,
    noon_of,
    properties,
    stamp,
    version,
    zone,
)
from isthmus.domains.marketing.records import CONSENT
from isthmus.domains.sales.records import ACCOUNT, ACTIVITY, DEAL, LEAD, PERSON
from isthmus.domains.success.records import TICKET
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, ConnectorError, NotAsDocumented, Raw

TYPES: dict[str, RecordType] = {each.name: each for each in (PERSON, LEAD, ACCOUNT, DEAL, ACTIVITY, TICKET, CONSENT)}
BERLIN = zone("Europe/Berlin")


def all_recorded(feed: str) -> list[Row]:
    """Return the recorded rows of a feed."""
    text = (Path(__file__).parent / "fixtures" / f"{feed}.json").read_text("utf-8")
    return cast("list[Row]", json.loads(text))


def recorded(feed: str, word: str) -> Row:
    """Return a copy of the recorded row that holds a word."""
    return deepcopy(next(row for row in all_recorded(feed) if word in str(row)))


def said(feed: str, row: Row) -> dict[str, Observation]:
    """Return what a row says, by type."""
    raw = Raw(external_id=number(row), body=row, version=version(row))
    return {each.type: each for each in CONNECTOR.normalise(feed, raw)}


def wanted(feed: str, kind: str, fields: Row, *, of: str | None = "7", links: dict[str, str] | None = None) -> Row:
    """Return what a change means in HubSpot."""
    change = Change(record_id=UUID(int=1), type=kind, fields=fields, links=links or {}, external_id=of)
    return CONNECTOR.express(feed, change)


@pytest.mark.parametrize("feed", list(SHAPES))
def test_every_recorded_row_becomes_valid_records(feed: str) -> None:
    for row in all_recorded(feed):
        for observation in said(feed, row).values():
            kind = TYPES[observation.type]
            given = {name: value for name, value in observation.fields.items() if value is not None}
            assert not [name for name in (*observation.fields, *observation.links) if kind.field(name) is None]
            msgspec.convert(given, kind.struct, strict=False)


def test_a_contact_is_a_person_with_its_company_owner_and_own_properties() -> None:
    row = recorded(CONTACTS, "Mara")
    person = said(CONTACTS, row)["sales.person"]
    assert person.fields["email"] == "mara@harbour.example"
    assert person.fields["phone"] == "+49 431 1234567", "the mobile number stands in where there is no other"
    assert person.fields["lifecycle"] == "marketing_qualified"
    assert person.fields["owner_id"] == "anna@vendor.example"
    assert person.fields["custom"] == {"favourite_tea": "Assam"}
    company = number(recorded(COMPANIES, "harbour.example"))
    assert {name: each.external_id for name, each in person.links.items()} == {"account_id": company}


def test_a_contact_without_company_says_that_it_has_none() -> None:
    person = said(CONTACTS, recorded(CONTACTS, "Nameless"))["sales.person"]
    assert person.fields["account_id"] is None
    assert not person.links


def test_of_what_is_not_read_nothing_is_said() -> None:
    row = recorded(CONTACTS, "Mara")
    row[LINKS] = {}
    person = said(CONTACTS, row)["sales.person"]
    assert "account_id" not in {*person.fields, *person.links}


def test_a_contact_in_the_lead_stages_is_a_lead_of_its_person_too() -> None:
    row = recorded(CONTACTS, "Mara")
    lead = said(CONTACTS, row)["sales.lead"]
    assert (lead.fields["status"], lead.fields["company"]) == ("qualified", "Harbour Works")
    assert lead.links["person_id"].external_id == row["id"]
    properties(row)["company"] = None
    assert "sales.lead" not in said(CONTACTS, row), "a lead needs a company"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"lifecyclestage": "lead"}, "new"),
        ({"lifecyclestage": "lead", "hs_lead_status": "CONNECTED"}, "working"),
        ({"lifecyclestage": "lead", "hs_lead_status": "BAD_TIMING"}, "disqualified"),
        ({"lifecyclestage": "salesqualifiedlead", "hs_lead_status": "OPEN"}, "qualified"),
        ({"lifecyclestage": "salesqualifiedlead", "hs_lead_status": "UNQUALIFIED"}, "disqualified"),
        ({"lifecyclestage": "customer"}, "converted"),
        ({"lifecyclestage": "lead", "hs_lead_status": "OPEN_DEAL"}, "converted"),
        ({"lifecyclestage": "lead", "hs_lead_status": "A word of their own"}, "new"),
    ],
)
def test_stage_and_status_of_a_lead_are_one_status_here(given: Row, status: str) -> None:
    assert lead_status(given) == status


def test_who_opted_out_of_all_email_has_withdrawn() -> None:
    row = recorded(CONTACTS, "odd@elsewhere.example")
    consent = said(CONTACTS, row)["marketing.consent"]
    assert consent.fields["state"] == "withdrawn"
    assert consent.fields["key"] == "odd@elsewhere.example|marketing|email"
    properties(row)["hs_email_optout"] = "false"
    assert "marketing.consent" not in said(CONTACTS, row), "not to have opted out is no consent"


def test_a_company_comes_with_its_parent_kind_and_revenue() -> None:
    account = said(COMPANIES, recorded(COMPANIES, "harbour.example"))["sales.account"]
    assert account.fields["annual_revenue"] == {"amount": "2500000", "currency": "EUR"}
    assert (account.fields["kind"], account.fields["industry"]) == ("customer", "Computer software")
    assert account.fields["employee_count"] == 120
    child = said(COMPANIES, recorded(COMPANIES, "Harbour Yard"))["sales.account"]
    assert child.links["parent_id"].external_id == number(recorded(COMPANIES, "harbour.example"))
    assert kind_of({"type": "RESELLER"}) == "partner"


def test_a_deal_comes_with_its_stage_amount_day_and_people() -> None:
    deal = said(DEALS, recorded(DEALS, "Cranes"))["sales.deal"]
    assert deal.fields["stage"] == "proposal"
    assert deal.fields["amount"] == {"amount": "12500.50", "currency": "EUR"}
    assert deal.fields["close_date"] == "2027-01-01", "half past midnight in the account's zone"
    assert (deal.fields["probability"], deal.fields["won"]) == (0.6, None)
    assert set(deal.links) == {"account_id", "person_id"}
    lost = said(DEALS, recorded(DEALS, "Lost at sea"))["sales.deal"]
    assert (lost.fields["stage"], lost.fields["won"], lost.fields["lost_reason"]) == ("closed_lost", False, "Price")


@pytest.mark.parametrize(
    ("probability", "closed", "stage"),
    [
        ("0.2", False, "qualification"),
        ("0.4", False, "needs_analysis"),
        ("0.6", False, "proposal"),
        ("0.9", False, "negotiation"),
        ("1.0", True, "closed_won"),
        ("0.0", True, "closed_lost"),
        (None, False, "qualification"),
    ],
)
def test_a_stage_means_what_its_probability_says(probability: str | None, *, closed: bool, stage: str) -> None:
    assert stage_of({"probability": probability, "closed": closed}) == stage


def test_a_ticket_comes_with_its_status_priority_and_person() -> None:
    ticket = said(TICKETS, recorded(TICKETS, "crane is loud"))["success.ticket"]
    assert (ticket.fields["status"], ticket.fields["priority"]) == ("pending", "high")
    assert ticket.links["person_id"].external_id == number(recorded(CONTACTS, "Mara"))
    assert status_of({"label": "Closed", "closed": True}) == "closed"
    assert status_of({"label": "Solved", "closed": True}) == "solved"
    assert status_of({"label": "On hold", "closed": False}) == "on_hold"
    assert status_of({"label": "Waiting on us", "closed": False}) == "open"
    assert status_of({"label": "New", "closed": False, "first": True}) == "new"


def test_engagements_are_activities_of_their_people() -> None:
    found = {feed: said(feed, all_recorded(feed)[0])["sales.activity"] for feed in list(SHAPES)[4:]}
    kinds = {feed: each.fields["kind"] for feed, each in found.items()}
    assert kinds == {"calls": "call", "emails": "email", "meetings": "meeting", "notes": "note", "tasks": "task"}
    assert found["calls"].fields["duration_s"] == 90
    assert found["emails"].fields["outbound"] is False
    assert found["meetings"].fields["duration_s"] == 45 * 60
    assert found[TASKS].fields["completed"] is False
    assert all(set(each.links) == {"account_id", "person_id", "deal_id"} for each in found.values())


def test_a_version_moves_with_values_and_associations_and_not_with_stamps() -> None:
    row = recorded(CONTACTS, "Mara")
    moved = deepcopy(row)
    properties(moved)["lastmodifieddate"] = "2027-01-01T00:00:00.000Z"
    assert version(moved) == version(row)
    properties(moved)["city"] = "Lübeck"
    assert version(moved) != version(row)
    moved = deepcopy(row)
    moved[LINKS] = {"companies": []}
    assert version(moved) != version(row)


def test_times_are_read_in_both_forms_and_days_in_the_zone_of_the_account() -> None:
    assert stamp("2026-11-02T09:00:00.123Z") == "2026-11-02T09:00:00.123000Z"
    assert moment("1793610000123") == moment("2026-11-02T09:00:00.123Z")
    assert milliseconds(moment("1793610000123") or EPOCH) == 1793610000123
    assert [moment(each) for each in ("", None, "soon", "9" * 30)] == [None] * 4
    assert day_in("2026-06-30T22:30:00Z", BERLIN) == "2026-07-01"
    noon = noon_of("2026-07-01", BERLIN)
    assert noon == "2026-07-01T10:00:00.000Z"
    assert day_in(noon, BERLIN) == "2026-07-01"
    assert noon_of(None, BERLIN) is None
    assert zone("Nowhere/At all").key == "UTC"


def test_values_that_mean_nothing_here_are_left_out() -> None:
    assert whole("12.0") == 12
    assert [whole(each) for each in ("many", None, "", "1e999")] == [None] * 4
    assert [money(*each) for each in (("-1", "EUR"), ("1", None), (None, "EUR"))] == [None] * 3
    assert [share(each) for each in ("0.5", "7", "half", None)] == [0.5, None, None, None]
    assert spoken("NO_SHOW") == "No show"
    assert spoken("as they say") == "as they say"
    assert chunks(["1", "2", "3"], 2) == [["1", "2"], ["3"]]
    with pytest.raises(NotAsDocumented):
        number({"id": 7})


def test_a_change_is_said_in_their_words_and_lookups_stay_ours() -> None:
    row: Row = {"stage": "proposal", "amount": {"amount": "9.50", "currency": "USD"}, "close_date": None}
    asked = wanted(DEALS, "sales.deal", row | {"owner_id": "anna@vendor.example"}, links={"account_id": "51"})
    assert asked == {
        "_stage": "proposal",
        "amount": "9.50",
        "_currency": "USD",
        "_day": None,
        "_owner": "anna@vendor.example",
        "_links": {"companies": "51"},
    }
    ticket = wanted(TICKETS, "success.ticket", {"priority": "normal", "status": "open", "person_id": None})
    assert ticket == {"_links": {"contacts": None}, "_stage": "open", "hs_ticket_priority": "MEDIUM"}


def test_a_new_lead_begins_in_the_stage_of_leads_and_a_known_one_keeps_its_own() -> None:
    fields: Row = {"email": "a@b.example", "first_name": "A", "company": "B", "status": "working"}
    assert wanted(CONTACTS, "sales.lead", fields, of=None)["lifecyclestage"] == "lead"
    assert wanted(CONTACTS, "sales.lead", fields) == {
        "email": "a@b.example",
        "firstname": "A",
        "company": "B",
        "hs_lead_status": "IN_PROGRESS",
    }
    assert wanted(CONTACTS, "sales.lead", {"status": "qualified"}) == {"lifecyclestage": "marketingqualifiedlead"}


def test_what_is_only_read_is_expressed_as_nothing() -> None:
    assert wanted(TASKS, "sales.activity", {"subject": "x"}) == {}
    assert wanted(CONTACTS, "marketing.consent", {"state": "granted"}) == {}
    assert wanted(CONTACTS, "marketing.consent", {"state": "withdrawn"}) == {"hs_email_optout": "true"}


def test_only_what_differs_is_sent_and_null_clears() -> None:
    row = recorded(CONTACTS, "Mara")
    asked: Row = {"firstname": "Mara", "city": None, "phone": "+49 431 1234567", "email": "MARA@harbour.example"}
    assert differing(asked, current=row) == {"city": ""}
    assert differing({"hs_lead_status": "NEW", "state": True}, current={}) == {"hs_lead_status": "NEW", "state": "true"}


def test_a_lead_status_that_means_what_is_wanted_stays() -> None:
    row = recorded(CONTACTS, "odd@")
    properties(row)["hs_lead_status"] = "CONNECTED"
    assert differing({"hs_lead_status": "IN_PROGRESS"}, current=row) == {}
    assert differing({"hs_lead_status": "UNQUALIFIED"}, current=row) == {"hs_lead_status": "UNQUALIFIED"}


def test_own_properties_are_written_whole_and_unknown_ones_left_out() -> None:
    row, named = recorded(CONTACTS, "Mara"), frozenset({"favourite_tea", "shoe_size"})
    assert customs({"shoe_size": 39, "unheard_of": "x"}, current=row, named=named) == {
        "shoe_size": "39",
        "favourite_tea": "",
    }
    assert customs({"favourite_tea": "Assam"}, current=row, named=named) == {}
    assert customs(None, current=row, named=named) == {}


def test_feeds_that_are_not_there_are_refused() -> None:
    assert [feed.name for feed in feeds_for({"feeds": "deals, contacts"})] == [CONTACTS, DEALS]
    with pytest.raises(ConnectorError, match="quotes"):
        feeds_for({"feeds": "quotes"})


def test_a_row_that_tells_single_properties_says_only_what_they_say() -> None:
    row: Row = {"id": "7", "properties": {"city": "Kiel", "hs_lead_status": "NEW"}, "_partial": True}
    assert {kind: each.fields for kind, each in said(CONTACTS, row).items()} == {"sales.person": {"city": "Kiel"}}
    other: dict[str, Json] = {"id": "7", "properties": {"dealstage": "closedwon"}, "_partial": True}
    assert said(DEALS, other) == {}, "a stage means nothing without its pipeline"


def heard(*events: Row) -> list[tuple[str, Raw | str]]:
    """Return what a call with these events tells, ids that are asked for among it."""
    return list(read(json.dumps(list[Json](events)).encode()))


def told(*events: Row) -> list[tuple[str, Raw]]:
    """Return the rows that a call with these events tells."""
    return [(feed, each) for feed, each in heard(*events) if isinstance(each, Raw)]


def event(word: str, at: int, **more: Json) -> Row:
    """Return an event of a millisecond."""
    return {"subscriptionType": word, "occurredAt": at, "objectId": 7, "portalId": 4711, "attemptNumber": 0, **more}


def test_changes_of_one_moment_are_one_row_and_those_of_what_is_not_read_are_none() -> None:
    found = told(
        event("contact.propertyChange", 2000, propertyName="city", propertyValue="Kiel"),
        event("object.propertyChange", 1000, objectTypeId="0-1", propertyName="city", propertyValue="Lund"),
        event("contact.propertyChange", 2000, propertyName="zip", propertyValue=""),
        event("contact.propertyChange", 2000, propertyName="num_notes", propertyValue="3"),
        event("line_item.deletion", 900),
    )
    assert [(feed, each.external_id, each.at, properties(each.body)) for feed, each in found] == [
        (CONTACTS, "7", moment("1000"), {"city": "Lund"}),
        (CONTACTS, "7", moment("2000"), {"city": "Kiel", "zip": None}),
    ]
    [last] = CONNECTOR.normalise(*found[-1])
    assert last.fields == {"city": "Kiel", "postal_code": None}


def test_a_company_that_may_be_unknown_is_only_told_with_its_name() -> None:
    city = event("company.propertyChange", 1000, propertyName="city", propertyValue="Kiel")
    assert heard(city) == [(COMPANIES, "7")], "without its name it is asked for"
    [(_, row)] = told(city, event("company.propertyChange", 1000, propertyName="name", propertyValue="Works"))
    assert properties(row.body) == {"city": "Kiel", "name": "Works"}


def test_deletions_and_merges_are_told_in_the_order_in_which_they_happened() -> None:
    found = told(
        event("deal.merge", 3000, primaryObjectId=1, mergedObjectIds=[2], newObjectId=3),
        event("contact.privacyDeletion", 2000),
        event("contact.merge", 1000, primaryObjectId=1, mergedObjectIds=[2], newObjectId=1),
    )
    assert [(feed, each.external_id, each.deleted, each.merged_into) for feed, each in found] == [
        (CONTACTS, "2", True, "1"),
        (CONTACTS, "7", True, None),
        (DEALS, "2", True, "3"),
        (DEALS, "1", True, "3"),
    ]


def test_a_record_is_asked_for_once_where_an_event_does_not_say_what_it_holds() -> None:
    found = heard(
        event("contact.creation", 1000),
        event("contact.propertyChange", 1001, propertyName="city", propertyValue="Kiel"),
        event("deal.propertyChange", 1002, propertyName="dealstage", propertyValue="closedwon"),
        event("deal.propertyChange", 1002, propertyName="amount", propertyValue="7"),
        {**event("contact.associationChange", 1003), "fromObjectId": 7, "toObjectId": 8},
        event("company.restore", 1004),
        event("ticket.creation", 1005),
        event("ticket.deletion", 1006),
    )
    asked = [(feed, each) for feed, each in found if isinstance(each, str)]
    assert asked == [(CONTACTS, "7"), (DEALS, "7"), (COMPANIES, "7")]
    assert [feed for feed, each in found if isinstance(each, Raw)] == [TICKETS], "it says all that single events say"


def test_a_call_that_is_none_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        list(read(b'{"not": "a list"}'))
