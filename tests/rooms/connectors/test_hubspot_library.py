"""HubSpot's own library before the fake: it understands every answer, and sees the records that the connector sees."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import cast

import pytest

from isthmus.connectors.hubspot.client import session
from isthmus.connectors.hubspot.fake import Fake
from isthmus.connectors.hubspot.fake_http import OWNERS, TOKEN, Site, serving
from isthmus.connectors.hubspot.shapes import CONTACTS, WRITTEN
from isthmus.connectors.hubspot.wire import Row, properties
from tests.counterparts import PYTHON, require_python
from tests.rooms.connectors.hubspot_room import company, settings

LIBRARY = "hubspot-api-client"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The server before an account of a small company."""
    with serving(Site(fake=company(Fake()))) as own:
        yield own


@pytest.fixture(scope="module")
def before(site: Site) -> dict[str, dict[str, dict[str, str]]]:
    """What the account held before the program ran."""
    return {kind: {str(each.id): dict(each.values) for each in site.fake.living(kind)} for kind in site.fake.records}


@pytest.fixture(scope="module")
def told(site: Site, before: object) -> Row:
    """What a program with HubSpot's library saw."""
    del before
    python = require_python(LIBRARY, version=PYTHON[LIBRARY]) / "python"
    program = [python, Path(__file__).with_name("hubspot_program.py"), site.url, TOKEN]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return cast("Row", json.loads(done.stdout))


async def test_the_library_and_the_connector_see_the_same_records(
    site: Site, before: dict[str, dict[str, dict[str, str]]], told: Row
) -> None:
    seen = cast("dict[str, dict[str, Row]]", told["seen"])
    with serving(Site(fake=company(Fake()))) as same:
        async with session(settings(same), feeds=WRITTEN, dice=Random(5)) as own:
            for kind in WRITTEN:
                ours = {
                    row.external_id: properties(row.body)
                    async for page in own.read(kind, cursor=None)
                    for row in page.rows
                }
                assert ours.keys() == seen[kind].keys() == before[kind].keys()
                for of, values in seen[kind].items():
                    named = {name: value for name, value in values.items() if value is not None}
                    assert named == {name: ours[of][name] for name in named}
    assert site.url != same.url


def test_the_library_pages_a_search_to_its_end(before: dict[str, dict[str, dict[str, str]]], told: Row) -> None:
    ids = sorted(before[CONTACTS], key=int)
    assert told["searched"] == {"ids": ids, "total": len(ids)}


def test_the_library_understands_owners_stages_own_properties_and_associations(site: Site, told: Row) -> None:
    known = cast("Row", told["known"])
    assert known["owners"] == [email for email, *_ in OWNERS.values()]
    assert cast("list[str]", known["stages"])[-2:] == ["closedwon", "closedlost"]
    assert set(cast("list[str]", known["own"])) == set(site.fake.definitions.custom[CONTACTS])
    [ends] = cast("Row", known["ties"]).values()
    assert cast("list[list[object]]", ends)[0][1] == [1, 279], "the first company is the primary one"


def test_the_library_understands_what_was_done_and_what_was_not(told: Row) -> None:
    assert told["written"] == {
        "changed": ["Malmö", None],
        "many": [["a"], {"objectWriteTraceId": ["b"]}, "VALIDATION_ERROR"],
        "some": [[True], {"ids": ["999999"]}],
        "upserted": False,
        "merged": [True, True, True],
        "archived": [[True, True]],
    }


def test_the_library_understands_refusals(told: Row) -> None:
    assert told["refused"] == [
        [400, "VALIDATION_ERROR"],
        [400, "VALIDATION_ERROR"],
        [409, "CONFLICT"],
        [404, "OBJECT_NOT_FOUND"],
    ]
