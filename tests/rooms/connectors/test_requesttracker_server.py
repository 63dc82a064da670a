"""The Request Tracker connector against a real server, which its agents change meanwhile."""

from datetime import UTC, datetime
from typing import cast

import pytest

from isthmus.connectors.requesttracker import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, Outcome, Raw, Session
from tests.rooms.connectors.changes import change
from tests.rooms.connectors.requesttracker_room import (
    RequestTracker,
    Row,
    fixture,
    latest,
    opened,
    pages,
    rows,
)

TICKETS, USERS = "tickets", "users"
TICKET, PERSON = "success.ticket", "sales.person"
# What differs from one server to the next.
PASSING = ("id", "Created", "LastUpdated", "Started", "Resolved", "Told", "_answered")


def lasting(value: Json) -> Json:
    """Return a row without what differs from one server to the next."""
    if isinstance(value, dict):
        return {name: lasting(each) for name, each in value.items() if name not in PASSING}
    return [lasting(each) for each in value] if isinstance(value, list) else value


async def one(session: Session, feed: str, of: str, cursor: str | None = None) -> Raw:
    """Return the last that is told of a record."""
    return [row for row in await rows(session, feed, cursor) if row.external_id == of][-1]


def said(feed: str, row: Raw | None) -> Row:
    """Return the fields that a row says."""
    assert row is not None
    [observation] = CONNECTOR.normalise(feed, row)
    return dict(observation.fields)


@pytest.mark.parametrize("feed", [TICKETS, USERS])
async def test_the_recorded_rows_are_what_the_server_sends(desk: RequestTracker, feed: str) -> None:
    wanted = [lasting(cast("Json", each)) for each in fixture(feed)]
    async with opened(desk) as session:
        sent = [lasting(cast("Json", row.body)) for row in await rows(session, feed)]
    assert wanted
    for each in wanted:
        assert each in sent


async def test_the_check_says_who_we_are_there(desk: RequestTracker) -> None:
    async with opened(desk) as session:
        assert (await session.check()).startswith(f"isthmus at {desk.url} (Request Tracker 5.")


async def test_a_user_in_another_time_zone_is_refused_with_the_fix(desk: RequestTracker) -> None:
    async with opened(desk, token=desk.agent) as session:
        with pytest.raises(ConnectorError, match="which is not UTC") as caught:
            await session.check()
        with pytest.raises(ConnectorError, match="which is not UTC"):
            await rows(session, TICKETS)
    assert "set the time zone" in caught.value.fix


@pytest.mark.parametrize("feed", [TICKETS, USERS])
async def test_more_changes_in_one_second_than_a_page_holds_are_all_read(desk: RequestTracker, feed: str) -> None:
    async with opened(desk, page_rows="2") as session:
        cursor = await latest(session, feed)
        if feed == TICKETS:
            made = desk.tickets(*(f"Same second {each}" for each in range(5)))
        else:
            made = [desk.user(f"same{each}@second.example") for each in range(5)]
        later = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        for each in made:
            desk.do(f"update {feed} set LastUpdated = ? where id = ?", later, each)  # noqa: S608 - one of two names.
        found = await pages(session, feed, cursor)
        told = [row.external_id for page in found for row in page.rows]
        assert set(made) <= set(told)
        assert max(len(page.rows) for page in found) <= 2
        again = [row.external_id for row in await rows(session, feed, found[-1].cursor)]
    assert set(made) <= set(again), "the last second is read again: more may have happened in it"


async def test_an_agent_who_is_faster_by_an_instant_is_not_overwritten(desk: RequestTracker) -> None:
    of = desk.ticket("Ours or theirs")
    requests: list[int] = []

    async def leave() -> None:
        requests.append(1)
        if len(requests) == 2:
            # The record was read and is as it was decided on; now it moves before the change arrives.
            desk.change("ticket", of, Subject="Theirs")

    settings = {each.name: each.default for each in CONNECTOR.settings if each.default is not None} | desk.settings
    async with opened(desk) as reading:
        version = (await one(reading, TICKETS, of)).version
    async with CONNECTOR.open(settings, leave=leave) as session:
        [answer] = await session.write(TICKETS, [change(TICKET, {"subject": "Ours"}, of=of, version=version)])
    assert (answer.outcome, desk.get("ticket", of)["Subject"]) == (Outcome.MOVED, "Theirs")


async def test_merges_and_deletions_are_told_and_what_was_restored_is_not(desk: RequestTracker) -> None:
    winner, loser, gone, restored = desk.tickets("Winner", "Loser", "Gone", "Restored")
    async with opened(desk) as session:
        cursor = await latest(session, TICKETS)
        desk.change("ticket", loser, MergeInto=int(winner))
        desk.ask("DELETE", f"ticket/{gone}")
        desk.ask("DELETE", f"ticket/{restored}")
        desk.change("ticket", restored, Status="open")
        told = {row.external_id: row for row in await rows(session, TICKETS, cursor)}
        assert (told[loser].deleted, told[loser].merged_into) == (True, winner)
        assert (told[gone].deleted, told[gone].merged_into) == (True, None)
        assert not told[restored].deleted
        there = {each async for some in session.ids(TICKETS) for each in some}
        assert {winner, restored} <= there
        assert not {loser, gone} & there
        [answer] = await session.write(TICKETS, [change(TICKET, {"subject": "Late"}, of=loser)])
    assert (answer.outcome, desk.get("ticket", winner)["Subject"]) == (Outcome.MOVED, "Winner")


