"""Data directories made once and copied, and one pair of engines for tests that only look."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.app.engines import Engines
from tests.rooms.app.engines import stage


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """A data directory whose engines were started once and stopped."""
    with stage.directory() as data_dir:
        stage.start(data_dir).stop()
        yield data_dir


@pytest.fixture
def data_dir(template: Path) -> Iterator[Path]:
    """A data directory of the test's own."""
    with stage.directory() as fresh:
        stage.copy(template, fresh)
        yield fresh


@pytest.fixture
def engines(data_dir: Path) -> Iterator[Engines]:
    """Running engines of the test's own, in `data_dir`."""
    with stage.start(data_dir) as running:
        yield running


@pytest.fixture(scope="session")
def shared_dir(template: Path) -> Iterator[Path]:
    """The data directory of the shared engines."""
    with stage.directory() as fresh:
        stage.copy(template, fresh)
        yield fresh


@pytest.fixture(scope="session")
def shared(shared_dir: Path) -> Iterator[Engines]:
    """Running engines for tests that change nothing of them."""
    with stage.start(shared_dir) as running:
        yield running
