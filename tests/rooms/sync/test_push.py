"""Pushing to a vendor: only what differs, on the condition that it has not moved, and once."""

from functools import partial

import pytest

from isthmus.kernel.marks import Json
from isthmus.sync.connections import Options, Status
from isthmus.sync.queue import Candidates, changed_page
from isthmus.sync.running import EVERYTHING, Part, planned
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Killed, Vendor, throttled

ALL_MADE = Options(create=("sales.account", "sales.person", "sales.deal"))


async def _both(bench: Bench, crm: Vendor, erp: Vendor) -> tuple[str, str]:
    """Return the ids of one company that both vendors hold."""
    await bench.connect(crm)
    await bench.connect(erp)
    ours = crm.put("companies", name="Ada & Co", domain="ada.example", city="Ghent")
    theirs = erp.put("companies", name="Ada & Co", domain="ada.example", city="Ghent")
    await bench.sync("crm", "erp")
    return ours, theirs


def _body(vendor: Vendor, external_id: str, feed: str = "companies") -> dict[str, Json]:
    return vendor.rows[feed][external_id].body


async def test_an_edit_made_here_reaches_every_system_once(bench: Bench, crm: Vendor, erp: Vendor) -> None:
    ours, theirs = await _both(bench, crm, erp)
    account = await bench.only("sales.account")
    await bench.edit("sales.account", account.id, city="Bruges")
    await bench.sync("crm", "erp")
    assert (_body(crm, ours)["city"], _body(erp, theirs)["city"]) == ("Bruges", "Bruges")
    assert (crm.writes, erp.writes) == (1, 1)
    for run in await bench.sync("crm", "erp", "crm", "erp"):
        assert (run.written, run.changed, run.conflicts) == (0, 0, 0)
    assert (crm.writes, erp.writes) == (1, 1)


async def test_an_edit_there_travels_through_here_to_the_other(bench: Bench, crm: Vendor, erp: Vendor) -> None:
    ours, theirs = await _both(bench, crm, erp)
    crm.put("companies", ours, industry="Mills")
    await bench.sync("crm", "erp", "crm")
    assert _body(erp, theirs)["industry"] == "Mills"
    assert (crm.writes, erp.writes) == (0, 1)


async def test_the_plan_is_what_is_written_and_writes_nothing(bench: Bench, crm: Vendor, erp: Vendor) -> None:
    ours, _ = await _both(bench, crm, erp)
    account = await bench.only("sales.account")
    await bench.edit("sales.account", account.id, city="Bruges", employee_count=12)
    (write,) = await planned(bench.engine, workspace=bench.workspace, connection="crm")
    assert crm.writes == 0
    assert (write.kind, write.change.external_id, write.there) == ("update", ours, {"city": "Ghent"})
    assert write.change.fields == write.body == {"city": "Bruges", "employee_count": 12}
    await bench.sync("crm")
    assert _body(crm, ours)["city"] == "Bruges"
    assert await planned(bench.engine, workspace=bench.workspace, connection="crm") == []


