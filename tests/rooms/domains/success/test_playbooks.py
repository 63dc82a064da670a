"""Playbooks begin by risk or by hand, show their steps in an intervention, escalate, and end with it."""

import pytest

from isthmus.app.reacting import Reacting, reactions
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.consume import consume
from isthmus.stream.reactions import reacting
from isthmus.stream.relay import stamp
from tests.rooms.domains.desk import Answer, Desk, said

INTERVENTIONS, RUNS = "/api/v1/interventions", "/api/v1/workflow-runs"
START = "/api/v1/integrations/success/interventions"


async def react(desk: Desk) -> None:
    """Number the events, and let success react to all of them."""

    def context(tx: Transaction) -> Reacting:
        return Reacting(tx, desk.store)

    async with desk.store.database.transaction(desk.now) as tx:
        await stamp(tx.connection)
    while await consume(
        desk.store.database, reacting("reactions:success", reactions()["success"], context=context), desk.now
    ):
        pass


async def account(desk: Desk, name: str = "A1", **fields: Json) -> str:
    """An account."""
    (own,) = await desk.put(said("sales.account", name, name=name, owner_id="eva", **fields))
    return own


async def at_risk(desk: Desk, risk: str, *, key: str = "H1", name: str = "A1") -> None:
    """The health of the account is found to be at some risk."""
    at = desk.clock.now().isoformat()
    await desk.put(said("success.health_snapshot", key, score=20.0, at=at, risk=risk, account_id=name))
    await react(desk)


async def interventions(desk: Desk) -> list[dict[str, Json]]:
    """What is done for accounts."""
    return (await desk.get(INTERVENTIONS)).rows("data")


async def complete(desk: Desk, own: Json, *titles: str) -> None:
    """Say that steps are done."""
    answer = await desk.get(f"{INTERVENTIONS}/{own}")
    done = desk.clock.now().isoformat()
    steps: Json = [{**each, "completed_at": done} if each["title"] in titles else each for each in answer.rows("steps")]
    changed = await edit(desk, own, {"steps": steps})
    assert changed.status == 200, changed.body


async def edit(desk: Desk, own: Json, fields: Json) -> Answer:
    """Change an intervention, and let success hear of it."""
    version = (await desk.get(f"{INTERVENTIONS}/{own}")).headers["etag"]
    answer = await desk.call("PATCH", f"{INTERVENTIONS}/{own}", fields, headers={"if-match": version})
    await react(desk)
    return answer


@pytest.mark.parametrize(("risk", "begun"), [("high", ["rescue"]), ("medium", ["check-in"]), ("low", [])])
async def test_a_risk_begins_its_playbook(desk: Desk, risk: str, begun: list[str]) -> None:
    own = await account(desk)
    await at_risk(desk, risk)
    found = await interventions(desk)
    assert [each["playbook"] for each in found] == begun
    assert all((each["account_id"], each["owner_id"], each["status"]) == (own, "eva", "active") for each in found)


async def test_an_account_has_one_run_of_a_playbook_and_then_some_peace(desk: Desk) -> None:
    await account(desk)
    await at_risk(desk, "high")
    await at_risk(desk, "high", key="H2")
    (found,) = await interventions(desk)
    assert (await edit(desk, found["id"], {"status": "cancelled"})).status == 200
    (run,) = (await desk.get(RUNS)).rows("data")
    assert (run["state"], run["reason"]) == ("cancelled", "The intervention is cancelled.")
    desk.later(days=5)
    await at_risk(desk, "high", key="H3")
    assert len(await interventions(desk)) == 1
    desk.later(days=30)
    await at_risk(desk, "high", key="H4")
    assert len(await interventions(desk)) == 2


@pytest.mark.parametrize("how", ["reply", "reply of a person", "withdrawal", "deal.won", "risk.low"])
async def test_a_reply_a_conversion_and_a_withdrawal_end_what_says_so_and_its_intervention(
    desk: Desk, how: str
) -> None:
    own, cue = await account(desk), how.partition(" ")[0]
    await desk.put(said("sales.person", "P1", email="grace@hopper.example", first_name="Grace", account_id="A1"))
    await desk.put(said("sales.deal", "D1", name="Big", stage="proposal", account_id="A1"))
    person, step = await desk.id_of("sales.person", "P1"), {"kind": "wait", "hours": 100}
    for name, ends in (("ask", [cue]), ("chase", list[Json]())):
        wanted: Json = {"subject": "sales.account", "title": name, "steps": [{**step}], "ends_on": [*ends]}
        assert (await desk.call("PUT", f"/api/v1/workflows/{name}", wanted)).status == 200
        wish: Json = {"playbook": name, "account_id": own, "owner_id": "max", "person_id": person}
        assert (await desk.post(START, wish)).status == 201
    old, now = "2026-11-01T09:00:00Z", "2026-11-02T10:31:00Z"
    await desk.put(said("sales.activity", "A0", kind="email", outbound=False, at=old, account_id="A1"))
    desk.later(hours=2)
    match how:
        case "reply":
            await desk.put(said("sales.activity", "A1", kind="email", outbound=False, at=now, account_id="A1"))
        case "reply of a person":
            await desk.put(said("sales.activity", "A1", kind="call", outbound=False, at=now, person_id="P1"))
        case "withdrawal":
            await desk.put(
                said("marketing.consent", "C1", purpose="service", channel="any", state="withdrawn", person_id="P1")
            )
        case "deal.won":
            await desk.put(said("sales.deal", "D1", name="Big", stage="closed_won", account_id="A1"))
        case _:
            await at_risk(desk, "low")
    await react(desk)
    found = {each["playbook"]: each["status"] for each in await interventions(desk) if each["playbook"] != "onboarding"}
    assert found == {"ask": "cancelled", "chase": "active"}
    states = {each["workflow"]: each["state"] for each in (await desk.get(RUNS)).rows("data")}
    assert (states["ask"], states["chase"]) == ("cancelled", "running")


