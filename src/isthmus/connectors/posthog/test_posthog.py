"""Persons and events in our words; late, future and simultaneous events; and what PostHog refuses, with what to do."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from isthmus.connectors.posthog import CONNECTOR
from isthmus.connectors.posthog.conformance import used
from isthmus.connectors.posthog.mapping import words
from isthmus.connectors.posthog.vendor import TOKEN
from isthmus.connectors.posthog.vendor_http import Site, serving
from isthmus.connectors.posthog.wire import EVENTS, PERSONS, moment, row_of
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, Page, Raw

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as site:
        yield site


async def pages(site: Site, feed: str, cursor: str | None = None, **settings: str) -> list[Page]:
    async with CONNECTOR.open(site.settings | settings) as session:
        return [page async for page in session.read(feed, cursor=cursor)]


def rows(found: list[Page]) -> list[Raw]:
    return [raw for page in found for raw in page.rows]


def fixture(feed: str) -> list[dict[str, Json]]:
    told = msgspec.json.decode((FIXTURES / "answers.json").read_bytes(), type=dict[str, list[Json]])
    return [row for each in told[feed] if (row := row_of(feed, each)) is not None]


def test_a_person_is_said_in_our_words() -> None:
    [word] = words(PERSONS, fixture(PERSONS)[0])
    assert word.fields == {
        "email": "ada@lamps.example",
        "title": "Head",
        "first_name": "Ada",
        "last_name": "Lamps",
        "custom": {"plan": "team"},
    }


def test_an_event_is_said_without_what_is_personal() -> None:
    said = [word for row in fixture(EVENTS) for word in words(EVENTS, row)]
    assert [word.fields["name"] for word in said] == ["exported", "page"]
    assert said[0].fields["custom"] == {"seats": 3, "$current_url": "https://lamps.example/a"}
    assert said[1].fields["custom"] == {"$current_url": "https://lamps.example/"}
    assert said[0].fields["session"] == "s1"
    assert said[0].links["person_id"] == fixture(PERSONS)[0]["id"]


async def test_nameless_visitors_are_read_only_where_they_are_wanted(site: Site) -> None:
    known, visitor = used(site)
    assert [raw.external_id for raw in rows(await pages(site, PERSONS))] == [known]
    assert {raw.external_id for raw in rows(await pages(site, PERSONS, visitors="yes"))} == {known, visitor}


async def test_events_with_one_time_are_all_read_once(site: Site) -> None:
    at = site.project.now
    made = [site.project.event("clicked", "user-1", at=at) for _ in range(7)]
    found = await pages(site, EVENTS, page_rows="2")
    assert sorted(raw.external_id for raw in rows(found)) == sorted(made)
    assert max(len(page.rows) for page in found) == 2


async def test_an_event_that_comes_late_is_read_within_the_overlap(site: Site) -> None:
    site.project.event("clicked", "user-1")
    first = await pages(site, EVENTS)
    late = site.project.event("clicked", "user-1", at=site.project.now - timedelta(minutes=50))
    assert late in {raw.external_id for raw in rows(await pages(site, EVENTS, first[-1].cursor))}
    assert late not in {raw.external_id for raw in rows(await pages(site, EVENTS, first[-1].cursor, overlap_s="60"))}


async def test_an_event_of_the_future_hides_none_before_it(site: Site) -> None:
    ahead = site.project.event("clicked", "user-1", at=site.project.now + timedelta(hours=5))
    first = await pages(site, EVENTS)
    assert rows(first) == []
    site.project.now += timedelta(hours=6)
    assert [raw.external_id for raw in rows(await pages(site, EVENTS, first[-1].cursor))] == [ahead]


async def test_only_events_since_a_day_are_read(site: Site) -> None:
    site.project.event("clicked", "user-1", at=site.project.now - timedelta(days=3))
    new = site.project.event("clicked", "user-1")
    day = site.project.now.date().isoformat()
    assert [raw.external_id for raw in rows(await pages(site, EVENTS, since=day))] == [new]
    async with CONNECTOR.open(site.settings | {"since": day}) as session:
        assert [each async for some in session.ids(EVENTS) for each in some] == [new]


async def test_times_in_the_zone_of_the_project_are_told_in_utc(site: Site) -> None:
    site.project.offset_h = -8
    at = site.project.now - timedelta(microseconds=1)
    site.project.event("clicked", "user-1", at=at)
    [raw] = rows(await pages(site, EVENTS))
    assert raw.at == at
    assert str(raw.body["timestamp"]).endswith("-08:00")
    assert moment("of no time") is None


async def test_a_throttled_question_is_asked_again_when_it_may_be(site: Site) -> None:
    known, _ = used(site)
    site.project.slower.append(1)
    assert [raw.external_id for raw in rows(await pages(site, PERSONS))] == [known]
    assert site.project.slower == []


@pytest.mark.parametrize(
    ("settings", "scopes", "words_"),
    [
        ({"api_key": "phx_of-nobody"}, {"query:read"}, "refuses the key"),
        ({}, {"insight:read"}, "missing required scope"),
        ({"project_id": "1"}, {"query:read"}, "no project 1"),
        ({"project_id": "of us"}, {"query:read"}, "number of a project"),
        ({"since": "yesterday"}, {"query:read"}, "no day"),
        ({"page_rows": "0"}, {"query:read"}, "is 1 to"),
    ],
)
async def test_what_is_refused_is_told_with_a_fix(
    site: Site, settings: dict[str, str], scopes: set[str], words_: str
) -> None:
    site.project.scopes = frozenset(scopes)
    with pytest.raises(ConnectorError, match=words_) as caught:
        async with CONNECTOR.open(site.settings | settings) as session:
            await session.check()
    assert caught.value.fix


def test_a_batch_of_posthogs_library_makes_persons_and_events() -> None:
    project = Site().project
    event: Json = {"event": "$identify", "distinct_id": "u", "properties": {"$set": {"email": "ada@lamps.example"}}}
    project.captured({"api_key": TOKEN, "batch": [event]})
    [person] = project.persons.values()
    assert (person["properties"], person["is_identified"]) == ({"email": "ada@lamps.example"}, True)
