"""A push of many records goes as jobs of Bulk API 2.0, from the engine to the organisation, with an answer for each."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

import pytest

from isthmus.connectors.salesforce import CONNECTOR
from isthmus.connectors.salesforce.conformance import SalesforceCounterpart
from isthmus.connectors.salesforce.fake.fields import KEY_FIELD
from isthmus.connectors.salesforce.fake.jobs import WRITES
from isthmus.connectors.salesforce.fake.server import Fake, running
from isthmus.sync.connections import Options, connect
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, arrive
from isthmus.sync.running import Part, synchronise
from isthmus.sync.runs import Run
from tests.conformance.conftest import Bench, Side
from tests.rooms.connectors.salesforce_room import settings

PERSON = "sales.person"
MANY, BAD = 2_010, 7


@dataclass
class Room:
    """A workspace that is connected to an organisation, of which it reads and writes the contacts."""

    bench: Bench
    fake: Fake

    async def connect(self, **more: str) -> None:
        """Connect."""
        store = self.bench.store
        async with store.database.transaction(self.bench.scope()) as tx:
            options, given = Options(create=(PERSON,)), settings(self.fake, feeds="contacts", **more)
            await connect(tx, store.vault, CONNECTOR, name="vendor", settings=given, options=options)

    async def sync(self, *parts: Part) -> Run:
        """Run the connection."""
        engine = replace(self.bench.engine, connectors={CONNECTOR.name: CONNECTOR})
        return await synchronise(
            engine, workspace=self.bench.workspace, connection="vendor", parts=parts, confirmed=True
        )

    async def make(self, count: int, *, bad: int | None = None, city: str = "Gent") -> None:
        """Make people here, or say where they live now; one may have a name that is too long for Salesforce."""
        people = [
            Arrival(
                external_id=f"p{n}",
                fields={
                    "last_name": f"Person {n}{'x' * 90 if n == bad else ''}",
                    "email": f"p{n}@quince.example",
                    "city": city,
                },
            )
            for n in range(count)
        ]
        store = self.bench.store
        async with store.database.transaction(self.bench.scope()) as tx:
            await arrive(tx, store, PERSON, people)

    async def delete(self, count: int) -> None:
        """Delete the first people here."""
        for each in (await self.bench.records())[:count]:
            await edit(self.bench.store, self.bench.scope(), PERSON, each.id, {}, deleted=True)

    async def outcomes(self, run: Run) -> dict[tuple[str, str], int]:
        """Return how the writes of a run ended: kind and outcome, with how many."""
        query = "select kind, outcome, count(*) from write_outcome where workspace = current_workspace()"
        found = await self.bench.rows(f"{query} and run_id = %s group by kind, outcome", run.id)
        return {(str(kind), str(outcome)): int(str(count)) for kind, outcome, count in found}

    def jobs(self) -> list[tuple[object, int]]:
        """Return the operations of the jobs that wrote, with how many records each took in."""
        return [(each.told["operation"], len(each.good)) for each in self.fake.jobs.all(WRITES)]

    def cities(self) -> set[str]:
        """Return the cities of all contacts."""
        return {str(row["MailingCity"]) for row in self.fake.records.rows("Contact")}


@pytest.fixture
async def room(store: Store, workspace: int) -> AsyncGenerator[Room]:
    """A workspace beside an organisation without records."""
    with running(Fake()) as fake:
        fake.jobs.backwards = True
        side = Side(CONNECTOR, SalesforceCounterpart(fake.records, settings(fake)))
        yield Room(Bench(side, store, workspace), fake)


async def test_with_the_usual_settings_thousands_of_records_go_as_a_job_with_an_answer_for_each(room: Room) -> None:
    await room.connect(page_rows="2000")
    await room.make(MANY, bad=BAD)
    run = await room.sync("push")
    assert room.jobs() == [("insert", MANY - 1)]
    assert await room.outcomes(run) == {("create", "written"): MANY - 1, ("create", "refused"): 1}
    assert (run.written, run.rejected) == (MANY - 1, 1)
    [(reason,)] = await room.bench.rows(
        "select reason from write_outcome where workspace = current_workspace() and outcome = 'refused'"
    )
    assert "data value too large" in str(reason)
    again = await room.sync("pull", "push")
    assert (again.written, again.changed, again.created) == (0, 0, 0), "what we wrote is known again as ours"
    assert len(room.jobs()) == 1


async def test_what_a_job_that_failed_did_not_come_to_goes_another_time_and_nothing_twice(room: Room) -> None:
    await room.connect(bulk_rows="10", key_field=KEY_FIELD)
    await room.make(30)
    room.fake.jobs.fails_after = 12
    run = await room.sync("push")
    assert (await room.outcomes(run))["create", "failed"] >= 18
    assert room.jobs()[0] == ("upsert", 12)
    room.fake.jobs.fails_after = None
    await room.sync("push")
    assert len(room.cities()) == 1
    emails = [row["Email"] for row in room.fake.records.rows("Contact")]
    assert sorted(map(str, emails)) == sorted(f"p{n}@quince.example" for n in range(30))


async def test_many_changes_and_many_deletions_go_as_jobs_too(room: Room) -> None:
    await room.connect(bulk_rows="10", key_field=KEY_FIELD)
    await room.make(30)
    await room.sync("push")
    await room.make(30, city="Bruges")
    run = await room.sync("push")
    assert (await room.outcomes(run), room.cities()) == ({("update", "written"): 30}, {"Bruges"})
    await room.delete(11)
    run = await room.sync("push")
    assert await room.outcomes(run) == {("delete", "written"): 11}
    assert room.jobs() == [("upsert", 30), ("update", 30), ("delete", 11)]
    assert sum(row["IsDeleted"] is False for row in room.fake.records.rows("Contact")) == 19
