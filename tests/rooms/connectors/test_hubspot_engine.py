"""The engine between a workspace and an account of HubSpot's: leads, merges and associations, both ways."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import cast

import pytest

from isthmus.connectors.hubspot import CONNECTOR
from isthmus.connectors.hubspot.conformance import HubSpotCounterpart
from isthmus.connectors.hubspot.fake import Fake
from isthmus.connectors.hubspot.fake_http import Site, serving
from isthmus.connectors.hubspot.shapes import COMPANIES, CONTACTS, DEALS, SHAPES
from isthmus.kernel.status import Status
from isthmus.store.records import Stored, page
from isthmus.sync.connections import Options, connect
from isthmus.sync.ingest import Store
from isthmus.sync.running import EVERYTHING, synchronise
from isthmus.sync.runs import Run
from tests.conformance.conftest import Bench, Side
from tests.rooms.connectors.hubspot_room import company, settings


@dataclass
class Room:
    """A workspace that is connected to an account."""

    bench: Bench
    site: Site

    async def sync(self) -> Run:
        """Run the connection."""
        engine = replace(self.bench.engine, connectors={CONNECTOR.name: CONNECTOR})
        run = await synchronise(
            engine, workspace=self.bench.workspace, connection="vendor", parts=EVERYTHING, sweep_every_s=0
        )
        assert run.status is Status.HEALTHY, run.error
        return run

    async def all(self, kind: str) -> list[Stored]:
        """Return the living records of a type."""
        store = self.bench.store
        async with store.database.transaction(self.bench.scope()) as tx:
            return await page(tx, store.vault, store.schema[kind], limit=100)


@pytest.fixture
async def room(request: pytest.FixtureRequest, store: Store, workspace: int) -> AsyncGenerator[Room]:
    """A workspace with all that a small company has; a parameter names the feeds that it reads."""
    feeds = cast("str", getattr(request, "param", ",".join(SHAPES)))
    with serving(Site(fake=company(Fake()))) as site:
        counterpart = HubSpotCounterpart(site, settings(site, overlap_s="300", feeds=feeds), type="sales.lead")
        bench = Bench(Side(CONNECTOR, counterpart), store, workspace)
        async with store.database.transaction(bench.scope()) as tx:
            options = Options(create=("sales.lead", "sales.deal"))
            await connect(
                tx, store.vault, CONNECTOR, name="vendor", settings=dict(counterpart.settings), options=options
            )
        yield Room(bench, site)


async def test_a_small_company_comes_whole_and_stays_as_it_is(room: Room) -> None:
    await room.sync()
    counts = {kind: len(await room.all(kind)) for kind in ("sales.account", "sales.person", "sales.lead", "sales.deal")}
    assert counts == {"sales.account": 2, "sales.person": 3, "sales.lead": 1, "sales.deal": 2}
    assert len(await room.all("sales.activity")) == 5
    [consent] = await room.all("marketing.consent")
    assert consent.values["state"] == "withdrawn"
    [deal] = [each for each in await room.all("sales.deal") if each.values["account_id"]]
    [account] = [each for each in await room.all("sales.account") if each.values["name"] == "Harbour Works"]
    assert deal.values["account_id"] == str(account.id) or deal.values["account_id"] == account.id
    writes = [path for method, path in room.site.asked if method == "POST" and "/batch/" in path]
    assert not [path for path in writes if not path.endswith("/read")], "nothing is written that nobody changed"


@pytest.mark.parametrize("room", [COMPANIES], indirect=True)
async def test_companies_that_became_a_new_one_there_are_one_here(room: Room) -> None:
    await room.sync()
    first, second = room.site.fake.living(COMPANIES)
    survivor = room.site.fake.merge(COMPANIES, first.id, second.id)
    await room.sync()
    [account] = await room.all("sales.account")
    assert account.values["name"] == "Harbour Works"
    found = await room.bench.rows(
        "select distinct record_id from ref where workspace = current_workspace() and type = 'sales.account'"
        " and external_id = any(%s)",
        [str(each) for each in (first.id, second.id, survivor.id)],
    )
    assert found == [(account.id,)]


@pytest.mark.parametrize("room", [f"{COMPANIES},{CONTACTS}"], indirect=True)
async def test_a_lead_that_is_made_here_is_one_contact_there(room: Room) -> None:
    await room.sync()
    await room.bench.make(email="new@harbour.example", first_name="Nia", company="Harbour Works")
    await room.sync()
    await room.sync()
    [made] = [each for each in room.site.fake.living(CONTACTS) if each.values.get("email") == "new@harbour.example"]
    assert made.values["lifecyclestage"] == "lead"
    emails = [each.values["email"] for each in await room.all("sales.lead")]
    assert sorted(map(str, emails)) == ["mara@harbour.example", "new@harbour.example"]


@pytest.mark.parametrize("room", [f"{COMPANIES},{DEALS}"], indirect=True)
async def test_an_association_that_moved_no_stamp_is_found_when_everything_is_read(room: Room) -> None:
    await room.sync()
    deal = next(each for each in room.site.fake.living(DEALS) if each.values["dealname"] == "Lost at sea")
    room.site.fake.tie(DEALS, deal.id, COMPANIES, room.site.fake.living(COMPANIES)[1].id, [341])
    room.bench.clock.ahead += room.bench.clock.ahead.resolution * 86_500_000_000
    await room.sync()
    assert all(each.values["account_id"] for each in await room.all("sales.deal"))


@pytest.mark.parametrize("room", ["contacts,deals"], indirect=True)
async def test_what_is_not_read_is_not_pointed_to(room: Room) -> None:
    await room.sync()
    people = await room.all("sales.person")
    assert len(people) == 3
    assert all(each.values.get("account_id") is None for each in people)
    assert sum(bool(each.values.get("person_id")) for each in await room.all("sales.deal")) == 1
