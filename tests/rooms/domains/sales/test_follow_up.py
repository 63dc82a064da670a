"""A follow-up does each of its steps once, in its time, and stops when there is nothing left to follow."""

import asyncio

import pytest

from isthmus.app.reacting import Reacting, reactions
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.consume import consume
from isthmus.stream.reactions import reacting
from isthmus.stream.relay import stamp
from tests.rooms.domains.desk import Answer, Desk, said

LEADS = "/api/v1/integrations/sales/leads"
GRACE = {"email": "grace@hopper.example", "first_name": "Grace", "company": "Navy"}


async def captured(desk: Desk, **fields: Json) -> str:
    """The id of a new lead."""
    answer = await desk.post(LEADS, {**GRACE, **fields})
    assert answer.status == 201, answer.body
    return str(answer.at("lead.id"))


async def seen(desk: Desk, lead: str) -> Answer:
    """The lead as it is now."""
    return await desk.get(f"{LEADS}/{lead}")


async def work(desk: Desk) -> int:
    """Do what is due."""
    return await desk.steps()


async def tasks(desk: Desk) -> list[tuple[Json, Json, Json]]:
    """What the owners are to do, by when, and for whom."""
    found = (await desk.get("/api/v1/activities")).rows("data")
    return [(each["subject"], each["due_at"], each["owner_id"]) for each in found]


async def react(desk: Desk) -> None:
    """Number the events, and let sales react to all of them."""

    def context(tx: Transaction) -> Reacting:
        return Reacting(tx, desk.store)

    async with desk.store.database.transaction(desk.now) as tx:
        await stamp(tx.connection)
    consumer = reacting("reactions:sales", reactions()["sales"], context=context)
    while await consume(desk.store.database, consumer, desk.now):
        pass


async def test_the_first_task_comes_at_once_and_the_next_after_the_wait(desk: Desk) -> None:
    lead = await captured(desk)
    assert (await seen(desk, lead)).at("follow_up.next_step.kind") == "task"
    assert await work(desk) == 1
    assert await tasks(desk) == [("Make first contact", "2026-11-03T09:30:00Z", "sales")]
    waiting = await seen(desk, lead)
    assert (waiting.at("follow_up.state"), waiting.at("follow_up.due_at")) == ("running", "2026-11-05T09:30:00Z")
    desk.later(hours=71)
    assert await work(desk) == 0
    desk.later(hours=1)
    assert await work(desk) == 1
    assert [subject for subject, *_ in await tasks(desk)] == ["Make first contact", "Try again by another way"]


async def test_at_the_end_somebody_is_told_on_the_stream(desk: Desk) -> None:
    lead = await captured(desk)
    for _ in range(3):
        await work(desk)
        desk.later(days=8)
    done = await seen(desk, lead)
    assert (done.at("follow_up.state"), done.at("follow_up.next_step")) == ("done", None)
    assert [each["step"] for each in done.rows("follow_up.log")] == ["task", "wait", "task", "wait", "notify"]
    async with desk.store.database.transaction(desk.scope) as tx:
        query = "select count(*) from event where type = 'isthmus.sales.lead.notified.v1'"
        assert await (await tx.connection.execute(query)).fetchone() == (1,)


async def test_two_workers_at_the_same_moment_do_each_step_once(desk: Desk) -> None:
    for n in range(20):
        await captured(desk, email=f"n{n}@hopper.example")
    await asyncio.gather(*(work(desk) for _ in range(4)))
    assert len(await tasks(desk)) == 20


async def test_a_paused_follow_up_rests_and_goes_on_where_it_was(desk: Desk) -> None:
    lead = await captured(desk)
    assert (await desk.post(f"{LEADS}/{lead}/follow-up:pause")).at("follow_up.state") == "paused"
    desk.later(days=3)
    assert await work(desk) == 0
    assert (await desk.post(f"{LEADS}/{lead}/follow-up:pause")).at("code") == "no-follow-up"
    assert (await desk.post(f"{LEADS}/{lead}/follow-up:resume")).at("follow_up.state") == "running"
    assert await work(desk) == 1


async def test_a_running_follow_up_keeps_the_version_that_it_began_with(desk: Desk) -> None:
    early = await captured(desk)
    steps: Json = [{"kind": "task", "title": "Send the brochure", "due_hours": 1}]
    await desk.set("sales", {"follow_up": {"name": "Brochure", "version": 2, "steps": steps}})
    late = await captured(desk, email="late@hopper.example")
    await work(desk)
    assert sorted(str(subject) for subject, *_ in await tasks(desk)) == ["Make first contact", "Send the brochure"]
    assert ((await seen(desk, early)).at("follow_up.version"), (await seen(desk, late)).at("follow_up.version")) == (
        1,
        2,
    )


