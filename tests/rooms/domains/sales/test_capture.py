"""A lead goes through six visible steps, and nobody is asked twice, lost or left without an owner."""

from collections.abc import Sequence

from isthmus.kernel.marks import Json
from tests.rooms.domains.desk import Answer, Desk, said

LEADS = "/api/v1/integrations/sales/leads"
STEPS = ["validation", "duplicates", "scoring", "crm", "assignment", "follow_up"]
ADA: dict[str, Json] = {
    "email": "ada@lovelace.example",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "company": "Analytical Engines",
}


def states(answer: Answer, *, at: str = "lead.pipeline") -> dict[Json, Json]:
    """The state of each step."""
    return {each["kind"]: each["state"] for each in answer.rows(at)}


async def captured(desk: Desk, **fields: Json) -> Answer:
    """The answer to a capture, which must be 201."""
    answer = await desk.post(LEADS, {**ADA, **fields})
    assert answer.status == 201, answer.body
    return answer


def reason(answer: Answer, kind: str) -> str:
    """The reason of a step."""
    return next(str(each["reason"]) for each in answer.rows("lead.pipeline") if each["kind"] == kind)


async def test_a_new_lead_shows_all_six_steps_in_order(desk: Desk) -> None:
    answer = await captured(desk, title="VP Engineering", company_size=240, source="webinar_registration")
    assert [each["kind"] for each in answer.rows("lead.pipeline")] == STEPS
    assert states(answer) == dict.fromkeys(STEPS, "done") | {"crm": "skipped"}
    assert answer.at("outcome") == "created"
    # 20 to begin with, 25 for the role, 15 for the size, 8 for the business address, 12 for the webinar.
    assert answer.at("lead.score") == 80
    assert answer.at("lead.qualified") is True
    assert answer.rows("lead.score_reasons")[0] == {"points": 25, "reason": "The role decides on budgets"}
    assert "No CRM is connected" in reason(answer, "crm")
    assert all(each["at"] == "2026-11-02T09:30:00Z" for each in answer.rows("lead.pipeline"))


async def test_what_is_answered_is_what_is_read_later(desk: Desk) -> None:
    answer = await captured(desk)
    read = await desk.get(f"{LEADS}/{answer.at('lead.id')}")
    assert (read.status, read.json) == (200, answer.at("lead"))
    assert read.headers["etag"] == f'"{answer.at("lead.version")}"'


async def test_the_same_address_is_merged_and_the_merge_can_be_undone(desk: Desk) -> None:
    first = await captured(desk)
    again = await captured(desk, email=" ADA@lovelace.example", company="Engines Ltd", phone="+44 20 7946 0000")
    assert again.at("outcome") == "merged"
    assert again.at("lead.id") == first.at("lead.id") == again.at("merged.into")
    assert again.at("merged.by") == "the same e-mail"
    assert again.at("lead.company") == "Engines Ltd"
    undone = await desk.post(str(again.at("merged.undo")))
    assert undone.status == 200, undone.body
    assert undone.at("kept") == first.at("lead.id")
    split = await desk.get(f"{LEADS}/{undone.at('split')}")
    kept = await desk.get(f"{LEADS}/{undone.at('kept')}")
    assert (split.at("company"), kept.at("company")) == ("Engines Ltd", "Analytical Engines")
    assert split.at("owner_id") == "sales"
    assert [each["kind"] for each in split.rows("pipeline")] == STEPS
    assert split.at("follow_up.state") == "running"
    assert (await desk.post(str(again.at("merged.undo")))).status == 409


async def test_the_same_name_in_the_same_company_is_merged_by_another_address(desk: Desk) -> None:
    first = await captured(desk)
    again = await captured(desk, email="a.lovelace@private.example", company="analytical  ENGINES", first_name="ADA")
    assert again.at("lead.id") == first.at("lead.id")
    assert again.at("merged.by") == "the same name and company"
    assert again.at("merged.undo") == again.rows("lead.pipeline")[1]["link"]
    undone = await desk.post(str(again.at("merged.undo")))
    split = await desk.get(f"{LEADS}/{undone.at('split')}")
    assert split.at("email") == "a.lovelace@private.example"


