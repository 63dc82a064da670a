"""Every line of the checklist names tests that exist, or says why it has none; the page of security shows them all."""

import ast
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import cast

import pytest

from tests.house.sources import HOUSE

FILE = Path(__file__).with_name("lines.toml")
PAGE = HOUSE / "docs/explanation/security.md"
AREAS = {
    "oauth": 24,
    "oidc": 4,
    "sign": 3,
    "passwords": 3,
    "sessions": 3,
    "api": 7,
    "crypto": 5,
    "logging": 4,
    "data": 2,
}
"""At least so many lines of each area: a line that is lost is noticed."""
Line = Mapping[str, object]


def lines() -> dict[str, Line]:
    """Return the checklist."""
    return cast("dict[str, Line]", tomllib.loads(FILE.read_text("utf-8")))


@cache
def functions_of(path: str) -> frozenset[str]:
    """Return the tests of a file."""
    file = HOUSE / path
    if not file.is_file():
        return frozenset()
    return frozenset(
        each.name
        for each in ast.parse(file.read_text("utf-8")).body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_")
    )


def faults(name: str, line: Line) -> list[str]:
    """Return what is wrong with a line."""
    named, reason = cast("list[str]", line.get("tests", [])), str(line.get("reason", ""))
    missing = [each for each in named if each.partition("::")[2] not in functions_of(each.partition("::")[0])]
    found = [f"{name}: {each} does not exist" for each in missing]
    if bool(named) == bool(reason):
        found.append(f"{name}: names tests, or a reason why there is none")
    if not str(line.get("says", "")) or (reason and len(reason) < len("Because it is so.")):
        found.append(f"{name}: says nothing")
    return found


def test_every_line_names_tests_that_exist_or_a_reason() -> None:
    assert [fault for name, line in lines().items() for fault in faults(name, line)] == []


def test_no_area_lost_a_line() -> None:
    names = list(lines())
    assert {area: count for area, count in AREAS.items() if sum(name.startswith(area) for name in names) < count} == {}


def test_the_page_of_security_shows_every_line_and_every_reason() -> None:
    page = PAGE.read_text("utf-8")
    wanted = [str(line[part]) for line in lines().values() for part in ("says", "reason") if part in line]
    assert [each for each in wanted if each not in page] == []


@pytest.mark.parametrize(
    "line",
    [
        {"says": "Something", "tests": ["tests/checklist/test_lines.py::test_that_nobody_wrote"]},
        {"says": "Something", "tests": ["tests/nowhere.py::test_no_area_lost_a_line"]},
        {"says": "Something"},
        {"says": "Something", "tests": [], "reason": "No."},
        {"says": "", "tests": ["tests/checklist/test_lines.py::test_no_area_lost_a_line"]},
    ],
)
def test_a_line_that_holds_nothing_is_found(line: Line) -> None:
    assert faults("x", line)
