"""Workflows are edited in versions, paused and resumed, and a run does what its version says, however it goes."""

import asyncio

from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from tests.rooms.domains.desk import Answer, Desk, said

FLOWS, RUNS, LEADS = "/api/v1/workflows", "/api/v1/workflow-runs", "/api/v1/leads"
PERMISSIONS: Json = ["sales:read", "sales:write", "stream:read", "stream:write"]
TASK: Json = {"kind": "task", "title": "Call", "due_hours": 24}


async def lead(desk: Desk, name: str = "L1", **fields: Json) -> str:
    """A lead."""
    said_now = said(
        "sales.lead", name, email=f"{name}@mill.example", first_name="N", company="Mill", owner_id="eva", **fields
    )
    return (await desk.put(said_now))[0]


async def write(desk: Desk, *steps: Json, **fields: Json) -> Answer:
    """Write a version of the workflow `chase`."""
    wanted: Json = {"subject": "sales.lead", "title": "Chase", "steps": list(steps), **fields}
    answer = await desk.call("PUT", f"{FLOWS}/chase", wanted)
    assert answer.status == 200, answer.body
    return answer


async def begin(desk: Desk, record: str) -> str:
    """Start the workflow for a record, and do what is due."""
    answer = await desk.post(f"{FLOWS}/chase:start", {"subject_id": record})
    assert answer.status == 201, answer.body
    await desk.steps()
    return str(answer.at("id"))


async def run(desk: Desk, own: str) -> Answer:
    """The run as it stands."""
    return await desk.get(f"{RUNS}/{own}")


async def log(desk: Desk, own: str) -> list[Json]:
    """What was done."""
    return [each["what"] for each in (await run(desk, own)).rows("log")]


async def test_an_edit_is_a_version_and_what_runs_goes_on_with_its_own(desk: Desk) -> None:
    assert (await write(desk, TASK, {"kind": "wait", "hours": 1}, {"kind": "notify", "text": "Old"})).at("version") == 1
    own = await begin(desk, await lead(desk))
    assert (await write(desk, {"kind": "notify", "text": "New"}, note="shorter")).at("version") == 2
    assert (await write(desk, {"kind": "notify", "text": "New"})).at("version") == 2
    desk.later(hours=1)
    await desk.steps()
    assert await log(desk, own) == ["Call", "Waits 1 hours", "Old"]
    other = await begin(desk, await lead(desk, "L2"))
    assert await log(desk, other) == ["New"]
    versions = (await desk.get(f"{FLOWS}/chase/versions")).rows("data")
    assert [(each["version"], each["note"]) for each in versions] == [(2, "shorter"), (1, "")]
    entries = (await desk.get("/api/v1/audit?q=action:workflow.edited")).rows("data")
    assert len(entries) == 2


async def test_edits_at_the_same_moment_are_versions_one_after_another(desk: Desk) -> None:
    edits = [write(desk, {"kind": "notify", "text": f"No. {n}"}) for n in range(4)]
    assert sorted(str(each.at("version")) for each in await asyncio.gather(*edits)) == ["1", "2", "3", "4"]


async def test_a_workflow_that_rests_begins_nothing_and_does_what_fell_due_when_it_goes_on(desk: Desk) -> None:
    await write(desk, {"kind": "wait", "hours": 1}, {"kind": "notify", "text": "Late"})
    own, other = await begin(desk, await lead(desk)), await lead(desk, "L2")
    assert (await desk.post(f"{FLOWS}/chase:pause", {"reason": "holidays"})).at("status") == "paused"
    refused = await desk.post(f"{FLOWS}/chase:start", {"subject_id": other})
    assert (refused.status, refused.at("code")) == (409, "workflow-paused")
    desk.later(hours=2)
    await desk.steps()
    assert (await run(desk, own)).at("state") == "running"
    assert (await desk.post(f"{FLOWS}/chase:resume")).at("status") == "healthy"
    await desk.steps()
    assert ((await run(desk, own)).at("state"), await log(desk, own)) == ("done", ["Waits 1 hours", "Late"])