async def test_a_first_name_alone_merges_nobody(desk: Desk) -> None:
    first = await captured(desk, last_name=None)
    other = await captured(desk, last_name=None, email="other.ada@lovelace.example")
    assert other.at("outcome") == "created"
    assert other.at("lead.id") != first.at("lead.id")


async def test_a_repeated_call_with_its_key_is_one_lead_with_one_follow_up(desk: Desk) -> None:
    once = {"idempotency-key": "form-4711"}
    first = await desk.call("POST", LEADS, {**ADA}, headers=once)
    again = await desk.call("POST", LEADS, {**ADA}, headers=once)
    assert (first.status, again.status) == (201, 201)
    assert first.at("lead.id") == again.at("lead.id")
    async with desk.store.database.transaction(desk.scope) as tx:
        row = await (await tx.connection.execute("select count(*) from workflow_run")).fetchone()
    assert row == (1,)


async def test_whatever_is_missing_or_wrong_is_named_and_nothing_is_stored(desk: Desk) -> None:
    unknown = "camp_01JD3Q4B8M0000000000000000"
    cases: list[tuple[dict[str, Json], dict[str, str]]] = [
        ({"email": "ada"}, {"/email": "invalid-email"}),
        ({"email": "two..dots@lovelace.example"}, {"/email": "invalid-email"}),
        ({"company": " ", "first_name": ""}, {"/company": "required", "/first_name": "required"}),
        ({"expected_value": {"amount": "-1.00", "currency": "EUR"}}, {"/expected_value/amount": "negative-money"}),
        ({"expected_value": {"amount": "NaN", "currency": "EUR"}}, {"/expected_value": "invalid-money"}),
        ({"campaign_id": unknown}, {"/campaign_id": "unknown-campaign"}),
        ({"campaign_id": "summer"}, {"/campaign_id": "invalid-id"}),
        ({"compnay": "x"}, {"/compnay": "unknown-field"}),
        ({"company_size": -4}, {"/company_size": "out-of-range"}),
    ]
    for fields, faults in cases:
        answer = await desk.post(LEADS, {**ADA, **fields})
        assert (answer.status, answer.faults) == (422, faults), answer.body
    missing = await desk.post(LEADS, {"email": "ada@lovelace.example"})
    assert missing.faults == {"/first_name": "missing", "/company": "missing"}
    assert unknown in str((await desk.post(LEADS, {**ADA, "campaign_id": unknown})).json)
    async with desk.store.database.transaction(desk.scope) as tx:
        row = await (
            await tx.connection.execute("select (select count(*) from claim), (select count(*) from ref)")
        ).fetchone()
    assert row == (0, 0)


async def test_a_caller_without_the_permission_sees_no_personal_field(desk: Desk) -> None:
    answer = await captured(desk)
    seen = await desk.get(f"{LEADS}/{answer.at('lead.id')}", roles=("sales.viewer",))
    assert (seen.at("email"), seen.at("first_name"), seen.at("company")) == (None, None, "Analytical Engines")
    assert "email" in str(seen.at("masked"))
    posted = await desk.call("POST", LEADS, {**ADA}, roles=("sales.integration",))
    assert (posted.status, posted.at("lead.email")) == (201, None)


