"""The bench of events writes its rows with an event each, and tells ratios of what it found on the two sides."""

import asyncio

import psycopg

from isthmus.app.bench.events.measuring import PACES, Round
from isthmus.app.bench.events.sides import TABLE, Pace, Ways, write
from isthmus.app.engines import Engines
from isthmus.store.database import Scope

_COUNTED = "select count(*), count(distinct record_id), count(distinct cause) from event where workspace = %s"


async def test_rows_are_written_with_their_events_at_the_pace_that_was_asked_for(
    engines: Engines, scope: Scope
) -> None:
    assert engines.valkey is not None
    owner = engines.postgres.owner
    async with await psycopg.AsyncConnection.connect(
        owner.conninfo, password=owner.password, autocommit=True
    ) as connection:
        await connection.execute(TABLE)
        try:
            await connection.execute("grant select, insert on bench_row to isthmus_app")
            ways = Ways(login=engines.postgres.app, valkey=engines.valkey, workspace=scope.workspace)
            wrote = await asyncio.to_thread(write, "isthmus", ways, Pace(together=5, per_s=100.0, seconds=0.2))
            rows = await (await connection.execute("select count(*) from bench_row")).fetchone()
            events = await (await connection.execute(_COUNTED, (scope.workspace,))).fetchone()
        finally:
            await connection.execute("drop table bench_row")
    assert wrote.events == 20
    assert rows == (20,)
    # Five events of each transaction have the moment at which it was due.
    assert events == (20, 20, 4)


def test_percentiles_are_of_sorted_latencies() -> None:
    one = Round(latencies=[each / 1000 for each in range(1, 201)], per_s=1.0, written_per_s=1.0)
    assert (one.p50, one.p99) == (0.101, 0.199)
    assert {together for together, _ in PACES.values()} == {1, 10, 50}
