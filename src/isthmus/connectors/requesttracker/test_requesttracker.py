"""The mapping, from rows as a real server sent them; and back."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import msgspec
import pytest

from isthmus.connectors.requesttracker import CONNECTOR
from isthmus.connectors.requesttracker.cursor import Cursor, Place, after
from isthmus.connectors.requesttracker.desk import proof
from isthmus.connectors.requesttracker.mapping import NUMBERS, STATES, priority_of, unmet, values
from isthmus.connectors.requesttracker.wire import TICKETS, USERS, Row, moment, stamp, version
from isthmus.connectors.requesttracker.writing import raw
from isthmus.domains.sales.records import PERSON
from isthmus.domains.success.records import TICKET, Priority, TicketStatus
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, ConnectorError, NotAsDocumented

TYPES: dict[str, RecordType] = {each.name: each for each in (PERSON, TICKET)}
AT = datetime(2026, 11, 23, 9, 30, 1, tzinfo=UTC)


def recorded(feed: str, word: str) -> Row:
    """Return a copy of the recorded row that holds a word."""
    text = (Path(__file__).parent / "fixtures" / f"{feed}.json").read_text("utf-8")
    return deepcopy(next(row for row in cast("list[Row]", json.loads(text)) if word in str(row)))


def said(feed: str, row: Row) -> Observation:
    """Return the one thing that a row says."""
    [observation] = CONNECTOR.normalise(feed, raw(feed, row))
    return observation


def wanted(feed: str, fields: Row, *, of: str | None = "7", links: dict[str, str] | None = None) -> Row:
    """Return what a change means in Request Tracker."""
    kind = {TICKETS: "success.ticket", USERS: "sales.person"}[feed]
    change = Change(record_id=UUID(int=1), type=kind, fields=fields, links=links or {}, external_id=of)
    return CONNECTOR.express(feed, change)


@pytest.mark.parametrize("feed", [TICKETS, USERS])
def test_every_recorded_row_becomes_a_valid_record(feed: str) -> None:
    for row in cast("list[Row]", json.loads((Path(__file__).parent / "fixtures" / f"{feed}.json").read_text("utf-8"))):
        observation = said(feed, row)
        kind = TYPES[observation.type]
        given = {name: value for name, value in observation.fields.items() if value is not None}
        assert not [name for name in (*observation.fields, *observation.links) if kind.field(name) is None]
        msgspec.convert(given, kind.struct, strict=False)
        assert observation.at == moment(row["LastUpdated"])


def test_a_ticket_comes_with_its_person_owner_channel_and_times() -> None:
    row = recorded(TICKETS, "The order is late")
    ticket = said(TICKETS, row)
    asking = cast("list[Row]", row["Requestor"])[0]
    assert {name: each.external_id for name, each in ticket.links.items()} == {"person_id": str(asking["id"])}
    assert ticket.fields == {
        "subject": "The order is late",
        "status": "solved",
        "priority": "high",
        "channel": "phone",
        "owner_id": "agent@desk.example",
        "opened_at": row["Created"],
        "first_response_at": row["_answered"],
        "solved_at": row["Resolved"],
        "custom": {"queue": "General"},
    }
    assert row["_answered"]


def test_a_ticket_of_nobody_has_no_owner_person_or_times_and_keeps_its_custom_fields() -> None:
    fields = said(TICKETS, recorded(TICKETS, "Who reads this?")).fields
    assert fields["custom"] == {"queue": "Orders", "Tier": "gold"}
    empty = ("owner_id", "person_id", "first_response_at", "solved_at", "channel")
    assert [fields[name] for name in empty] == [None] * len(empty)


def test_what_one_of_the_staff_asks_is_of_no_person() -> None:
    ticket = said(TICKETS, recorded(TICKETS, "A printer of ours"))
    assert (dict(ticket.links), ticket.fields["person_id"]) == ({}, None)


def test_a_customer_comes_with_name_phone_and_place() -> None:
    person = said(USERS, recorded(USERS, "Ines")).fields
    assert (person["first_name"], person["last_name"], person["email"]) == ("Ines", "Quettier", "ines@quince.example")
    assert (person["city"], person["country"], person["phone"]) == ("Gent", "BE", "+32 9 555 01 02")


def test_every_status_and_priority_of_ours_comes_back_as_it_was_or_in_a_coarser_word() -> None:
    row = recorded(TICKETS, "The order is late")
    coarser = {"on_hold": "pending", "closed": "solved"}
    assert set(STATES) == set(TicketStatus)
    for ours, theirs in STATES.items():
        assert said(TICKETS, row | {"Status": theirs}).fields["status"] == coarser.get(ours, ours)
    assert set(NUMBERS) == set(Priority)
    assert [priority_of(str(number)) for number in NUMBERS.values()] == list(NUMBERS)
    assert said(TICKETS, row | {"Status": "rejected"}).fields["status"] == "closed"


@pytest.mark.parametrize(
    ("times", "status"),
    [
        (("", ""), "new"),
        (("2026-11-23T10:00:00Z", ""), "open"),
        (("2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"), "solved"),
    ],
)
def test_a_status_of_a_life_cycle_of_its_own_is_told_by_its_times(times: tuple[str, str], status: str) -> None:
    row = recorded(TICKETS, "Who reads this?") | {"Status": "in review", "Started": times[0], "Resolved": times[1]}
    assert said(TICKETS, row).fields["status"] == status
    assert values(TICKETS, wanted(TICKETS, {"status": status}), current=row) == {}


def test_only_what_differs_is_sent() -> None:
    row = recorded(TICKETS, "The order is late")
    same: Row = {"subject": "The order is late", "status": "closed", "priority": "high", "channel": "phone"}
    assert values(TICKETS, wanted(TICKETS, same), current=row) == {}
    cast("list[Row]", row["CustomFields"]).append({"id": "8", "name": "Tier", "values": []})
    other: Row = {"subject": "New", "status": "open", "priority": "urgent", "channel": None, "custom": {"Tier": "gold"}}
    assert values(TICKETS, wanted(TICKETS, other), current=row) == {
        "Subject": "New",
        "Status": "open",
        "Priority": "150",
        "CustomFields": {"Tier": "gold", "Channel": None},
    }


def test_a_custom_field_that_the_ticket_cannot_have_or_that_holds_several_values_is_left_alone() -> None:
    row = recorded(TICKETS, "Who reads this?")
    fields = cast("list[Row]", row["CustomFields"])
    fields.append({"id": "9", "name": "Products", "values": ["one", "two"]})
    assert said(TICKETS, row).fields["custom"] == {"queue": "Orders", "Tier": "gold", "Products": "one, two"}
    sent = values(TICKETS, wanted(TICKETS, {"custom": {"Products": "one", "Nowhere": "x", "Tier": 5}}), current=row)
    assert sent == {"CustomFields": {"Tier": "5"}}


def test_a_body_is_sent_with_a_new_ticket_alone() -> None:
    assert wanted(TICKETS, {"body": "It is late."}, of=None) == {"Content": "It is late."}
    assert wanted(TICKETS, {"body": "It is late."}) == {}


def test_the_person_is_the_requestor_and_none_clears_it() -> None:
    assert wanted(TICKETS, {}, links={"person_id": "31"}) == {"Requestor": "31"}
    row = recorded(TICKETS, "The order is late")
    assert values(TICKETS, {"Requestor": "31"}, current=row) == {"Requestor": ["31"]}
    assert values(TICKETS, wanted(TICKETS, {"person_id": None}), current=row) == {"Requestor": []}


def test_the_halves_of_a_name_and_the_phone_go_where_they_stand() -> None:
    row = recorded(USERS, "Ines")
    assert values(USERS, wanted(USERS, {"last_name": "Quint"}), current=row) == {"RealName": "Ines Quint"}
    row |= {"WorkPhone": "", "MobilePhone": "+32 470 55 01 02"}
    assert values(USERS, wanted(USERS, {"phone": "+32 470 55 01 03"}), current=row) == {
        "MobilePhone": "+32 470 55 01 03"
    }
    assert values(USERS, wanted(USERS, {"city": None}), current=row) == {"City": ""}


def test_what_the_server_did_not_take_is_named() -> None:
    row = recorded(TICKETS, "Who reads this?")
    sent: Row = {"Subject": "Other", "Status": "new", "CustomFields": {"Tier": "lead"}, "Requestor": ["31"]}
    assert unmet(TICKETS, sent, row=row) == ["Subject", "Tier", "Requestor"]


def test_two_states_within_one_second_have_two_versions_and_a_record_alone_the_same_as_in_a_search() -> None:
    row = recorded(TICKETS, "The order is late")
    assert version(TICKETS, row) != version(TICKETS, row | {"Subject": "Another"})
    alone: Row = {"Queue": {"id": "1"}, "Owner": {"id": "agent"}, "Requestor": [{"id": "ines@quince.example"}]}
    assert version(TICKETS, row) == version(TICKETS, row | alone)
    user = recorded(USERS, "Ines")
    assert version(USERS, user) == version(USERS, {name: value for name, value in user.items() if value})


def test_a_time_that_is_not_set_is_none() -> None:
    assert (stamp("1970-01-01T00:00:00Z"), stamp(""), stamp(None), moment("yesterday")) == (None,) * 4
    assert stamp("2026-11-23T11:30:01+02:00") == "2026-11-23T09:30:01Z"


def test_a_place_within_a_second_is_asked_for_by_number_and_the_last_second_is_read_again() -> None:
    assert after(Place()) == "id > 0"
    assert after(Place(AT)) == "LastUpdated > '2026-11-23 09:30:00'"
    assert after(Place(AT, 8)) == (
        "LastUpdated > '2026-11-23 09:30:01' OR ( LastUpdated > '2026-11-23 09:30:00'"
        " AND LastUpdated < '2026-11-23 09:30:02' AND id > 8 )"
    )


def test_a_cursor_goes_back_once_for_each_run_and_never_ends_before_where_it_had_been() -> None:
    minute = timedelta(minutes=1)
    cursor = Cursor(place=Place(AT, 8), log=5)
    begun = Cursor.parse(cursor.begun(overlap=minute).text())
    assert begun.place == Place(AT - minute)
    assert begun.begun(overlap=minute) == begun, "an interrupted run goes on where it was"
    assert begun.ended(log=3) == cursor
    assert begun.moved(Place(AT + minute, 2)).ended(log=9) == Cursor(place=Place(AT + minute, 2), log=9)
    assert Cursor().begun(overlap=minute).place == Place()
    with pytest.raises(ConnectorError, match="not one of Request Tracker's"):
        Cursor.parse('{"place": "here"}')


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({}, "Settings, Auth tokens"),
        ({"token": "secret"}, "Settings, Auth tokens"),
        ({"user": "isthmus"}, "`password`"),
    ],
)
def test_a_connection_without_a_key_says_where_one_is_made(settings: dict[str, str], fix: str) -> None:
    with pytest.raises(ConnectorError) as caught:
        proof(settings)
    assert fix in caught.value.fix


def test_a_token_tells_whose_it_is() -> None:
    assert proof({"token": "1-31-abc"}) == ("token 1-31-abc", "31")
    assert proof({"user": "isthmus", "password": "p"}) == ("Basic aXN0aG11czpw", "isthmus")


def test_a_row_without_number_or_time_is_not_as_documented() -> None:
    broken: Json = {"LastUpdated": ""}
    with pytest.raises(NotAsDocumented):
        raw(TICKETS, cast("Row", broken))
