"""The Tryton connector against a real Tryton server, started as a process of its own."""

import os
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from isthmus.app.counterparts.tryton import TrytonServer, tryton
from isthmus.connectors.tryton import CONNECTOR
from isthmus.connectors.tryton.wire import decimal_form
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.connector import ConnectorError, Outcome, Raw
from tests.rooms.connectors.tryton_room import (
    INVOICES,
    OPPORTUNITIES,
    PARTIES,
    Reader,
    change,
    fixture,
    ids,
    opened,
    opportunity,
    party,
    recorded,
    rows,
)

BURST = 700


def said(feed: str, row: Raw | None) -> Observation:
    """Return what a row says."""
    assert row is not None
    [observation] = CONNECTOR.normalise(feed, row)
    return observation


def without_times(value: Json) -> Json:
    """Return a row without what differs from one server to the next."""
    if isinstance(value, dict):
        lasting = {name: inner for name, inner in value.items() if name not in ("last_modified_at", "_timestamp")}
        if value.get("state") in ("lost", "cancelled"):
            del lasting["end_date"]
        return {name: without_times(inner) for name, inner in lasting.items()}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def ids_of(found: list[Raw]) -> list[str]:
    return [row.external_id for row in found]


async def test_the_recorded_rows_are_what_the_server_sends(tmp_path: Path) -> None:
    with tryton(tmp_path) as server:
        async with opened(server) as session:
            for feed, bodies in (await recorded(session)).items():
                assert without_times(cast("Json", bodies)) == without_times(cast("Json", fixture(feed)))


async def test_the_check_says_who_we_are_there(tryton_server: TrytonServer) -> None:
    async with opened(tryton_server) as session:
        assert await session.check() == f"admin at {tryton_server.url} (company, Tryton 8.2)"


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        ({"key": "0" * 128}, "make a key"),
        ({"password": "not-the-password"}, "Give `user` and `password`"),
        ({"database": "nobody"}, "Check `database`"),
        ({"url": "ftp://127.0.0.1"}, "Give `url` such as"),
        ({"page_rows": "many"}, "Give 500 and 60"),
    ],
)
async def test_a_wrong_setting_is_reported_with_its_fix(
    tryton_server: TrytonServer, wrong: dict[str, str], fix: str
) -> None:
    with pytest.raises(ConnectorError) as caught:
        async with opened(tryton_server, **wrong) as session:
            await session.check()
    assert fix in caught.value.fix
    assert tryton_server.password not in str(caught.value)


async def test_what_was_made_or_edited_after_the_cursor_is_read_and_nothing_else(tryton_server: TrytonServer) -> None:
    login = tryton_server.login()
    edited = opportunity(login, "Edited later")
    opportunity(login, "Left alone")
    async with opened(tryton_server) as session:
        reader = Reader(session, OPPORTUNITIES)
        assert edited in ids_of(await reader.news())
        assert await reader.news() == []
        assert sum(len(page.rows) for page in reader.last) == 1, "only the last instant is read again"
        login.call("model.sale.opportunity.write", [int(edited)], {"amount": decimal_form("77.70")})
        made = opportunity(login, "Made later")
        found = await reader.news()
        assert ids_of(found) == [edited, made]
        assert said(OPPORTUNITIES, found[0]).fields["amount"] == {"amount": "77.70", "currency": "EUR"}
        assert await reader.news() == []


async def test_a_run_reads_again_what_stands_within_the_overlap(tryton_server: TrytonServer) -> None:
    opportunity(tryton_server.login(), "Within the overlap")
    async with opened(tryton_server, overlap_s="3600") as session:
        reader = Reader(session, OPPORTUNITIES)
        assert await reader.news()
        cursor = reader.cursor
        assert await reader.news() == []
        assert sum(len(page.rows) for page in reader.last) == reader.last[0].total
        assert reader.cursor == cursor


