"""The description against rows as documented, and the fake against Mailchimp's own client."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from isthmus.connectors.mailchimp import CONNECTOR, CONSENT, PERSON
from isthmus.connectors.mailchimp.conformance import AUDIENCE, TOKEN, FakeMailchimp, begin, campaign
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, Outcome, Raw, Written
from isthmus.sync.drift import drift_of, unexpected
from tests.counterparts import VENDORS, require_libraries

FIXTURES = Path(__file__).parent / "fixtures"
ROWS = cast("dict[str, dict[str, Json]]", json.loads((FIXTURES / "rows.json").read_text("utf-8")))
LINES_MAX = 120


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeMailchimp]:
    with begin(tmp_path) as found:
        yield found


def change(kind: str, number: str | None = None, *, deleted: bool = False, **changed: Json) -> Change:
    return Change(record_id=UUID(int=1), type=kind, fields=changed, external_id=number, key="a-key", deleted=deleted)


async def written(fake: FakeMailchimp, *changes: Change) -> list[Written]:
    """Write changes of contacts."""
    async with CONNECTOR.open(dict(fake.settings)) as session:
        return await session.write("members", changes)


def test_the_vendor_is_described_in_one_file_of_few_lines_and_its_calls_in_another() -> None:
    own = {each.name for each in Path(__file__).parent.glob("*.py")}
    assert own == {"__init__.py", "conformance.py", "events.py", "test_mailchimp.py"}
    assert len((Path(__file__).parent / "__init__.py").read_text("utf-8").splitlines()) <= LINES_MAX


def test_rows_as_documented_are_as_expected() -> None:
    for feed in CONNECTOR.feeds:
        assert drift_of(feed, ROWS[feed.name]) is None
        assert unexpected(feed, [Raw(external_id="1", body=ROWS[feed.name])]) == set()


def test_a_contact_is_a_person_and_what_they_agreed_to() -> None:
    row = ROWS["members"]
    person, consent = CONNECTOR.normalise("members", Raw(external_id=str(row["contact_id"]), body=row))
    assert (person.type, consent.type) == (PERSON, CONSENT)
    assert person.fields == {
        **dict(zip(("first_name", "last_name", "phone"), ("Wren", "Ashdown", None), strict=True)),
        **dict(zip(("email", "language", "tags"), ("wren@quince.example", "nl", ["jars"]), strict=True)),
    }
    names = ("purpose", "channel", "state", "key", "source", "given_at")
    said: list[Json] = ["marketing", "email", "withdrawn", "wren@quince.example|marketing|email", "API - Generic"]
    assert [consent.fields[each] for each in names] == [*said, "2026-10-01T08:00:00Z"]
    assert consent.links["person_id"].external_id == row["contact_id"]


def test_a_campaign_without_a_title_is_called_by_its_subject() -> None:
    (said,) = CONNECTOR.normalise("campaigns", Raw(external_id="a1b2c3d4e5", body=ROWS["campaigns"]))
    names = ("name", "code", "kind", "channel", "status", "starts_on", "audience_size")
    assert [said.fields[each] for each in names] == [
        *("Jars", "a1b2c3d4e5", "regular", "email"),
        *("completed", "2026-11-02", 120),
    ]


async def test_a_new_contact_is_made_once_and_is_sent_nothing_without_a_consent(fake: FakeMailchimp) -> None:
    new = change(PERSON, email="Wren@quince.example", last_name="Ashdown")
    (made,) = await written(fake, new)
    (again,) = await written(fake, new)
    assert (made.outcome, again.outcome, len(fake.members)) == (Outcome.WRITTEN, Outcome.WRITTEN, 1), made.reason
    number = cast("str", made.external_id)
    assert again.external_id == number == fake.members[number]["contact_id"]
    assert fake.members[number]["status"] == "transactional"
    (granted,) = await written(fake, change(CONSENT, number, state="granted"))
    assert (granted.outcome, fake.members[number]["status"]) == (Outcome.WRITTEN, "subscribed")
    (nameless,) = await written(fake, change(PERSON, last_name="Nobody"))
    assert nameless.outcome is Outcome.REFUSED


async def test_a_consent_that_was_withdrawn_there_is_not_granted_from_here(fake: FakeMailchimp) -> None:
    number = fake.put(None, {"last_name": "Ashdown"})
    (withdrawn,) = await written(fake, change(CONSENT, number, state="withdrawn"))
    assert (withdrawn.outcome, fake.members[number]["status"]) == (Outcome.WRITTEN, "unsubscribed")
    fake.left.add(number)
    refused, kept = await written(fake, change(CONSENT, number, state="granted"), change(CONSENT, number, deleted=True))
    assert (refused.outcome, kept.outcome) == (Outcome.REFUSED, Outcome.REFUSED)
    assert "compliance state" in refused.reason
    assert fake.members[number]["status"] == "unsubscribed"


async def test_a_write_leaves_merge_fields_alone_that_it_does_not_name(fake: FakeMailchimp) -> None:
    number = fake.put(None, {"last_name": "Ashdown", "first_name": "Wren"})
    fake.store(number, {"merge_fields": {"PHONE": "+3234567890"}})
    (answer,) = await written(fake, change(PERSON, number, last_name="Vale", first_name=None))
    assert answer.outcome is Outcome.WRITTEN, answer.reason
    assert fake.members[number]["merge_fields"] == {"FNAME": "", "LNAME": "Vale", "PHONE": "+3234567890", "ADDRESS": ""}


async def test_campaigns_of_the_audience_are_read_whole_page_by_page(fake: FakeMailchimp) -> None:
    fake.campaigns += [campaign(f"c{n}", f"Jars {n}", audience="other" if n == 2 else AUDIENCE) for n in range(9)]
    seen: list[str] = []
    async with CONNECTOR.open(dict(fake.settings)) as session:
        async for page in session.read("campaigns", cursor=None):
            seen += [row.external_id for row in page.rows]
            if len(seen) == 5:
                # One that goes moves all others forward.
                del fake.campaigns[0]
        there = [each async for some in session.ids("campaigns") for each in some]
    assert set(seen) == {"a1b2c3d4e5", *(f"c{n}" for n in range(9) if n != 2)}
    assert sorted(there) == sorted({*seen} - {"a1b2c3d4e5"})


def test_mailchimps_own_client_takes_the_fake_for_mailchimp(fake: FakeMailchimp) -> None:
    python = require_libraries(VENDORS) / "python"
    done = subprocess.run(
        [str(python), "-W", "ignore", "-"],
        input=(FIXTURES / "client.py.txt").read_text("utf-8"),
        env=os.environ | {"URL": fake.settings["url"], "AUDIENCE": AUDIENCE, "TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    listed, *said = json.loads(done.stdout)
    assert listed == ["Ashdown 0", "Ashdown 2", "Ashdown 1"]
    assert said == ["unsubscribed", ["Autumn jars"], "Member Exists"]
