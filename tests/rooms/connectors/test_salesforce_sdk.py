"""The fake organisation serves simple-salesforce as Salesforce does, and isthmus sees what that sees."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from joserfc.jwk import RSAKey

from isthmus.connectors.salesforce import CONNECTOR
from isthmus.connectors.salesforce.fake.server import SECRET, Fake, running
from isthmus.connectors.salesforce.fake.tokens import CLIENT_ID
from isthmus.kernel.marks import Json
from tests.counterparts import PYTHON, require_python
from tests.rooms.connectors.salesforce_room import pages, rows, settings

PROGRAM = Path(__file__).with_name("salesforce_program.py")
LIBRARY = "simple-salesforce"


@dataclass(frozen=True)
class Day:
    """A fake that the library was let loose on, and what it saw."""

    fake: Fake
    seen: dict[str, Json]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A fake after the program with the library has run once."""
    key = RSAKey.generate_key(2048)
    key_file = tmp_path_factory.mktemp("key") / "key.pem"
    key_file.write_bytes(key.as_pem(private=True))
    python = require_python(LIBRARY, version=PYTHON[LIBRARY]) / "python"
    fake = Fake(public_key=key.as_pem(private=False).decode())
    fake.records.now = datetime.now(UTC)  # The library signs by the clock of this machine.
    with running(fake):
        program = [python, PROGRAM, fake.url, CLIENT_ID, SECRET, key_file]
        done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        yield Day(fake, cast("dict[str, Json]", json.loads(done.stdout)))


async def test_the_library_and_isthmus_see_the_same_records(day: Day) -> None:
    seen = day.seen
    async with CONNECTOR.open(settings(day.fake, page_rows="3")) as session:
        contacts = rows(await pages(session, "contacts"))
        accounts = rows(await pages(session, "accounts"))
    living = [row for row in contacts if not row.deleted]
    assert sorted([row.external_id, row.body["LastName"], "isthmus@quince.example"] for row in living) == sorted(
        cast("list[list[str]]", seen["contacts"])
    )
    assert (len(contacts), seen["with deleted"], seen["count"]) == (5, 5, 3)
    by_name = {str(row.body["Name"]): row for row in accounts if not row.deleted}
    records = cast("dict[str, Json]", seen["records"])
    assert by_name["Made by the library"].external_id == records["made"]
    assert by_name["Made by the library"].body["BillingCity"] == records["city"] == "Brugge"
    assert (records["statuses"], records["deleted"], records["updated"]) == ([204, 201, 200], True, True)
    assert set(by_name) == {"Made by the library", "Upserted again"}
    assert [row.deleted for row in accounts].count(True) == 1


def test_the_library_does_bulk_jobs_and_meets_the_documented_codes(day: Day) -> None:
    seen = day.seen
    bulk = cast("dict[str, Json]", seen["bulk"])
    assert (bulk["processed"], bulk["changed"], bulk["deleted"], bulk["parts"]) == ([6, 1], 0, 0, 2)
    assert bulk["found"] == ["Bulk 0", "Bulk 2", "Bulk 3", "Bulk 4"]
    assert bulk["failed"] == ["INVALID_EMAIL_ADDRESS:Email: invalid email address: no address:Email --"]
    assert (seen["as"], seen["usage"], seen["limits"]) == (1, True, day.fake.allowed)
    assert seen["refused"] == [
        [400, "REQUIRED_FIELD_MISSING"],
        [400, "INVALID_FIELD"],
        [404, "NOT_FOUND"],
        [400, "MALFORMED_QUERY"],
        [400, "INVALID_FIELD"],
        [400, "INVALID_FIELD"],
        [400, "INVALID_TYPE"],
        [400, "INVALID_QUERY_LOCATOR"],
    ]
