"""Reconciliation over HTTP: comparing is a job, and what differs is listed masked, decided, reopened and repaired."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.rooms.app.http.connected import SEES, Site, opened_site

ALL, DIFFERENCES = "/api/v1/reconciliations", "/api/v1/reconciliation-differences"
EUR: dict[str, Json] = {"amount": "100.00", "currency": "EUR"}
WHY: Json = {"reason": "The branch moved."}


@pytest.fixture
async def site(store: Store, scope: Scope) -> Site:
    """A system of some records that was read, of which some changed since without that it told."""
    site = await opened_site(store, scope)
    crm = site.crm
    for n in range(3):
        crm.put("companies", f"C{n}", name=f"Company {n}", city="Ghent")
    crm.put("contacts", "P1", email="ann@example.com", first_name="Ann", last_name="Lee", account="C1")
    crm.put("deals", "D1", name="One", amount=EUR, account="C2")
    await site.connect()
    await site.work("crm:run", {"parts": ["pull"]})
    crm.rows["companies"]["C0"].body["city"] = "Antwerp"
    crm.rows["contacts"]["P1"].body["first_name"] = "Annabelle"
    crm.rows["deals"]["D1"].body["amount"] = {"amount": "99.99", "currency": "EUR"}
    del crm.rows["companies"]["C1"]
    job = await site.wanted(await site.desk.post(f"{ALL}/crm:run"))
    assert job.at("status") == "healthy", job.body
    return site


async def test_how_far_all_agrees_is_told_by_type_and_whose_records_one_may_not_read_is_left_out(site: Site) -> None:
    desk = site.desk
    told = await desk.get(ALL)
    assert {str(row["type"]): (row["there"], row["here"], row["open"]) for row in told.rows("data")} == {
        "sales.account": (2, 3, 2),
        "sales.person": (1, 1, 1),
        "sales.deal": (1, 1, 1),
    }
    exact = told.at("accuracy")
    assert isinstance(exact, float)
    assert told.at("promised") == 0.9995
    compared, differing = told.at("compared"), told.at("differing")
    assert isinstance(compared, int)
    assert isinstance(differing, int)
    assert exact == 1 - differing / compared
    assert 0.5 < exact < 0.9995
    first = await desk.get(f"{ALL}?limit=1&type=sales.account&connection=crm")
    assert first.at("has_more") is False
    own = f"{ALL}/{first.at('data.0.id')}"
    assert (await desk.get(own)).json == first.rows("data")[0]
    assert {str(row["external_id"]) for row in (await desk.get(f"{own}/differences")).rows("data")} == {"C0", "C1"}
    assert (await desk.get(ALL, roles=SEES)).rows("data") == []
    assert (await desk.get(own, roles=SEES)).at("code") == "reconciliation-missing"
    assert (await desk.get(f"{ALL}/rec_01KAX3V9Q2M4T8Z5N7P6R1S0WD")).status == 404


async def test_differences_are_masked_filtered_and_turned_over_page_by_page(site: Site) -> None:
    desk = site.desk
    seen = {str(row["external_id"]): row for row in (await desk.get(DIFFERENCES)).rows("data")}
    assert (seen["P1"]["there"], seen["P1"]["here"]) == ("Annabelle", "Ann")
    assert (seen["D1"]["stake"], seen["C1"]["kind"], seen["C1"]["field"]) == ("0.01 EUR", "extra", None)
    masked = await desk.get(f"{DIFFERENCES}?type=sales.person", roles=("sales.viewer", "finance.admin"))
    assert (masked.at("data.0.there"), masked.at("data.0.here")) == ("•••", "•••")
    assert (await desk.get(DIFFERENCES, roles=SEES)).rows("data") == []
    assert (await desk.get(f"{DIFFERENCES}/{seen['P1']['id']}", roles=SEES)).at("code") == "difference-missing"
    kinds = f"{DIFFERENCES}?kind=field&connection=crm&field=city"
    assert [row["external_id"] for row in (await desk.get(kinds)).rows("data")] == ["C0"]
    ids: list[Json] = []
    path = f"{DIFFERENCES}?limit=3"
    while path:
        page = await desk.get(path)
        ids += [row["id"] for row in page.rows("data")]
        path = f"{DIFFERENCES}?limit=3&cursor={page.at('next_cursor')}" if page.at("has_more") else ""
    assert sorted(map(str, ids)) == sorted(str(row["id"]) for row in seen.values())


async def test_one_is_accepted_ignored_and_reopened_with_a_reason(site: Site) -> None:
    desk = site.desk
    city = (await desk.get(f"{DIFFERENCES}?field=city")).rows("data")[0]
    own = f"{DIFFERENCES}/{city['id']}"
    before = (await desk.get(ALL)).at("accuracy")
    assert (await desk.post(f"{own}:accept", {"reason": " "})).at("code") == "reason-missing"
    accepted = await desk.post(f"{own}:accept", WHY)
    assert (accepted.at("status"), accepted.at("reason")) == ("accepted", "The branch moved.")
    assert str(accepted.at("decided_by")).startswith("key:")
    better = (await desk.get(ALL)).at("accuracy")
    assert isinstance(before, float)
    assert isinstance(better, float)
    assert better > before
    assert (await desk.post(f"{own}:ignore", {"reason": "A test."})).at("status") == "ignored"
    assert (await desk.get(ALL)).at("accuracy") == before
    again = await desk.post(f"{own}:reopen")
    assert (again.at("status"), again.at("reason"), again.at("decided_by")) == ("open", None, None)
    assert (await desk.post(f"{own}:reopen")).at("code") == "difference-missing"


async def test_those_that_fit_a_filter_are_decided_after_a_dry_run_and_taken_back(site: Site) -> None:
    desk = site.desk
    wanted: dict[str, Json] = {"decision": "ignore", "type": "sales.account", "reason": "Closed."}
    dry = await desk.post(f"{DIFFERENCES}:decide", {**wanted, "dry_run": True})
    assert (dry.at("count"), dry.at("dry_run"), len((await desk.get(DIFFERENCES)).rows("data"))) == (2, True, 4)
    assert (await desk.post(f"{DIFFERENCES}:decide", {**wanted, "reason": ""})).at("code") == "reason-missing"
    done = await desk.post(f"{DIFFERENCES}:decide", wanted)
    assert {str(row["status"]) for row in done.rows("data")} == {"ignored"}
    assert len((await desk.get(DIFFERENCES)).rows("data")) == 2
    back = await desk.post(f"{DIFFERENCES}:decide", {"decision": "reopen", "status": "ignored"})
    assert (back.at("count"), len((await desk.get(DIFFERENCES)).rows("data"))) == (2, 4)


async def test_one_record_is_repaired_or_all_that_fit_and_only_these(site: Site) -> None:
    desk = site.desk
    city = (await desk.get(f"{DIFFERENCES}?field=city")).rows("data")[0]
    job = await site.wanted(await desk.post(f"{DIFFERENCES}/{city['id']}:repair", WHY))
    assert (job.at("status"), job.at("result.run.changed")) == ("healthy", 1)
    left = {str(row["external_id"]) for row in (await desk.get(DIFFERENCES)).rows("data")}
    assert left == {"C1", "P1", "D1"}
    assert (await desk.get(f"{DIFFERENCES}/{city['id']}")).at("status") == "repaired"
    gone = await site.wanted(await desk.post(f"{ALL}/crm:repair", {"kind": "extra", "reason": "Sold."}))
    assert gone.at("status") == "healthy"
    assert {str(row["external_id"]) for row in (await desk.get(DIFFERENCES)).rows("data")} == {"P1", "D1"}
    assert (await desk.post(f"{ALL}/crm:repair", {"field": "nothing"})).at("code") == "difference-missing"
    assert (await site.wanted(await desk.post(f"{ALL}/crm:repair", {}))).at("status") == "healthy"
    assert (await desk.get(DIFFERENCES)).rows("data") == []
    assert (await desk.get(ALL)).at("accuracy") == 1.0
    await desk.post("/api/v1/connections/crm:pause", {})
    for path in (f"{ALL}/crm:run", f"{ALL}/crm:repair"):
        assert (await desk.post(path, {} if "repair" in path else None)).at("code") == "connection-paused"


async def test_a_probe_is_a_job_and_finds_nothing_where_a_system_cannot_be_asked_by_id(site: Site) -> None:
    job = await site.wanted(await site.desk.post(f"{ALL}/crm:probe"))
    assert (job.at("kind"), job.at("status")) == ("sync.probe", "healthy"), job.body
    assert [row["probed"] for row in (await site.desk.get(ALL)).rows("data")] == [None] * 3
    assert (await site.desk.post(f"{ALL}/crm:probe", roles=SEES)).status == 403
    assert (await site.desk.post(f"{ALL}/nobody:probe")).at("code") == "connection-missing"


async def test_money_of_two_systems_is_compared_by_currency_and_month(site: Site) -> None:
    desk = site.desk
    site.erp.put("deals", "E1", name="Late", deal_number="D-2", amount=EUR, close_date="2026-03-01")
    site.crm.put("deals", "D2", name="Late", deal_number="D-2", amount={**EUR, "amount": "100.01"})
    site.crm.put("deals", "D2", close_date="2026-03-01")
    await site.connect("erp")
    for name in ("crm", "erp"):
        await site.work(f"{name}:run", {"parts": ["pull"]})
    path = "/api/v1/reconciliation-money?one=crm&other=erp&type="
    told = await desk.get(f"{path}sales.deal")
    (march,) = [row for row in told.rows("sums") if row["month"] == "2026-03"]
    assert (march["one"], march["other"], march["currency"], march["agree"]) == ("100.01", "100.00", "EUR", False)
    seen = {(row["kind"], str(row["one_ids"]), str(row["other_ids"]), row["stake"]) for row in told.rows("differences")}
    assert ("field", "['D2']", "['E1']", "0.01 EUR") in seen
    assert ("missing", "['D1']", "[]", "100 EUR") in seen
    assert (await desk.get(f"{path}sales.account")).at("code") == "no-money"
    assert (await desk.get(f"{path}sales.deal", roles=SEES)).at("code") == "unknown-type"