async def test_what_was_long_ago_begins_nothing(desk: Desk) -> None:
    await account(desk)
    await desk.put(
        said("success.health_snapshot", "H1", score=9.0, at="2026-09-01T00:00:00Z", risk="high", account_id="A1")
    )
    await react(desk)
    assert await interventions(desk) == []


async def test_an_escalated_ticket_and_a_won_deal_are_cues(desk: Desk) -> None:
    await account(desk)
    await desk.put(said("success.ticket", "T0", status="open", escalated=True, account_id="A1"))
    await desk.put(said("success.ticket", "T1", status="open", escalated=False, account_id="A1"))
    await desk.put(said("sales.deal", "D0", name="Old", stage="closed_won", account_id="A1"))
    await desk.put(said("sales.deal", "D1", name="Big", stage="proposal", account_id="A1"))
    await react(desk)
    assert await interventions(desk) == []
    desk.later(hours=1)
    await desk.put(said("success.ticket", "T1", status="open", escalated=True, account_id="A1"))
    await desk.put(said("sales.deal", "D1", name="Big", stage="closed_won", account_id="A1"))
    await react(desk)
    assert sorted(str(each["playbook"]) for each in await interventions(desk)) == ["onboarding", "rescue"]


async def test_tasks_are_steps_with_their_times_and_what_is_late_is_escalated(desk: Desk) -> None:
    await account(desk)
    await at_risk(desk, "high")
    await desk.steps()
    (first,) = await interventions(desk)
    assert [(each["title"], each.get("due_at")) for each in _steps(first)] == [
        ("Call the champion", "2026-11-03T09:30:00Z"),
        ("Agree on a recovery plan", None),
        ("Review the plan with the customer", None),
    ]
    desk.later(hours=47)
    assert await desk.steps() == 0
    desk.later(hours=1)
    await desk.steps()
    (late,) = await interventions(desk)
    assert late["escalated_at"] == "2026-11-04T09:30:00Z"
    assert _steps(late)[1]["due_at"] == "2026-11-09T09:30:00Z"
    async with desk.store.database.transaction(desk.scope) as tx:
        query = "select count(*) from event where type = 'isthmus.success.intervention.escalated.v1'"
        assert await (await tx.connection.execute(query)).fetchone() == (1,)


async def test_what_is_done_in_time_is_not_escalated_and_all_done_at_the_end_closes_it(desk: Desk) -> None:
    own = await account(desk)
    made = await desk.post(START, {"playbook": "Check-in", "account_id": own, "owner_id": "max", "trigger": "A call"})
    assert made.status == 201, made.body
    await desk.steps()
    await complete(desk, made.at("id"), "Check in with the customer")
    desk.later(days=10)
    await desk.steps()
    (found,) = await interventions(desk)
    assert (found["status"], found.get("escalated_at"), found["owner_id"], found["trigger"]) == (
        "completed",
        None,
        "max",
        "A call",
    )
    (run,) = (await desk.get(f"{RUNS}?state=done")).rows("data")
    assert run["id"] == made.at("run")


async def test_by_hand_the_second_run_is_refused_and_an_unknown_name_is_a_plain_intervention(desk: Desk) -> None:
    own = await account(desk)
    wish: dict[str, Json] = {"playbook": "rescue", "account_id": own, "owner_id": "max"}
    assert (await desk.post(START, wish)).status == 201
    again = await desk.post(START, wish)
    assert (again.status, again.at("code")) == (409, "workflow-already-runs")
    plain = await desk.post(START, {**wish, "playbook": "Something else"})
    assert (plain.status, plain.at("run")) == (201, None)


async def test_the_last_task_done_after_the_end_closes_the_intervention(desk: Desk) -> None:
    own = await account(desk)
    made = await desk.post(START, {"playbook": "check-in", "account_id": own, "owner_id": "max"})
    await desk.steps()
    desk.later(days=10)
    await desk.steps()
    assert [each["status"] for each in await interventions(desk)] == ["active"]
    desk.later(minutes=1)
    await complete(desk, made.at("id"), "Check in with the customer")
    assert [each["status"] for each in await interventions(desk)] == ["completed"]


def _steps(intervention: dict[str, Json]) -> list[dict[str, Json]]:
    steps = intervention["steps"]
    assert isinstance(steps, list)
    return [each for each in steps if isinstance(each, dict)]
