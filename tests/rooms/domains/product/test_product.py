"""Usage, feedback and launches are kept, and adoption is told feature by feature."""

from uuid import UUID

import pytest

from isthmus.domains.product.rules import Usage, adoption, essential_share
from isthmus.kernel.marks import Json
from tests.rooms.domains.desk import Desk, said

BASE = "/api/v1/integrations/product"
MARK = {"users": 7, "uses": 20, "judged": 10, "successes": 8}


def usage(**changes: int) -> Usage:
    """Use of a feature that ten users know, at the milestone."""
    own = {**MARK, **changes}
    return Usage(feature_id=UUID(int=1), name="Export", essential=True, **own)


@pytest.mark.parametrize("below", [{}, {"users": 6}, {"uses": 19}, {"successes": 7}, {"judged": 0, "successes": 0}])
def test_adopted_means_all_three_marks(below: dict[str, int]) -> None:
    found = adoption(usage(**below), users=10)
    assert found.adopted is (not below)
    assert found.uses_a_week == (4.75 if "uses" in below else 5.0)


def test_without_users_nothing_is_adopted_and_without_essentials_there_is_no_share() -> None:
    nobody = adoption(usage(users=0, uses=0, judged=0, successes=0), users=0)
    assert (nobody.users_share, nobody.success_share, nobody.adopted) == (0.0, None, False)
    assert essential_share([]) is None
    assert essential_share([adoption(usage(), users=10), nobody]) == 0.5


async def test_events_come_in_batches_and_adoption_follows(desk: Desk) -> None:
    (account,) = await desk.put(said("sales.account", "A1", name="One"))
    people = await desk.put(*(said("sales.person", f"P{n}", first_name=f"N{n}") for n in range(2)))
    features = await desk.put(
        said("product.feature", "F1", name="Export", key="export", essential=True),
        said("product.feature", "F2", name="Import", key="import", essential=True),
    )
    events: Json = [
        {
            "name": "exported",
            "at": f"2026-10-{10 + n:02d}T09:00:00Z",
            "account_id": account,
            "person_id": people[n % 2],
            "feature_id": features[0],
            "success": n != 0,
            "external_id": f"e{n}",
        }
        for n in range(20)
    ]
    stored = await desk.post(f"{BASE}/events", {"events": events})
    assert (stored.status, stored.at("created")) == (201, 20)
    assert (await desk.post(f"{BASE}/events", {"events": events})).at("known") == 20
    answer = await desk.get(f"{BASE}/analytics/{account}")
    assert answer.status == 200, answer.body
    export, imported = answer.rows("features")
    assert (export["users_share"], export["uses_a_week"], export["success_share"]) == (1.0, 5.0, 0.95)
    assert (export["adopted"], imported["adopted"], answer.at("essential_adopted_share")) == (True, False, 0.5)
    assert (answer.at("users"), answer.at("active_users"), answer.at("events"), answer.at("under_used")) == (
        *(2, 2, 20, False),
    )
    desk.later(days=60)
    later = await desk.get(f"{BASE}/analytics/{account}")
    assert (later.at("users"), later.at("active_users"), later.at("under_used")) == (2, 0, True)
    assert (await desk.get(f"{BASE}/analytics/acct_01JD3Q4B8M0000000000000000")).status == 404


async def test_wrong_events_are_named_and_none_of_the_batch_is_stored(desk: Desk) -> None:
    good: dict[str, Json] = {"name": "x", "at": "2026-10-10T09:00:00Z"}
    wrong: Json = [good, {**good, "feature_id": "feat_01JD3Q4B8M0000000000000000"}, {**good, "account_id": "x"}]
    answer = await desk.post(f"{BASE}/events", {"events": wrong})
    assert answer.faults == {"/events/1/feature_id": "unknown-feature", "/events/2/account_id": "invalid-id"}
    late: Json = [{**good, "at": "2026-10-10T09:00:00"}]
    assert (await desk.post(f"{BASE}/events", {"events": late})).status == 422
    assert (await desk.get("/api/v1/product-events")).rows("data") == []


async def test_feedback_needs_what_its_kind_needs_and_praise_proposes_a_case_study(desk: Desk) -> None:
    (account,) = await desk.put(said("sales.account", "A1", name="One"))
    praise = await desk.post(f"{BASE}/feedback", {"kind": "nps", "score": 8, "account_id": account, "body": "Good"})
    assert (praise.status, praise.at("case_study_proposed")) == (201, True)
    read = await desk.get(str(praise.at("link")))
    assert (read.at("score"), read.at("body"), read.at("at")) == (8.0, "Good", "2026-11-02T09:30:00Z")
    cool = await desk.post(f"{BASE}/feedback", {"kind": "csat", "score": 7.9, "account_id": account})
    assert cool.at("case_study_proposed") is False
    assert (await desk.post(f"{BASE}/feedback", {"kind": "nps"})).faults == {"/score": "required"}
    assert (await desk.post(f"{BASE}/feedback", {"kind": "text", "body": " "})).faults == {"/body": "required"}
    assert (await desk.post(f"{BASE}/feedback", {"kind": "nps", "score": 11})).faults == {"/score": "out-of-range"}


async def test_a_launch_is_planned_and_its_baseline_lies_before_it(desk: Desk) -> None:
    plan: dict[str, Json] = {"name": "Exports", "launches_on": "2026-12-01", "baseline_from": "2026-11-01"}
    made = await desk.post(f"{BASE}/launches", {**plan, "adoption_target": 0.3})
    assert made.status == 201, made.body
    assert (await desk.get(str(made.at("link")))).at("adoption_target") == 0.3
    late = await desk.post(f"{BASE}/launches", {**plan, "baseline_from": "2026-12-01"})
    assert late.faults == {"/baseline_from": "baseline-after-launch"}
