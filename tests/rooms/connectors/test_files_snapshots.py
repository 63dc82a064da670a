"""Whole snapshots of a system in files, through the engine: absence is deletion, under the fuse."""

from pathlib import Path

import pytest

from isthmus.connectors.files import CONNECTOR
from isthmus.kernel.status import Status
from isthmus.sync.ingest import Store
from isthmus.sync.mending import rejects_by_cause
from tests.conformance.conftest import SYSTEM, Bench, Side
from tests.conformance.servers.files import FilesCounterpart
from tests.rooms.connectors.files_side import Desk, LocalSide, local

FILES = """
[accounts]
type = "sales.account"
match = "accounts-*.csv"
key = "id"
reads = "newest"
absent = "deleted"
[accounts.fields]
name = "name"
"""


@pytest.fixture
def drop(tmp_path: Path) -> LocalSide:
    return local(tmp_path)


@pytest.fixture
def bench(drop: LocalSide, store: Store, workspace: int) -> Bench:
    settings = {**drop.settings, "files": FILES, "quiet_s": "0"}
    counterpart = FilesCounterpart(Desk(drop), settings, {}, feed="accounts")
    return Bench(Side(CONNECTOR.adapted(settings), counterpart), store, workspace)


def snapshot(drop: LocalSide, number: int, *lines: str) -> None:
    drop.write(f"accounts-{number}.csv", "\n".join(("id,name", *lines, "")).encode())


async def test_what_the_newest_file_lacks_is_deleted_in_the_same_run_unless_it_is_too_much(
    bench: Bench, drop: LocalSide
) -> None:
    lines = [f"{number},Account {number}" for number in range(30)]
    snapshot(drop, 1, *lines)
    assert (await bench.begin()).status is Status.HEALTHY
    snapshot(drop, 2, *lines[1:])
    run = await bench.sync(swept=False)
    assert (run.status, len(await bench.records())) == (Status.HEALTHY, 29), run.error
    assert await bench.held("0") is None
    snapshot(drop, 3, *lines[25:])
    run = await bench.sync(swept=False)
    assert (run.status, len(await bench.records())) == (Status.NEEDS_ATTENTION, 29)
    assert "would be deleted" in (run.error or "")
    assert (await bench.sync(swept=False, confirmed=True)).status is Status.HEALTHY
    assert len(await bench.records()) == 5


async def test_lines_that_cannot_be_read_are_kept_with_their_cause_and_delete_nothing(
    bench: Bench, drop: LocalSide
) -> None:
    snapshot(drop, 1, "1,One", "2,Two", "3,Three")
    await bench.begin()
    snapshot(drop, 2, "1,Uno", "2", "3,Three,4")
    run = await bench.sync(swept=False)
    assert (run.status, run.rejected, len(await bench.records())) == (Status.DEGRADED, 2, 3), run.error
    assert await bench.held("1") == "Uno"
    async with bench.store.database.transaction(bench.scope()) as tx:
        causes = await rejects_by_cause(tx, system=SYSTEM)
    assert sum(each.rows for each in causes) == 2
    assert "Line 3 of accounts-2.csv: it has 1 of 2 cells" in str(causes)
    snapshot(drop, 3, "1,Uno", "3,Three")
    run = await bench.sync(swept=False)
    assert (run.status, await bench.held("2")) == (Status.HEALTHY, None), run.error
    async with bench.store.database.transaction(bench.scope()) as tx:
        assert await rejects_by_cause(tx, system=SYSTEM) == [], "what was mended by a newer file needs nobody any more"