async def test_a_batch_stores_what_is_right_and_tells_what_is_not(desk: Desk) -> None:
    leads: Sequence[Json] = [
        {**ADA},
        {**ADA, "email": "grace@hopper.example", "first_name": "Grace", "last_name": "Hopper", "company": "Navy"},
        {**ADA, "email": "nobody"},
        {**ADA, "email": "ADA@lovelace.example"},
        {**ADA, "colour": "red", "email": "x@lovelace.example"},
        {**ADA, "email": "y@lovelace.example", "campaign_id": "camp_01JD3Q4B8M0000000000000000"},
        {**ADA, "email": "ada@work.example"},
        {**ADA, "email": "two..dots@lovelace.example", "last_name": "Dots"},
    ]
    answer = await desk.post(f"{LEADS}:batch", {"leads": [*leads]})
    assert answer.status == 200, answer.body
    assert [each["outcome"] for each in answer.rows("results")] == [
        *("created", "created", "refused", "merged", "refused", "refused", "merged", "refused")
    ]
    assert (answer.at("created"), answer.at("merged"), answer.at("refused")) == (2, 2, 4)
    assert answer.at("results.0.id") == answer.at("results.3.id") == answer.at("results.6.id")
    assert answer.at("results.2.errors.0.pointer") == "/leads/2/email"
    assert answer.at("results.4.errors.0.pointer") == "/leads/4/colour"
    assert answer.at("results.5.errors.0.code") == "unknown-campaign"
    assert answer.at("results.7.errors.0.pointer") == "/leads/7/email"
    many: Json = [{**ADA} for _ in range(1001)]
    assert (await desk.post(f"{LEADS}:batch", {"leads": many})).faults == {"/leads": "wrong-length"}


async def test_touches_of_the_lead_and_of_its_person_count_for_its_score(desk: Desk) -> None:
    before = (await captured(desk)).at("lead.score")
    lead = (await captured(desk)).at("lead.id")
    touches: Json = [
        {"channel": "email", "kind": "clicked", "at": "2026-11-01T10:00:00Z", "lead_id": lead},
        {"channel": "webinar", "kind": "attended", "at": "2026-11-01T11:00:00Z", "lead_id": lead},
    ]
    assert (await desk.post("/api/v1/touches", {"touches": touches})).status == 201
    assert before == 33
    assert (await captured(desk)).at("lead.score") == 33 + 3 + 8


async def test_owners_take_turns_within_their_load_and_the_rest_falls_back(desk: Desk) -> None:
    territories: Json = [{"name": "DACH", "owners": ["eva", "tom"], "countries": ["DE", "AT"]}]
    await desk.set("sales", {"territories": territories, "load_max": 2, "fallback_owner": "desk"})
    owners = [
        (await captured(desk, email=f"n{n}@x.example", last_name=f"N{n}", country="DE")).at("lead.owner_id")
        for n in range(5)
    ]
    assert owners == ["eva", "tom", "eva", "tom", "desk"]
    elsewhere = await captured(desk, email="fr@x.example", last_name="France", country="FR")
    assert elsewhere.at("lead.owner_id") == "desk"
    assert reason(elsewhere, "assignment") == "desk: No territory fits."


async def test_a_merged_lead_keeps_its_owner(desk: Desk) -> None:
    await captured(desk)
    await desk.set("sales", {"fallback_owner": "somebody-else"})
    again = await captured(desk, title="CEO")
    assert again.at("lead.owner_id") == "sales"
    assert reason(again, "assignment") == "Stays with sales, whose lead it was."


async def test_settings_that_cannot_be_read_are_said_and_nothing_is_captured(desk: Desk) -> None:
    await desk.set("sales", {"load_max": "many"})
    answer = await desk.post(LEADS, {**ADA})
    assert (answer.status, answer.at("code")) == (409, "settings-broken")


async def test_a_lead_that_a_system_told_us_of_is_found_by_its_address(desk: Desk) -> None:
    (known,) = await desk.put(
        said("sales.lead", "L1", email="ada@lovelace.example", first_name="Ada", company="Engines", owner_id="eva")
    )
    answer = await captured(desk)
    assert (answer.at("lead.id"), answer.at("lead.owner_id")) == (known, "eva")
    missing = await desk.get(f"{LEADS}/lead_01JD3Q4B8M0000000000000000")
    assert (missing.status, missing.at("code")) == (404, "lead-missing")
