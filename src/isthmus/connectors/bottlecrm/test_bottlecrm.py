"""The mapping, from rows as a real server sent them; and back."""

import json
from copy import deepcopy
from pathlib import Path
from typing import cast
from uuid import UUID

import msgspec
import pytest

from isthmus.connectors.bottlecrm import CONNECTOR
from isthmus.connectors.bottlecrm.cursor import Cursor, Place, behind, packed, unpacked
from isthmus.connectors.bottlecrm.mapping import (
    LEAD_STATES,
    STATES,
    TICKET_STATES,
    express,
    stands,
)
from isthmus.connectors.bottlecrm.wire import (
    ACCOUNTS,
    CASES,
    CONTACTS,
    DEALS,
    LEADS,
    TASKS,
    Row,
    moment,
    pruned,
    version,
)
from isthmus.connectors.bottlecrm.writing import raw
from isthmus.domains.sales.records import ACCOUNT, ACTIVITY, DEAL, LEAD, PERSON, DealStage, LeadStatus
from isthmus.domains.success.records import TICKET, TicketStatus
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, ConnectorError, NotAsDocumented

TYPES: dict[str, RecordType] = {each.name: each for each in (ACCOUNT, PERSON, LEAD, DEAL, TICKET, ACTIVITY)}
FEEDS = (ACCOUNTS, CONTACTS, LEADS, DEALS, CASES, TASKS)


def fixtures(feed: str) -> list[Row]:
    """Return the recorded rows of a feed."""
    return cast("list[Row]", json.loads((Path(__file__).parent / "fixtures" / f"{feed}.json").read_text("utf-8")))


def recorded(feed: str, word: str) -> Row:
    """Return a copy of the recorded row that holds a word."""
    return deepcopy(next(row for row in fixtures(feed) if word in str(row)))


def said(feed: str, row: Row) -> Observation:
    """Return the one thing that a row says."""
    [observation] = CONNECTOR.normalise(feed, raw(row))
    return observation


@pytest.mark.parametrize("feed", FEEDS)
def test_every_recorded_row_becomes_a_valid_record(feed: str) -> None:
    for row in fixtures(feed):
        observation = said(feed, row)
        kind = TYPES[observation.type]
        given = {name: value for name, value in observation.fields.items() if value is not None}
        assert not [name for name in (*observation.fields, *observation.links) if kind.field(name) is None]
        msgspec.convert(given, kind.struct, strict=False)


def test_a_company_comes_with_its_domain_revenue_owner_tags_and_added_fields() -> None:
    account = said(ACCOUNTS, recorded(ACCOUNTS, "Quince GmbH")).fields
    assert account["domain"] == "quince.example"
    assert account["annual_revenue"] == {"amount": "1200000.00", "currency": "EUR"}
    assert (account["owner_id"], account["tags"], account["custom"]) == (
        "agent@bottle.example",
        ["gold"],
        {"tier": "one"},
    )
    assert (account["employee_count"], account["street"], account["country"]) == (40, "Kouter 1", "BE")


def test_a_contact_comes_with_its_company_and_a_dash_is_no_name() -> None:
    ines = said(CONTACTS, recorded(CONTACTS, "Ines"))
    assert ines.links["account_id"].external_id == recorded(ACCOUNTS, "Quince GmbH")["id"]
    only = said(CONTACTS, recorded(CONTACTS, "Only"))
    assert (only.fields["first_name"], only.fields["last_name"], only.fields["account_id"]) == ("Only", None, None)


def test_a_contact_of_one_company_belongs_to_it_and_one_of_two_to_the_primary_alone() -> None:
    row = recorded(CONTACTS, "Ines") | {"account": None}
    assert said(CONTACTS, row).links["account_id"].external_id == cast("list[str]", row["linked_accounts"])[0]
    assert said(CONTACTS, row | {"linked_accounts": cast("Json", ["one", "two"])}).fields["account_id"] is None


