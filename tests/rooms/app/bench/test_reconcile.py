"""What the bench of reconciliation plants is found by both of our ways, and its money to the cent."""

from collections.abc import Iterator
from random import Random

import psycopg
import pytest

from isthmus.app.bench.reconcile import measuring
from isthmus.app.bench.reconcile.planting import ONE, OTHER, PLANTS
from isthmus.app.bench.reconcile.sides import ours, sums
from isthmus.app.engines import Engines

ROWS, BITS = 20_000, 6


@pytest.fixture
def clean(engines: Engines) -> Iterator[None]:
    """Leave no table of the bench behind."""
    yield
    owner = engines.postgres.owner
    with psycopg.connect(owner.conninfo, password=owner.password) as connection:
        for table in (ONE, OTHER):
            for each in (table, f"{table}_digest", f"{table}_delta"):
                connection.execute(f"drop table if exists {each} cascade".encode())
            for each in ("added", "removed", "moved", "emptied"):
                connection.execute(f"drop function if exists {table}_{each}".encode())


@pytest.mark.usefixtures("clean")
async def test_every_planted_difference_is_found_and_none_is_invented(engines: Engines) -> None:
    made, _ = await measuring.prepared(engines.postgres, ROWS, BITS, chance=Random(5))
    assert made.differences.total() == sum(PLANTS.values()) == 100
    for bits in (None, BITS):
        judged = await ours(engines.postgres.owner, made, bits=bits)
        assert (judged.missed, judged.invented) == (0, 0)
    money = await sums(engines.postgres.owner, made)
    assert (money.missed, money.invented) == (0, 0)
