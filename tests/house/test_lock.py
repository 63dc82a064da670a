"""Everything that gets installed is pinned, hashed, and here for a reason somebody wrote down."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import pytest

from tests.house.sources import HOUSE
from tools.lock import pins

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
REASON = re.compile(r"^\|\s*`(?P<name>[^`]+)`\s*\|(?P<why>[^|]+)\|", re.MULTILINE)
REASON_WORDS_MIN = 4

Project = TypedDict("Project", {"dependencies": list[str], "optional-dependencies": NotRequired[dict[str, list[str]]]})
Uv = TypedDict("Uv", {"constraint-dependencies": list[str]})
Groups = dict[str, list[str]]
Pyproject = TypedDict("Pyproject", {"project": Project, "dependency-groups": Groups, "tool": dict[str, Uv]})


@dataclass(frozen=True, slots=True)
class Installed:
    """The three pages that say what gets installed: what we ask for, what was locked, and why."""

    pyproject: str
    lock: str
    reasons: str

    @property
    def asked(self) -> set[str]:
        """The distributions we name ourselves, at run time and in development."""
        table = cast("Pyproject", tomllib.loads(self.pyproject))
        groups = [*table["dependency-groups"].values(), *table["project"].get("optional-dependencies", {}).values()]
        return {
            _name(line) for line in [*table["project"]["dependencies"], *(line for group in groups for line in group)]
        }

    @property
    def constraints(self) -> list[str]:
        """The pins that uv follows."""
        return cast("Pyproject", tomllib.loads(self.pyproject))["tool"]["uv"]["constraint-dependencies"]


def _name(requirement: str) -> str:
    found = NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[0] if found else requirement).lower()


def unlocked(installed: Installed) -> Iterator[str]:
    """A version that is not pinned is chosen by whoever publishes next; a pin without a hash is a name, not a file.

    uv follows the constraints, pip follows the lock, so the two must say the same.
    """
    locked = pins(installed.lock)
    for pin in sorted(set(locked) ^ set(installed.constraints)):
        place = "requirements.lock" if pin in locked else "[tool.uv] constraint-dependencies"
        yield f"{pin} stands only in {place}: run tools/lock.py."
    for name in sorted(installed.asked - {_name(pin) for pin in locked}):
        yield f"{name} is asked for and not locked: run tools/lock.py."
    for entry in re.split(r"\n(?=[A-Za-z0-9])", installed.lock):
        if "==" in entry and "--hash=sha256:" not in entry:
            yield f"{entry.splitlines()[0]} is locked without a hash: run tools/lock.py."


def unexplained(installed: Installed) -> Iterator[str]:
    """Each dependency is somebody else's code with our name on it, so each has its reason in a table.

    The reason is also how a dependency leaves again: when it no longer holds, neither does the line.
    """
    told = {_name(row["name"]): row["why"].split() for row in REASON.finditer(installed.reasons)}
    for name in sorted(installed.asked - told.keys()):
        yield f"{name} has no line in docs/decisions/dependencies.md: say why we need it."
    for name in sorted(told.keys() - installed.asked):
        yield f"{name} is explained in docs/decisions/dependencies.md and no longer asked for: take the line out."
    for name in sorted(name for name, why in told.items() if len(why) < REASON_WORDS_MIN):
        yield f"{name} has no reason in docs/decisions/dependencies.md, only a word: say why we need it."


@pytest.fixture(scope="module")
def installed() -> Installed:
    pages = ("pyproject.toml", "requirements.lock", "docs/decisions/dependencies.md")
    return Installed(*(Path(HOUSE, page).read_text("utf-8") for page in pages))


PLANTED = Installed(
    pyproject="""
        project.dependencies = ["aiohttp>=3"]
        dependency-groups.dev = ["Pytest_Asyncio>=1"]
        tool.uv.constraint-dependencies = ["aiohttp==3.14.5", "pytest-asyncio==1.5.0 ; python_version > '3.10'"]
    """,
    lock="""# written by a tool
aiohttp==3.14.5 \\
    --hash=sha256:00
pytest-asyncio==1.5.0 ; python_version > '3.10' \\
    --hash=sha256:00
""",
    reasons="| `aiohttp` | asks vendors over HTTP, fast |\n| `pytest-asyncio` | runs tests that are coroutines |\n",
)


def test_everything_installed_is_locked_with_hashes(installed: Installed) -> None:
    assert list(unlocked(installed)) == []


def test_every_dependency_has_its_reason(installed: Installed) -> None:
    assert list(unexplained(installed)) == []


def test_a_lock_that_agrees_and_a_table_that_explains_pass() -> None:
    assert [*unlocked(PLANTED), *unexplained(PLANTED)] == []


@pytest.mark.parametrize(
    ("page", "was", "becomes", "finding"),
    [
        ("lock", "3.14.5", "3.14.6", "aiohttp==3.14.5 stands only in [tool.uv]"),
        ("lock", "    --hash=sha256:00\npytest", "pytest", "aiohttp==3.14.5 \\ is locked without a hash"),
        ("pyproject", '"aiohttp>=3"', '"aiohttp>=3", "numpy"', "numpy is asked for and not locked"),
        ("pyproject", '"aiohttp>=3"', '"aiohttp>=3", "numpy"', "numpy has no line"),
        ("pyproject", '"aiohttp>=3"', "", "aiohttp is explained"),
        ("reasons", "asks vendors over HTTP, fast", "HTTP", "aiohttp has no reason"),
    ],
)
def test_a_page_that_disagrees_is_reported(page: str, was: str, becomes: str, finding: str) -> None:
    pages = {"pyproject": PLANTED.pyproject, "lock": PLANTED.lock, "reasons": PLANTED.reasons}
    pages[page] = pages[page].replace(was, becomes)
    planted = Installed(**pages)
    assert any(found.startswith(finding) for found in [*unlocked(planted), *unexplained(planted)])