async def test_a_contact_that_changed_alone_brings_its_party_again(tryton_server: TrytonServer) -> None:
    login = tryton_server.login()
    contacts: Json = [["create", [{"type": "email", "value": "old@contact.example"}]]]
    number = party(login, "Contact Alone", contact_mechanisms=contacts)
    async with opened(tryton_server) as session:
        reader = Reader(session, PARTIES)
        [before] = [row for row in await reader.news() if row.external_id == number]
        mail = login.find("party.contact_mechanism", ["party", "=", int(number)])
        login.call("model.party.contact_mechanism.write", [mail[0]], {"value": "new@contact.example"})
        [after] = await reader.news()
        assert (after.external_id, after.version) == (number, before.version)
        assert after.at is not None
        assert before.at is not None
        assert after.at > before.at
        assert await reader.news() == []


async def test_a_burst_of_one_instant_is_read_whole_page_by_page(tryton_server: TrytonServer) -> None:
    login = tryton_server.login()
    async with opened(tryton_server, page_rows="100") as session:
        reader = Reader(session, PARTIES)
        assert await reader.news()
        burst: list[dict[str, Json]] = [{"name": f"Burst {each}"} for each in range(BURST)]
        made = login.create(PARTIES, *burst)
        read = await reader.news()
        assert len({row.at for row in read}) == 1
        assert ids_of(read) == [str(number) for number in made]
        assert max(len(page.rows) for page in reader.last) == 100
        assert (reader.last[0].total or 0) >= BURST
        assert [page.more for page in reader.last] == [True] * (len(reader.last) - 1) + [False]


async def test_our_own_company_and_its_staff_are_no_accounts(tryton_server: TrytonServer) -> None:
    async with opened(tryton_server) as session:
        names = {str(row.body["name"]) for row in await rows(session, PARTIES)}
    assert "Harbour Lantern Freight" in names
    assert not names & {"Isthmus Demonstration", "Sales Desk"}


async def test_a_conditional_write_succeeds_once_and_then_its_version_is_stale(tryton_server: TrytonServer) -> None:
    login = tryton_server.login()
    number = opportunity(login, "Contended", amount=decimal_form("10.00"))
    async with opened(tryton_server) as session:
        [row] = [row for row in await rows(session, OPPORTUNITIES) if row.external_id == number]
        amount: Json = {"amount": "25.00", "currency": "EUR"}
        first = change("sales.deal", {"amount": amount}, of=number, version=row.version)
        [done] = await session.write(OPPORTUNITIES, [first])
        assert done.outcome is Outcome.WRITTEN
        assert said(OPPORTUNITIES, done.raw).fields["amount"] == amount
        second = change("sales.deal", {"name": "Overwritten"}, of=number, version=row.version)
        [moved] = await session.write(OPPORTUNITIES, [second])
        assert moved.outcome is Outcome.MOVED
        assert moved.raw == done.raw
    assert login.read(OPPORTUNITIES, int(number), "description")["description"] == "Contended"


async def test_tryton_itself_refuses_a_write_whose_record_moved_since_it_was_looked_at(
    tryton_server: TrytonServer,
) -> None:
    login = tryton_server.login()
    number = opportunity(login, "Moved between look and write")
    async with opened(tryton_server) as session:
        [row] = [row for row in await rows(session, OPPORTUNITIES) if row.external_id == number]
        # Two changes of one batch are looked at together, so the first moves the record under the second.
        both = [change("sales.deal", {"name": each}, of=number, version=row.version) for each in ("First", "Second")]
        outcomes = [answer.outcome for answer in await session.write(OPPORTUNITIES, both)]
    assert outcomes == [Outcome.WRITTEN, Outcome.MOVED]
    assert login.read(OPPORTUNITIES, int(number), "description")["description"] == "First"


