"""The demo systems page, remember what is written, refuse with reasons, and map both ways."""

import asyncio
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import UUID

import msgspec
import pytest

from isthmus.connectors.demo import CONNECTOR
from isthmus.connectors.demo.plants import SYSTEMS
from isthmus.connectors.demo.shapes import SHAPES
from isthmus.connectors.demo.vendor import Vendor
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, ConnectorError, Outcome, Page, Raw, Session, Written

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
ID = UUID("0199aaaa-0000-7000-8000-000000000001")
LEAD = "LEA0000001"
NEW: dict[str, Json] = {"email": " Neu@Lead.example ", "first_name": "Neu", "company": "Lead", "status": "qualified"}


@dataclass(frozen=True)
class Example:
    """A recorded row and, in JSON, what it must become."""

    feed: str
    raw: Raw
    meaning: dict[str, Json]


def recorded(path: Path) -> list[Example]:
    entries = cast("list[dict[str, dict[str, Json]]]", msgspec.json.decode(path.read_bytes()))
    return [
        Example(
            feed=cast("str", entry["feed"]),
            raw=Raw(
                external_id=str(entry["raw"]["external_id"]),
                body=cast("dict[str, Json]", entry["raw"]["body"]),
                at=datetime.fromisoformat(str(entry["raw"]["at"])),
                version=str(entry["raw"]["version"]),
            ),
            meaning=entry["observation"],
        )
        for entry in entries
    ]


EXAMPLES = [each for path in sorted((Path(__file__).parent / "fixtures").glob("*.json")) for each in recorded(path)]


def settings(system: str, path: Path, **more: str) -> dict[str, str]:
    return {"system": system, "path": str(path), "now": NOW.isoformat(), "companies": "16", **more}


@pytest.fixture
async def crm(tmp_path: Path) -> AsyncIterator[Session]:
    async with CONNECTOR.open(settings("crm", tmp_path / "demo.sqlite")) as session:
        yield session


async def pages(session: Session, feed: str, cursor: str | None = None) -> list[Page]:
    return [page async for page in session.read(feed, cursor=cursor)]


async def write(
    session: Session,
    feed: str,
    fields: dict[str, Json],
    *,
    external_id: str | None = LEAD,
    version: str | None = None,
    key: str = "",
    deleted: bool = False,
) -> Written:
    change = Change(
        record_id=ID,
        type=SHAPES[feed].type,
        fields=fields,
        external_id=external_id,
        version=version,
        key=key,
        deleted=deleted,
    )
    (written,) = await session.write(feed, [change])
    return written


async def test_a_connection_offers_the_feeds_of_its_system_only(crm: Session) -> None:
    names = [feed.name for feed in CONNECTOR.feeds_of({"system": "crm"})]
    assert names[0] == "crm.accounts"
    assert all(name.startswith("crm.") for name in names)
    assert "demo crm" in await crm.check()
    with pytest.raises(ConnectorError, match=r"no feed 'desk\.tickets'"):
        await pages(crm, "desk.tickets")


async def test_pages_are_bounded_and_a_burst_of_equal_stamps_loses_nothing(tmp_path: Path) -> None:
    async with CONNECTOR.open(settings("crm", tmp_path / "demo.sqlite", companies="300")) as session:
        found = await pages(session, "crm.contacts")
        ids = [row.external_id for page in found for row in page.rows]
        assert max(Counter(row.at for page in found for row in page.rows).values()) > 500
        assert [len(page.rows) for page in found] == [500, 412]
        assert (len(set(ids)), found[0].total, found[0].more, found[1].more) == (912, 912, True, False)
        resumed = await pages(session, "crm.contacts", found[0].cursor)
        assert resumed[0].rows == found[1].rows
        listed = [row_id async for some in session.ids("crm.contacts") for row_id in some]
        assert sorted(listed) == sorted(ids)