async def test_settings_that_are_edited_without_a_version_become_the_next_one_and_spare_the_workflow_else(
    desk: Desk,
) -> None:
    def steps(title: str) -> list[Json]:
        return [{"kind": "task", "title": title, "due_hours": 1}]

    async def version_of(lead: str) -> tuple[Json, Json]:
        found = await seen(desk, lead)
        return found.at("follow_up.version"), found.at("follow_up.next_step.title")

    await captured(desk)
    await desk.set("sales", {"follow_up": {"name": "Brochure", "steps": steps("Send the brochure")}})
    assert await version_of(await captured(desk, email="a@hopper.example")) == (2, "Send the brochure")
    wanted: Json = {"title": "By hand", "steps": steps("Write a letter")}
    assert (await desk.call("PUT", "/api/v1/workflows/follow-up", wanted)).at("version") == 3
    assert await version_of(await captured(desk, email="b@hopper.example")) == (3, "Write a letter")
    await desk.set("sales", {"follow_up": {"name": "Brochure", "steps": steps("Send the leaflet")}})
    assert await version_of(await captured(desk, email="c@hopper.example")) == (4, "Send the leaflet")
    await desk.set("sales", {})
    assert await version_of(await captured(desk, email="d@hopper.example")) == (5, "Make first contact")


@pytest.mark.parametrize("before", [True, False])
async def test_settings_that_cannot_be_followed_become_no_version_and_say_why(desk: Desk, *, before: bool) -> None:
    if before:
        await captured(desk)
    wrong: Json = [{"kind": "condition", "where": [{"field": "account.segmnet", "is": "present"}]}]
    await desk.set("sales", {"follow_up": {"steps": wrong}})
    lead = await seen(desk, await captured(desk, email="a@hopper.example"))
    assert (lead.at("follow_up"), lead.at("pipeline.5.state")) == (None, "skipped")
    assert "/steps/0/where/0/field: sales.account publishes no field 'segmnet'" in str(lead.at("pipeline.5.reason"))
    assert (await desk.get("/api/v1/workflows/follow-up")).at("version") == 1


async def test_a_workflow_that_was_edited_stands_while_no_settings_were_given(desk: Desk) -> None:
    wanted: Json = {"title": "By hand", "steps": [{"kind": "task", "title": "Write a letter"}]}
    assert (await desk.call("PUT", "/api/v1/workflows/follow-up", wanted)).at("version") == 2
    lead = await seen(desk, await captured(desk))
    assert (lead.at("follow_up.version"), lead.at("follow_up.next_step.title")) == (2, "Write a letter")


async def test_a_condition_that_does_not_hold_ends_it(desk: Desk) -> None:
    lead = await captured(desk)
    await work(desk)
    version = (await seen(desk, lead)).headers["etag"]
    changed = await desk.call(
        "PATCH", f"/api/v1/leads/{lead}", {"status": "disqualified"}, headers={"if-match": version}
    )
    assert changed.status == 200, changed.body
    desk.later(days=4)
    await work(desk)
    ended = await seen(desk, lead)
    assert (ended.at("follow_up.state"), len(await tasks(desk))) == ("done", 1)
    assert "disqualified" in str(ended.at("follow_up.reason"))


@pytest.mark.parametrize("how", ["converted", "replied", "withdrawn", "withdrawn by person"])
async def test_it_is_cancelled_when_the_lead_converts_replies_or_withdraws_consent(desk: Desk, how: str) -> None:
    await desk.put(said("sales.person", "P1", email="grace@hopper.example", first_name="Grace"))
    await desk.put(said("sales.lead", "L1", **GRACE, person_id="P1"))
    lead = await captured(desk)
    await react(desk)
    assert (await seen(desk, lead)).at("follow_up.state") == "running"
    desk.later(minutes=1)
    match how:
        case "converted":
            await desk.put(said("sales.lead", "L1", **GRACE, status="converted", person_id="P1"))
        case "replied":
            at = "2026-11-02T09:00:00Z"
            await desk.put(said("sales.activity", "A1", kind="email", outbound=False, at=at, person_id="P1"))
        case "withdrawn":
            key = "grace@hopper.example|sales|email"
            await desk.put(
                said("marketing.consent", "C1", purpose="sales", channel="email", state="withdrawn", key=key)
            )
        case _:
            await desk.put(
                said("marketing.consent", "C1", purpose="marketing", channel="any", state="withdrawn", person_id="P1")
            )
    await react(desk)
    cancelled = await seen(desk, lead)
    assert cancelled.at("follow_up.state") == "cancelled"
    assert how.split(maxsplit=1)[0] in str(cancelled.at("follow_up.reason"))
    assert await work(desk) == 0


async def test_our_own_tasks_are_no_replies(desk: Desk) -> None:
    lead = await captured(desk)
    await work(desk)
    await react(desk)
    assert (await seen(desk, lead)).at("follow_up.state") == "running"


async def test_switched_off_it_is_skipped_and_said(desk: Desk) -> None:
    await desk.set("sales", {"follow_up": {"enabled": False}})
    lead = await seen(desk, await captured(desk))
    assert lead.at("follow_up") is None
    assert (lead.at("pipeline.5.state"), lead.at("pipeline.5.reason")) == (
        "skipped",
        "Follow-ups are switched off in the settings.",
    )