async def test_a_condition_leads_elsewhere_by_what_the_record_says_now(desk: Desk) -> None:
    big: Json = {
        "kind": "condition",
        "where": [
            {"field": "company_size", "is": "at_least", "value": 100},
            {"field": "status", "is": "is", "value": "new"},
        ],
        "otherwise": "small",
    }
    await write(desk, big, {"kind": "notify", "text": "Big"}, {"kind": "notify", "text": "All", "label": "small"})
    large, small = await begin(desk, await lead(desk, company_size=100)), await begin(desk, await lead(desk, "L2"))
    assert await log(desk, large) == ["Big", "All"]
    assert await log(desk, small) == ["company_size is not known", "All"]


async def test_a_condition_sees_the_account_of_a_lead_and_its_latest_health(desk: Desk) -> None:
    large: Json = {"field": "account.segment", "is": "one_of", "value": ["large", "huge"]}
    risky: Json = {"field": "health.risk", "is": "is", "value": "high"}
    await write(desk, {"kind": "condition", "where": [large]}, {"kind": "condition", "where": [risky]}, TASK)
    await desk.put(
        said("sales.account", "A1", name="Mill", segment="large"),
        said("sales.account", "A2", name="Inn", segment="tiny"),
    )
    for at, risk in (("2026-11-01", "high"), ("2026-10-01", "low")):
        await desk.put(
            said("success.health_snapshot", at, score=20.0, at=f"{at}T00:00:00Z", risk=risk, account_id="A1")
        )
    assert await log(desk, await begin(desk, await lead(desk, account_id="A1"))) == ["Call"]
    told = "account.segment is not as it must be"
    assert await log(desk, await begin(desk, await lead(desk, "L2", account_id="A2"))) == [told]
    assert await log(desk, await begin(desk, await lead(desk, "L3"))) == ["account.segment is not known"]
    later: Json = {"score": 90.0, "at": "2026-11-02T00:00:00Z", "risk": "low"}
    assert isinstance(later, dict)
    await desk.put(said("success.health_snapshot", "H3", **later, account_id="A1"))
    assert await log(desk, await begin(desk, await lead(desk, "L4", account_id="A1"))) == [
        "health.risk is not as it must be"
    ]


async def test_who_may_not_read_what_a_condition_looks_at_may_not_write_it(desk: Desk) -> None:
    steps: Json = [{"kind": "condition", "where": [{"field": "campaign.kind", "is": "present"}]}]
    wanted: Json = {"subject": "sales.lead", "title": "T", "steps": steps}
    assert (await desk.post("/api/v1/roles", {"name": "seller", "permissions": PERMISSIONS})).status == 201
    refused = await desk.call("PUT", f"{FLOWS}/chase", wanted, roles=("seller",))
    assert (refused.status, "marketing:read" in str(refused.at("detail"))) == (403, True)
    assert (await desk.call("PUT", f"{FLOWS}/chase", wanted)).status == 200


async def test_a_task_that_is_late_goes_to_somebody_else_and_one_that_is_done_does_not(desk: Desk) -> None:
    await write(desk, TASK, {"kind": "escalate", "after_hours": 2, "to": "max", "reassign": True})
    late, done = await lead(desk), await lead(desk, "L2")
    first, second = await begin(desk, late), await begin(desk, done)
    for each in (await desk.get("/api/v1/activities")).rows("data"):
        if each["lead_id"] == done:
            headers = {"if-match": (await desk.get(f"/api/v1/activities/{each['id']}")).headers["etag"]}
            await desk.call("PATCH", f"/api/v1/activities/{each['id']}", {"completed": True}, headers=headers)
    desk.later(hours=25)
    await desk.steps()
    assert (await run(desk, first)).at("state") == "running"
    desk.later(hours=1)
    await desk.steps()
    assert await log(desk, first) == ["Call", "Call is not done; it goes to max."]
    assert await log(desk, second) == ["Call", "The task is done, so nobody is told."]
    assert ((await desk.get(f"{LEADS}/{late}")).at("owner_id"), (await desk.get(f"{LEADS}/{done}")).at("owner_id")) == (
        "max",
        "eva",
    )


