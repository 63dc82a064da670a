"""What vendors tell late, or never: read a second time, and now and then as a whole."""

import dataclasses

import pytest

from isthmus.kernel.status import Status
from isthmus.sync.connector import Feed
from isthmus.sync.drift import drift_of
from isthmus.sync.mending import rejects_by_cause
from isthmus.sync.merges import merges
from isthmus.sync.running import retry
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import FEEDS, Killed, Vendor, away


def feeds(
    bench: Bench, *, expects: dict[str, str] | None = None, settles_s: int | None = None, scan_s: int | None = None
) -> None:
    """Go on with a connector whose feeds say more of themselves."""
    own = tuple(dataclasses.replace(feed, expects=expects or {}, settles_s=settles_s, scan_s=scan_s) for feed in FEEDS)
    known = dict(bench.engine.connectors)
    known["crm"] = dataclasses.replace(known["crm"], feeds=own)
    bench.engine = dataclasses.replace(bench.engine, connectors=known)


async def companies(bench: Bench) -> list[str]:
    return sorted(str(each.values["name"]) for each in await bench.records("sales.account"))


async def test_a_record_told_of_behind_the_place_that_was_reached_is_read_a_second_time(
    bench: Bench, crm: Vendor
) -> None:
    feeds(bench, settles_s=60)
    await bench.connect(crm)
    crm.put("companies", name="First")
    late = crm.put("companies", name="Late")
    hidden = crm.rows["companies"].pop(late)
    crm.put("companies", name="Last")
    await bench.sync("crm", parts=("pull",))
    crm.rows["companies"][late] = hidden
    await bench.sync("crm", parts=("pull",))
    assert await companies(bench) == ["First", "Last"]
    bench.tick(61)
    await bench.sync("crm", parts=("pull",))
    assert await companies(bench) == ["First", "Last", "Late"]
    (again,) = await bench.sync("crm", parts=("pull",))
    assert again.read == 0
    bench.tick(61)
    (again,) = await bench.sync("crm", parts=("pull",))
    assert (again.created, again.changed) == (0, 0)
    bench.tick(61)
    (again,) = await bench.sync("crm", parts=("pull",))
    assert again.read == 0, "what was read twice is not read a third time"


async def test_a_change_that_moves_no_stamp_is_found_by_reading_everything(bench: Bench, crm: Vendor) -> None:
    feeds(bench, scan_s=3600)
    await bench.connect(crm)
    for number in range(7):
        crm.put("companies", f"c{number}", name=f"Company {number}", city="Ghent")
    await bench.sync("crm", parts=("pull",))
    crm.rows["companies"]["c3"].body["city"] = "Bruges"
    bench.tick(60)
    await bench.sync("crm", parts=("pull",))
    assert {str(each.values["city"]) for each in await bench.records("sales.account")} == {"Ghent"}
    bench.tick(3600)
    crm.troubles = [None, None, None, None, Killed()]
    with pytest.raises(Killed):
        await bench.sync("crm", parts=("pull",))
    reads = crm.reads
    (run,) = await bench.sync("crm", parts=("pull",))
    assert crm.reads - reads < 8, "it goes on where it was interrupted"
    assert {each.values["name"]: each.values["city"] for each in await bench.records("sales.account")}[
        "Company 3"
    ] == "Bruges"
    assert run.status == Status.HEALTHY


async def test_two_records_that_became_one_there_become_one_here_and_nothing_is_deleted(
    bench: Bench, crm: Vendor
) -> None:
    await bench.connect(crm)
    kept = crm.put("companies", name="Ada & Co", city="Ghent")
    lost = crm.put("companies", name="Ada and Company", tax_id="BE0123456749")
    contact = crm.put("contacts", email="ada@company.example", first_name="Ada", account=lost)
    await bench.sync("crm")
    crm.merge("companies", lost, into=kept)
    (run,) = await bench.sync("crm")
    assert run.status == Status.HEALTHY, run.error
    account = await bench.only("sales.account")
    assert (account.values["name"], account.values["tax_id"]) == ("Ada & Co", "BE0123456749")
    assert (await bench.only("sales.person")).values["account_id"] is not None
    (merge,) = await bench.read(merges)
    assert merge.evidence == "merged in crm"
    await bench.edit("sales.account", account.id, city="Bruges")
    await bench.sync("crm")
    assert crm.rows["companies"][kept].body["city"] == "Bruges"
    (quiet,) = await bench.sync("crm")
    assert (quiet.changed, quiet.written, quiet.conflicts) == (0, 0, 0)
    assert crm.rows["contacts"][contact].body["email"] == "ada@company.example"


