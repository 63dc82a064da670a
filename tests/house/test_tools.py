"""The checks other people wrote, run as tests: lint, format and types over everything we keep."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import HOUSE


def ruff(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run ruff in a tree, with the settings of the project."""
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "--config", str(HOUSE / "pyproject.toml")]
    return subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)


def basedpyright(project: Path) -> subprocess.CompletedProcess[str]:
    """Check the types of a tree by its own `pyproject.toml`; node comes from a wheel, so no network is needed.

    They are those of the Python that runs, because newer packages declare theirs in words that older ones do not know.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [sys.executable, "-m", "basedpyright", "--project", str(project), "--pythonpath", sys.executable]
    command += ["--pythonversion", version]
    return subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)


def test_every_lint_holds() -> None:
    checked = ruff("check", "--output-format=concise", root=HOUSE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_file_is_formatted() -> None:
    checked = ruff("format", "--check", root=HOUSE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_type_holds() -> None:
    checked = basedpyright(HOUSE)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 errors, 0 warnings, 0 notes" in checked.stdout


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('"""A module."""\nimport os\n', "F401"),
        ('"""A module."""\n\n\ndef put(rows):  # type: ignore\n    """Put."""\n    print(rows)\n', "PGH003"),
        ('"""A module."""\n\nA = 1  # TODO: later\n', "TD002"),
        ('"""A module."""\n\nTOKEN = f"select * from {__name__}"\n', "S608"),
    ],
)
def test_a_planted_lint_is_reported(tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / "planted.py").write_text(text, "utf-8")
    checked = ruff("check", "--output-format=concise", str(tmp_path), root=tmp_path)
    assert checked.returncode == 1
    assert rule in checked.stdout


def test_a_planted_layout_is_reported(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("A = { 'b':1 }\n", "utf-8")
    assert ruff("format", "--check", str(tmp_path), root=tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("def put(rows):\n    return rows\n", "reportMissingParameterType"),
        ("def put(rows: list) -> None:\n    print(rows)\n", "reportMissingTypeArgument"),
        ("from typing import Any\n\nROW: Any = 1\n", "reportExplicitAny"),
        ("def put(row: str) -> int:\n    return row\n", "reportReturnType"),
        ("A = 1  # pyright: ignore\n", "reportIgnoreCommentWithoutRule"),
    ],
)
def test_a_planted_type_error_is_reported(tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tools").mkdir()
    (tmp_path / "src/planted.py").write_text(text, "utf-8")
    (tmp_path / "pyproject.toml").write_text((HOUSE / "pyproject.toml").read_text("utf-8"), "utf-8")
    checked = basedpyright(tmp_path)
    assert checked.returncode == 1
    assert rule in checked.stdout
