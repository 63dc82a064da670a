"""What is done follows from the seed, and nobody is spared."""

from collections import Counter

import pytest

from isthmus.app.bench.chaos.plan import FAULTS, SHORT_KILLS, VICTIMS, acts, long_plan, short_plan


@pytest.mark.parametrize("seed", range(20))
def test_every_victim_dies_and_every_fault_happens_once_with_kills_around_it(seed: int) -> None:
    for plan in (short_plan(seed), long_plan(seed)):
        done = acts(plan)
        counts = Counter(done)
        assert all(counts[each] >= 1 for each in VICTIMS)
        assert all(counts[each] == 1 for each in FAULTS)
        assert sum(counts[each] for each in VICTIMS) == plan.kills
        assert done[0] in VICTIMS
        assert done[-1] in VICTIMS


def test_a_seed_gives_the_same_again_and_another_seed_something_else() -> None:
    assert acts(short_plan(3)) == acts(short_plan(3))
    assert acts(short_plan(3)) != acts(short_plan(4))
    assert long_plan(1).kills >= 200
    assert SHORT_KILLS >= 12
