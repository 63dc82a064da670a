"""The BottleCRM connector against a real server, which its people change meanwhile."""

from dataclasses import replace
from typing import cast
from uuid import UUID

import pytest

from isthmus.connectors.bottlecrm import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.records import Stored, find
from isthmus.sync.conflicts import Choice, Filter, cases, resolve
from isthmus.sync.connections import Options, connect
from isthmus.sync.connector import ConnectorError, Outcome, Raw, Session
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Store
from isthmus.sync.running import synchronise
from isthmus.sync.runs import Run
from tests.conformance.conftest import SYSTEM, Bench, Side
from tests.conformance.servers.bottlecrm import BottleCrmCounterpart
from tests.rooms.connectors.bottlecrm_room import BottleCrm, Row, fixture, opened, pages, rows
from tests.rooms.connectors.changes import change

ACCOUNTS, CONTACTS, LEADS, DEALS, CASES, TASKS = (feed.name for feed in CONNECTOR.feeds)
ACCOUNT, PERSON, LEAD, DEAL, TICKET, ACTIVITY = (feed.types[0] for feed in CONNECTOR.feeds)
# What differs from one server to the next.
PASSING = ("id", "account", "contacts", "linked_accounts", "created_by", "opportunity", "pipeline")


def lasting(value: Json) -> Json:
    """Return a row without what differs from one server to the next."""
    if isinstance(value, dict):
        return {name: lasting(each) for name, each in value.items() if name not in PASSING and not name.endswith("_at")}
    return [lasting(each) for each in value] if isinstance(value, list) else value


def said(feed: str, row: Raw | None) -> Row:
    """Return what a row says, with the ids of what it links to."""
    assert row is not None
    [observation] = CONNECTOR.normalise(feed, row)
    return dict(observation.fields) | {name: each.external_id for name, each in observation.links.items()}


async def told(session: Session, feed: str, cursor: str | None) -> tuple[dict[str, Raw], str]:
    """Return what a reading tells, by id, and where it ends."""
    found = await pages(session, feed, cursor)
    return {row.external_id: row for page in found for row in page.rows}, found[-1].cursor


async def test_the_recorded_rows_are_what_the_server_sends(bottle: BottleCrm) -> None:
    async with opened(bottle) as session:
        for feed in CONNECTOR.feeds:
            sent = [lasting(cast("Json", row.body)) for row in await rows(session, feed.name)]
            wanted = [lasting(cast("Json", each)) for each in fixture(feed.name)]
            assert wanted
            assert [each for each in wanted if each not in sent] == []


async def test_only_an_admin_is_let_in_and_a_connection_without_a_key_says_where_one_is_made(
    bottle: BottleCrm,
) -> None:
    async with opened(bottle) as session:
        assert await session.check() == f"isthmus@bottle.example at {bottle.url} (BottleCRM)"
    async with opened(bottle, token=bottle.intern) as session:
        with pytest.raises(ConnectorError, match="only what is assigned") as caught:
            await session.check()
        with pytest.raises(ConnectorError, match="only what is assigned"):
            await rows(session, CONTACTS)
        with pytest.raises(ConnectorError, match="only what is assigned"):
            _ = [each async for some in session.ids(CONTACTS) for each in some]
    assert "an admin" in caught.value.fix
    with pytest.raises(ConnectorError, match="has no key"):
        async with opened(bottle, token=" "):
            pass


