"""The description against rows as documented, and the fake against the client that most write with."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from isthmus.connectors.zendesk import CONNECTOR, TICKET
from isthmus.connectors.zendesk.conformance import EMAIL, TOKEN, FakeZendesk, begin
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, Outcome, Raw, Session
from isthmus.sync.drift import drift_of, unexpected
from tests.counterparts import VENDORS, require_libraries

FIXTURES = Path(__file__).parent / "fixtures"
ROWS = cast("dict[str, dict[str, Json]]", json.loads((FIXTURES / "rows.json").read_text("utf-8")))
LINES_MAX = 120


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeZendesk]:
    with begin(tmp_path) as found:
        yield found


def fields(feed: str) -> dict[str, Json]:
    """Return what a recorded row says, links among it."""
    row = ROWS[feed]
    (said,) = CONNECTOR.normalise(feed, Raw(external_id=str(row["id"]), body=row))
    return {**said.fields, **{name: each.external_id for name, each in said.links.items()}}


def change(number: str | None, version: str | None = None, **changed: Json) -> Change:
    return Change(record_id=UUID(int=1), type=TICKET, fields=changed, external_id=number, version=version, key="a-key")


async def told(session: Session, feed: str, cursor: str | None = None) -> tuple[dict[str, Raw], str]:
    """Return the rows of a feed after a cursor, and the cursor after them."""
    pages = [page async for page in session.read(feed, cursor=cursor)]
    return {row.external_id: row for page in pages for row in page.rows}, pages[-1].cursor


def test_the_vendor_is_described_in_one_file_of_few_lines_and_its_calls_in_another() -> None:
    own = {each.name for each in Path(__file__).parent.glob("*.py")}
    assert own == {"__init__.py", "conformance.py", "events.py", "test_zendesk.py"}
    assert len((Path(__file__).parent / "__init__.py").read_text("utf-8").splitlines()) <= LINES_MAX


def test_rows_as_documented_are_as_expected() -> None:
    for feed in CONNECTOR.feeds:
        assert drift_of(feed, ROWS[feed.name]) is None
        assert unexpected(feed, [Raw(external_id="1", body=ROWS[feed.name])]) == set()


def test_rows_become_ours() -> None:
    organization: Json = {"name": "Quince & Compass Foods", "description": "Jars", "tags": ["key"]}
    assert fields("organizations") == organization
    user, ticket = fields("users"), fields("tickets")
    names = ("first_name", "last_name", "account_id", "notes")
    assert [user[each] for each in names] == ["Wren", "Ashdown", "101", None]
    names = ("ticket_number", "status", "priority", "kind", "person_id", "account_id", "owner_id", "channel")
    assert [ticket[each] for each in names] == ["303", "on_hold", "normal", "incident", "202", "101", "7", "web"]
    assert ticket["opened_at"] == "2026-11-01T08:00:00Z"


def test_a_new_ticket_begins_with_a_comment_and_a_later_change_has_none() -> None:
    new = CONNECTOR.express("tickets", change(None, subject="Lid", body="It came off.", status="on_hold"))
    assert new == {"subject": "Lid", "status": "hold", "comment": {"body": "It came off."}}


async def test_tickets_are_made_once_and_written_only_while_nobody_else_did(fake: FakeZendesk) -> None:
    async with CONNECTOR.open(dict(fake.settings)) as session:
        new = change(None, subject="Lid", body="Off.")
        (made,) = await session.write("tickets", [new])
        (again,) = await session.write("tickets", [new])
        assert (made.outcome, made.external_id) == (Outcome.WRITTEN, again.external_id), made.reason
        number = cast("str", made.external_id)
        assert made.raw is not None
        fake.meanwhile = lambda: fake.store("tickets", int(number), {"subject": "Theirs"})
        (moved,) = await session.write("tickets", [change(number, made.raw.version, subject="Ours")])
    assert moved.outcome is Outcome.MOVED, moved.reason
    assert fake.rows["tickets"][int(number)]["subject"] == "Theirs"
    assert len(fake.rows["tickets"]) == 1


async def test_a_closed_ticket_refuses_and_the_next_is_written(fake: FakeZendesk) -> None:
    closed, other = (str(fake.store("tickets", None, {"subject": "Lid"})["id"]) for _ in range(2))
    fake.store("tickets", int(closed), {"status": "closed"})
    async with CONNECTOR.open(dict(fake.settings)) as session:
        changes = [change(closed, priority="high"), change(other, priority="high", kind=None)]
        answers = await session.write("tickets", changes)
    assert [each.outcome for each in answers] == [Outcome.REFUSED, Outcome.WRITTEN]
    assert "closed prevents" in answers[0].reason


async def test_exports_by_cursor_go_on_where_they_ended_and_tell_deletions(fake: FakeZendesk) -> None:
    numbers = [str(fake.store("tickets", None, {"subject": f"Lid {n}"})["id"]) for n in range(12)]
    agent = str(fake.store("users", None, {"name": "An agent", "role": "agent"})["id"])
    person = str(fake.store("users", None, {"name": "Wren", "email": "wren@quince.example"})["id"])
    async with CONNECTOR.open(dict(fake.settings)) as session:
        rows, cursor = await told(session, "tickets")
        assert sorted(rows) == sorted(numbers)
        fake.remove("tickets", int(numbers[3]))
        late = fake.store("tickets", None, {"subject": "Within the minute"}, passing=0)
        rows, cursor = await told(session, "tickets", cursor)
        assert {each: row.deleted for each, row in rows.items()} == {numbers[3]: True}
        fake.seconds += 61
        rows, _ = await told(session, "tickets", cursor)
        assert list(rows) == [str(late["id"])]
        people, _ = await told(session, "users")
        assert (list(people), agent in people) == ([person], False)
        there = [each async for some in session.ids("tickets") for each in some]
    assert sorted(there) == sorted({*numbers, str(late["id"])} - {numbers[3]})


def test_zenpy_takes_the_fake_for_zendesk(fake: FakeZendesk) -> None:
    python = require_libraries(VENDORS) / "python"
    done = subprocess.run(
        [str(python), "-W", "ignore", "-"],
        input=(FIXTURES / "client.py.txt").read_text("utf-8"),
        env=os.environ | {"URL": fake.settings["url"], "EMAIL": EMAIL, "TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == ["solved", "new", "deleted", EMAIL, "RecordInvalid", "Wren Ashdown"]