async def test_a_caught_up_reader_gets_one_empty_page_and_then_only_what_changed(crm: Session) -> None:
    cursor = (await pages(crm, "crm.leads"))[-1].cursor
    assert [page.rows for page in await pages(crm, "crm.leads", cursor)] == [()]
    written = await write(crm, "crm.leads", {"title": "Pilot"})
    (page,) = await pages(crm, "crm.leads", cursor)
    assert page.rows == (written.raw,)
    assert (page.rows[0].external_id, page.rows[0].body["Title"]) == (LEAD, "Pilot")


async def test_an_edit_made_there_moves_stamp_and_version_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    async with CONNECTOR.open(settings("crm", path)) as session:
        cursor = (await pages(session, "crm.opportunities"))[-1].cursor
    vendor = Vendor(path)
    vendor.put("crm.opportunities", "OPP0000003", {"Amount": 777.0})
    vendor.close()
    async with CONNECTOR.open(settings("crm", path)) as session:
        (page,) = await pages(session, "crm.opportunities", cursor)
        (row,) = page.rows
    assert (row.external_id, row.body["Amount"], row.version) == ("OPP0000003", 777.0, "2")
    assert row.at is not None
    assert row.at > NOW


async def test_a_write_on_what_has_moved_is_answered_with_what_is_there(crm: Session) -> None:
    first = await write(crm, "crm.leads", {"title": "One"}, version="1")
    second = await write(crm, "crm.leads", {"title": "Two"}, version="1")
    assert (first.outcome, second.outcome) == (Outcome.WRITTEN, Outcome.MOVED)
    assert second.raw == first.raw


async def test_a_new_record_is_made_once_however_often_it_is_tried(crm: Session) -> None:
    first = await write(crm, "crm.leads", NEW, external_id=None, key="k1")
    again = await write(crm, "crm.leads", NEW, external_id=None, key="k1")
    other = await write(crm, "crm.leads", NEW, external_id=None, key="k2")
    assert first == again
    assert first.external_id != other.external_id
    assert first.raw is not None
    assert first.raw.body == {"Email": "neu@lead.example", "FirstName": "Neu", "Company": "Lead", "Status": "Qualified"}


@pytest.mark.parametrize(
    ("feed", "fields", "reason"),
    [
        ("crm.leads", {**NEW, "company": None}, "Company is required here."),
        ("crm.leads", {**NEW, "email": "neu"}, "'neu' is no e-mail address."),
        ("crm.leads", {**NEW, "status": "bought"}, "Status has no value 'bought' here."),
        ("crm.opportunities", {"name": "A", "stage": "dreaming"}, "StageName has no value 'dreaming' here."),
        ("crm.contacts", {"first_name": "A"}, "LastName is required here."),
        ("crm.accounts", {"name": "A"}, "crm.accounts can only be read."),
    ],
)
async def test_what_the_system_never_takes_is_refused_with_the_reason(
    crm: Session, feed: str, fields: dict[str, Json], reason: str
) -> None:
    written = await write(crm, feed, fields, external_id=None)
    assert (written.outcome, written.reason) == (Outcome.REFUSED, reason)


async def test_one_bad_change_does_not_stop_the_others(crm: Session) -> None:
    good = Change(record_id=ID, type="sales.lead", fields=NEW)
    bad = Change(record_id=ID, type="sales.lead", fields={"title": "?"}, external_id="LEA9999999")
    outcomes = [each.outcome for each in await crm.write("crm.leads", [good, bad, good])]
    assert outcomes == [Outcome.WRITTEN, Outcome.REFUSED, Outcome.WRITTEN]


async def test_a_deleted_record_is_a_tombstone_that_readers_meet_and_writers_do_not_revive(crm: Session) -> None:
    cursor = (await pages(crm, "crm.leads"))[-1].cursor
    gone = await write(crm, "crm.leads", {}, deleted=True)
    late = await write(crm, "crm.leads", {"title": "Too late"})
    (page,) = await pages(crm, "crm.leads", cursor)
    listed = [row_id async for some in crm.ids("crm.leads") for row_id in some]
    assert (gone.outcome, late.outcome) == (Outcome.WRITTEN, Outcome.MOVED)
    assert [(row.external_id, row.deleted, row.body) for row in page.rows] == [(LEAD, True, {})]
    assert LEAD not in listed


