"""The mapping, from rows as the fake organisation sent them; and back."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from isthmus.connectors.salesforce import CONNECTOR, meaning
from isthmus.connectors.salesforce.cursor import Cursor, Place
from isthmus.connectors.salesforce.expressing import Refusal, stands, values
from isthmus.connectors.salesforce.fake.fields import Organisation
from isthmus.connectors.salesforce.fake.soql import Comparison, parse
from isthmus.connectors.salesforce.shapes import Column, Shape, raw, version
from isthmus.connectors.salesforce.signing import GENERAL_HOSTS, audience_of, spoken_with
from isthmus.connectors.salesforce.tables import BY_FEED
from isthmus.connectors.salesforce.wire import (
    Row,
    among,
    amount,
    http_date,
    literal,
    moment,
    quoted,
    select,
    stamp,
    whole_id,
)
from isthmus.domains.marketing.records import CAMPAIGN, CAMPAIGN_MEMBER
from isthmus.domains.sales.records import ACCOUNT, ACTIVITY, DEAL, LEAD, PERSON, STAGE_CHANGE, DealStage
from isthmus.domains.success.records import TICKET
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, Raw
from isthmus.sync.drift import drift_of

TYPES: dict[str, RecordType] = {
    each.name: each for each in (ACCOUNT, ACTIVITY, CAMPAIGN, CAMPAIGN_MEMBER, DEAL, LEAD, PERSON, STAGE_CHANGE, TICKET)
}
STAGE_ROWS: list[Row] = [
    {"ApiName": "First talk", "IsActive": True, "IsClosed": False, "IsWon": False, "DefaultProbability": 5},
    {"ApiName": "Offer sent", "IsActive": False, "IsClosed": False, "IsWon": False, "DefaultProbability": 55},
    {"ApiName": "Offer out", "IsActive": True, "IsClosed": False, "IsWon": False, "DefaultProbability": 60},
    {"ApiName": "Signed", "IsActive": True, "IsClosed": True, "IsWon": True, "DefaultProbability": 100},
]


def recorded(feed: str, at: int = 0) -> Row:
    """Return a copy of a recorded row."""
    text = (Path(__file__).parent / "fixtures" / f"{feed}.json").read_text("utf-8")
    return deepcopy(cast("list[Row]", json.loads(text))[at])


def every(feed: str) -> list[Row]:
    """Return all recorded rows of a feed."""
    text = (Path(__file__).parent / "fixtures" / f"{feed}.json").read_text("utf-8")
    return cast("list[Row]", json.loads(text))


def told(feed: str, row: Row) -> list[Observation]:
    """Return what a row says."""
    return list(CONNECTOR.normalise(feed, Raw(external_id=str(row["Id"]), body=row, at=moment(row["SystemModstamp"]))))


def said(feed: str, row: Row) -> Observation:
    """Return the one thing that a row says."""
    [observation] = told(feed, row)
    return observation


def links(observation: Observation) -> dict[str, str]:
    """Return which records a row points to."""
    return {name: each.external_id for name, each in observation.links.items()}


def shape(feed: str, *, currencies: bool = True) -> Shape:
    """Return the shape of a table as the fake describes it."""
    table = BY_FEED[feed]
    known = Organisation(currencies=currencies).tables[table.name].fields.values()
    columns = {
        each.name: Column(each.name, each.kind, each.creatable, each.changeable, each.filterable, each.words)
        for each in known
    }
    return Shape(table, columns, "" if currencies else "EUR")


def sent(feed: str, fields: Row, *, current: Row | None = None, currencies: bool = True) -> Row:
    """Return what is sent for a change of a record, or for a new one."""
    of = None if current is None else "1"
    change = Change(record_id=UUID(int=1), type=BY_FEED[feed].type, fields=fields, external_id=of)
    wanted = CONNECTOR.express(feed, change)
    return values(shape(feed, currencies=currencies), wanted, current=current or {}, stages=STAGE_ROWS)


@pytest.mark.parametrize("feed", BY_FEED)
def test_every_recorded_row_is_as_expected_and_becomes_valid_records(feed: str) -> None:
    [kept] = [each for each in CONNECTOR.feeds if each.name == feed]
    for row in every(feed):
        assert drift_of(kept, row) is None
        assert set(row) <= set(kept.expects)
        for observation in told(feed, row):
            kind = TYPES[observation.type]
            given = {name: value for name, value in observation.fields.items() if value is not None}
            assert not [name for name in (*observation.fields, *observation.links) if kind.field(name) is None]
            msgspec.convert(given, kind.struct, strict=False)
            assert observation.at == moment(row["SystemModstamp"])


def test_an_account_comes_with_kind_revenue_place_owner_and_own_fields() -> None:
    fields = said("accounts", recorded("accounts")).fields
    assert (fields["name"], fields["kind"], fields["industry"]) == ("Quince & Daughters", "customer", "Software")
    assert fields["annual_revenue"] == {"amount": "1250000.5", "currency": "EUR"}
    assert (fields["city"], fields["country"], fields["owner_id"]) == ("Gent", "BE", "ines@quince.example")
    assert fields["custom"] == {"Tier__c": "Gold", "Seats__c": 240.0}


def test_a_contact_comes_with_its_account_and_the_phone_that_there_is() -> None:
    person = said("contacts", recorded("contacts"))
    assert person.fields["phone"] == "+32 470 55 01 02"
    assert person.fields["custom"] == {
        "Newsletter__c": True,
        "Score__c": 7.5,
        "Since__c": "2025-03-01T10:00:00.000+0000",
    }
    assert links(person) == {"account_id": recorded("accounts")["Id"]}


def test_a_converted_lead_points_to_its_account_person_and_deal() -> None:
    lead, converted = (said("leads", row) for row in every("leads"))
    assert (lead.fields["status"], lead.fields["source"], lead.fields["company_size"]) == ("new", "form_submission", 12)
    assert links(lead) == {}
    assert converted.fields["status"] == "converted"
    assert links(converted) == {
        "account_id": recorded("accounts")["Id"],
        "person_id": recorded("contacts")["Id"],
        "deal_id": recorded("opportunities")["Id"],
    }


def test_a_deal_comes_with_its_amount_and_its_end() -> None:
    deal = said("opportunities", recorded("opportunities"))
    assert (deal.fields["stage"], deal.fields["won"], deal.fields["probability"]) == ("closed_won", True, 1.0)
    assert deal.fields["amount"] == {"amount": "43000", "currency": "EUR"}
    assert deal.fields["closed_at"]


def test_the_history_says_where_a_deal_was_and_came_and_passes_over_other_changes() -> None:
    found = [told("opportunity_history", row) for row in every("opportunity_history")]
    assert [len(each) for each in found] == [1, 1, 0, 1], "the third row is a change of the amount"
    stages = [(each.fields["from_stage"], each.fields["to_stage"]) for some in found for each in some]
    assert stages == [(None, "qualification"), ("qualification", "negotiation"), ("negotiation", "closed_won")]


def test_an_activity_is_with_a_contact_or_a_lead_and_about_an_account_or_a_deal() -> None:
    call, meeting = said("tasks", recorded("tasks")), said("events", recorded("events"))
    assert (call.fields["kind"], call.fields["outbound"], call.fields["duration_s"]) == ("call", True, 90)
    assert call.fields["completed"]
    assert links(call) == {"person_id": recorded("contacts")["Id"], "deal_id": recorded("opportunities")["Id"]}
    assert (meeting.fields["kind"], meeting.fields["duration_s"]) == ("meeting", 45 * 60)
    assert links(meeting) == {"lead_id": recorded("leads")["Id"], "account_id": recorded("accounts")["Id"]}


def test_campaigns_members_and_cases_come_in_our_words() -> None:
    campaign, member = said("campaigns", recorded("campaigns")), said("campaign_members", recorded("campaign_members"))
    assert (campaign.fields["status"], campaign.fields["channel"]) == ("active", "event")
    assert (member.fields["status"], member.fields["responded_at"]) == ("responded", "2026-11-22T00:00:00Z")
    case = said("cases", recorded("cases")).fields
    assert (case["status"], case["priority"], case["kind"], case["channel"]) == ("open", "high", "problem", "Phone")


def test_of_a_field_that_our_user_may_not_see_nothing_is_said() -> None:
    row = recorded("accounts")
    for name in ("Phone", "Owner", "AnnualRevenue", "ParentId"):
        row.pop(name)
    fields = said("accounts", row).fields
    assert not {"phone", "owner_id", "annual_revenue", "parent_id"} & set(fields)
    assert fields["website"] == "https://quince.example"


def test_what_is_written_for_want_of_a_name_means_nothing() -> None:
    row = recorded("leads") | {"LastName": "[not provided]"}
    assert said("leads", row).fields["last_name"] is None
    new: Row = {"first_name": "Ada", "email": "ada@quince.example", "company": "Quince"}
    assert sent("leads", new)["LastName"] == "[not provided]"


@pytest.mark.parametrize(
    ("name", "share", "stage"),
    [
        ("Needs Analysis", 99, "needs_analysis"),
        ("Ours", 0, "qualification"),
        ("Ours", 20, "needs_analysis"),
        ("Ours", 50, "proposal"),
        ("Ours", 75, "negotiation"),
        ("Closed Won", 80, "negotiation"),
    ],
)
def test_an_open_stage_is_told_by_its_name_or_its_probability(name: str, share: int, stage: str) -> None:
    assert meaning.stage(name, closed=False, won=False, likely=share) == stage


def test_a_stage_is_written_in_the_words_of_the_organisation_and_stays_where_it_means_the_same() -> None:
    assert sent("opportunities", {"stage": "proposal"}) == {"StageName": "Offer out"}
    assert sent("opportunities", {"stage": "closed_won"}) == {"StageName": "Signed"}
    held: Row = {"StageName": "Offer sent", "Probability": 55, "IsClosed": False, "IsWon": False}
    assert sent("opportunities", {"stage": "proposal"}, current=held) == {}
    with pytest.raises(Refusal, match="negotiation"):
        sent("opportunities", {"stage": "negotiation"})
    known = {meaning.stage(each, closed=False, won=False, likely=0) for each in meaning.STANDARD_STAGES}
    assert known | {"closed_won", "closed_lost"} == set(DealStage)


def test_only_what_differs_is_sent() -> None:
    row = recorded("accounts")
    same: Row = {"name": "Quince & Daughters", "kind": "customer", "employee_count": 120, "city": "Gent "}
    same["annual_revenue"] = {"amount": "1250000.50", "currency": "EUR"}
    same["description"] = 'Jam,\r\n"the best"'
    assert sent("accounts", same, current=row) == {}
    other: Row = {"name": "Quince", "kind": "partner", "city": None, "custom": {"Tier__c": "Silver", "LeadSource": "x"}}
    other["annual_revenue"] = {"amount": "10", "currency": "USD"}
    assert sent("accounts", other, current=row) == {
        "Name": "Quince",
        "Type": "Channel Partner / Reseller",
        "BillingCity": None,
        "Tier__c": "Silver",
        "AnnualRevenue": 10,
        "CurrencyIsoCode": "USD",
    }


def test_own_fields_that_are_ours_no_more_are_cleared_and_formulas_left_alone() -> None:
    assert sent("accounts", {"custom": {}}, current=recorded("accounts")) == {"Tier__c": None}
    assert sent("accounts", {"custom": {"Seats__c": 9, "Nowhere__c": 1}}, current=recorded("accounts")) == {
        "Tier__c": None
    }


def test_a_phone_is_written_where_the_one_that_we_read_stands() -> None:
    row = recorded("contacts")
    assert sent("contacts", {"phone": "+32 9 1"}, current=row) == {"MobilePhone": "+32 9 1"}
    assert sent("contacts", {"phone": "+32 9 1"}, current=row | {"Phone": "+32 9 0"}) == {"Phone": "+32 9 1"}


def test_an_organisation_with_one_currency_refuses_another() -> None:
    euros: Row = {"amount": {"amount": "12.50", "currency": "EUR"}}
    assert sent("opportunities", euros, currencies=False) == {"Amount": 12.5}
    with pytest.raises(Refusal, match="EUR only"):
        sent("opportunities", {"amount": {"amount": "1", "currency": "USD"}}, currencies=False)


def test_a_lead_is_converted_in_salesforce_itself() -> None:
    with pytest.raises(Refusal, match="converted in Salesforce"):
        sent("leads", {"status": "converted"}, current=recorded("leads"))
    assert sent("leads", {"status": "converted", "title": "Cook"}, current=recorded("leads", 1)) == {"Title": "Cook"}


@pytest.mark.parametrize(
    ("ours", "word"), [("solved", "Closed"), ("closed", "Closed"), ("pending", None), ("on_hold", "On Hold")]
)
def test_a_status_of_ours_becomes_the_nearest_of_the_list(ours: str, word: str | None) -> None:
    row = recorded("cases") | {"Status": "New"}
    wanted = sent("cases", {"status": ours}, current=row)["Status"]
    assert wanted == (word or "Working")


def test_versions_tell_edits_within_one_second_apart_and_not_moves_of_the_systems_own_stamp() -> None:
    table, row = BY_FEED["accounts"], recorded("accounts")
    assert version(table, row) != version(table, row | {"Name": "Quince"})
    other: Row = {"Owner": {"Email": "tom@quince.example", "Name": "Tom"}}
    assert version(table, row) != version(table, row | other)
    assert version(table, row) == version(table, row | {"SystemModstamp": "2026-11-23T10:00:00.000+0000"})


def test_a_merged_record_names_the_one_that_it_became_part_of() -> None:
    row = recorded("accounts") | {"IsDeleted": True, "MasterRecordId": "001gL0000000099AAA"}
    gone = raw(shape("accounts"), row)
    assert (gone.deleted, gone.merged_into, gone.body) == (True, "001gL0000000099AAA", {})


def test_rows_of_a_file_are_those_of_a_list() -> None:
    row = recorded("contacts")
    names = shape("contacts").selected
    cells: dict[str, Json] = {**row, **cast("Row", row["_custom"])}
    cells |= {"Owner.Name": "Ines", "Owner.Email": "ines@quince.example", "CreatedDate": "2026-11-22T09:00:00.000Z"}
    line = ",".join(_cell(cells.get(name)) for name in names)
    [found] = shape("contacts").rows_of_file(f"{','.join(names)}\n{line}\n")
    own = cast("Row", found["_custom"])
    assert found | {"_custom": None} == row | {"_custom": None}
    assert {name: own[name] for name in cast("Row", row["_custom"])} == row["_custom"]


def _cell(value: Json) -> str:
    if value is None:
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else f'"{value}"'


@given(value=some.text())
def test_any_text_stands_in_a_query_as_it_is(value: str) -> None:
    query = parse(select(["Id"], "Contact", where=among("LastName", [value, "x"])))
    assert isinstance(query.where, Comparison)
    assert [each.value for each in query.where.values] == [value, "x"]


@given(at=some.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)), of=some.integers(0, 9))  # noqa: DTZ001 - the zone is added.
def test_a_place_survives_its_text_and_comes_after_itself(at: datetime, of: int) -> None:
    here = Place(at.replace(microsecond=0, tzinfo=UTC), f"003gL000000000{of}")
    cursor = Cursor(place=here)
    assert Cursor.parse(cursor.text()) == cursor
    begun = cursor.begun(overlap=timedelta(seconds=60))
    assert begun.place.condition() == f"SystemModstamp >= {literal(here.at - timedelta(seconds=60))}"
    assert begun.ended().place == here
    assert Cursor.parse(begun.text()).begun(overlap=timedelta(hours=1)) == begun, "an interrupted run goes on"


def test_wire_forms() -> None:
    at = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    assert moment("2026-11-23T10:00:00.000+0000") == moment("2026-11-23T10:00:00.000Z") == at
    assert moment("2026-11-23") is None
    assert stamp("2026-11-23T12:00:00.000+0200") == "2026-11-23T10:00:00Z"
    assert http_date("2026-11-23T10:00:00.000+0000") == "Mon, 23 Nov 2026 10:00:00 GMT"
    assert quoted("O'Neil\\\n") == "'O\\'Neil\\\\\\n'"
    assert whole_id("0015g00000AbCdE") == "0015g00000AbCdEAAV"
    assert amount(0.1, "EUR") == {"amount": "0.1", "currency": "EUR"}
    assert amount(1e6, "EUR") == {"amount": "1000000", "currency": "EUR"}
    assert amount(5, None) is None
    assert stands("Name", " Quince ", {"Name": "Quince"})


def test_an_organisations_own_address_is_kept_and_the_general_one_leads_to_the_instance() -> None:
    instance = "https://quince.my.salesforce.com"
    assert spoken_with(f"https://{GENERAL_HOSTS[0]}", instance) == instance
    assert spoken_with("https://quince.example", "https://elsewhere.example") == "https://quince.example"
    assert audience_of(instance) == "https://login.salesforce.com"
    assert audience_of("https://quince--dev.sandbox.my.salesforce.com") == "https://test.salesforce.com"