async def test_a_lead_that_is_converted_comes_as_such_and_one_that_goes_is_told(bottle: BottleCrm) -> None:
    named = {"first_name": "Lea", "last_name": "Lind", "company_name": "Lind"}
    kept, gone, closed = (
        bottle.make("leads", email=f"{each}@lind.example", status="assigned", **named) for each in "abc"
    )
    async with opened(bottle, page_rows="2") as session:
        first, cursor = await told(session, LEADS, None)
        assert {kept, gone, closed} <= set(first)
        bottle.change("leads", kept, status="converted")
        bottle.delete("leads", gone)
        bottle.change("leads", closed, status="closed")
        second, cursor = await told(session, LEADS, cursor)
        assert said(LEADS, second[kept])["status"] == "converted"
        assert second[gone].deleted
        assert said(LEADS, second[closed])["status"] == "disqualified"
        third, _ = await told(session, LEADS, cursor)
        assert not {kept, gone} & set(third), "what is known to have left is asked for once"
        whole = await pages(session, LEADS, cursor)
        there = {each async for some in session.ids(LEADS) for each in some}
        again, _ = await told(session, LEADS, whole[1].cursor)
    assert closed in there
    assert not {kept, gone} & there
    assert not {kept, gone} & set(again), "an interrupted reading knows as well what was listed"


async def test_a_ticket_that_is_merged_becomes_part_of_the_other_and_old_merges_are_not_told(bottle: BottleCrm) -> None:
    case = {"status": "New", "priority": "Low"}
    winner, loser = (bottle.make("cases", name=f"Merging {each}", **case) for each in "ab")
    async with opened(bottle) as session:
        first, cursor = await told(session, CASES, None)
        assert {winner, loser} <= set(first)
        status, answer = bottle.ask("POST", f"cases/{loser}/merge/{winner}/")
        assert status == 200, answer
        second, _ = await told(session, CASES, cursor)
        assert (second[loser].deleted, second[loser].merged_into) == (True, winner)
        there = {each async for some in session.ids(CASES) for each in some}
        assert winner in there
        assert loser not in there
        anew, _ = await told(session, CASES, None)
        assert loser not in anew
        [late] = await session.write(CASES, [change(TICKET, {"body": "Late"}, of=loser)])
    assert late.outcome is Outcome.MOVED


async def test_rows_that_go_while_pages_are_read_hide_no_other(bottle: BottleCrm) -> None:
    made = {bottle.make("accounts", name=f"Shifting {each}") for each in range(9)}
    async with opened(bottle, page_rows="2") as session:
        seen: list[str] = []
        left = set(made)
        async for page in session.read(ACCOUNTS, cursor=None):
            seen += [row.external_id for row in page.rows]
            for each in left & set(seen):
                bottle.delete("accounts", each)
            left -= set(seen)
    assert made <= set(seen)


