"""Leads that a system or a file brings go through the same steps as captured ones, in batches, each of them once."""

from datetime import timedelta
from pathlib import Path

import pytest

from isthmus.app import discovery
from isthmus.app.arriving import arriving
from isthmus.domains.sales.arrivals import Arrivals
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.consume import consume
from isthmus.stream.relay import stamp
from isthmus.sync.connections import Options, connect
from isthmus.sync.files import import_file
from isthmus.sync.mappings import FileMapping, Source
from isthmus.sync.runs import Engine
from tests.rooms.domains.desk import Answer, Desk, said

LEADS = "/api/v1/integrations/sales/leads"
STEPS = ["validation", "duplicates", "scoring", "crm", "assignment", "follow_up"]
GRACE: dict[str, Json] = {"email": "grace@navy.example", "first_name": "Grace", "company": "Navy"}


def taking(desk: Desk) -> Arrivals:
    """What takes leads through the steps."""
    return Arrivals(store=desk.store, catalog=discovery.catalog(), connectors=desk.services.of(Engine).connectors)


async def take(desk: Desk) -> int:
    """Number the events, and take the leads of all of them through the steps; returns how many events were taken."""
    async with desk.store.database.transaction(desk.now) as tx:
        await stamp(tx.connection)
    (consumer,) = arriving(taking(desk))
    total = 0
    while taken := await consume(desk.store.database, consumer, desk.now):
        total += taken
    return total


async def seen(desk: Desk, lead: str) -> Answer:
    """The lead as it is now."""
    return await desk.get(f"{LEADS}/{lead}")


def lead(external_id: str, **fields: Json) -> Observation:
    """What the CRM says of a lead."""
    return said("sales.lead", external_id, **{**GRACE, **fields})


def from_list(external_id: str, **fields: Json) -> Observation:
    """What a list says of a lead."""
    return Observation(type="sales.lead", system="list", external_id=external_id, fields={**GRACE, **fields})


async def test_a_lead_from_a_system_goes_through_all_six_steps_once(desk: Desk) -> None:
    (own,) = await desk.put(lead("L1", title="VP Supply", company_size=240, owner_id="mary"))
    assert (await seen(desk, own)).rows("pipeline") == []
    assert await take(desk) == 1
    answer = await seen(desk, own)
    assert [each["kind"] for each in answer.rows("pipeline")] == STEPS
    assert (answer.at("owner_id"), answer.at("status"), answer.at("follow_up.state")) == (
        "mary",
        "qualified",
        "running",
    )
    # 20 to begin with, 25 for the role, 15 for the size, 8 for the business address.
    assert answer.at("score") == 68.0
    version = answer.at("version")
    assert await take(desk) == 0
    assert await taking(desk).take_waiting(desk.now) == 0
    assert (await seen(desk, own)).at("version") == version


async def test_a_captured_lead_is_not_taken_again(desk: Desk) -> None:
    captured = (await desk.post(LEADS, {**GRACE})).at("lead")
    assert isinstance(captured, dict)
    assert await take(desk) == 1
    assert (await seen(desk, str(captured["id"]))).at("version") == captured["version"]


async def test_a_lead_of_a_list_is_merged_by_name_and_company_and_the_merge_can_be_undone(desk: Desk) -> None:
    named: dict[str, Json] = {"last_name": "Hopper"}
    (older,) = await desk.put(lead("L1", **named))
    await take(desk)
    desk.later(seconds=1)
    await desk.put(from_list("R1", email="g.hopper@navy.example", **named))
    await take(desk)
    answer = await seen(desk, older)
    (merge,) = answer.rows("merges")
    assert merge["by"] == "the same name and company"
    duplicates = answer.rows("pipeline")[1]
    assert (duplicates["state"], duplicates["link"]) == ("done", merge["undo"])
    undone = await desk.post(str(merge["undo"]))
    assert (undone.status, undone.at("kept")) == (200, older)
    split = await seen(desk, str(undone.at("split")))
    assert [each["kind"] for each in split.rows("pipeline")] == STEPS


async def test_a_merge_by_address_is_told_with_the_way_back(desk: Desk) -> None:
    (own,) = await desk.put(lead("L1"))
    await desk.put(from_list("R1", company="Navy Yard"))
    await take(desk)
    answer = await seen(desk, own)
    duplicates, (merge,) = answer.rows("pipeline")[1], answer.rows("merges")
    assert (duplicates["reason"], duplicates["link"]) == (
        "Merged into the lead that was there, by the same e-mail.",
        merge["undo"],
    )


async def test_two_leads_that_one_connected_system_keeps_apart_stay_two(desk: Desk, tmp_path: Path) -> None:
    connector = desk.services.of(Engine).connectors["demo"]
    settings = {
        "system": "crm",
        "path": str(tmp_path / "demo.sqlite"),
        "companies": "12",
        "now": "2026-11-01T09:00:00Z",
    }
    async with desk.store.database.transaction(desk.now) as tx:
        await connect(tx, desk.store.vault, connector, name="crm", settings=settings, options=Options())
    both = await desk.put(lead("L1", last_name="Hopper"), lead("L2", last_name="Hopper", email="h@navy.example"))
    await take(desk)
    for own in both:
        answer = await seen(desk, own)
        assert answer.rows("merges") == []
        assert answer.rows("pipeline")[3]["state"] == "done"


async def test_no_follow_up_begins_on_what_was_captured_long_ago(desk: Desk) -> None:
    old = (desk.clock.now() - timedelta(days=31)).isoformat()
    (own,) = await desk.put(lead("L1", captured_at=old))
    await take(desk)
    step = (await seen(desk, own)).rows("pipeline")[5]
    assert (step["state"], step["reason"]) == ("skipped", "It was captured on 2026-10-02, over 30 days ago.")
    assert await desk.steps() == 0


@pytest.mark.parametrize("pipeline", [True, False])
async def test_an_import_may_leave_the_steps_out(desk: Desk, tmp_path: Path, *, pipeline: bool) -> None:
    path = tmp_path / "list.csv"
    path.write_text("id,email,first_name,company\n1,grace@navy.example,Grace,Navy\n", encoding="utf-8")
    fields = {name: Source(column=name) for name in ("email", "first_name", "company")}
    mapping = FileMapping(type="sales.lead", system="list", id_column="id", fields=fields, pipeline=pipeline)
    await import_file(
        desk.services.of(Engine), workspace=desk.scope.workspace, actor="user:ada", path=path, mapping=mapping
    )
    await take(desk)
    own = await desk.id_of("sales.lead", "1", system="list")
    assert len((await seen(desk, own)).rows("pipeline")) == (len(STEPS) if pipeline else 0)


async def test_many_leads_cost_a_transaction_for_each_batch(desk: Desk) -> None:
    await desk.put(*(from_list(f"R{n}", email=f"r{n}@navy{n}.example", company=f"Navy {n}") for n in range(450)))
    async with desk.store.database.transaction(desk.now) as tx:
        await stamp(tx.connection)
    (consumer,) = arriving(taking(desk))
    assert [await consume(desk.store.database, consumer, desk.now) for _ in range(4)] == [200, 200, 50, 0]
    assert {str(each["owner_id"]) for each in (await desk.get("/api/v1/leads?limit=200")).rows("data")} == {"sales"}