async def test_five_connections_may_open_one_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "demo.sqlite"

    async def accounts(system: str) -> int:
        async with CONNECTOR.open(settings(system, path)) as session:
            feeds = CONNECTOR.feeds_of({"system": system})
            return sum([len(page.rows) for feed in feeds for page in await pages(session, feed.name)])

    assert all(count > 0 for count in await asyncio.gather(*(accounts(system) for system in SYSTEMS)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_file_keeps_the_company_it_was_made_with(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    async with CONNECTOR.open(settings("crm", path)) as session:
        (page,) = await pages(session, "crm.accounts")
    async with CONNECTOR.open({"system": "billing", "path": str(path), "seed": "9"}) as session:
        (customers,) = await pages(session, "billing.customers")
    names = {str(row.body["Name"]) for row in page.rows}
    assert {str(row.body["name"]) for row in customers.rows} <= names


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"system": "fax"}, "There is no demo system 'fax'. Choose one of crm, marketing, billing, product, desk."),
        ({"path": ""}, "The demo has no file."),
        ({"now": "yesterday"}, "The setting now is 'yesterday', which is no moment."),
        ({"now": "2026-11-22T09:00:00"}, "which is no moment."),
        ({"companies": "7"}, "Give a whole number from 12 to 600."),
        ({"seed": "x"}, "The setting seed is 'x'."),
    ],
)
async def test_a_wrong_setting_is_told_with_its_fix(tmp_path: Path, wrong: dict[str, str], sentence: str) -> None:
    given = {**settings("crm", tmp_path / "demo.sqlite"), **wrong}
    with pytest.raises(ConnectorError) as caught:
        async with CONNECTOR.open(given):
            pass
    assert sentence in str(caught.value)
    assert caught.value.fix


def test_what_was_acknowledged_outlives_a_killed_reader(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    script = (
        "import sys\nfrom pathlib import Path\nfrom isthmus.connectors.demo.vendor import Vendor\n"
        f"vendor = Vendor(Path({str(path)!r}))\n"
        "for number in range(100_000):\n"
        "    vendor.put('crm.leads', f'L{number}', {'number': number})\n"
        "    print(number, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout as lines:
        acknowledged = [int(next(lines)) for _ in range(200)]
        child.kill()
        child.wait(timeout=30)
    vendor = Vendor(path)
    found = [vendor.get("crm.leads", f"L{number}") for number in acknowledged]
    vendor.close()
    assert [each.body["number"] if each else None for each in found] == acknowledged


def test_every_feed_has_a_recorded_row() -> None:
    assert {each.feed for each in EXAMPLES} == set(SHAPES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: f"{each.feed}-{each.raw.external_id}")
def test_recorded_rows_become_what_they_mean(example: Example) -> None:
    (found,) = CONNECTOR.normalise(example.feed, example.raw)
    assert found == msgspec.convert(example.meaning, Observation)


@pytest.mark.parametrize(
    "example", [each for each in EXAMPLES if each.feed in {"crm.leads", "crm.contacts", "crm.opportunities"}]
)
def test_what_is_expressed_reads_back_the_same(example: Example) -> None:
    (seen,) = CONNECTOR.normalise(example.feed, example.raw)
    links = {name: link.external_id for name, link in seen.links.items()}
    change = Change(record_id=ID, type=seen.type, fields=seen.fields, links=links)
    body = CONNECTOR.express(example.feed, change)
    (again,) = CONNECTOR.normalise(example.feed, Raw(external_id=seen.external_id, body=body))
    assert (again.fields, again.links) == (seen.fields, seen.links)
    assert set(seen.fields) | set(links) <= {*CONNECTOR.writable[seen.type], "won"}


def test_a_reference_that_is_cleared_is_cleared_there() -> None:
    change = Change(record_id=ID, type="sales.deal", fields={"person_id": None, "amount": None, "won": True})
    assert CONNECTOR.express("crm.opportunities", change) == {"ContactId": None, "Amount": None}
