"""Pulling from a vendor: nothing is lost, nothing doubled, and what goes wrong is said."""

import asyncio
import dataclasses
from collections.abc import Iterable
from datetime import timedelta
from time import monotonic

import pytest
from msgspec.structs import replace

from isthmus.kernel.clock import FrozenClock
from isthmus.store.observation import Observation
from isthmus.stream.limits import Leases, OutgoingLimit, Rate
from isthmus.stream.limits.postgres import PostgresAuthority
from isthmus.sync.connections import Status, pause, resume
from isthmus.sync.connector import Raw
from isthmus.sync.feeds import freshness
from isthmus.sync.mending import rejects_by_cause
from isthmus.sync.running import ConnectionPaused, retry, synchronise
from isthmus.sync.runs import RunOverlaps, alone, runs
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Killed, Vendor, away, normalise, throttled

_CLAIMS = "select count(*) from claim where workspace = current_workspace()"


async def test_what_a_vendor_holds_arrives_once_and_a_second_pull_changes_nothing(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    for number in range(8):
        company = crm.put("companies", name=f"Company {number}")
        crm.put("contacts", email=f"p{number}@company.example", first_name="Ada", account=company)
    (first,) = await bench.sync("crm")
    assert (first.status, first.read, first.created, first.rejected) == (Status.HEALTHY, 16, 16, 0)
    people = await bench.records("sales.person")
    assert len(people) == 8
    assert all(person.values["account_id"] for person in people)
    (second,) = await bench.sync("crm")
    assert (second.status, second.read, second.created, second.changed, second.written) == (Status.HEALTHY, 0, 0, 0, 0)


async def test_a_pull_that_is_killed_goes_on_after_the_last_page(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    for number in range(10):
        crm.put("companies", name=f"Company {number}")
    crm.troubles = [None, None, Killed()]
    with pytest.raises(Killed):
        await bench.sync("crm")
    assert len(await bench.records("sales.account")) == 6
    (run,) = await bench.sync("crm")
    assert (run.status, run.created, run.read) == (Status.HEALTHY, 4, 4)
    assert len(await bench.records("sales.account")) == 10
    assert await bench.rows(_CLAIMS) == [(10,)]


async def test_pages_that_repeat_and_reverse_their_rows_are_taken_once(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    for number in range(7):
        crm.put("companies", name=f"Company {number}")
    crm.shuffled = True
    (run,) = await bench.sync("crm")
    assert run.created == 7
    assert await bench.rows(_CLAIMS) == [(7,)]


async def test_two_changes_within_the_vendors_one_second_are_both_heard(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    company = crm.put("companies", name="Before")
    await synchronise(bench.engine, workspace=bench.workspace, connection="crm")
    crm.put("companies", company, name="Between")
    await synchronise(bench.engine, workspace=bench.workspace, connection="crm")
    crm.put("companies", company, name="After")
    await synchronise(bench.engine, workspace=bench.workspace, connection="crm")
    assert (await bench.only("sales.account")).values["name"] == "After"


@pytest.mark.parametrize("skew_days", [-2, 2])
async def test_a_vendor_whose_clock_is_days_off_is_heard_in_order(bench: Bench, crm: Vendor, skew_days: int) -> None:
    crm.skew = timedelta(days=skew_days)
    await bench.connect(crm)
    company = crm.put("companies", name="Before", city="Ghent")
    await bench.sync("crm")
    bench.tick()
    crm.put("companies", company, name="After")
    await bench.sync("crm")
    account = await bench.only("sales.account")
    assert account.values["name"] == "After"
    await bench.edit("sales.account", account.id, city="Bruges")
    await bench.sync("crm")
    assert (await bench.only("sales.account")).values["city"] == "Bruges"
    assert crm.rows["companies"][company].body == {"name": "After", "city": "Bruges"}


async def test_a_vendor_that_throttles_is_waited_for_as_long_as_it_asks(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    for number in range(5):
        crm.put("companies", name=f"Company {number}")
    crm.troubles = [None, throttled(12.0), away()]
    (run,) = await bench.sync("crm", parts=("pull",))
    assert (run.status, run.created) == (Status.HEALTHY, 5)
    assert len(bench.pauses) == 2
    assert 12.0 <= bench.pauses[0] <= 12.5


async def test_a_vendor_that_stays_away_needs_attention_with_the_cause(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.troubles = [away() for _ in range(20)]
    (run,) = await bench.sync("crm", parts=("pull",))
    connection = await bench.connection("crm")
    assert run.status == connection.status == Status.NEEDS_ATTENTION
    assert connection.reason == run.error == "It does not answer. Wait."
    assert len(bench.pauses) == 5
    crm.troubles = []
    crm.put("companies", name="Later")
    await bench.sync("crm")
    assert (await bench.connection("crm")).status == Status.HEALTHY


async def test_a_vendor_that_asks_for_an_hour_is_tried_again_then(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.troubles = [throttled(3600)]
    (run,) = await bench.sync("crm", parts=("pull",))
    connection = await bench.connection("crm")
    assert run.status == connection.status == Status.RETRYING
    assert connection.retry_at is not None
    assert (connection.retry_at - connection.status_at).total_seconds() >= 3600
    assert bench.pauses == []


async def test_a_vendors_allowance_that_others_have_used_up_is_waited_for_as_if_the_vendor_had_said_so(
    bench: Bench, crm: Vendor
) -> None:
    connection = await bench.connect(crm)
    leases = Leases(PostgresAuthority(bench.store.database), node="other", ticks=monotonic)
    connector = dataclasses.replace(crm.connector(), allowances=(Rate(count=3, seconds=3600, burst=3),))
    known = {**bench.engine.connectors, "crm": connector}
    engine = dataclasses.replace(bench.engine, connectors=known, leases=leases)
    other = OutgoingLimit(leases, connection=f"{bench.workspace}:{connection.id}", rates=connector.allowances)
    for _ in range(3):
        await other.enter()
    run = await synchronise(engine, workspace=bench.workspace, connection="crm", parts=("pull",))
    assert crm.reads == 0
    assert "allowance" in str(run.error)
    assert (await bench.connection("crm")).status == Status.RETRYING
    await synchronise(bench.engine, workspace=bench.workspace, connection="crm", parts=("pull",))
    assert crm.reads > 0


async def test_a_record_that_cannot_be_mapped_is_kept_and_the_rest_arrives(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("companies", name="Good")
    broken = crm.put("companies", name="Bad", broken=True)
    crm.put("contacts", email="no address", first_name="Ada")
    (run,) = await bench.sync("crm")
    assert (run.status, run.created, run.rejected) == (Status.DEGRADED, 1, 2)
    causes = await bench.read(lambda tx: rejects_by_cause(tx, system="crm"))
    assert sorted((cause.type, cause.code, cause.rows) for cause in causes) == [
        ("sales.account", "mapping", 1),
        ("sales.person", "invalid-email", 1),
    ]
    assert "2 rejected" in (await bench.connection("crm")).reason
    assert await bench.rows("select run_id from rejected where run_id is distinct from %s", run.id) == []
    del crm.rows["companies"][broken].body["broken"]
    assert (await retry(bench.engine, workspace=bench.workspace, connection="crm", code="mapping")).left == 1
    crm.put("companies", broken, name="Mended")
    await bench.sync("crm")
    assert [record.values["name"] for record in await bench.records("sales.account")] == ["Good", "Mended"]
    causes = await bench.read(lambda tx: rejects_by_cause(tx, system="crm"))
    assert [cause.code for cause in causes] == ["invalid-email"]


async def test_a_record_kept_as_received_is_mapped_anew_when_the_mapping_is_mended(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("contacts", email="not an address", first_name="Ada")
    await bench.sync("crm")

    def mended(feed: str, raw: Raw) -> Iterable[Observation]:
        return [replace(each, fields={"first_name": each.fields["first_name"]}) for each in normalise(feed, raw)]

    bench.mend("crm", mended)
    done = await retry(bench.engine, workspace=bench.workspace, connection="crm")
    assert (done.stored, done.left) == (1, 0)
    assert (await bench.only("sales.person")).values["first_name"] == "Ada"


async def test_a_record_that_points_to_one_not_there_yet_is_stored_when_that_arrives(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.put("contacts", email="ada@company.example", first_name="Ada", account="crm-companies-99")
    (run,) = await bench.sync("crm")
    assert (run.status, run.rejected) == (Status.DEGRADED, 1)
    crm.put("companies", "crm-companies-99", name="Company")
    (run,) = await bench.sync("crm")
    assert (run.status, run.created, run.rejected) == (Status.HEALTHY, 2, 0)
    assert (await bench.only("sales.person")).values["account_id"] == str((await bench.only("sales.account")).id)


async def test_of_a_record_that_waits_the_last_word_is_stored(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    contact = crm.put("contacts", email="ada@company.example", title="Old", account="crm-companies-99")
    await bench.sync("crm")
    crm.put("contacts", contact, title="New")
    await bench.sync("crm")
    crm.put("companies", "crm-companies-99", name="Company")
    await bench.sync("crm")
    assert (await bench.only("sales.person")).values["title"] == "New"


async def test_two_runs_of_one_connection_never_overlap(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    async with alone(bench.engine, workspace=bench.workspace, name="crm"):
        with pytest.raises(RunOverlaps, match="A run of 'crm' is going on"):
            await bench.sync("crm")
    await bench.sync("crm")


async def test_the_progress_of_a_run_is_seen_by_others_while_it_goes_on(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    for number in range(6):
        crm.put("companies", name=f"Company {number}")
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(seconds: float) -> None:
        del seconds
        reached.set()
        await go_on.wait()

    bench.pause_with(wait)
    crm.troubles = [None, away()]
    task = asyncio.create_task(bench.sync("crm"))
    await reached.wait()
    await asyncio.sleep(1.2)
    (seen,) = await bench.read(runs)
    connection = await bench.connection("crm")
    go_on.set()
    await task
    assert (seen.status, seen.feed, seen.read, seen.created, seen.total) == (Status.RETRYING, "companies", 3, 3, 6)
    assert (connection.status, connection.reason) == (Status.RETRYING, "It does not answer. Wait.")


async def test_a_paused_connection_rests_until_it_is_resumed(bench: Bench, crm: Vendor) -> None:
    connection = await bench.connect(crm)
    await bench.read(lambda tx: pause(tx, connection, reason="Their migration."))
    with pytest.raises(ConnectionPaused, match="Their migration"):
        await bench.sync("crm")
    await bench.read(lambda tx: resume(tx, connection))
    (run,) = await bench.sync("crm")
    assert run.status == Status.HEALTHY


async def test_the_freshness_of_every_stream_is_told(bench: Bench, crm: Vendor, clock: FrozenClock) -> None:
    await bench.connect(crm)
    await bench.sync("crm")
    clock.move(timedelta(minutes=5))
    streams = await bench.read(freshness)
    assert [(each.connection, each.feed, each.status) for each in streams] == [
        ("crm", "companies", Status.HEALTHY),
        ("crm", "contacts", Status.HEALTHY),
        ("crm", "deals", Status.HEALTHY),
    ]
    assert all(each.lag_s == 300 for each in streams)
