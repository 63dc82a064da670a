"""`isthmus new`: what it writes works at once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.app.scaffolding.connectors import FolderThere, NameRefused, write_connector
from tests.house.sources import HOUSE

NAME = "quay_crm"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house with one connector more."""
    home = tmp_path_factory.mktemp("house")
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ("src", "tests"):
        shutil.copytree(HOUSE / part, home / part, ignore=ignored)
    shutil.copy(HOUSE / "pyproject.toml", home)
    write_connector(NAME, into=home / "src/isthmus/connectors")
    return home


def run(tree: Path, *command: str | Path) -> str:
    """Run a program in the tree and return what it said; it has to end well."""
    done = subprocess.run(
        [str(each) for each in command],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_a_new_connector_keeps_the_rules_of_the_house(tree: Path) -> None:
    folder = f"src/isthmus/connectors/{NAME}"
    run(tree, BIN / "ruff", "check", folder)
    run(tree, BIN / "ruff", "format", "--check", folder)
    run(tree, BIN / "basedpyright", "--pythonpath", sys.executable, folder)


def test_a_new_connector_passes_its_own_tests_and_is_listed(tree: Path) -> None:
    folder = f"src/isthmus/connectors/{NAME}"
    checks = ("tests/conformance/test_manifest.py", "tests/conformance/test_reading.py")
    writing = "tests/conformance/test_writing.py"
    said = run(tree, sys.executable, "-m", "pytest", "-q", "-n0", "-k", NAME, folder, *checks, writing)
    passed = int(said.rpartition(" passed")[0].split()[-1])
    assert passed > 40
    listed = run(tree, sys.executable, "-m", "isthmus.app.cli", "connect", "--list")
    assert "quay_crm  Quay Crm" in listed
    assert "nobody at Quay Crm has seen" in listed


@pytest.mark.parametrize("name", ["A", "9lives", "with-dash", "class", "two__lines", "x" * 21, "trailing_"])
def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NameRefused):
        write_connector(name, into=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    write_connector("acme", into=tmp_path)
    with pytest.raises(FolderThere):
        write_connector("acme", into=tmp_path)
