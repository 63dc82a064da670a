"""The session with HubSpot, against the fake: what is read, what is written, and what happens on bad days."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from random import Random
from time import monotonic
from typing import cast

import msgspec
import pytest

from isthmus.connectors.hubspot import CONNECTOR
from isthmus.connectors.hubspot.client import HubSpotSession, session
from isthmus.connectors.hubspot.conformance import KEY_PROPERTY
from isthmus.connectors.hubspot.fake import Fake
from isthmus.connectors.hubspot.fake_http import APP, Site, serving
from isthmus.connectors.hubspot.fake_rules import Limits
from isthmus.connectors.hubspot.shapes import COMPANIES, CONTACTS, DEALS, SHAPES, TASKS, TICKETS
from isthmus.connectors.hubspot.wire import Row
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, KeyRefused, Outcome, Page, Raw, Written, freely
from tests.rooms.connectors.changes import change
from tests.rooms.connectors.hubspot_room import FIXTURES, company, record, settings


@pytest.fixture(scope="module")
def served() -> Iterator[Site]:
    """The server, for all of these tests."""
    with serving(Site()) as site:
        yield site


@pytest.fixture
def site(served: Site) -> Site:
    """The server before an account of a small company, as new."""
    served.fake, served.limits = company(Fake()), Limits(burst=1_000_000, searches=1_000_000)
    served.asked.clear()
    served.short.clear()
    served.ticks = None
    return served


@asynccontextmanager
async def opened(site: Site, **more: str) -> AsyncGenerator[HubSpotSession]:
    """Open a session with an account."""
    async with session(settings(site, **more), feeds=list(SHAPES), dice=Random(3)) as own:
        yield own


async def read(own: HubSpotSession, feed: str, cursor: str | None = None) -> list[Page]:
    """Read a feed to its end."""
    return [page async for page in own.read(feed, cursor=cursor)]


def rows(pages: list[Page]) -> list[Raw]:
    """Return the rows of pages."""
    return [row for page in pages for row in page.rows]


def one(site: Site, kind: str, word: str) -> int:
    """Return the number of the record that holds a word."""
    return next(each.id for each in site.fake.living(kind) if word in str(each.values))


async def test_the_fixtures_are_what_the_fake_sends(site: Site) -> None:
    for feed, found in (await record(site)).items():
        assert msgspec.json.decode((FIXTURES / f"{feed}.json").read_bytes(), type=list[Json]) == found


async def test_the_check_names_the_account_and_a_key_of_nobody_is_refused(site: Site) -> None:
    async with opened(site) as own:
        assert await own.check() == f"HubSpot account 4711 at {site.url}"
    async with opened(site, token="pat-of-nobody") as own:
        with pytest.raises(KeyRefused):
            await own.check()
    with pytest.raises(ConnectorError, match="no key"):
        async with opened(site, token=""):
            pass


async def test_an_app_renews_its_short_token_when_that_is_no_longer_taken(site: Site) -> None:
    async with opened(site, token="", **APP) as own:
        first = await own.check()
        site.short.clear()
        assert await own.check() == first
    assert [path for _, path in site.asked].count("/oauth/v1/token") == 2


async def test_in_the_name_of_a_person_it_carries_what_their_consent_proves(site: Site) -> None:
    site.short.add("short-of-a-person")

    async def authorise(_: bool) -> dict[str, str]:  # noqa: FBT001 - as sessions ask it.
        return {"Authorization": "Bearer short-of-a-person"}

    consented = {"client_id": "app-1", "url": site.url}
    assert CONNECTOR.oauth is not None
    assert CONNECTOR.consents(consented)
    assert not CONNECTOR.consents(consented | {"refresh_token": "given by hand"})
    async with CONNECTOR.oauth.begin(consented, freely, authorise) as own:
        assert await own.check() == f"HubSpot account 4711 at {site.url}"
    assert "/oauth/v1/token" not in [path for _, path in site.asked]


@pytest.mark.parametrize("wrong", [{"page_rows": "0"}, {"page_rows": "many"}, {"overlap_s": "-1"}])
async def test_settings_that_cannot_be_are_refused(site: Site, wrong: dict[str, str]) -> None:
    with pytest.raises(ConnectorError, match="page_rows"):
        async with opened(site, **wrong):
            pass


async def test_more_changes_than_a_search_tells_are_all_read(site: Site) -> None:
    site.fake.search_max = 20
    async with opened(site, page_rows="10") as own:
        cursor = (await read(own, CONTACTS))[-1].cursor
        site.fake.ms += 1
        together = [site.fake.make(CONTACTS, {"lastname": f"Tie {at}"}, still=True).id for at in range(35)]
        later = [site.fake.make(CONTACTS, {"lastname": f"Later {at}"}).id for at in range(35)]
        found = rows(await read(own, CONTACTS, cursor))
    told = [int(row.external_id) for row in found]
    assert {*together, *later} <= {*told}
    assert len({*told}) == len(told), "nothing is told twice"
    stamps = [row.at for row in found if row.at is not None]
    assert stamps == sorted(stamps)


async def test_what_a_search_finds_late_is_found_by_the_second_reading(site: Site) -> None:
    async with opened(site, overlap_s="300") as own:
        cursor = (await read(own, CONTACTS))[-1].cursor
        site.fake.lag_ms = 60_000
        late = site.fake.make(CONTACTS, {"lastname": "Late"}).id
        site.fake.ms += 30_000
        first = await read(own, CONTACTS, cursor)
        assert str(late) not in [row.external_id for row in rows(first)]
        site.fake.ms += 60_000
        again = await read(own, CONTACTS, first[-1].cursor)
        assert str(late) in [row.external_id for row in rows(again)]


async def test_deletions_are_told_from_the_last_one_that_was_and_no_earlier_ones(site: Site) -> None:
    first, second = one(site, CONTACTS, "Nameless"), one(site, CONTACTS, "Odd")
    told: list[set[str]] = []
    async with opened(site) as own:
        cursor = (await read(own, CONTACTS))[-1].cursor
        for gone in (first, second, second):
            site.fake.archive(CONTACTS, gone)
            found = await read(own, CONTACTS, cursor)
            cursor = found[-1].cursor
            told.append({row.external_id for row in rows(found) if row.deleted})
    assert told == [{str(first)}, {str(first), str(second)}, {str(second)}]


async def test_a_record_that_was_restored_is_no_deletion(site: Site) -> None:
    gone = one(site, CONTACTS, "Nameless")
    async with opened(site) as own:
        cursor = (await read(own, CONTACTS))[-1].cursor
        site.fake.archive(CONTACTS, gone)
        site.fake.restore(CONTACTS, gone)
        found = rows(await read(own, CONTACTS, cursor))
    assert [row.deleted for row in found if row.external_id == str(gone)] == [False]


@pytest.mark.parametrize("kind", [CONTACTS, COMPANIES])
async def test_records_that_became_one_are_told_as_one(site: Site, kind: str) -> None:
    first, second = site.fake.living(kind)[:2]
    async with opened(site) as own:
        cursor = (await read(own, kind))[-1].cursor
        survivor = site.fake.merge(kind, first.id, second.id)
        found = rows(await read(own, kind, cursor))
    assert str(survivor.id) in [row.external_id for row in found if not row.deleted]
    told = {row.external_id: row.merged_into for row in found if row.deleted}
    parts = {str(each.id) for each in (first, second)} - {str(survivor.id)}
    assert told == dict.fromkeys(parts, str(survivor.id))
    assert (survivor is first) == (kind == CONTACTS), "of companies a merge makes a new one"


async def test_a_part_of_a_merge_that_is_listed_as_deleted_is_no_deletion(site: Site) -> None:
    first, second = site.fake.living(CONTACTS)[:2]
    async with opened(site) as own:
        cursor = (await read(own, CONTACTS))[-1].cursor
        site.fake.merge(CONTACTS, first.id, second.id)
        second.gone_ms = site.fake.ms
        found = rows(await read(own, CONTACTS, cursor))
    assert {row.merged_into for row in found if row.deleted} == {str(first.id)}


async def test_an_association_moves_the_version_and_not_the_stamp(site: Site) -> None:
    number = one(site, CONTACTS, "Odd")
    async with opened(site) as own:
        before = {row.external_id: row for row in rows(await read(own, CONTACTS))}[str(number)]
        site.fake.tie(CONTACTS, number, COMPANIES, one(site, COMPANIES, "Yard"), [279])
        after = {row.external_id: row for row in rows(await read(own, CONTACTS))}[str(number)]
    assert before.at == after.at
    assert before.version != after.version


async def test_searches_beyond_five_in_a_second_are_refused_and_then_spread(site: Site) -> None:
    async with opened(site, page_rows="10") as own:
        cursor = (await read(own, CONTACTS))[-1].cursor
        for at in range(60):
            site.fake.make(CONTACTS, {"lastname": f"Many {at}"})
        site.limits, site.ticks = Limits(burst=1_000, searches=5), monotonic
        found = rows(await read(own, CONTACTS, cursor))
    assert len([row for row in found if "Many" in str(row.body)]) == 60


async def test_a_deal_is_made_with_its_stage_owner_day_currency_and_associations(site: Site) -> None:
    fields: Row = {
        "name": "Two cranes",
        "stage": "negotiation",
        "amount": {"amount": "99.90", "currency": "USD"},
        "close_date": "2026-12-31",
        "owner_id": "ben@vendor.example",
        "custom": {"tier": "silver", "unknown": "x"},
    }
    links = {"account_id": str(one(site, COMPANIES, "Works")), "person_id": str(one(site, CONTACTS, "Mara"))}
    wanted = change("sales.deal", fields, links=links, key="key-1")
    async with opened(site) as own:
        [made] = await own.write(DEALS, [wanted])
        [again] = await own.write(DEALS, [wanted])
    assert made.outcome is Outcome.WRITTEN, made.reason
    assert again.external_id == made.external_id
    record = site.fake.alive(DEALS, int(made.external_id or 0))
    assert record is not None
    assert record.values["dealstage"] == "decisionmakerboughtin"
    assert record.values["deal_currency_code"] == "USD"
    assert record.values["closedate"] == "2026-12-31T11:00:00.000Z", "noon in Berlin"
    assert record.values["hubspot_owner_id"] == "72"
    assert record.values[KEY_PROPERTY] == "key-1"
    assert made.raw is not None
    assert made.raw.body["_links"] == {"companies": [links["account_id"]], "contacts": [links["person_id"]]}
    assert made.raw.body["_day"] == "2026-12-31"


async def test_a_stage_that_means_what_is_wanted_stays_and_one_that_is_not_there_is_refused(site: Site) -> None:
    of = str(one(site, TICKETS, "crane is loud"))
    async with opened(site) as own:
        answers = await own.write(
            TICKETS,
            [
                change("success.ticket", {"status": "pending", "priority": "urgent"}, of=of),
                change("success.ticket", {"status": "on_hold"}, of=of),
            ],
        )
        [closed] = await own.write(TICKETS, [change("success.ticket", {"status": "solved"}, of=of)])
    assert [each.outcome for each in answers] == [Outcome.WRITTEN, Outcome.REFUSED]
    assert "no stage for on_hold" in answers[1].reason
    assert closed.raw is not None
    held = cast("Row", closed.raw.body["properties"])
    assert (held["hs_pipeline_stage"], held["hs_ticket_priority"]) == ("4", "URGENT")


async def test_a_contact_whose_address_is_there_is_taken_and_not_overwritten(site: Site) -> None:
    fields: Row = {"email": "MARA@harbour.example", "first_name": "Somebody", "company": "Else"}
    async with opened(site) as own:
        [made] = await own.write(CONTACTS, [change("sales.lead", fields, key="lead-1")])
    assert made.external_id == str(one(site, CONTACTS, "Mara"))
    assert made.raw is not None
    assert cast("Row", made.raw.body["properties"])["firstname"] == "Mara"


async def test_without_a_property_for_keys_only_a_contact_with_address_is_made(site: Site) -> None:
    async with opened(site, key_property="not_there") as own:
        answers = await own.write(
            CONTACTS,
            [
                change("sales.person", {"last_name": "Nobody"}, key="a"),
                change("sales.person", {"email": "new@harbour.example"}, key="b"),
            ],
        )
        [deal] = await own.write(DEALS, [change("sales.deal", {"name": "Doubtful"}, key="c")])
    assert [each.outcome for each in answers] == [Outcome.REFUSED, Outcome.WRITTEN]
    assert deal.outcome is Outcome.REFUSED
    assert "requires unique values" in deal.reason


async def test_one_value_that_is_refused_stops_no_other_among_new_records(site: Site) -> None:
    emails = ["x@harbour.example", "no address", "z@harbour.example"]
    async with opened(site) as own:
        answers = await own.write(
            CONTACTS, [change("sales.person", {"email": each}, key=f"many-{each}") for each in emails]
        )
        batches = [path for _, path in site.asked if path.endswith("batch/create")]
    assert [each.outcome for each in answers] == [Outcome.WRITTEN, Outcome.REFUSED, Outcome.WRITTEN]
    assert "Email address no address is invalid" in answers[1].reason
    assert len(batches) == 1, "each is told apart in one answer"


async def test_the_primary_company_is_replaced_and_taken_away(site: Site) -> None:
    of, other = str(one(site, CONTACTS, "Mara")), str(one(site, COMPANIES, "Yard"))
    async with opened(site) as own:
        [moved] = await own.write(CONTACTS, [change("sales.person", {}, of=of, links={"account_id": other})])
        [freed] = await own.write(CONTACTS, [change("sales.person", {"account_id": None}, of=of)])
        [ghost] = await own.write(CONTACTS, [change("sales.person", {}, of=of, links={"account_id": "999999"})])
    assert moved.raw is not None
    assert moved.raw.body["_links"] == {"companies": [other]}
    assert freed.raw is not None
    assert freed.raw.body["_links"] == {"companies": []}
    assert ghost.outcome is Outcome.MOVED


async def test_an_owner_who_is_not_there_is_refused_and_none_frees(site: Site) -> None:
    of = str(one(site, CONTACTS, "Mara"))
    async with opened(site) as own:
        [stranger] = await own.write(CONTACTS, [change("sales.person", {"owner_id": "who@nowhere.example"}, of=of)])
        [freed] = await own.write(CONTACTS, [change("sales.person", {"owner_id": None}, of=of)])
    assert stranger.outcome is Outcome.REFUSED
    assert "who@nowhere.example" in stranger.reason
    assert freed.raw is not None
    assert freed.raw.body["_owner"] is None


async def test_a_lead_is_not_deleted_and_engagements_are_only_read(site: Site) -> None:
    of = str(one(site, CONTACTS, "Mara"))
    async with opened(site) as own:
        [lead] = await own.write(CONTACTS, [change("sales.lead", {}, of=of, deleted=True)])
        [task] = await own.write(TASKS, [change("sales.activity", {"subject": "x"}, of="1")])
        [wrong] = await own.write(DEALS, [change("sales.person", {"city": "Kiel"}, key="d")])
    assert [each.outcome for each in (lead, task, wrong)] == [Outcome.REFUSED] * 3
    assert site.fake.alive(CONTACTS, int(of)) is not None


async def test_a_consent_that_is_withdrawn_here_opts_the_contact_out_and_no_other_is_written(site: Site) -> None:
    mara, nameless = one(site, CONTACTS, "Mara"), one(site, CONTACTS, "Nameless")
    withdrawn: Row = {"purpose": "marketing", "channel": "email", "state": "withdrawn"}

    async def said(
        own: HubSpotSession, fields: Row, person: int | None, *, of: int | None = None, deleted: bool = False
    ) -> Written:
        links, known = {"person_id": str(person)} if person else {}, str(of) if of else None
        wanted = change("marketing.consent", fields, links=links, key="c", of=known, deleted=deleted)
        [answer] = await own.write(CONTACTS, [wanted])
        return answer

    async with opened(site) as own:
        refused = [
            await said(own, {**withdrawn, "state": "granted"}, mara),
            await said(own, {**withdrawn, "channel": "phone"}, mara),
            await said(own, withdrawn, nameless),
            await said(own, withdrawn, None),
            await said(own, {}, None, of=mara, deleted=True),
        ]
        assert "hs_email_optout" not in site.fake.records[CONTACTS][mara].values
        made = await said(own, withdrawn, mara)
        again = await said(own, {"state": "withdrawn"}, None, of=mara)
    assert {each.outcome for each in refused} == {Outcome.REFUSED}
    assert all(each.reason for each in refused)
    assert (made.outcome, made.external_id) == (Outcome.WRITTEN, str(mara))
    assert again.outcome is Outcome.WRITTEN
    assert site.fake.records[CONTACTS][mara].values["hs_email_optout"] == "true"
    assert len([path for _, path in site.asked if path.endswith("unsubscribe-all")]) == 1


async def test_more_changes_than_a_batch_holds_are_written_in_order(site: Site) -> None:
    many = [change("sales.person", {"last_name": f"Many {at}"}, key=f"many-{at}") for at in range(120)]
    async with opened(site) as own:
        answers = await own.write(CONTACTS, many)
    assert {each.outcome for each in answers} == {Outcome.WRITTEN}
    names = [site.fake.records[CONTACTS][int(each.external_id or 0)].values["lastname"] for each in answers]
    assert names == [f"Many {at}" for at in range(120)]
