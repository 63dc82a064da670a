"""The description against rows as documented, and the fake against Pipedrive's own client."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from isthmus.connectors.pipedrive import CONNECTOR, described
from isthmus.connectors.pipedrive.conformance import TOKEN, FakePipedrive, begin
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, ConnectorError, Outcome, Raw
from isthmus.sync.drift import drift_of, unexpected
from tests.counterparts import require_npm

FIXTURES = Path(__file__).parent / "fixtures"
ROWS = cast("dict[str, dict[str, Json]]", json.loads((FIXTURES / "rows.json").read_text("utf-8")))
STAGED = described({"stages": "1=qualification, 3=proposal"})
LINES_MAX = 120


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakePipedrive]:
    with begin(tmp_path) as found:
        yield found


def fields(feed: str) -> dict[str, Json]:
    """Return what a recorded row says, links among it."""
    row = ROWS[feed]
    (said,) = STAGED.normalise(feed, Raw(external_id=str(row["id"]), body=row))
    return {**said.fields, **{name: each.external_id for name, each in said.links.items()}}


def expressed(feed: str, of: str, **changed: Json) -> dict[str, Json]:
    return STAGED.express(feed, Change(record_id=UUID(int=1), type=of, fields=changed))


def test_the_vendor_is_described_in_one_file_of_few_lines_and_its_calls_in_another() -> None:
    own = {each.name for each in Path(__file__).parent.glob("*.py")}
    assert own == {"__init__.py", "conformance.py", "events.py", "test_pipedrive.py"}
    assert len((Path(__file__).parent / "__init__.py").read_text("utf-8").splitlines()) <= LINES_MAX


def test_rows_as_documented_are_as_expected() -> None:
    for feed in CONNECTOR.feeds:
        assert drift_of(feed, ROWS[feed.name]) is None
        assert unexpected(feed, [Raw(external_id="1", body=ROWS[feed.name])]) == set()


def test_rows_become_ours() -> None:
    assert fields("organizations") == {
        "name": "Quince & Compass Foods",
        "website": "https://quince.example",
        "employee_count": 40,
        "postal_code": "2000",
        "city": "Antwerp",
        "region": "Flanders",
        "country": "Belgium",
        "owner_id": "1",
    }
    person = fields("persons")
    assert (person["first_name"], person["last_name"]) == ("Wren", "van der Ashdown")
    assert (person["email"], person["phone"], person["account_id"]) == ("wren@quince.example", None, "7")
    assert (person["notes"], person["city"]) == (None, None)
    deal = fields("deals")
    assert (deal["stage"], deal["won"], deal["probability"]) == ("proposal", None, 0.6)
    assert (deal["amount"], deal["person_id"]) == ({"amount": "1200.50", "currency": "EUR"}, "9")
    activity = fields("activities")
    assert (activity["kind"], activity["due_at"], activity["duration_s"]) == ("meeting", "2026-11-24T12:30:00Z", 5400)


def test_the_stage_of_an_open_deal_is_unsaid_where_nobody_said_which_it_is() -> None:
    (said,) = CONNECTOR.normalise("deals", Raw(external_id="11", body=ROWS["deals"]))
    assert "stage" not in said.fields
    won = ROWS["deals"] | {"status": "won"}
    (said,) = CONNECTOR.normalise("deals", Raw(external_id="11", body=won))
    assert (said.fields["stage"], said.fields["won"]) == ("closed_won", True)
    with pytest.raises(ConnectorError, match="no word that is known"):
        described({"stages": "1=dreaming"})


def test_changes_are_said_in_their_words() -> None:
    assert expressed("deals", "sales.deal", stage="closed_lost", probability=0.25) == {
        "status": "lost",
        "probability": 25,
    }
    assert expressed("deals", "sales.deal", stage="proposal") == {"status": "open", "stage_id": 3}
    amount: Json = {"amount": "19.99", "currency": "USD"}
    assert expressed("deals", "sales.deal", amount=amount) == {"value": 19.99, "currency": "USD"}
    due = expressed("activities", "sales.activity", kind="task", due_at="2026-11-24T12:30:00Z", duration_s=5400)
    assert due == {"type": "task", "due_date": "2026-11-24", "due_time": "12:30", "duration": "01:30"}
    assert expressed("organizations", "sales.account", city="Ghent") == {}


async def test_a_write_keeps_what_the_list_holds_beside_and_waits_as_long_as_it_is_told(fake: FakePipedrive) -> None:
    body = {name: ROWS["persons"][name] for name in ("name", "emails", "job_title")}
    number = fake.store("persons", None, body)["id"]
    async with CONNECTOR.open(dict(fake.settings)) as session:
        fake.budget = 0
        change = Change(
            record_id=UUID(int=1),
            type="sales.person",
            external_id=str(number),
            fields={"email": "new@quince.example", "last_name": "Vale"},
        )
        (answer,) = await session.write("persons", [change])
    assert answer.outcome is Outcome.WRITTEN, answer.reason
    held = fake.rows["persons"][cast("int", number)]
    assert held["name"] == "Wren Vale"
    assert [cast("dict[str, Json]", each)["value"] for each in cast("list[Json]", held["emails"])] == [
        "old@quince.example",
        "new@quince.example",
    ]


async def test_two_that_say_the_same_are_made_twice_and_one_that_is_tried_again_once(fake: FakePipedrive) -> None:
    one, two = (
        Change(record_id=UUID(int=n), type="sales.account", fields={"name": "Quince"}, key=f"key-{n}") for n in (1, 2)
    )
    async with CONNECTOR.open(dict(fake.settings)) as session:
        first, second, again = await session.write("organizations", [one, two, one])
    assert first.external_id == again.external_id != second.external_id
    assert len(fake.rows["organizations"]) == 2


async def test_a_consent_speaks_with_the_address_that_it_names(fake: FakePipedrive) -> None:
    assert CONNECTOR.oauth is not None
    proofs: list[bool] = []

    async def authorise(fresh: bool) -> dict[str, str]:  # noqa: FBT001 - as sessions ask it.
        proofs.append(fresh)
        return {"x-api-token": TOKEN}

    async def leave() -> None:
        return

    told = {"client_id": "app", "api_domain": fake.settings["url"]}
    async with CONNECTOR.oauth.begin(told, leave, authorise) as session:
        assert await session.check() == f"Fake company at {fake.settings['url']}"
    assert proofs == [False]


def test_pipedrives_own_client_takes_the_fake_for_pipedrive(fake: FakePipedrive) -> None:
    home = require_npm({"pipedrive": "33.7.0"})
    done = subprocess.run(
        [shutil.which("node") or "node", "--input-type=module", "-"],
        input=(FIXTURES / "client.mjs").read_text("utf-8"),
        cwd=home,
        env=os.environ | {"TOKEN": TOKEN, "URL": fake.settings["url"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refusals = ["Entity not found", "Validation failed: name: Required"]
    assert json.loads(done.stdout) == ["Fake company", [1, 2, 3, 4], *refusals, [1, "Wren", "won"]]
    assert fake.rows["activities"][1]["due_time"] == "12:30"
