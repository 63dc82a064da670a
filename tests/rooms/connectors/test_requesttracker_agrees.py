"""A workspace and a real Request Tracker agree, whatever people do on both sides."""

import pytest

from isthmus.connectors.requesttracker import CONNECTOR
from isthmus.kernel.status import Status
from isthmus.sync.conflicts import Choice, Filter, cases, resolve
from isthmus.sync.ingest import Store
from tests.conformance.conftest import Bench, Side
from tests.conformance.servers.requesttracker import RequestTrackerCounterpart
from tests.rooms.connectors.requesttracker_room import RequestTracker


@pytest.fixture
def bench(desk: RequestTracker, store: Store, workspace: int) -> Bench:
    """The engine between a fresh workspace and the desk."""
    return Bench(Side(CONNECTOR, RequestTrackerCounterpart(desk, desk.settings)), store, workspace)


async def test_both_sides_agree_through_edits_deletions_a_merge_and_a_conflict(
    desk: RequestTracker, bench: Bench
) -> None:
    edited, here, there, winner, loser, contested = desk.tickets(*(f"Agreement {each}" for each in range(6)))
    run = await bench.begin()
    # The bench reads tickets alone, so that those of people that it does not know wait for them.
    assert run.status in (Status.HEALTHY, Status.DEGRADED), run.error

    made = await bench.make(subject="Made here", channel="chat", priority="high")
    await bench.edit(edited, channel="phone")
    desk.change("ticket", edited, Subject="Theirs", Priority="100")
    await bench.delete(here)
    desk.ask("DELETE", f"ticket/{there}")
    desk.change("ticket", loser, MergeInto=int(winner))
    await bench.edit(contested, owner_id="isthmus@desk.example")
    desk.change("ticket", contested, Owner="agent")
    run = await bench.sync()
    assert run.status in (Status.HEALTHY, Status.DEGRADED), run.error
    assert (run.conflicts, run.written, bench.bends.writes) == (1, 3, 3), "one made, one edited, one deleted"

    row, record = desk.get("ticket", edited), await bench.of(edited)
    assert record is not None
    assert (row["Subject"], row["Priority"], record.values["channel"]) == ("Theirs", "100", "phone")
    assert (record.values["subject"], record.values["priority"]) == ("Theirs", "high")
    assert bench.side.counterpart.held(edited) == {"subject": "Theirs", "channel": "phone"}
    assert desk.get("ticket", here)["Status"] == "deleted"
    assert await bench.held(there) is None
    one, other = await bench.of(winner), await bench.of(loser)
    assert one is not None
    assert one.deleted_at is None
    assert other is None or other.id == one.id or other.deleted_at is not None
    assert [each.id for each in await bench.records() if each.values["subject"] == "Made here"] == [made]

    record = await bench.of(contested)
    assert record is not None
    async with bench.store.database.transaction(bench.scope()) as tx:
        [case] = await cases(tx, bench.store, where=Filter(record_id=record.id))
    assert (case.field, sorted([str(case.kept), str(case.claimed)])) == (
        "owner_id",
        ["agent@desk.example", "isthmus@desk.example"],
    )
    await resolve(bench.store, bench.scope(), case.id, Choice.VALUE, value="isthmus@desk.example")
    assert (await bench.sync()).written == 1
    owner = desk.get("ticket", contested)["Owner"]
    assert isinstance(owner, dict)
    assert owner["id"] == "isthmus"
    run = await bench.sync()
    assert (run.created, run.changed, run.written, run.conflicts) == (0, 0, 0, 0), run.error
    assert bench.bends.writes == 4, "as many writes as edits"