async def test_a_run_rests_and_goes_on_and_is_cancelled_once(desk: Desk) -> None:
    await write(desk, {"kind": "wait", "hours": 1}, {"kind": "notify", "text": "Late"})
    own = await begin(desk, await lead(desk))
    assert (await desk.post(f"{RUNS}/{own}:pause")).at("state") == "paused"
    desk.later(hours=2)
    assert await desk.steps() == 0
    assert (await desk.post(f"{RUNS}/{own}:resume")).at("state") == "running"
    assert (await desk.post(f"{RUNS}/{own}:cancel", {"reason": "They called."})).at("reason") == "They called."
    again = await desk.post(f"{RUNS}/{own}:cancel", {})
    assert (again.status, again.at("code")) == (409, "workflow-run-over")
    assert await desk.steps() == 0


async def test_what_fails_again_and_again_lets_the_run_rest_with_the_reason(desk: Desk) -> None:
    await write(desk, {"kind": "task", "title": "Call", "due_hours": 0}, {"kind": "escalate"}, TASK)
    await desk.set("sales", {"load_max": "many"})
    own = await begin(desk, await lead(desk))
    for _ in range(10):
        desk.later(hours=2)
        await desk.steps()
    resting = await run(desk, own)
    assert (resting.at("state"), "settings of sales are wrong" in str(resting.at("reason"))) == ("paused", True)
    await desk.set("sales", {})
    assert (await desk.post(f"{RUNS}/{own}:resume")).status == 200
    await desk.steps()
    assert await log(desk, own) == ["Call", "Call is not done; sales is told.", "Call"]


async def test_a_record_that_is_gone_ends_its_run(desk: Desk) -> None:
    await write(desk, {"kind": "wait", "hours": 1}, TASK)
    record = await lead(desk)
    own = await begin(desk, record)
    desk.later(hours=1)
    await desk.put(Observation(type="sales.lead", system="crm", external_id="L1", fields={}, deleted=True))
    await desk.steps()
    ended = await run(desk, own)
    assert (ended.at("state"), ended.at("reason")) == ("cancelled", "The record is gone.")


async def test_wrong_names_and_subjects_are_refused(desk: Desk) -> None:
    wanted: Json = {"title": "T", "steps": []}
    no_subject = await desk.call("PUT", f"{FLOWS}/new-one", wanted)
    assert (no_subject.status, no_subject.at("code")) == (422, "unknown-subject")
    other = await desk.call("PUT", f"{FLOWS}/rescue", {"title": "T", "steps": [], "subject": "sales.lead"})
    assert (other.status, other.at("code")) == (409, "workflow-other-subject")
    assert (await desk.call("PUT", f"{FLOWS}/No_Name", {**wanted, "subject": "sales.lead"})).status == 422
    missing = await desk.post(f"{FLOWS}/rescue:start", {"subject_id": "acct_01JD3Q4B8M0000000000000000"})
    assert (missing.status, missing.at("code")) == (404, "subject-missing")


async def test_runs_are_found_by_workflow_state_and_record(desk: Desk) -> None:
    await write(desk, TASK)
    one, two = await lead(desk), await lead(desk, "L2")
    await begin(desk, one)
    await begin(desk, two)
    assert len((await desk.get(f"{RUNS}?workflow=chase&state=done")).rows("data")) == 2
    (found,) = (await desk.get(f"{RUNS}?subject_id={two}")).rows("data")
    assert found["subject_id"] == two
    assert (await desk.get(f"{RUNS}?state=running")).rows("data") == []