async def test_what_is_written_is_there_when_tryton_is_asked_beside_the_connector(tryton_server: TrytonServer) -> None:
    login = tryton_server.login()
    company: dict[str, Json] = {"name": "Written Works", "domain": "written-works.example", "phone": "+49 30 5550777"}
    company |= {"street": "Allee 7", "city": "Berlin", "country": "DE", "tax_id": "DE136695976"}
    human: dict[str, Json] = {"first_name": "Ada", "last_name": "Quill", "email": "ada@written-works.example"}
    async with opened(tryton_server) as session:
        [account, person] = await session.write(
            PARTIES, [change("sales.account", company), change("sales.person", human)]
        )
        number = int(account.external_id or 0)
        assert said(PARTIES, account.raw).fields.items() >= company.items()
        assert said(PARTIES, person.raw).fields.items() >= human.items()
        assert login.read(PARTIES, number, "name", "phone", "website") == {
            "id": number,
            "name": "Written Works",
            "phone": "+49 30 5550777",
            "website": "https://written-works.example",
        }
        deal: dict[str, Json] = {"name": "Works in writing", "amount": {"amount": "1000.50", "currency": "USD"}}
        deal |= {"stage": "needs_analysis", "probability": 0.35, "owner_id": "sales.desk@isthmus.example"}
        links = {"account_id": account.external_id or ""}
        [sale] = await session.write(OPPORTUNITIES, [change("sales.deal", deal, links=links)])
        assert said(OPPORTUNITIES, sale.raw).fields.items() >= deal.items()
        stored = login.read(OPPORTUNITIES, int(sale.external_id or 0), "state", "party", "amount")
        assert (stored["state"], stored["party"]) == ("opportunity", number)
        assert stored["amount"] == decimal_form("1000.50")
        lost = change("sales.deal", {"stage": "closed_lost", "lost_reason": "price"}, of=sale.external_id)
        [ended] = await session.write(OPPORTUNITIES, [lost])
        assert said(OPPORTUNITIES, ended.raw).fields["won"] is False
    assert login.read(OPPORTUNITIES, int(sale.external_id or 0), "state")["state"] == "lost"


async def test_a_creation_whose_answer_was_lost_is_not_made_twice(tryton_server: TrytonServer) -> None:
    wanted = change("sales.account", {"name": "Once Only", "website": "https://once-only.example"})
    numbers: list[str | None] = []
    for _ in range(2):
        async with opened(tryton_server) as session:
            [done] = await session.write(PARTIES, [wanted])
            numbers.append(done.external_id)
    assert numbers[0] == numbers[1]
    assert len(tryton_server.login().find(PARTIES, ["name", "=", "Once Only"])) == 1


async def test_a_deletion_by_us_is_gone_there_and_a_customer_with_deals_is_kept_inactive(
    tryton_server: TrytonServer,
) -> None:
    login = tryton_server.login()
    lone, deal = party(login, "Lone"), opportunity(login, "To be deleted")
    customer = party(login, "Customer With Deals")
    kept = opportunity(login, "Keeps its customer", party=int(customer))
    async with opened(tryton_server) as session:
        gone = await session.write(
            PARTIES, [change("sales.account", of=each, deleted=True) for each in (lone, customer, "999999")]
        )
        gone += await session.write(OPPORTUNITIES, [change("sales.deal", of=deal, deleted=True)])
        assert {answer.outcome for answer in gone} == {Outcome.WRITTEN}
        assert all(answer.raw is not None and answer.raw.deleted for answer in gone)
        assert not {lone, customer} & await ids(session, PARTIES)
        assert deal not in await ids(session, OPPORTUNITIES)
    assert login.find(PARTIES, ["id", "=", int(lone)], ["active", "in", [True, False]]) == []
    assert login.read(OPPORTUNITIES, int(kept), "party")["party"] == int(customer)


async def test_each_change_of_a_batch_gets_its_own_answer(tryton_server: TrytonServer) -> None:
    login = tryton_server.login()
    number = opportunity(login, "Among others")
    async with opened(tryton_server) as session:
        answers = await session.write(
            PARTIES,
            [
                change("sales.account", {"name": "Nowhere", "country": "ZZ"}),
                change("sales.account", {"name": "Badly Taxed", "tax_id": "DE123"}),
                change("sales.account", {"name": "Gone"}, of="999999"),
                change("sales.account", {"name": "Fine"}),
            ],
        )
        answers += await session.write(
            OPPORTUNITIES,
            [
                change("sales.deal", {"stage": "closed_won"}, of=number),
                change("sales.deal", {"name": "Renamed"}, of=number),
            ],
        )
        answers += await session.write(INVOICES, [change("finance.invoice", {"status": "paid"}, of="1")])
    refused, moved, done = Outcome.REFUSED, Outcome.MOVED, Outcome.WRITTEN
    assert [each.outcome for each in answers] == [refused, refused, moved, done, refused, done, refused]
    assert "enter it there first" in answers[0].reason
    assert "is not valid" in answers[1].reason
    assert "confirming its sale" in answers[4].reason
    assert login.find(PARTIES, ["name", "in", ["Nowhere", "Badly Taxed"]]) == []


