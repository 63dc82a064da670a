"""Mappings over HTTP: saved with a reason, refused in words, planned masked, activated, replayed and rolled back."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.rooms.app.http.connected import SEES, Site, opened_site

ALL = "/api/v1/mappings"
NEW: dict[str, Json] = {"connection": "crm", "type": "sales.person", "reason": "Names are shouted."}
UPPER: Json = {"last_name": {"transforms": ["upper"]}, "title": {"direction": "in"}}


@pytest.fixture
async def site(store: Store, scope: Scope) -> Site:
    """A system of two people that was read."""
    site = await opened_site(store, scope)
    site.crm.put("contacts", "P1", email="ann@example.com", first_name="Ann", last_name="Lee")
    site.crm.put("contacts", "P2", email="bea@example.com", first_name="Bea", last_name="MAY")
    await site.connect()
    await site.work("crm:run", {"parts": ["pull"]})
    return site


async def test_a_version_is_saved_planned_activated_replayed_and_rolled_back(site: Site) -> None:
    desk = site.desk
    made = await desk.post(ALL, {**NEW, "fields": UPPER})
    assert (made.status, made.at("number"), made.at("in_force")) == (201, 1, False), made.body
    own = f"{ALL}/{made.at('id')}"
    assert made.headers["location"] == own
    plan = await desk.post(f"{own}:plan", {})
    assert (plan.at("looked"), plan.at("changed"), plan.at("fields")) == (2, 1, {"last_name": 1})
    moved = {"external_id": "P1", "field": "last_name", "before": "Lee", "after": "LEE"}
    assert plan.rows("moved") == [moved]
    assert (plan.at("out.looked"), plan.at("out.changed")) == (2, 0)
    masked = await desk.post(f"{own}:plan", {}, roles=("sales.viewer", "finance.admin"))
    assert masked.rows("moved") == [{**moved, "before": "•••", "after": "•••"}]
    assert (await desk.post(f"{own}:replay")).at("code") == "mapping-not-in-force"
    assert (await desk.post(f"{own}:activate")).at("in_force") is True
    reads = site.crm.reads
    job = await site.wanted(await desk.post(f"{own}:replay"))
    assert (job.at("status"), job.at("result.read"), job.at("result.changed")) == ("healthy", 2, 1), job.body
    assert site.crm.reads == reads
    names = {str(row["last_name"]) for row in (await desk.get("/api/v1/people")).rows("data")}
    assert names == {"LEE", "MAY"}
    desk.later(seconds=1)
    second = await desk.post(ALL, {**NEW, "fields": {}})
    desk.later(seconds=1)
    assert (await desk.post(f"{ALL}/{second.at('id')}:activate")).at("number") == 2
    listed = (await desk.get(f"{ALL}?connection=crm&type=sales.person")).rows("data")
    assert [(row["number"], row["in_force"]) for row in listed] == [(2, True), (1, False)]
    assert (await desk.post(f"{own}:rollback")).at("code") == "mapping-not-in-force"
    assert (await desk.post(f"{ALL}/{second.at('id')}:rollback")).at("in_force") is False
    assert (await desk.get(own)).at("in_force") is True


async def test_a_plan_tells_what_the_system_would_be_told_masked_where_it_is_personal(site: Site) -> None:
    desk = site.desk
    quiet: Json = {"last_name": {"out_transforms": ["upper"]}}
    made = await desk.post(ALL, {**NEW, "fields": quiet})
    own = f"{ALL}/{made.at('id')}:plan"
    plan = await desk.post(own, {})
    told = {"external_id": "P1", "field": "last_name", "there": "Lee", "before": "Lee", "after": "LEE", "writes": False}
    assert (plan.at("out.looked"), plan.at("out.changed"), plan.at("out.told")) == (2, 1, [told])
    masked = await desk.post(own, {}, roles=("sales.viewer", "finance.admin"))
    assert masked.at("out.told") == [told | dict.fromkeys(("there", "before", "after"), "•••")]


async def test_what_does_not_fit_is_refused_with_every_fault_and_whose_type_one_may_not_read_is_not_there(
    site: Site,
) -> None:
    desk = site.desk
    wrong: Json = {"nothing": {}, "last_name": {"transforms": ["shout"]}, "title": {"direction": "sideways"}}
    assert (await desk.post(ALL, {**NEW, "fields": wrong})).status in {400, 422}
    wrong = {"nothing": {}, "last_name": {"transforms": ["shout", "whole"]}}
    refused = await desk.post(ALL, {**NEW, "fields": wrong, "custom": {"Tier": "t"}})
    assert refused.at("code") == "flow-unfit"
    assert refused.faults == {
        "/fields/nothing": "unknown-field",
        "/fields/last_name/transforms/0": "unknown-transform",
        "/fields/last_name/transforms/1": "transform-unfit",
        "/custom/Tier": "invalid-name",
    }
    assert (await desk.post(ALL, {**NEW, "connection": "nowhere"})).at("code") == "connection-missing"
    assert (await desk.post(ALL, {**NEW, "reason": ""})).status in {400, 422}
    made = await desk.post(ALL, {**NEW, "fields": UPPER})
    assert (await desk.get(ALL, roles=SEES)).rows("data") == []
    assert (await desk.get(f"{ALL}/{made.at('id')}", roles=SEES)).at("code") == "mapping-missing"
    assert (await desk.post(f"{ALL}/{made.at('id')}:activate", roles=SEES)).status == 403


async def test_the_fields_of_a_system_are_listed_for_who_may_read_their_type(site: Site) -> None:
    desk, asked = site.desk, "/api/v1/mapping-fields?connection=crm&type=sales.person"
    found = await desk.get(asked)
    assert (found.status, found.at("looked"), found.at("note")) == (200, 2, "The system was not asked.")
    by_path = {str(row["path"]): row for row in found.rows("fields")}
    assert (by_path["email"]["becomes"], by_path["email"]["filled"]) == (["email"], 2)
    assert "ann@example.com" not in str(found.body), "no value is told"
    assert (await desk.get(f"{asked}&ask=true")).at("note") == (
        "Crm describes no fields; these are of what was received."
    )
    unseen = await desk.get(asked, roles=SEES)
    assert (unseen.status, unseen.faults) == (422, {"/query/type": unseen.at("code")})
