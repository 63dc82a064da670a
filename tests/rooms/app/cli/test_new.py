"""`isthmus new`: what it writes works at once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.app.scaffolding.connectors import FolderThere, NameRefused, write_connector
from tests.house.sources import HOUSE

NAME, DESCRIBED = "quay_crm", "wharf_crm"
LINES_MAX = 120
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house with two connectors more: one with a client of its own, and one that is described."""
    home = tmp_path_factory.mktemp("house")
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ("src", "tests"):
        shutil.copytree(HOUSE / part, home / part, ignore=ignored)
    shutil.copy(HOUSE / "pyproject.toml", home)
    write_connector(NAME, into=home / "src/isthmus/connectors")
    write_connector(DESCRIBED, into=home / "src/isthmus/connectors", described=True)
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
    folders = [f"src/isthmus/connectors/{name}" for name in (NAME, DESCRIBED)]
    run(tree, BIN / "ruff", "check", *folders)
    run(tree, BIN / "ruff", "format", "--check", *folders)
    run(tree, BIN / "basedpyright", "--pythonpath", sys.executable, *folders)


def test_a_new_connector_passes_its_own_tests_and_is_listed(tree: Path) -> None:
    folders = [f"src/isthmus/connectors/{name}" for name in (NAME, DESCRIBED)]
    checks = ("tests/conformance/test_manifest.py", "tests/conformance/test_reading.py")
    writing = "tests/conformance/test_writing.py"
    said = run(
        tree, sys.executable, "-m", "pytest", "-q", "-n0", "-k", f"{NAME} or {DESCRIBED}", *folders, *checks, writing
    )
    passed = int(said.rpartition(" passed")[0].split()[-1])
    assert passed > 80
    said = run(tree, sys.executable, "-m", "isthmus.app.cli", "connect", "--list", NAME, DESCRIBED)
    listed = " ".join(said.split())
    assert "quay_crm Quay Crm" in listed
    assert "nobody at Quay Crm has seen" in listed
    assert "wharf_crm Wharf Crm" in listed


def test_a_described_connector_is_one_file_of_few_lines_with_both_ways(tree: Path) -> None:
    folder = tree / f"src/isthmus/connectors/{DESCRIBED}"
    own = {each.name for each in folder.glob("*.py")} - {"conformance.py", f"test_{DESCRIBED}.py"}
    assert own == {"__init__.py"}
    assert len((folder / "__init__.py").read_text("utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("name", ["A", "9lives", "with-dash", "class", "two__lines", "x" * 21, "trailing_"])
def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NameRefused):
        write_connector(name, into=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    write_connector("acme", into=tmp_path)
    with pytest.raises(FolderThere):
        write_connector("acme", into=tmp_path)