async def test_the_first_response_is_what_one_of_the_staff_first_wrote_to_who_asked(desk: RequestTracker) -> None:
    of = desk.ticket("Is anybody there?", Requestor="ask@response.example")
    async with opened(desk) as session:
        desk.answer(of, "Among us.", kind="comment")
        assert said(TICKETS, await one(session, TICKETS, of))["first_response_at"] is None
        desk.answer(of)
        first = said(TICKETS, await one(session, TICKETS, of))["first_response_at"]
        desk.do(
            "update Transactions set Created = '2001-01-01 00:00:00' where ObjectId = ? and Type = 'Correspond'", of
        )
        desk.answer(of, "Once more.")
        assert first
        assert said(TICKETS, await one(session, TICKETS, of))["first_response_at"] == "2001-01-01T00:00:00Z"


async def test_a_new_ticket_goes_whole_and_each_change_of_a_batch_gets_its_own_answer(desk: RequestTracker) -> None:
    person = desk.user("whole@ticket.example", RealName="Whole Ticket")
    fields: Row = {"subject": "Whole", "body": "All of it.", "status": "pending", "priority": "urgent"}
    fields |= {"owner_id": "agent@desk.example", "custom": {"queue": "Orders", "Tier": "gold"}, "channel": "chat"}
    other = desk.ticket("Other")
    async with opened(desk) as session:
        answers = await session.write(
            TICKETS,
            [
                change(TICKET, fields, links={"person_id": person}, key="whole"),
                change(TICKET, {"owner_id": "nobody@nowhere.example"}, of=other),
                change(TICKET, {"subject": "Nowhere", "custom": {"queue": "No such queue"}}, key="nowhere"),
                change(TICKET, {"subject": "Ghost"}, of="999999"),
                change(TICKET, {"subject": "Fine"}, of=other),
                change(PERSON, {"first_name": "Not"}, of=other),
            ],
        )
    refused = Outcome.REFUSED
    expected = [Outcome.WRITTEN, refused, refused, Outcome.MOVED, Outcome.WRITTEN, refused]
    assert [each.outcome for each in answers] == expected, answers[0].reason
    assert "enter them there first" in answers[1].reason
    assert "No such queue" in answers[2].reason
    assert answers[0].raw is not None
    [observation] = CONNECTOR.normalise(TICKETS, answers[0].raw)
    assert observation.links["person_id"].external_id == person
    written = {name: value for name, value in fields.items() if name != "body"}
    assert observation.fields.items() >= written.items()


async def test_customers_are_made_changed_and_disabled_and_a_refusal_has_the_words_of_the_server(
    desk: RequestTracker,
) -> None:
    desk.user("taken@people.example")
    fields: Row = {"first_name": "Ada", "last_name": "Anker", "email": "ada@people.example", "city": "Ghent"}
    async with opened(desk) as session:
        [made] = await session.write(USERS, [change(PERSON, fields, key="ada")])
        of, raw = made.external_id, made.raw
        assert (made.outcome, bool(of)) == (Outcome.WRITTEN, True)
        assert raw is not None
        assert said(USERS, raw).items() >= fields.items()
        edits = [
            change(PERSON, {"last_name": "Bow", "phone": "+32 9 1"}, of=of, version=raw.version),
            change(PERSON, {"email": "taken@people.example"}, of=of),
            change(PERSON, {"first_name": "Nameless"}, key="nameless"),
            change(PERSON, {"first_name": "Nameless"}, key="nameless"),
        ]
        changed, refused, nameless, again = await session.write(USERS, edits)
        assert (changed.outcome, said(USERS, changed.raw)["last_name"]) == (Outcome.WRITTEN, "Bow")
        assert refused.outcome is Outcome.REFUSED
        assert "in use" in refused.reason.lower()
        assert nameless.external_id == again.external_id
        [gone] = await session.write(USERS, [change(PERSON, of=of, deleted=True)])
        there = {each async for some in session.ids(USERS) for each in some}
        ticket = desk.ticket("Of one who went", Requestor="ada@people.example")
        [observation] = CONNECTOR.normalise(TICKETS, await one(session, TICKETS, ticket))
    assert gone.outcome is Outcome.WRITTEN
    assert observation.links == {}, "a ticket does not wait for a person who will never be read"
    assert of not in there
    assert str(desk.get("user", "agent")["id"]) not in there, "the staff are no customers"
    assert desk.get("user", str(of))["Disabled"] == "1"


async def test_a_password_is_taken_where_there_is_no_token(desk: RequestTracker) -> None:
    async with opened(desk, token="", user="isthmus", password="isthmus of the desk") as session:
        assert (await session.check()).startswith("isthmus at")