async def test_everything_that_can_be_said_is_made_there_and_read_back_as_it_was_said(bottle: BottleCrm) -> None:
    account: Row = {"name": "Whole AG", "website": "whole.example", "phone": "+41 44 555 01 02", "industry": "Banking"}
    account |= {"annual_revenue": {"amount": "10.50", "currency": "CHF"}, "employee_count": 3, "city": "Basel"}
    account |= {"country": "Switzerland", "tags": ["silver"], "owner_id": "agent@bottle.example"}
    account |= {"custom": {"tier": "two"}, "street": "Rheinsprung 1", "description": "Long known."}
    person: Row = {"first_name": "Wanda", "email": "wanda@whole.example", "title": "CEO", "notes": "Calls at noon."}
    lead: Row = {"email": "wim@whole.example", "first_name": "Wim", "company": "Whole", "status": "qualified"}
    lead |= {"expected_value": {"amount": "7", "currency": "EUR"}, "message": "Call me.", "tags": ["silver"]}
    deal: Row = {"name": "Whole deal", "stage": "proposal", "probability": 0.4, "close_date": "2026-12-24"}
    deal |= {"amount": {"amount": "99.90", "currency": "EUR"}, "owner_id": "isthmus@bottle.example"}
    ticket: Row = {"subject": "Whole ticket", "body": "All of it.", "status": "open", "kind": "problem"}
    task: Row = {"subject": "Whole task", "body": "Soon.", "due_at": "2026-12-24T00:00:00Z", "completed": False}

    async def made(session: Session, feed: str, kind: str, fields: Row, **links: str) -> Row:
        [answer] = await session.write(feed, [change(kind, fields, links=links, key=f"whole {kind}")])
        assert (answer.outcome, answer.reason) == (Outcome.WRITTEN, "")
        return said(feed, answer.raw) | {"id": answer.external_id}

    async with opened(bottle) as session:
        company = await made(session, ACCOUNTS, ACCOUNT, account)
        corrected: Row = {"website": "https://whole.example", "industry": "BANKING", "country": "CH"}
        assert company.items() >= (account | corrected).items()
        somebody = await made(session, CONTACTS, PERSON, person, account_id=str(company["id"]))
        assert somebody.items() >= (person | {"last_name": None, "account_id": company["id"]}).items()
        wanted = lead | {"status": "working", "expected_value": {"amount": "7.00", "currency": "EUR"}}
        assert (await made(session, LEADS, LEAD, lead)).items() >= wanted.items()
        links = {"account_id": str(company["id"]), "person_id": str(somebody["id"])}
        sale = await made(session, DEALS, DEAL, deal, **links)
        assert sale.items() >= (deal | links).items()
        assert (await made(session, CASES, TICKET, ticket, **links)).items() >= (ticket | links).items()
        hung = await made(session, TASKS, ACTIVITY, task, deal_id=str(sale["id"]), **links)
    assert hung.items() >= {"due_at": task["due_at"], "completed": False, "deal_id": sale["id"]}.items()
    assert bottle.get(TASKS, str(hung["id"]))["description"] == "Soon."
    async with opened(bottle) as session:
        again = await made(session, TASKS, ACTIVITY, task, deal_id=str(sale["id"]), **links)
        assert again["id"] == hung["id"], "an attempt whose answer was lost makes nothing twice"
        assert (await made(session, ACCOUNTS, ACCOUNT, account))["id"] == company["id"]


async def test_each_change_of_a_batch_has_its_own_answer_in_the_words_of_the_server(bottle: BottleCrm) -> None:
    of = bottle.make("accounts", name="Batch One", city="Gent")
    bottle.make("accounts", name="Batch Two")
    deal = bottle.make("opportunities", name="Batch deal")
    changes = [
        change(ACCOUNT, {"name": "batch two"}, of=of),
        change(ACCOUNT, {"country": "Atlantis", "city": "Bruges"}, of=of),
        change(ACCOUNT, {"country": "Atlantis"}, of=of),
        change(ACCOUNT, {"owner_id": "nobody@nowhere.example"}, of=of),
        change(ACCOUNT, {"name": "Ghost"}, of="00000000-0000-0000-0000-000000000007"),
        change(ACCOUNT, {"city": "Bruges"}, of=of),
        change(PERSON, {"first_name": "Not"}, of=of),
        change(ACCOUNT, {"tags": ["gold"], "phone": None, "custom": {"unheard": "of"}}, of=of),
    ]
    async with opened(bottle) as session:
        answers = await session.write(ACCOUNTS, changes)
        [won] = await session.write(DEALS, [change(DEAL, {"stage": "closed_won"}, of=deal)])
    written, refused = Outcome.WRITTEN, Outcome.REFUSED
    expected = [refused, written, refused, refused, Outcome.MOVED, written, refused, written]
    assert [each.outcome for each in answers] == expected
    assert "already exists with this name" in answers[0].reason
    assert "It has no country 'Atlantis'." in answers[1].reason
    assert "enter them there first" in answers[3].reason
    assert "did not take custom_fields" in answers[7].reason
    held = bottle.get(ACCOUNTS, of)
    assert (held["name"], held["city"], held["country"]) == ("Batch One", "Bruges", None)
    assert won.outcome is refused
    assert "closed_on" in won.reason


