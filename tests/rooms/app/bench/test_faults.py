"""The bench of faults in small: nothing is missed, doubled or destroyed, and the fuse trips, whatever goes wrong."""

from pathlib import Path

from isthmus.app.bench.faults.measuring import Size, measured
from isthmus.app.bench.faults.source import PER_TICK, Source, Step
from isthmus.app.engines import Engines

SMALL = Size(rows=2_500, steps=4, edits=4, step=Step(changed=40, made=20, deleted=3, vanished=3, late=5))
WITHOUT = {"faults_not_met"}
"""Few requests do not meet every fault."""


async def test_whatever_goes_wrong_no_row_is_missed_doubled_or_destroyed(engines: Engines, tmp_path: Path) -> None:
    told: list[str] = []
    outcome = await measured(engines.postgres, tmp_path, size=SMALL, seed=11, say=told.append)
    assert {name: bar.value for name, bar in outcome.bars.items() if not bar.holds and name not in WITHOUT} == {}
    assert sum(value for name, value in outcome.figures.items() if name.startswith("met_")) > 10
    assert any("would be deleted" in each for each in told)
    assert any("is there" in each for each in told)


def test_what_a_step_does_is_what_the_truth_says() -> None:
    source = Source(PER_TICK * 2)
    source.advance(Step(changed=10, made=4, deleted=3, vanished=2, late=1), seed=5)
    truth = source.truth()
    assert (truth.rows, len(truth.versions), len(truth.gone)) == (PER_TICK * 2 + 4, 11, 5)
    source.advance(Step(changed=10, made=0, deleted=3, vanished=2, late=1), seed=6)
    assert len(source.truth().gone) == 10
