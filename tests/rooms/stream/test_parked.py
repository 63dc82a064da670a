"""What waits is grouped by its cause, and those that wait for nothing before them are found."""

from isthmus.store.database import Database, Scope
from isthmus.stream.event import events_after
from isthmus.stream.parked import WAITS_BEHIND, causes, heads, park, parked_count
from isthmus.stream.relay import stamp
from tests.rooms.stream.stage import emit_in

RECORDS = [1, 1, 2, 3, 1, 4]


async def test_an_event_that_waits_behind_another_counts_with_its_cause(database: Database, scope: Scope) -> None:
    why = {1: "A", 2: WAITS_BEHIND, 3: "A", 4: "B", 5: WAITS_BEHIND}
    async with database.transaction(scope) as tx:
        await emit_in(tx.connection, scope, RECORDS)
        await stamp(tx.connection)
        for each in await events_after(tx.connection, after=0, limit=5):
            await park(tx, "reader", each, reason=why[each.seq])
        found = await causes(tx, shown=3)
        first = await heads(tx, consumer="reader", reason="A", limit=5)
        count = await parked_count(tx)
    assert [(each.reason, each.count, [one.seq for one in each.first]) for each in found] == [
        ("A", 4, [1, 2, 3]),
        ("B", 1, [4]),
    ]
    assert [each.seq for each in first] == [1, 3]
    assert count == 5