async def test_what_a_record_has_several_of_and_the_company_of_a_ticket_are_left_alone(bottle: BottleCrm) -> None:
    company, other = (bottle.make("accounts", name=f"Several {each}") for each in "ab")
    one, two = (bottle.make("contacts", first_name=each, last_name="Several") for each in "ab")
    ticket = bottle.make("cases", name="Several", status="New", priority="Low", account=company, contacts=[one, two])
    edit = change(TICKET, {"body": "Taken"}, of=ticket, links={"person_id": two, "account_id": other})
    async with opened(bottle) as session:
        found, _ = await told(session, CASES, None)
        assert said(CASES, found[ticket])["person_id"] == one, "the one who was linked first"
        [answer] = await session.write(CASES, [edit])
    assert answer.outcome is Outcome.WRITTEN
    assert "did not take contacts, account" in answer.reason
    held = said(CASES, answer.raw)
    assert (held["body"], held["person_id"], held["account_id"]) == ("Taken", one, company)


@pytest.fixture
def bench(bottle: BottleCrm, store: Store, workspace: int) -> Bench:
    """The engine between a fresh workspace and the server."""
    return Bench(Side(CONNECTOR, BottleCrmCounterpart(bottle, bottle.settings)), store, workspace)


async def test_both_sides_agree_through_edits_deletions_a_rename_and_a_conflict(
    bottle: BottleCrm, bench: Bench
) -> None:
    edited, here, there, renamed, contested = (
        bottle.make("contacts", first_name=f"Agreement {each}", last_name="Lane", email=f"agree{each}@lane.example")
        for each in range(5)
    )
    run = await bench.begin()
    # The bench reads contacts alone, so that those of companies that it does not know wait for them.
    assert run.status in (Status.HEALTHY, Status.DEGRADED), run.error

    made = await bench.make(first_name="Made here", last_name="Lane", email="made@lane.example", title="Buyer")
    await bench.edit(edited, city="Bruges")
    bottle.change("contacts", edited, first_name="Theirs", department="Sales")
    await bench.delete(here)
    bottle.delete("contacts", there)
    bottle.change("contacts", renamed, last_name="Street")
    await bench.edit(contested, email="ours@lane.example")
    bottle.change("contacts", contested, email="theirs@lane.example")
    run = await bench.sync()
    assert run.status in (Status.HEALTHY, Status.DEGRADED), run.error
    assert (run.conflicts, run.written, bench.bends.writes) == (1, 3, 3), "one made, one edited, one deleted"

    row, record = bottle.get("contacts", edited), await bench.of(edited)
    assert record is not None
    assert (row["first_name"], row["department"], row["city"]) == ("Theirs", "Sales", "Bruges")
    assert [record.values[name] for name in ("first_name", "department", "city")] == ["Theirs", "Sales", "Bruges"]
    assert bottle.get("contacts", here) == {}
    assert await bench.held(there) is None
    record = await bench.of(renamed)
    assert record is not None
    assert record.values["last_name"] == bottle.get("contacts", renamed)["last_name"] == "Street"
    assert [each.id for each in await bench.records() if each.values["first_name"] == "Made here"] == [made]

    record = await bench.of(contested)
    assert record is not None
    async with bench.store.database.transaction(bench.scope()) as tx:
        [case] = await cases(tx, bench.store, where=Filter(record_id=record.id))
    assert (case.field, sorted([str(case.kept), str(case.claimed)])) == (
        "email",
        ["ours@lane.example", "theirs@lane.example"],
    )
    await resolve(bench.store, bench.scope(), case.id, Choice.VALUE, value="ours@lane.example")
    assert (await bench.sync()).written == 1
    assert bottle.get("contacts", contested)["email"] == "ours@lane.example"
    run = await bench.sync()
    assert (run.created, run.changed, run.written, run.conflicts) == (0, 0, 0, 0), run.error
    assert bench.bends.writes == 4, "as many writes as edits"


async def of(bench: Bench, kind: str, external_id: str) -> Stored:
    """Return the record of a type that an id means."""
    query = "select record_id from ref where workspace = current_workspace() and type = %s and external_id = %s"
    [(record_id,)] = await bench.rows(query, kind, external_id)
    assert isinstance(record_id, UUID)
    async with bench.store.database.transaction(bench.scope()) as tx:
        return (await find(tx, bench.store.vault, bench.store.schema[kind], [record_id]))[record_id]


