"""The five fake systems of the demonstration, pulled and written to through the engine."""

from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.app.discovery import connectors
from isthmus.sync.connections import Status, connect
from isthmus.sync.mending import rejects_by_cause
from isthmus.sync.running import planned
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import EPOCH

SYSTEMS = ("crm", "marketing", "billing", "product", "desk")


@pytest.fixture
async def five(bench: Bench, tmp_path: Path) -> Bench:
    """The bench with the five systems connected."""
    bench.engine = replace(bench.engine, connectors=connectors())
    shared = {"path": str(tmp_path / "fake.sqlite"), "now": EPOCH.isoformat(), "companies": "12"}
    for name in SYSTEMS:
        async with bench.store.database.transaction(bench.scope()) as tx:
            await connect(tx, bench.store.vault, connectors()["demo"], name=name, settings=shared | {"system": name})
    return bench


async def test_five_systems_come_to_agree_and_then_nothing_is_left_to_do(five: Bench) -> None:
    first = await five.sync(*SYSTEMS)
    assert {run.status for run in first} <= {Status.HEALTHY, Status.DEGRADED}
    assert sum(run.created for run in first) > 500
    causes = await five.read(rejects_by_cause)
    assert "unknown-link" not in {cause.code for cause in causes}
    assert sum(cause.rows for cause in causes) == sum(run.rejected for run in first)
    await five.sync(*SYSTEMS, *SYSTEMS)
    for run in await five.sync(*SYSTEMS):
        assert (run.created, run.changed, run.written, run.conflicts) == (0, 0, 0, 0), run
    for name in SYSTEMS:
        assert await planned(five.engine, workspace=five.workspace, connection=name) == []
