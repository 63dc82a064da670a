"""Connections and runs over HTTP: secrets stay sealed, jobs do the work, and what a run did is told feed by feed."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.rooms.app.http.connected import CONNECTIONS, CRM, SEES, SYNCS, Site, opened_site
from tests.rooms.sync.vendor import away


@pytest.fixture
async def site(store: Store, scope: Scope) -> Site:
    """The site; `sees` may read runs and the records of finance, not those of sales."""
    return await opened_site(store, scope)


async def test_a_connection_is_made_shown_by_id_and_name_changed_rested_and_removed(site: Site) -> None:
    desk = site.desk
    made = await site.connect()
    own = f"{CONNECTIONS}/{made.at('id')}"
    assert made.headers["location"] == own
    assert (made.at("secrets"), made.at("settings")) == (["token"], {"url": "memory:"})
    for path in (own, f"{CONNECTIONS}/crm"):
        shown = await desk.get(path)
        assert (shown.at("id"), shown.at("status"), shown.at("last_run")) == (made.at("id"), "pending", None)
        assert b"s3cr3t" not in shown.body
    assert (await desk.post(CONNECTIONS, CRM)).at("code") == "name-taken"
    changed = await desk.call("PATCH", own, {"every_s": 900, "delete": False, "create": ["sales.deal"]})
    assert (changed.at("every_s"), changed.at("delete"), changed.at("push")) == (900, False, True)
    assert (await desk.call("PATCH", own, {"every_s": None})).at("every_s") is None
    assert (await desk.post(f"{own}:check")).at("answers_as") == "crm"
    assert (await desk.post(f"{own}:pause", {"reason": "until Monday"})).at("reason") == "until Monday"
    assert (await desk.post(f"{SYNCS}/crm:run", {})).at("code") == "connection-paused"
    assert (await desk.post(f"{own}:resume")).at("status") == "pending"
    assert [each["name"] for each in (await desk.get(CONNECTIONS)).rows("data")] == ["crm"]
    assert (await desk.call("DELETE", own)).status == 204
    assert (await desk.get(own)).at("code") == "connection-missing"


async def test_connectors_tell_their_settings_their_feeds_and_what_they_were_tried_against(site: Site) -> None:
    first, _, third = (await site.desk.get("/api/v1/connectors")).rows("data")
    assert (first["name"], first["proven"], first["fake"]) == ("crm", "in tests only", True)
    feeds = [{"name": "companies", "types": ["sales.account"], "writes": ["sales.account"]}]
    assert isinstance(first["feeds"], list)
    assert first["feeds"][:1] == feeds
    told = {"name": "path", "about": "a file", "secret": False, "default": None, "local": True}
    assert (third["name"], third["settings"]) == ("local", [told])
    page = await site.desk.get("/api/v1/connectors?limit=1")
    rest = await site.desk.get(f"/api/v1/connectors?limit=1&cursor={page.at('next_cursor')}")
    assert [each["name"] for each in rest.rows("data")] == ["erp"]


@pytest.mark.parametrize(
    ("change", "status", "pointer"),
    [
        ({"connector": "nowhere"}, 404, None),
        ({"settings": {}}, 422, "/settings/token"),
        ({"settings": {"token": "s", "colour": "red"}}, 422, "/settings/colour"),
        ({"create": ["sales.deal", "sales.nothing"]}, 422, "/create/1"),
        ({"connector": "local", "settings": {"path": "/etc/passwd"}}, 422, "/settings/path"),
        ({"settings": {"token": "s", "url": "SQLite:///srv/shop.db"}}, 422, "/settings/url"),
    ],
)
async def test_what_cannot_be_connected_is_refused_in_words(
    site: Site, change: dict[str, Json], status: int, pointer: str | None
) -> None:
    refused = await site.desk.post(CONNECTIONS, {**CRM, **change})
    assert refused.status == status
    assert pointer is None or pointer in refused.faults
    assert refused.at("fix") or refused.faults
    assert (await site.desk.get(CONNECTIONS)).rows("data") == []


async def test_a_system_that_does_not_answer_is_not_kept_and_a_secret_does_not_follow_to_another_address(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = site.desk
    await site.connect()
    moved = await desk.call("PATCH", f"{CONNECTIONS}/crm", {"settings": {"url": "https://elsewhere.example"}})
    assert (moved.status, moved.faults) == (422, {"/settings/token": "missing"})
    both: Json = {"settings": {"url": "https://elsewhere.example", "token": "other"}}
    assert (await desk.call("PATCH", f"{CONNECTIONS}/crm", both)).at("settings.url") == "https://elsewhere.example"

    async def no_answer(_: object) -> str:
        raise away()

    monkeypatch.setattr("tests.rooms.sync.vendor.Desk.check", no_answer)
    assert (await desk.post(CONNECTIONS, {**CRM, "name": "second"})).at("code") == "no-answer"
    assert (await desk.post(CONNECTIONS, {**CRM, "name": "second", "check": False})).status == 201
    told = await desk.post(f"{CONNECTIONS}/second:check")
    assert (told.status, told.at("answers_as"), told.at("trouble")) == (200, None, "It does not answer.")


async def test_a_run_is_a_job_and_tells_what_it_did_by_feed_and_why_rows_failed(site: Site) -> None:
    await site.connect()
    site.crm.put("companies", name="Mills")
    site.crm.put("deals", name="Deal", deal_number="D-1")
    site.crm.put("deals", broken="yes")
    job = await site.work("crm:run", {"parts": ["pull"]})
    assert (job.at("status"), job.at("result.read")) == ("degraded", 3)
    shown = await site.desk.get(f"{SYNCS}/{job.at('result.run')}")
    assert (shown.at("run.status"), shown.at("run.kind"), shown.at("run.connection")) == ("degraded", "pull", "crm")
    deals = next(each for each in shown.rows("run.feeds") if each["feed"] == "deals")
    assert (deals["read"], deals["created"], deals["rejected"]) == (2, 1, 1)
    (cause,) = shown.rows("causes")
    assert (cause["system"], cause["type"], cause["code"], cause["rows"]) == ("crm", "sales.deal", "mapping", 1)
    assert (await site.desk.get("/api/v1/rejected-rows")).rows("data") == [cause]
    hidden = await site.desk.call("GET", f"{SYNCS}/{job.at('result.run')}", roles=SEES)
    assert (hidden.rows("causes"), hidden.at("run.read")) == ([], 3)
    assert (await site.desk.get("/api/v1/rejected-rows", roles=SEES)).rows("data") == []
    found = await site.desk.get(f"{SYNCS}?connection=crm&status=degraded")
    assert [each["id"] for each in found.rows("data")] == [job.at("result.run")]
    assert (await site.desk.get(f"{SYNCS}?connection=erp")).rows("data") == []
    assert (await site.desk.get(f"{SYNCS}/run_01KAX3V9Q2M4T8Z5N7P6R1S0WD")).at("code") == "run-missing"


async def test_what_became_of_a_record_is_found_across_runs(site: Site) -> None:
    await site.connect()
    await site.connect("erp")
    own = site.crm.put("deals", name="Deal", deal_number="D-1")
    site.erp.put("deals", name="Deal", deal_number="D-1")
    site.crm.put("deals", broken="yes")
    for name in ("crm", "erp"):
        await site.work(f"{name}:run", {"parts": ["pull"]})
    site.desk.later(seconds=5)
    site.erp.put("deals", "erp-deals-1", name="refuse me")
    await site.work("erp:run")
    await site.work("crm:run")
    record = await site.desk.id_of("sales.deal", own)
    (refused,) = (await site.desk.get(f"/api/v1/sync-outcomes?record={record}")).rows("data")
    assert (refused["connection"], refused["outcome"], refused["kind"]) == ("crm", "refused", "update")
    assert (refused["reason"], refused["fields"]) == ("The name is not allowed.", ["name"])
    assert (await site.desk.get(f"{SYNCS}/{refused['run']}")).rows("refusals")[0]["writes"] == 1
    page = await site.desk.get("/api/v1/sync-outcomes?connection=crm&limit=1")
    rest = await site.desk.get(f"/api/v1/sync-outcomes?connection=crm&limit=1&cursor={page.at('next_cursor')}")
    assert [each["outcome"] for each in (*page.rows("data"), *rest.rows("data"))] == ["refused", "rejected"]
    assert rest.at("has_more") is False
    assert rest.rows("data")[0]["code"] == "mapping"
    assert (await site.desk.get("/api/v1/sync-outcomes?code=mapping")).rows("data") == rest.rows("data")
    assert (await site.desk.get("/api/v1/sync-outcomes", roles=SEES)).rows("data") == []


async def test_a_plan_shows_fields_masks_what_is_personal_and_writes_nothing(site: Site) -> None:
    await site.connect()
    await site.connect("erp")
    for vendor in (site.crm, site.erp):
        vendor.put("contacts", email="ada@engines.example", title="Countess")
    await site.work("crm:run", {"parts": ["pull"]})
    site.desk.later(seconds=5)
    site.erp.put("contacts", "erp-contacts-1", title="Lady")
    await site.work("erp:run", {"parts": ["pull"]})
    plan = await site.desk.post(f"{SYNCS}/crm:plan", {})
    (write,) = plan.rows("data")
    assert (write["kind"], write["external_id"], plan.at("has_more")) == ("update", "crm-contacts-1", False)
    assert write["fields"] == [{"field": "title", "there": "Countess", "here": "Lady"}]
    masked = await site.desk.post(f"{SYNCS}/crm:plan", {}, roles=("sales.viewer", "finance.admin"))
    assert masked.rows("data")[0]["fields"] == [{"field": "title", "there": "•••", "here": "•••"}]
    assert (await site.desk.post(f"{SYNCS}/crm:plan", {}, roles=SEES)).rows("data") == []
    assert site.crm.writes == 0


async def test_reading_again_is_a_job_for_a_span_of_a_feed_or_for_everything(site: Site) -> None:
    await site.connect()
    site.crm.put("deals", name="Deal", deal_number="D-1")
    await site.work("crm:run", {"parts": ["pull"]})
    span: dict[str, Json] = {"feed": "deals", "since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    assert (await site.work("crm:backfill", span)).at("result.read") == 0
    assert (await site.work("crm:backfill", {"feed": "deals"})).at("result.unchanged") == 1
    again = await site.work("crm:resync")
    shown = await site.desk.get(f"{SYNCS}/{again.at('result.run')}")
    assert (shown.at("run.kind"), shown.at("run.unchanged"), shown.at("run.status")) == ("resync", 1, "healthy")
    assert (await site.desk.post(f"{SYNCS}/crm:backfill", {"feed": "nothing"})).at("code") == "feed-missing"
    backwards: Json = {**span, "until": "2025-01-01T00:00:00Z"}
    assert (await site.desk.post(f"{SYNCS}/crm:backfill", backwards)).at("code") == "span-empty"
    assert (await site.desk.post(f"{SYNCS}/nowhere:resync", {})).at("code") == "connection-missing"


async def test_rejected_rows_are_tried_again_and_the_same_is_wanted_once(site: Site) -> None:
    await site.connect()
    site.crm.put("deals", broken="yes")
    await site.work("crm:run", {"parts": ["pull"]})
    tried = await site.work("crm:retry", {"code": "mapping"})
    assert (tried.at("status"), tried.at("result")) == ("degraded", {"stored": 0, "left": 1})
    headers = {"idempotency-key": "once"}
    first = await site.desk.call("POST", f"{SYNCS}/crm:run", {}, headers=headers)
    again = await site.desk.call("POST", f"{SYNCS}/crm:run", {}, headers=headers)
    assert (first.at("id"), first.status) == (again.at("id"), again.status)
    assert (await site.desk.post(f"{SYNCS}/crm:run", {})).at("code") == "job-living"
