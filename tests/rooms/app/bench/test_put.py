"""The bench of puts says so when its file cannot be made, instead of failing to read it later."""

from pathlib import Path

import pytest

from isthmus.app.bench.put import MakingFailed, make_file


def test_a_process_that_cannot_write_its_file_is_told_with_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(MakingFailed, match="failed with exit code 1"):
        make_file(tmp_path / "missing" / "leads.parquet", 10)
    make_file(tmp_path / "leads.parquet", 10)
    assert (tmp_path / "leads.parquet").read_bytes().startswith(b"PAR1")