async def test_all_kinds_of_records_come_with_their_links_and_are_edited_on_both_sides(
    bottle: BottleCrm, bench: Bench
) -> None:
    company = bottle.make("accounts", name="Linked BV", website="https://linked.example")
    person = bottle.make("contacts", first_name="Lin", last_name="Ked", email="lin@linked.example", account=company)
    lead = bottle.make("leads", first_name="Lee", email="lee@lead.example", company_name="Lead", status="assigned")
    deal = bottle.make(
        "opportunities", name="Linked deal", account=company, contacts=[person], amount="10.00", currency="EUR"
    )
    ticket = bottle.make("cases", name="Linked?", status="New", priority="Low", account=company, contacts=[person])
    engine = replace(bench.engine, connectors={CONNECTOR.name: CONNECTOR})
    async with bench.store.database.transaction(bench.scope()) as tx:
        types = tuple(name for feed in CONNECTOR.feeds for name in feed.writes)
        await connect(
            tx, bench.store.vault, CONNECTOR, name=SYSTEM, settings=bottle.settings, options=Options(create=types)
        )

    async def sync() -> Run:
        return await synchronise(engine, workspace=bench.workspace, connection=SYSTEM)

    run = await sync()
    assert (run.status, run.written, run.conflicts) == (Status.HEALTHY, 0, 0), run.error
    assert run.created >= 6
    owned, sold, asked = [
        await of(bench, *each)
        for each in (("sales.account", company), ("sales.deal", deal), ("success.ticket", ticket))
    ]
    known = await of(bench, "sales.person", person)
    for record in (sold, asked):
        assert (record.values["account_id"], record.values["person_id"]) == (str(owned.id), str(known.id))
    again = await sync()
    assert (again.created, again.changed, again.written) == (0, 0, 0), again.error

    prospect = await of(bench, "sales.lead", lead)
    edits: tuple[tuple[str, Stored, dict[str, Json]], ...] = (
        ("sales.account", owned, {"city": "Breda"}),
        ("sales.lead", prospect, {"title": "Buyer"}),
        ("sales.deal", sold, {"stage": "proposal", "probability": 0.4}),
        ("success.ticket", asked, {"priority": "urgent", "body": "Ours"}),
    )
    for kind, record, fields in edits:
        await edit(bench.store, bench.scope(), kind, record.id, fields)
    bottle.change("opportunities", deal, name="Linked deal 2", closed_on="2026-12-24")
    bottle.change("cases", ticket, status="Assigned")
    bottle.change("leads", lead, status="converted")
    run = await sync()
    assert (run.status, run.written, run.conflicts) == (Status.HEALTHY, 4, 0), run.error
    assert bottle.get("accounts", company)["city"] == "Breda"
    assert bottle.get("leads", lead)["job_title"] == "Buyer"
    held = bottle.get("opportunities", deal)
    assert (held["name"], held["stage"], held["probability"]) == ("Linked deal 2", "PROPOSAL", 40)
    held = bottle.get("cases", ticket)
    assert (held["status"], held["priority"], held["description"]) == ("Assigned", "Urgent", "Ours")
    sold, asked = await of(bench, "sales.deal", deal), await of(bench, "success.ticket", ticket)
    assert (sold.values["name"], sold.values["stage"], str(sold.values["close_date"])) == (
        "Linked deal 2",
        "proposal",
        "2026-12-24",
    )
    assert (asked.values["status"], asked.values["priority"]) == ("open", "urgent")
    prospect = await of(bench, "sales.lead", lead)
    assert (prospect.values["status"], prospect.deleted_at) == ("converted", None)
    run = await sync()
    assert (run.created, run.changed, run.written, run.conflicts) == (0, 0, 0, 0), run.error
