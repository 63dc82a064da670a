"""The labelled traffic, on seeds that nothing was tuned with."""

import pytest

from tests.factories.traffic import ATTACKS, SLOW, Town
from tests.rooms.gateway.threats.trial import play

SEEDS = (20_261_101, 20_261_102)
RECALL_MIN, TOUCHED_MAX = 0.95, 0.001


@pytest.mark.parametrize("seed", SEEDS)
def test_attacks_are_found_in_time_and_normal_calls_are_left_alone(seed: int) -> None:
    tried = play(Town(seed).traffic())
    assert set(tried.made) == {*ATTACKS, *(f"slow {each}" for each in SLOW)}
    assert tried.normal > 50_000
    assert {kind: share for kind, share in tried.recall().items() if share < RECALL_MIN} == {}
    assert tried.touched / tried.normal <= TOUCHED_MAX, tried.wrongly
