"""The bench of taking in and writing out does what it measures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.app.bench.sync import rows, writes
from isthmus.app.bench.sync.ours import opened
from isthmus.app.bench.sync.server import serving
from isthmus.app.engines import Engines

ROWS, CHANGED, WRITTEN = 400, 40, 60


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> rows.Files:
    """Files of few leads."""
    files = rows.files_in(tmp_path_factory.mktemp("leads"))
    rows.write_files(files, ROWS, CHANGED)
    return files


@pytest.fixture
def url() -> Iterator[str]:
    """A server that takes records."""
    with serving() as served:
        yield served


async def test_a_file_is_loaded_and_a_tenth_of_it_changed(engines: Engines, files: rows.Files, tmp_path: Path) -> None:
    async with opened(engines.postgres, tmp_path, "bench-sync-load") as side:
        first = await side.load(files.whole, created=ROWS)
        changed = await side.load(files.changed, changed=CHANGED)
    assert first.wall > 0
    assert changed.wall > 0
    assert files.whole_told.read_bytes().count(b'"RECORD"') == ROWS


async def test_a_table_is_pulled_and_again_only_what_changed(
    engines: Engines, files: rows.Files, tmp_path: Path
) -> None:
    table = tmp_path / "shop.db"
    rows.make_table(table, files.whole, rows=300)
    async with opened(engines.postgres, tmp_path, "bench-sync-pull") as side:
        await side.connect(table, files.whole)
        await side.pull(created=300)
        assert rows.change_rows(table, every=100) == 3
        with pytest.raises(AssertionError, match="changed 3"):
            await side.pull(changed=4)


async def test_every_record_is_written_once(engines: Engines, url: str) -> None:
    assert await writes.ours(engines.postgres, url, writes.records(WRITTEN)) > 0