async def test_what_a_system_has_no_place_for_is_never_written(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("deals", name="Deal", amount={"amount": "10.00", "currency": "EUR"})
    await bench.sync("crm")
    deal = await bench.only("sales.deal")
    await bench.edit("sales.deal", deal.id, next_step="Call", pipeline="Mills")
    assert await planned(bench.engine, workspace=bench.workspace, connection="crm") == []
    (run,) = await bench.sync("crm")
    assert (run.written, crm.writes) == (0, 0)


async def test_a_change_of_fields_that_are_never_written_is_not_looked_at(bench: Bench, crm: Vendor) -> None:
    found = await bench.connect(crm)
    crm.put("companies", name="Ada & Co", domain="ada.example", city="Ghent")
    await bench.sync("crm")
    account = await bench.only("sales.account")

    async def looked_at(after: int) -> tuple[Candidates, int | None]:
        asked = partial(changed_page, connection=found, types=["sales.account"], writable={"sales.account": ("city",)})
        return await bench.read(lambda tx: asked(tx, after=after, stamped=False))

    _, last = await looked_at(0)
    await bench.edit("sales.account", account.id, employee_count=12)
    page, last = await looked_at(last or 0)
    assert page == {}
    await bench.edit("sales.account", account.id, city="Bruges")
    page, _ = await looked_at(last or 0)
    assert page == {"sales.account": [account.id]}


async def test_a_record_is_made_there_when_the_connection_may_with_those_it_points_to(
    bench: Bench, crm: Vendor, erp: Vendor
) -> None:
    await bench.connect(crm)
    await bench.connect(erp, ALL_MADE)
    company = crm.put("companies", name="Ada & Co", domain="ada.example")
    crm.put("contacts", email="ada@ada.example", first_name="Ada", account=company)
    await bench.sync("crm", "erp")
    (made,) = erp.rows["companies"]
    (contact,) = erp.rows["contacts"].values()
    assert contact.body == {"email": "ada@ada.example", "first_name": "Ada", "account": made}
    assert erp.writes == 2
    await bench.sync("crm", "erp", "crm", "erp")
    assert (erp.writes, crm.writes) == (2, 0)
    assert len(await bench.records("sales.account")) == len(await bench.records("sales.person")) == 1


async def test_a_record_that_moved_there_is_read_again_and_then_written(bench: Bench, crm: Vendor, erp: Vendor) -> None:
    ours, _ = await _both(bench, crm, erp)
    account = await bench.only("sales.account")
    await bench.edit("sales.account", account.id, city="Bruges")
    crm.put("companies", ours, industry="Mills")
    (run,) = await bench.sync("crm", parts=("push",))
    assert (run.status, run.written) == (Status.HEALTHY, 1)
    assert _body(crm, ours) == {"name": "Ada & Co", "domain": "ada.example", "city": "Bruges", "industry": "Mills"}
    assert (await bench.only("sales.account")).values["industry"] == "Mills"
    outcomes = await bench.rows("select outcome, fields from write_outcome order by id")
    assert outcomes == [("moved", ["city"]), ("written", ["city"])]


async def test_a_refused_write_is_kept_with_its_reason_and_not_repeated(bench: Bench, crm: Vendor, erp: Vendor) -> None:
    await _both(bench, crm, erp)
    account = await bench.only("sales.account")
    await bench.edit("sales.account", account.id, name="refuse me")
    (run,) = await bench.sync("crm")
    assert (run.status, run.rejected) == (Status.DEGRADED, 1)
    rows = await bench.rows("select outcome, reason, record_id from write_outcome")
    assert rows == [("refused", "The name is not allowed.", account.id)]
    (run,) = await bench.sync("crm")
    assert (run.status, run.rejected) == (Status.HEALTHY, 0)
    await bench.edit("sales.account", account.id, name="accept me")
    (run,) = await bench.sync("crm")
    assert (run.status, run.written) == (Status.HEALTHY, 1)


async def test_a_system_that_holds_a_coarser_word_keeps_it_and_is_written_to_once(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.coarse = {"negotiation": "proposal"}
    deal_there = crm.put("deals", name="Deal", stage="qualification")
    await bench.sync("crm")
    deal = await bench.only("sales.deal")
    await bench.edit("sales.deal", deal.id, stage="negotiation")
    await bench.sync("crm", "crm")
    assert crm.writes == 1
    assert _body(crm, deal_there, "deals")["stage"] == "proposal"
    assert (await bench.only("sales.deal")).values["stage"] == "negotiation"
    await bench.edit("sales.deal", deal.id, name="Bigger deal")
    await bench.sync("crm", "crm")
    assert crm.writes == 2
    crm.put("deals", deal_there, stage="closed_won")
    (run,) = await bench.sync("crm")
    assert (run.conflicts, run.written) == (0, 0)
    assert (await bench.only("sales.deal")).values["stage"] == "closed_won"


async def test_a_kill_between_write_and_claim_neither_writes_twice_nor_opens_a_case(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("deals", name="Deal", amount={"amount": "10.00", "currency": "EUR"})
    await bench.sync("crm")
    deal = await bench.only("sales.deal")
    await bench.edit("sales.deal", deal.id, amount={"amount": "20.00", "currency": "EUR"})
    crm.kill_after_write = True
    with pytest.raises(Killed):
        await bench.sync("crm")
    await bench.edit("sales.deal", deal.id, amount={"amount": "30.00", "currency": "EUR"})
    (run,) = await bench.sync("crm")
    assert (run.status, run.conflicts, run.written) == (Status.HEALTHY, 0, 1)
    assert (await bench.only("sales.deal")).values["amount"] == {"amount": "30.00", "currency": "EUR"}
    (run,) = await bench.sync("crm")
    assert (run.written, crm.writes) == (0, 2)
    assert await bench.rows("select record_id from write_ledger") == []


@pytest.mark.parametrize("parts", [EVERYTHING, ("push",)])
async def test_a_record_made_there_before_a_kill_is_not_made_again(
    bench: Bench, crm: Vendor, erp: Vendor, parts: tuple[Part, ...]
) -> None:
    await bench.connect(crm)
    await bench.connect(erp, ALL_MADE)
    crm.put("companies", name="No handle", city="Ghent")
    erp.kill_after_write = True
    await bench.sync("crm")
    with pytest.raises(Killed):
        await bench.sync("erp")
    assert len(erp.rows["companies"]) == 1
    for _ in range(2):
        await bench.sync("erp", parts=parts)
    assert len(erp.rows["companies"]) == 1
    assert len(await bench.records("sales.account")) == 1
    assert await bench.rows("select count(*) from ref where system = 'erp'") == [(1,)]
    assert await bench.rows("select record_id from write_ledger") == []


async def test_a_vendor_that_throttles_a_push_gets_it_later(bench: Bench, crm: Vendor, erp: Vendor) -> None:
    ours, _ = await _both(bench, crm, erp)
    account = await bench.only("sales.account")
    await bench.edit("sales.account", account.id, city="Bruges")
    crm.troubles = [throttled(3)]
    (run,) = await bench.sync("crm", parts=("push",))
    assert (run.status, run.written, len(bench.pauses)) == (Status.HEALTHY, 1, 1)
    assert _body(crm, ours)["city"] == "Bruges"


async def test_a_connection_that_may_not_push_writes_nothing(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm, Options(push=False))
    crm.put("companies", name="Ada & Co")
    await bench.sync("crm")
    await bench.edit("sales.account", (await bench.only("sales.account")).id, city="Bruges")
    (run,) = await bench.sync("crm")
    assert (run.written, crm.writes) == (0, 0)


async def test_a_record_that_came_back_to_what_it_said_can_still_be_written(
    bench: Bench, crm: Vendor, erp: Vendor
) -> None:
    ours, _ = await _both(bench, crm, erp)
    for city in ("Lier", "Ghent"):
        crm.put("companies", ours, city=city)
    await bench.edit("sales.account", (await bench.only("sales.account")).id, city="Bruges")
    await bench.sync("crm")
    assert (_body(crm, ours)["city"], crm.writes) == ("Bruges", 1)
    assert await bench.rows("select outcome from write_outcome") == [("written",)]


async def test_where_the_log_has_forgotten_what_changed_every_record_is_looked_at(
    bench: Bench, crm: Vendor, erp: Vendor
) -> None:
    ours, theirs = await _both(bench, crm, erp)
    account = await bench.only("sales.account")
    await bench.edit("sales.account", account.id, city="Bruges")
    await bench.rows("delete from event_bundle where workspace = current_workspace() returning id")
    head = "insert into event_head as h (workspace, seq, trimmed) values (current_workspace(), 900, 900)"
    await bench.rows(f"{head} on conflict (workspace) do update set seq = 900, trimmed = 900 returning seq")
    (write,) = await planned(bench.engine, workspace=bench.workspace, connection="crm")
    assert write.change.fields == {"city": "Bruges"}
    (run,) = await bench.sync("crm")
    assert (run.written, _body(crm, ours)["city"], _body(erp, theirs)["city"]) == (1, "Bruges", "Ghent")
    (again,) = await bench.sync("crm")
    assert (again.written, crm.writes) == (0, 1)
