"""Everything that can die does, while people write: what they were told is done is there, once and in order."""

from isthmus.app.bench.chaos.ground import namespaces, run_apart
from isthmus.app.bench.chaos.plan import FAULTS, SHORT_KILLS, VICTIMS, Act, short_plan

SEED = 11
WRITES_MIN = 50


def test_acknowledged_writes_events_and_effects_are_the_same_whatever_was_killed() -> None:
    report = run_apart(short_plan(SEED), say=print)
    assert not any(report.faults.values()), report
    assert report.figures["kills"] == SHORT_KILLS
    assert all(report.struck[each] >= 1 for each in VICTIMS)
    disk = {Act.DISK_FULL} if not namespaces() else set[Act]()
    assert all(report.struck[each] == 1 for each in set(FAULTS) - disk)
    assert report.figures["writes"] >= WRITES_MIN
