"""Deletions: found by comparing ids, stopped by a fuse, pushed when a person has settled them."""

from isthmus.kernel.status import Status
from isthmus.store.records import find
from isthmus.sync.conflicts import Choice, cases, resolve
from isthmus.sync.edit import edit
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Vendor


async def test_what_a_vendor_no_longer_has_becomes_a_tombstone_here(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("companies", name="Stays")
    gone = crm.put("companies", name="Goes")
    await bench.sync("crm")
    crm.delete("companies", gone)
    (run,) = await bench.sync("crm")
    assert (run.status, run.changed) == (Status.HEALTHY, 1)
    assert [record.values["name"] for record in await bench.records("sales.account")] == ["Stays"]
    (run,) = await bench.sync("crm")
    assert run.changed == 0
    crm.put("companies", gone, name="Came back")
    await bench.sync("crm")
    assert sorted(str(record.values["name"]) for record in await bench.records("sales.account")) == [
        "Came back",
        "Stays",
    ]


async def test_a_source_that_answers_empty_deletes_nothing_until_a_person_agrees(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    for number in range(30):
        crm.put("companies", name=f"Company {number}")
    await bench.sync("crm")
    crm.rows["companies"].clear()
    (run,) = await bench.sync("crm")
    assert run.status == Status.NEEDS_ATTENTION
    assert run.error is not None
    assert run.error.startswith("30 of 30 sales.account would be deleted")
    assert len(await bench.records("sales.account")) == 30
    (run,) = await bench.sync("crm", confirmed=True)
    assert run.status == Status.HEALTHY
    assert await bench.records("sales.account") == []


async def test_a_list_of_ids_that_breaks_off_deletes_nothing(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("companies", name="Stays")
    await bench.sync("crm")
    crm.troubles = [ConnectionResetError() for _ in range(9)]
    (run,) = await bench.sync("crm", parts=("sweep",))
    assert run.status == Status.NEEDS_ATTENTION
    assert run.error is not None
    assert "ConnectionResetError" in run.error
    assert len(await bench.records("sales.account")) == 1


async def test_a_deletion_here_is_pushed_and_many_wait_for_a_person(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    for number in range(40):
        crm.put("companies", name=f"Company {number}")
    await bench.sync("crm")
    records = await bench.records("sales.account")
    for record in records[:2]:
        await edit(bench.store, bench.scope(), "sales.account", record.id, {}, deleted=True)
    (run,) = await bench.sync("crm")
    assert (run.written, len(crm.rows["companies"])) == (2, 38)
    for record in records[2:32]:
        await edit(bench.store, bench.scope(), "sales.account", record.id, {}, deleted=True)
    await bench.edit("sales.account", records[39].id, city="Ghent")
    for _ in range(2):
        (run,) = await bench.sync("crm")
        assert run.status == Status.NEEDS_ATTENTION
        assert run.error is not None
        assert run.error.startswith("30 of 38 sales.account would be deleted in 'crm'. None was.")
        assert len(crm.rows["companies"]) == 38
    assert [row.body["city"] for row in crm.rows["companies"].values() if "city" in row.body] == ["Ghent"]
    (run,) = await bench.sync("crm", confirmed=True)
    assert (run.status, len(crm.rows["companies"])) == (Status.HEALTHY, 8)


async def test_a_deletion_of_what_another_system_holds_asks_a_person_and_then_travels(
    bench: Bench, crm: Vendor, erp: Vendor
) -> None:
    await bench.connect(crm)
    await bench.connect(erp)
    ours = crm.put("companies", name="Ada & Co", domain="ada.example")
    erp.put("companies", name="Ada & Co", domain="ada.example")
    await bench.sync("crm", "erp")
    crm.delete("companies", ours)
    (run, _) = await bench.sync("crm", "erp")
    assert run.conflicts == 1
    account = await bench.only("sales.account")
    (case,) = await bench.read(lambda tx: cases(tx, bench.store))
    assert (case.field, case.kept, case.claimed, case.claimed_system) == ("~deleted", False, True, "crm")
    assert len(erp.rows["companies"]) == 1
    await resolve(bench.store, bench.scope(), case.id, Choice.CLAIMED)
    await bench.sync("erp", "crm")
    assert erp.rows["companies"] == {}
    kept = await bench.read(lambda tx: find(tx, bench.store.vault, bench.store.schema["sales.account"], [account.id]))
    assert kept[account.id].deleted_at is not None
