"""A place to plant violations, so that every check is seen to fail before it is trusted to pass."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house.sources import Source, read

Plant = Callable[[str, str], Source]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Write a file with the given content into an empty tree, and read it as a check does."""

    def write(path: str, text: str) -> Source:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        return next(source for source in read(tmp_path, ".") if str(source.path) == path)

    return write