def test_a_deal_comes_with_stage_amount_company_person_and_pipeline() -> None:
    deal = said(DEALS, recorded(DEALS, "Quince 2027"))
    assert {name: each.external_id for name, each in deal.links.items()} == {
        "account_id": recorded(ACCOUNTS, "Quince GmbH")["id"],
        "person_id": recorded(CONTACTS, "Ines")["id"],
    }
    fields = deal.fields
    assert (fields["stage"], fields["won"], fields["closed_at"]) == ("negotiation", None, None)
    assert (fields["probability"], fields["pipeline"], fields["close_date"]) == (0.75, "Sales", "2026-12-01")


def test_a_stage_of_a_pipeline_of_its_own_is_told_by_what_kind_of_stage_it_is() -> None:
    row = recorded(DEALS, "Quince 2027") | {"stage": "SIGNED", "stage_kind": "won"}
    fields = said(DEALS, row).fields
    assert (fields["stage"], fields["won"], fields["closed_at"]) == ("closed_won", True, row["stage_changed_at"])
    assert stands("sales.deal", "stage", "closed_won", row)
    assert said(DEALS, row | {"stage": "DEMO_BOOKED", "stage_kind": "open"}).fields["stage"] == "qualification"


def test_every_stage_and_status_of_ours_comes_back_as_it_was_or_in_a_coarser_word() -> None:
    deal, lead, case = recorded(DEALS, "2027"), recorded(LEADS, "Anker"), recorded(CASES, "late")
    kinds = {"closed_won": "won", "closed_lost": "lost"}
    assert set(STATES) == set(DealStage)
    for ours, theirs in STATES.items():
        told = said(DEALS, deal | {"stage": theirs, "stage_kind": kinds.get(ours, "open")}).fields["stage"]
        assert told == {"needs_analysis": "qualification"}.get(ours, ours)
    assert set(LEAD_STATES) == set(LeadStatus) - {"converted"}
    for ours, theirs in LEAD_STATES.items():
        assert said(LEADS, lead | {"status": theirs}).fields["status"] == {"qualified": "working"}.get(ours, ours)
    assert set(TICKET_STATES) == set(TicketStatus)
    for ours, theirs in TICKET_STATES.items():
        told = said(CASES, case | {"status": theirs}).fields["status"]
        assert told == {"on_hold": "pending", "solved": "closed"}.get(ours, ours)


def test_a_lead_is_never_converted_from_here_and_one_that_is_comes_so() -> None:
    assert express("sales.lead", {"status": "converted"}, links={}, new=False) == {}
    assert said(LEADS, recorded(LEADS, "Anker") | {"status": "converted"}).fields["status"] == "converted"
    assert said(LEADS, recorded(LEADS, "Anker") | {"status": None}).fields["status"] == "new"


def test_a_status_that_means_the_same_in_coarser_words_stands() -> None:
    row = recorded(LEADS, "Anker")
    assert stands("sales.lead", "status", "qualified", row)
    assert not stands("sales.lead", "status", "disqualified", row)
    assert stands("success.ticket", "status", "solved", recorded(CASES, "late") | {"status": "Rejected"})
    assert stands("sales.activity", "status", "New", recorded(TASKS, "Call Ines") | {"status": "In Progress"})


def test_a_ticket_comes_with_its_company_person_kind_and_priority() -> None:
    ticket = said(CASES, recorded(CASES, "The order is late"))
    assert set(ticket.links) == {"account_id", "person_id"}
    fields = ticket.fields
    assert (fields["status"], fields["priority"], fields["kind"]) == ("pending", "high", "question")
    assert (fields["body"], fields["solved_at"], fields["escalated"]) == ("Since Monday.", None, False)


def test_a_task_is_of_one_record_alone_and_says_nothing_of_others() -> None:
    task = said(TASKS, recorded(TASKS, "Call Ines"))
    assert set(task.links) == {"deal_id"}
    assert not {"account_id", "lead_id"} & set(task.fields)
    assert (task.fields["due_at"], task.fields["completed"]) == ("2026-12-01T00:00:00Z", False)
    none = said(TASKS, recorded(TASKS, "Sent the offer") | {"account": None}).fields
    assert [none[name] for name in ("account_id", "deal_id", "lead_id")] == [None] * 3


def test_a_task_is_made_on_the_most_telling_record() -> None:
    links = {"account_id": "a", "deal_id": "d", "person_id": "p"}
    made = express("sales.activity", {"subject": "Call", "completed": False}, links=links, new=True)
    assert made == {"title": "Call", "priority": "Medium", "description": None, "status": "New", "opportunity": "d"}


