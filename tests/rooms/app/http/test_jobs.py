"""Jobs and schedules over HTTP: who may start what, who sees results, and what is refused in words."""

import pytest

from isthmus.kernel.ids import mint, text_of
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.database import Scope
from isthmus.stream.jobs.board import start
from isthmus.stream.jobs.job import Outcome, Wish
from isthmus.stream.jobs.queue import Holder, claim, end
from isthmus.sync.ingest import Store
from isthmus.vault import entropy
from tests.rooms.domains.desk import Desk

JOBS, SCHEDULES = "/api/v1/jobs", "/api/v1/schedules"
OPERATOR = ("operator",)


@pytest.fixture
async def desk(store: Store, scope: Scope) -> Desk:
    """Somebody who calls; `operator` may look after jobs, and read no domain."""
    desk = Desk.of(store, scope)
    made: Json = {"name": "operator", "permissions": ["stream:read", "stream:write"]}
    assert (await desk.post("/api/v1/roles", made)).status == 201
    return desk


async def done(desk: Desk, kind: str, *, status: Status = Status.HEALTHY, reason: str = "") -> str:
    """Have a job end with a result."""
    async with desk.store.database.transaction(desk.now) as tx:
        await start(tx, Wish(kind=kind))
        holder = Holder(id=mint(unix_ms=0, entropy=entropy(10)), worker="test")
        (own,) = await claim(tx, holder, [kind], limit=1)
        outcome = Outcome(id=own.id, attempt=own.attempt, status=status, reason=reason, result={"credit": 7})
        await end(tx, holder, [outcome])
        return text_of("job", own.id)


async def test_a_job_is_started_cancelled_and_tried_again(desk: Desk) -> None:
    made = await desk.post(JOBS, {"kind": "success.health", "priority": 30})
    assert (made.status, made.at("status"), made.at("priority")) == (201, "pending", 30)
    own = f"{JOBS}/{made.at('id')}"
    cancelled = await desk.post(f"{own}:cancel")
    assert (cancelled.at("status"), "Cancelled by" in str(cancelled.at("reason"))) == ("paused", True)
    assert (await desk.post(f"{own}:cancel")).at("code") == "job-over"
    assert (await desk.post(f"{own}:retry")).at("status") == "pending"
    assert (await desk.post(f"{own}:retry")).at("code") == "job-living"
    found = (await desk.get(f"{JOBS}?status=pending&kind=success.health")).rows("data")
    assert [each["id"] for each in found] == [made.at("id")]
    assert (await desk.get(f"{JOBS}/job_01KAX3V9Q2M4T8Z5N7P6R1S0WD")).status == 404


async def test_a_job_that_needs_attention_is_given_up_and_can_still_be_tried_again(desk: Desk) -> None:
    own = f"{JOBS}/{await done(desk, 'analytics.full', status=Status.NEEDS_ATTENTION, reason='It failed. (gave-up)')}"
    assert (await desk.post(f"{own}:discard", roles=OPERATOR)).at("code") == "denied"
    given_up = await desk.post(f"{own}:discard")
    assert (given_up.status, given_up.at("status")) == (200, "paused")
    assert str(given_up.at("reason")).startswith("Given up by ")
    assert str(given_up.at("reason")).endswith("It failed. (gave-up)")
    assert (await desk.post(f"{own}:discard")).at("code") == "job-over"
    assert (await desk.post(f"{own}:retry")).at("status") == "pending"
    assert (await desk.post(f"{own}:discard")).at("code") == "job-living"


async def test_who_starts_a_job_needs_what_its_kind_needs(desk: Desk) -> None:
    assert (await desk.post(JOBS, {"kind": "success.health"}, roles=OPERATOR)).at("code") == "denied"
    assert (await desk.post(JOBS, {"kind": "housekeeping"}, roles=OPERATOR)).status == 201
    assert (await desk.post(JOBS, {"kind": "housekeeping"}, roles=("sales.editor",))).status == 403
    own = (await desk.post(JOBS, {"kind": "success.health"})).at("id")
    assert (await desk.post(f"{JOBS}/{own}:cancel", roles=OPERATOR)).status == 403
    wanted: Json = {"name": "noon", "kind": "success.health", "cron": "0 12 * * *"}
    assert (await desk.post(SCHEDULES, wanted, roles=OPERATOR)).status == 403
    assert (await desk.post(SCHEDULES, wanted)).status == 201
    for verb in ("run", "pause"):
        body: Json = {} if verb == "pause" else None
        assert (await desk.post(f"{SCHEDULES}/noon:{verb}", body, roles=OPERATOR)).status == 403


async def test_results_are_for_those_who_may_start_such_jobs(desk: Desk) -> None:
    own = await done(desk, "analytics.full")
    assert (await desk.get(f"{JOBS}/{own}")).at("result") == {"credit": 7}
    assert (await desk.get(f"{JOBS}/{own}", roles=OPERATOR)).at("result") is None
    (listed,) = (await desk.get(JOBS, roles=OPERATOR)).rows("data")
    assert (listed["status"], listed["result"]) == ("healthy", None)


async def test_what_does_not_fit_is_said_with_its_place(desk: Desk) -> None:
    assert (await desk.post(JOBS, {"kind": "nothing"})).at("code") == "unknown-kind"
    refused = await desk.post(JOBS, {"kind": "sync.connection", "arguments": {"connection": "crm", "parts": ["all"]}})
    assert (refused.status, refused.faults) == (422, {"/arguments": "bad-arguments"})
    wanted: dict[str, Json] = {"name": "noon", "kind": "success.health"}
    assert (await desk.post(SCHEDULES, {**wanted, "cron": "0 0 30 2 *"})).at("code") == "bad-cron"
    assert (await desk.post(SCHEDULES, {**wanted, "cron": "0 12 * * *", "zone": "Mars/Base"})).at("code") == "bad-zone"
    assert (await desk.call("PUT", "/api/v1/schedule-zone", {"zone": "Mars/Base"})).at("code") == "bad-zone"


async def test_a_schedule_is_added_changed_run_filled_and_removed(desk: Desk) -> None:
    wanted: Json = {"name": "noon", "kind": "success.health", "cron": "0  12 * * 1-5"}
    made = await desk.post(SCHEDULES, wanted)
    assert (made.at("cron"), made.at("next_at")) == ("0 12 * * 1-5", "2026-11-02T12:00:00Z")
    assert (await desk.post(SCHEDULES, wanted)).at("code") == "schedule-taken"
    changed = await desk.call("PATCH", f"{SCHEDULES}/noon", {"zone": "Asia/Tokyo"})
    assert (changed.at("zone"), changed.at("next_at")) == ("Asia/Tokyo", "2026-11-03T03:00:00Z")
    assert (await desk.post(f"{SCHEDULES}/noon:run")).at("schedule") == "noon"
    assert (await desk.post(f"{SCHEDULES}/noon:run")).at("code") == "schedule-busy"
    filled = await desk.post(
        f"{SCHEDULES}/noon:backfill", {"since": "2026-10-26T00:00:00Z", "until": "2026-10-28T00:00:00Z"}
    )
    found = (await desk.get(f"{JOBS}?schedule=noon")).rows("data")
    made = filled.json["jobs"]
    assert isinstance(made, list)
    moments = sorted(str(each["occurrence"]) for each in found if each["id"] in made)
    assert (len(found), moments) == (3, ["2026-10-26T03:00:00Z", "2026-10-27T03:00:00Z"])
    assert (await desk.call("DELETE", f"{SCHEDULES}/noon")).status == 204
    assert (await desk.get(f"{SCHEDULES}/noon")).at("code") == "schedule-missing"
