"""The step of the CRM waits until the connected CRM has the lead, and then says where it is there."""

from pathlib import Path

from isthmus.domains.sales.crm import settle
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from isthmus.sync.connections import Options, connect, connection_of, pause
from isthmus.sync.running import synchronise
from isthmus.sync.runs import Engine
from tests.rooms.domains.desk import Desk

LEADS = "/api/v1/integrations/sales/leads"
GRACE: dict[str, Json] = {
    "email": "grace@hopper.example",
    "first_name": "Grace",
    "last_name": "Hopper",
    "company": "Navy",
}
CREATES = Options(create=("sales.lead",))


async def connected(desk: Desk, path: Path, *, name: str = "crm", options: Options = CREATES) -> None:
    """Connect the fake CRM."""
    connector = desk.services.of(Engine).connectors["demo"]
    settings = {"system": "crm", "path": str(path / "demo.sqlite"), "companies": "12", "now": "2026-11-01T09:00:00Z"}
    async with desk.store.database.transaction(desk.now) as tx:
        await connect(tx, desk.store.vault, connector, name=name, settings=settings, options=options)


async def crm(desk: Desk, lead: Json) -> tuple[Json, str]:
    """The state of the step and its reason, as a caller sees it."""
    step = (await desk.get(f"{LEADS}/{lead}")).rows("pipeline")[3]
    return step["state"], str(step["reason"])


async def stored(desk: Desk, lead: Json) -> Json:
    """The state of the step as the record holds it."""
    return (await desk.get(f"/api/v1/leads/{lead}")).at("steps.3.state")


async def push(desk: Desk) -> None:
    """Let the sync write what differs."""
    desk.later(seconds=1)
    await synchronise(desk.services.of(Engine), workspace=desk.scope.workspace, connection="crm", parts=("push",))


async def test_a_lead_waits_for_the_next_push_and_then_says_where_it_is(desk: Desk, tmp_path: Path) -> None:
    await connected(desk, tmp_path)
    lead = (await desk.post(LEADS, {**GRACE})).at("lead.id")
    assert await crm(desk, lead) == ("waiting", "Goes to crm with its next push.")
    desk.later(seconds=10)
    await settle(desk.store, desk.now)
    assert await stored(desk, lead) == "waiting"
    await push(desk)
    state, reason = await crm(desk, lead)
    assert state == "done"
    assert reason.startswith("In crm as LEA9")
    desk.later(seconds=10)
    await settle(desk.store, desk.now)
    assert await stored(desk, lead) == "done"
    assert (await crm(desk, lead))[1] == reason


async def test_a_lead_that_the_crm_has_is_done_at_once(desk: Desk, tmp_path: Path) -> None:
    await connected(desk, tmp_path)
    await desk.post(LEADS, {**GRACE})
    await push(desk)
    desk.later(seconds=1)
    again = await desk.post(LEADS, {**GRACE, "title": "Rear Admiral"})
    assert (again.at("outcome"), again.at("lead.pipeline.3.state")) == ("merged", "done")


async def test_a_connection_that_may_not_make_leads_is_skipped_with_the_reason(desk: Desk, tmp_path: Path) -> None:
    await connected(desk, tmp_path, options=Options())
    lead = (await desk.post(LEADS, {**GRACE})).at("lead.id")
    state, reason = await crm(desk, lead)
    assert (state, "does not name sales.lead" in reason) == ("skipped", True)
    await connected(desk, tmp_path, name="crm2")
    other = (await desk.post(LEADS, {**GRACE, "email": "g@navy.example", "first_name": "G"})).at("lead.id")
    assert await crm(desk, other) == ("waiting", "Goes to crm2 with its next push.")


async def test_what_the_crm_refused_is_told(desk: Desk, tmp_path: Path) -> None:
    await connected(desk, tmp_path)
    lead = str((await desk.post(LEADS, {**GRACE})).at("lead.id"))
    async with desk.store.database.transaction(desk.scope) as tx:
        query = """insert into write_outcome (workspace, connection_id, run_id, type, record_id, kind, outcome, reason,
                   fields, at) select current_workspace(), id, id, 'sales.lead', %s, 'create', 'refused', 'no', '{}', %s
                   from connection"""
        await tx.connection.execute(query, (uuid_of("lead", lead), desk.scope.now))
    desk.later(seconds=10)
    await settle(desk.store, desk.now)
    assert await crm(desk, lead) == ("failed", "crm refused it; the run says why.")


async def test_a_paused_crm_keeps_leads_waiting_without_being_asked_every_second(desk: Desk, tmp_path: Path) -> None:
    await connected(desk, tmp_path)
    lead = (await desk.post(LEADS, {**GRACE})).at("lead.id")
    async with desk.store.database.transaction(desk.scope) as tx:
        await pause(tx, await connection_of(tx, "crm"), reason="maintenance")
    looks = 0
    for _ in range(600):
        desk.later(seconds=1)
        async with desk.store.database.transaction(desk.now) as tx:
            query = "select count(*) from crm_waiting where check_at <= %s"
            row = await (await tx.connection.execute(query, (desk.clock.now(),))).fetchone()
        if row and row[0]:
            looks += 1
            await settle(desk.store, desk.now)
    assert looks <= 10
    assert await stored(desk, lead) == "waiting"