def test_a_new_contact_without_a_name_gets_a_dash_and_a_web_address_its_scheme() -> None:
    person = express("sales.person", {"email": "a@b.example"}, links={"account_id": "a"}, new=True)
    assert person == {"email": "a@b.example", "first_name": "-", "last_name": "-", "account": "a"}
    assert express("sales.account", {"website": "b.example"}, links={}, new=False) == {"website": "https://b.example"}


def test_links_that_are_cleared_are_cleared_there() -> None:
    wanted = express("sales.deal", {"account_id": None, "person_id": None}, links={}, new=False)
    assert wanted == {"account": None, "contacts": None}


def test_money_and_words_are_compared_by_what_they_mean() -> None:
    row = recorded(DEALS, "Quince 2027")
    assert stands("sales.deal", "money", {"amount": "100", "currency": "EUR"}, row)
    assert not stands("sales.deal", "money", {"amount": "100", "currency": "USD"}, row)
    account = recorded(ACCOUNTS, "Quince GmbH")
    assert stands("sales.account", "industry", "Banking", account)
    assert stands("sales.account", "tags", ["Gold"], account)
    assert not stands("sales.account", "custom_fields", {}, account)
    assert stands("sales.account", "description", "", account)


def test_what_changes_by_itself_makes_no_new_version_and_a_time_zone_neither() -> None:
    row = recorded(DEALS, "Quince 2027")
    aged: Row = {**row, "days_in_stage": 9, "created_on_arrow": "9 days ago"}
    assert version(pruned(DEALS, aged) | {"_pipeline": "Sales"}) == version(pruned(DEALS, row) | {"_pipeline": "Sales"})
    told = pruned(ACCOUNTS, {"created_at": "2026-11-23T22:00:00+02:00"})
    assert told == {"created_at": "2026-11-23T20:00:00Z"}
    assert version(row) != version(row | {"amount": "101.00"})
    assert moment("soon") is None


def test_a_row_follows_the_last_one_in_the_order_of_its_list() -> None:
    last = Place(id="5", at="2026-11-23T10:00:00Z")
    assert behind(ACCOUNTS, {"id": "7"}, last)
    assert not behind(ACCOUNTS, {"id": "3"}, last)
    for feed, newer in ((CONTACTS, True), (CASES, False)):
        assert behind(feed, {"id": "9", "created_at": "2026-11-23T11:00:00Z"}, last) is newer
        assert behind(feed, {"id": "9", "created_at": "2026-11-23T09:00:00Z"}, last) is not newer
        assert behind(feed, {"id": "5", "created_at": last.at}, last)
    assert behind(CASES, {"id": "9", "created_at": last.at}, last), "within one instant the higher id comes first"
    assert not behind(CONTACTS, {"id": "9", "created_at": last.at}, last), "they have no order within one instant"


def test_a_row_without_an_id_or_time_is_not_as_documented() -> None:
    broken: Json = {"created_at": ""}
    with pytest.raises(NotAsDocumented):
        raw(cast("Row", broken))
    with pytest.raises(NotAsDocumented):
        behind(CASES, {"id": "1"}, Place(id="2"))


def test_ids_are_kept_in_short_and_a_cursor_of_somebody_else_is_refused() -> None:
    ids = sorted(str(UUID(int=number)) for number in (7, 1, 2**100))
    assert sorted(unpacked(packed(ids))) == ids
    assert Cursor.parse(Cursor(part=1, last=Place(id="5")).text()) == Cursor(part=1, last=Place(id="5"))
    for foreign in ("{of somebody else}", '{"log": 1}'):
        with pytest.raises(ConnectorError, match="not one of BottleCRM's"):
            Cursor.parse(foreign)
    with pytest.raises(ConnectorError, match="not one of BottleCRM's"):
        unpacked("?")


def test_a_change_of_another_type_than_the_feed_holds_means_nothing() -> None:
    change = Change(record_id=UUID(int=1), type="sales.deal", fields={"name": "x"})
    assert CONNECTOR.express(ACCOUNTS, change) == {}
    assert CONNECTOR.express(DEALS, change) == {"name": "x"}
