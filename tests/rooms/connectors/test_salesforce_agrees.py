"""A workspace and an organisation agree, through every feed, whatever people do on both sides."""

from random import Random
from typing import cast
from uuid import UUID

import pytest

from isthmus.app.clock import SystemClock
from isthmus.connectors.salesforce import CONNECTOR
from isthmus.connectors.salesforce.fake.server import Fake, running
from isthmus.connectors.salesforce.tables import BY_FEED
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.database import Scope
from isthmus.store.records import Stored, find
from isthmus.sync.connections import Options, connect
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Store
from isthmus.sync.running import synchronise
from isthmus.sync.runs import Engine, Retry, Run
from tests.rooms.connectors.salesforce_room import company, settings

SYSTEM = "salesforce"


class Side:
    """A workspace that is connected to an organisation."""

    def __init__(self, store: Store, workspace: int, fake: Fake) -> None:
        """Nothing is read yet."""
        self.store, self.workspace, self.fake = store, workspace, fake
        self.engine = Engine(
            store=store,
            clock=SystemClock(),
            chance=Random(7),
            connectors={SYSTEM: CONNECTOR},
            pause=self._pause,
            retry=Retry(tries_max=2),
        )

    async def _pause(self, seconds: float) -> None:
        del seconds

    def scope(self) -> Scope:
        """Return a scope of this moment."""
        return self.engine.scope(workspace=self.workspace, actor="user:tester", cause="test")

    async def sync(self) -> Run:
        """Pull, compare ids and push."""
        return await synchronise(self.engine, workspace=self.workspace, connection=SYSTEM, sweep_every_s=0)

    async def of(self, kind: str, external_id: str) -> Stored:
        """Return the record that an id means."""
        async with self.store.database.transaction(self.scope()) as tx:
            cursor = await tx.connection.execute(
                "select record_id from ref where workspace = current_workspace() and type = %s and system = %s"
                " and external_id = %s",
                (kind, SYSTEM, external_id),
            )
            row = await cursor.fetchone()
            assert row is not None, f"{kind} {external_id}"
            known = await find(tx, self.store.vault, self.store.schema[kind], [cast("UUID", row[0])])
        return known[row[0]]

    def links(self, record: Stored) -> dict[str, str]:
        """Return the records that one points to."""
        named = ("account_id", "person_id", "deal_id", "lead_id", "campaign_id")
        return {name: str(value) for name in named if (value := record.values.get(name)) is not None}

    async def edit(self, record: Stored, kind: str, **fields: Json) -> None:
        """Edit a record here."""
        await edit(self.store, self.scope(), kind, record.id, fields)


@pytest.fixture
async def side(store: Store, workspace: int) -> Side:
    """A workspace without connections."""
    return Side(store, workspace, Fake())


async def test_a_day_of_a_company_arrives_linked_and_edits_go_both_ways_once(side: Side) -> None:
    fake = side.fake
    day = company(fake)
    with running(fake):
        async with side.store.database.transaction(side.scope()) as tx:
            given = settings(fake, page_rows="2000")
            await connect(tx, side.store.vault, CONNECTOR, name=SYSTEM, settings=given, options=Options())
        run = await side.sync()
        assert run.status is Status.HEALTHY, run.error
        assert run.created == 13, "the third row of the history is no change of stage"
        account, deal = await side.of("sales.account", day.account), await side.of("sales.deal", day.opportunity)
        person, lead = await side.of("sales.person", day.contact), await side.of("sales.lead", day.converted)
        campaign = await side.of("marketing.campaign", day.campaign)
        assert side.links(deal) == {"account_id": str(account.id), "campaign_id": str(campaign.id)}
        sold = {"account_id": str(account.id), "person_id": str(person.id), "deal_id": str(deal.id)}
        assert side.links(lead) == sold
        member, call = await side.of("marketing.campaign_member", day.member), await side.of("sales.activity", day.task)
        other = await side.of("sales.lead", day.lead)
        assert side.links(member) == {"campaign_id": str(campaign.id), "lead_id": str(other.id)}
        assert side.links(call) == {"person_id": str(person.id), "deal_id": str(deal.id)}
        ticket = await side.of("success.ticket", day.case)
        assert side.links(ticket) == {"account_id": str(account.id), "person_id": str(person.id)}

        await side.edit(deal, "sales.deal", next_step="Ship jars")
        await side.edit(person, "sales.person", title="Queen of jam", custom={"Score__c": 9})
        fake.records.change("Contact", day.contact, {"Department": "Jam"}, by=fake.records.human)
        twin = fake.records.create("Account", {"Name": "Quince and Daughters"}, by=fake.records.human)
        run = await side.sync()
        assert (run.status, run.written, run.conflicts) == (Status.HEALTHY, 2, 0), run.error
        held = fake.records.find("Contact", day.contact)
        assert held is not None
        assert (held["Title"], held["Score__c"], held["Department"]) == ("Queen of jam", 9.0, "Jam")
        assert (held["Newsletter__c"], held["Since__c"]) == (False, None), "a field that is ours no more is cleared"

        fake.records.merge("Account", day.account, twin, by=fake.records.human)
        run = await side.sync()
        assert (run.status, run.written) == (Status.HEALTHY, 0), run.error
        assert (await side.of("sales.account", twin)).id == account.id
        run = await side.sync()
        assert (run.changed, run.written, run.conflicts) == (0, 0, 0), run.error


def test_every_feed_comes_after_those_that_it_points_to() -> None:
    order = [each.type for each in BY_FEED.values()]
    assert order.index("sales.account") < order.index("sales.person") < order.index("sales.deal")
    assert order.index("sales.deal") < order.index("sales.stage_change")
    assert order.index("sales.deal") < order.index("sales.lead") < order.index("marketing.campaign_member")