async def test_a_row_that_drifted_is_kept_with_its_cause_and_stored_when_the_connector_is_mended(
    bench: Bench, crm: Vendor
) -> None:
    feeds(bench, expects={"name": "text", "city": "text null absent", "tax_id": "text absent"})
    await bench.connect(crm)
    crm.put("companies", name="Good", city="Ghent")
    crm.put("companies", title="No name any more")
    crm.put("companies", name="Retyped", city=["Ghent"])
    (run,) = await bench.sync("crm", parts=("pull",))
    assert (run.status, run.rejected) == (Status.DEGRADED, 2)
    (cause,) = await bench.read(lambda tx: rejects_by_cause(tx, system="crm"))
    assert (cause.code, cause.rows) == ("drift", 2)
    told = {str(reason) for (reason,) in await bench.rows("select reason from rejected")}
    assert any("`name` of companies is missing; text was expected" in each for each in told)
    assert any("`city` of companies is now list; text null absent was expected" in each for each in told)
    assert (await retry(bench.engine, workspace=bench.workspace, connection="crm")).left == 2
    feeds(bench)
    del crm.rows["companies"]["crm-companies-2"].body["title"]
    crm.put("companies", "crm-companies-2", name="Named again")
    crm.put("companies", "crm-companies-3", name="Retyped", city="Ghent")
    (run,) = await bench.sync("crm", parts=("pull",))
    assert run.status == Status.HEALTHY
    assert await companies(bench) == ["Good", "Named again", "Retyped"]


async def test_fields_that_are_new_there_are_told(bench: Bench, crm: Vendor) -> None:
    feeds(bench, expects={"name": "text absent"})
    await bench.connect(crm)
    crm.put("companies", name="Richer", industry="Steel")
    await bench.sync("crm", parts=("pull",))
    assert (await bench.connection("crm")).reason == "New there, kept and not read yet: companies.industry."


async def test_a_source_that_changes_most_of_its_records_at_once_waits_for_a_person(bench: Bench, crm: Vendor) -> None:
    crm.page_rows = 500
    await bench.connect(crm)
    for number in range(1_100):
        crm.put("companies", f"c{number}", name=f"Company {number}", city="Ghent")
    await bench.sync("crm", parts=("pull",))
    for number in range(1_100):
        crm.put("companies", f"c{number}", city=None)
    crm.put("contacts", email="ada@company.example", first_name="Ada")
    (run,) = await bench.sync("crm")
    assert run.status == Status.NEEDS_ATTENTION
    assert run.error is not None
    assert run.error.startswith("1,100 of 1,100 records of companies would be changed at once, because 'crm' says so.")
    assert len(await bench.records("sales.person")) == 1, "what other feeds say arrives"
    table = bench.store.schema["sales.account"].table
    (emptied,) = await bench.rows(
        f"select count(*) from {table} where city is null and workspace = current_workspace()"  # noqa: S608 - the name comes from a declaration.
    )
    assert emptied == (1_000,), "what is beyond the fuse stays as it is"
    (run,) = await bench.sync("crm", confirmed=True)
    assert run.status == Status.HEALTHY


async def test_a_feed_that_cannot_be_read_holds_up_no_other(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("companies", name="Company")
    crm.put("contacts", email="ada@company.example", first_name="Ada")
    crm.troubles = [KeyError("results")] * bench.engine.retry.tries_max
    (run,) = await bench.sync("crm")
    assert run.status == Status.NEEDS_ATTENTION
    assert run.error is not None
    assert run.error.startswith("companies answered in a form that the connector does not know (KeyError).")
    assert len(await bench.records("sales.person")) == 1
    (run,) = await bench.sync("crm")
    assert (run.status, await companies(bench)) == (Status.HEALTHY, ["Company"])


async def test_a_system_that_is_away_is_not_asked_feed_by_feed(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    tries = bench.engine.retry.tries_max
    crm.troubles = [away()] * (tries + 1)
    (run,) = await bench.sync("crm", parts=("pull",))
    assert (run.status, len(crm.troubles)) == (Status.NEEDS_ATTENTION, 1)


def test_a_feed_that_expects_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be expected"):
        drift_of(Feed(name="x", types=("a.b",), expects={"name": "string"}), {"name": "x"})
