"""The program is killed in the middle of its main job, is started again, and ends where an undisturbed run ends."""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.journeys.running import free_port, holdings, kill, start

COMPANIES = "24"
FINISH_S_MAX = 180


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """A run that nobody killed, and what it printed."""

    data_dir: Path
    found: dict[str, object]
    took_s: float


def run_to_the_end(data_dir: Path, *, log: Path) -> dict[str, object]:
    """Run the demonstration once and return what it printed."""
    process = start(*_arguments(data_dir), log=log)
    code = process.wait(timeout=FINISH_S_MAX)
    assert code == 0, log.with_suffix(".err").read_text(encoding="utf-8")
    found: dict[str, object] = json.loads(log.read_text(encoding="utf-8"))
    return found


def _arguments(data_dir: Path) -> tuple[str, ...]:
    port = str(free_port())
    return ("demo", "--once", "--json", "--companies", COMPANIES, "--data-dir", str(data_dir), "--port", port)


def _returns(found: dict[str, object]) -> list[str]:
    """Return what campaigns returned, by their names: their ids differ from one run to another."""
    rows = cast("list[dict[str, object]]", found["roi"])
    return sorted(str({**each, "campaign_id": ""}) for each in rows)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("calm")
    folder.chmod(0o755)
    began = time.monotonic()
    found = run_to_the_end(folder / "data", log=folder / "calm.json")
    return Undisturbed(data_dir=folder / "data", found=found, took_s=time.monotonic() - began)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_demo_ends_in_the_same_state(tmp_path: Path, undisturbed: Undisturbed, seed: int) -> None:
    tmp_path.chmod(0o755)
    generator = random.Random(seed)
    calm, shaken = undisturbed.data_dir, tmp_path / "shaken"
    found, took = undisturbed.found, undisturbed.took_s
    for attempt in range(3):
        process = start(*_arguments(shaken), log=tmp_path / f"shaken-{attempt}.json")
        time.sleep(generator.uniform(0.3, 0.9) * took)
        kill(process)
    again = run_to_the_end(shaken, log=tmp_path / "shaken.json")
    assert again["counts"] == found["counts"]
    assert again["conflicts"] == found["conflicts"]
    assert again["attribution"] == found["attribution"]
    assert _returns(again) == _returns(found) != []
    assert holdings(shaken, workspace="demo") == holdings(calm, workspace="demo")
