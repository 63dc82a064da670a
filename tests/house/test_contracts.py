"""The import contracts of `pyproject.toml`, kept by the code and broken on purpose in a small copy of the house."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.house.sources import HOUSE

ROOMS = (
    *("app", "console", "connectors", "domains", "gateway", "sync", "analytics", "auth", "matching", "privacy"),
    *("stream", "audit", "store", "vault", "kernel"),
)
FOLDERS = ("connectors/pipedrive", "connectors/tryton", "domains/sales", "domains/finance")
CLEAN: Mapping[str, str] = {
    "kernel/money.py": "from decimal import Decimal",
    "domains/sales/rules.py": "from isthmus.kernel import money",
    "connectors/tryton/client.py": "import aiohttp",
    "connectors/tryton/mapping.py": "from isthmus.kernel import money",
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts that stand in a tree's `pyproject.toml` against the code in that tree."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "NO_COLOR": "1", "COLUMNS": "200"}
    options = ["--no-logo", "--no-cache", "--config", "pyproject.toml"]
    return subprocess.run([*command, *options], cwd=root, env=environment, check=False, capture_output=True, text=True)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A house with every room, a few files, and the real contracts."""
    for room in (".", *ROOMS, *FOLDERS):
        folder = tmp_path / "src/isthmus" / room
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    for path, text in CLEAN.items():
        (tmp_path / "src/isthmus" / path).write_text(f"{text}\n", "utf-8")
    shutil.copyfile(HOUSE / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_the_code_keeps_every_contract() -> None:
    checked = lint_imports(HOUSE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_small_house_keeps_every_contract(house: Path) -> None:
    checked = lint_imports(house)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "5 kept, 0 broken" in checked.stdout


@pytest.mark.parametrize(
    ("path", "text", "contract"),
    [
        pytest.param("store/a.py", "import isthmus.sync", "Imports only go down", id="an import goes up"),
        pytest.param("gateway/a.py", "import isthmus.sync", "Imports only go down", id="an import goes sideways"),
        pytest.param("console/a.py", "import isthmus.connectors", "Imports only go down", id="an edge meets an edge"),
        pytest.param("kernel/a.py", "import isthmus.vault", "Imports only go down", id="the kernel leans on a room"),
        pytest.param("common/__init__.py", "A = 1", "isthmus.common", id="a room nobody planned"),
        pytest.param(
            "domains/sales/reactions.py", "import isthmus.domains.finance", "Domains never", id="a domain calls another"
        ),
        pytest.param(
            "connectors/tryton/feeds.py",
            "from isthmus.connectors.pipedrive import FEEDS",
            "Connectors never",
            id="a connector calls another",
        ),
        pytest.param("domains/finance/rules.py", "import os", "Rules and mappings", id="a rule reads the disk"),
        pytest.param(
            "domains/sales/rules.py", "import isthmus.store", "Rules and mappings", id="a rule asks the store"
        ),
        pytest.param(
            "connectors/tryton/mapping.py",
            "from isthmus.connectors.tryton import client",
            "Rules and mappings",
            id="a mapping reaches the network through its neighbour",
        ),
        pytest.param(
            "connectors/pipedrive/mapping.py", "import urllib.request", "Rules and mappings", id="a mapping fetches"
        ),
    ],
)
def test_a_planted_import_breaks_its_contract(house: Path, path: str, text: str, contract: str) -> None:
    planted = house / "src/isthmus" / path
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(f"{text}\n", "utf-8")
    checked = lint_imports(house)
    assert checked.returncode != 0
    assert contract in checked.stdout + checked.stderr


def test_a_planted_ring_breaks_its_contract(house: Path) -> None:
    sales = house / "src/isthmus/domains/sales"
    (sales / "records.py").write_text("import isthmus.domains.sales.rules\n", "utf-8")
    (sales / "rules.py").write_text("import isthmus.domains.sales.records\n", "utf-8")
    checked = lint_imports(house)
    assert checked.returncode != 0
    assert "No package has a ring among its parts BROKEN" in checked.stdout