async def test_the_sweep_notices_a_deletion(tryton_server: TrytonServer) -> None:
    login = tryton_server.login()
    number = party(login, "Soon Gone")
    async with opened(tryton_server) as session:
        reader = Reader(session, PARTIES)
        assert number in ids_of(await reader.news())
        before = await ids(session, PARTIES)
        login.call("model.party.party.delete", [int(number)])
        assert await reader.news() == []
        assert before - await ids(session, PARTIES) == {number}


async def test_without_a_password_the_connection_reads_and_does_not_write(tryton_server: TrytonServer) -> None:
    async with opened(tryton_server, password="") as session:
        await session.check()
        assert await ids(session, INVOICES) == {"1", "2"}
        with pytest.raises(ConnectorError, match="can only read"):
            await session.write(PARTIES, [change("sales.account", {"name": "Never"})])


async def test_an_ended_session_is_opened_again_by_itself(tmp_path: Path) -> None:
    with tryton(tmp_path) as server:
        async with opened(server) as session:
            [first] = await session.write(PARTIES, [change("sales.account", {"name": "Before"})])
            with closing(sqlite3.connect(tmp_path / "company.sqlite")) as database:
                assert database.execute("delete from ir_session").rowcount >= 1
                database.commit()
            [second] = await session.write(PARTIES, [change("sales.account", {"name": "After"})])
    assert (first.outcome, second.outcome) == (Outcome.WRITTEN, Outcome.WRITTEN)


async def test_a_server_that_dies_amid_reading_is_reported_and_reading_goes_on_from_the_cursor(tmp_path: Path) -> None:
    read: list[Raw] = []
    cursor: str | None = None
    with tryton(tmp_path) as server:
        survivors: list[dict[str, Json]] = [{"name": f"Survivor {each}"} for each in range(200)]
        made = {str(number) for number in server.login().create(PARTIES, *survivors)}
        async with opened(server, page_rows="50") as session:
            feed = session.read(PARTIES, cursor=None)
            for _ in range(2):
                page = await anext(feed)
                read += page.rows
                cursor = page.cursor
            os.kill(server.pid, signal.SIGKILL)
            with pytest.raises(ConnectorError, match="cannot be reached") as caught:
                await anext(feed)
    assert caught.value.status == 503
    assert "Check that the server runs" in caught.value.fix
    assert len(read) == 100
    with tryton(tmp_path, port=server.port) as again:
        async with opened(again, page_rows="50") as session:
            rest = await rows(session, PARTIES, cursor)
    assert not made & set(ids_of(read)) & set(ids_of(rest))
    assert made <= {*ids_of(read), *ids_of(rest)}


async def test_a_server_that_dies_before_a_write_fails_every_change_of_the_batch(tmp_path: Path) -> None:
    with tryton(tmp_path) as server:
        async with opened(server) as session:
            await session.check()
            os.kill(server.pid, signal.SIGKILL)
            names: tuple[Json, ...] = ("Lost", "Lost as well")
            answers = await session.write(PARTIES, [change("sales.account", {"name": name}) for name in names])
    assert [answer.outcome for answer in answers] == [Outcome.FAILED, Outcome.FAILED]
    # What was under way when it died cannot know whether it was done; what comes after finds nobody.
    assert "The connection was lost" in answers[0].reason or "cannot be reached" in answers[0].reason
    assert answers[1].reason == answers[0].reason


async def test_the_time_of_a_change_is_utc(tryton_server: TrytonServer) -> None:
    number = party(tryton_server.login(), "Stamped")
    async with opened(tryton_server) as session:
        [row] = [row for row in await rows(session, PARTIES) if row.external_id == number]
    assert row.at is not None
    assert abs(datetime.now(UTC) - row.at) < timedelta(minutes=1)


def test_no_secret_shows_in_the_text_of_a_server(tryton_server: TrytonServer) -> None:
    assert tryton_server.password not in repr(tryton_server)
    assert tryton_server.key not in repr(tryton_server)
