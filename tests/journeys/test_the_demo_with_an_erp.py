"""The demonstration with a real ERP beside it: found, matched, quarrelled with, killed, and gone on with."""

import json
import time
from pathlib import Path
from typing import cast
from urllib.request import Request, urlopen

import pytest

from isthmus.app.counterparts.tryton import ACCESS, DATABASE, USER, default_cache, prepare
from isthmus.app.counterparts.tryton_rpc import TrytonFault, TrytonLogin, rpc
from isthmus.kernel.marks import Json
from tests.journeys.running import free_port, holdings, kill, start

COMPANIES, READY_S_MAX, FINISH_S_MAX = "60", 300, 300
FOUND = "tryton"


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Build the ERP before anything is timed; it is kept for all tests."""
    prepare(default_cache(), report=print)


def arguments(data_dir: Path, *more: str) -> tuple[str, ...]:
    port = str(free_port())
    return (
        "demo",
        "--with",
        "tryton",
        "--json",
        "--companies",
        COMPANIES,
        "--port",
        port,
        "--data-dir",
        str(data_dir),
        *more,
    )


def login(data_dir: Path, port: int) -> TrytonLogin:
    access = json.loads((data_dir / "demo/tryton" / ACCESS).read_text("utf-8"))
    return TrytonLogin(port=port, database=DATABASE, user=USER, password=str(access["password"]))


def answers(port: int) -> bool:
    try:
        rpc(port=port, path="/rpc/", method="common.server.version", params=[])
    except TrytonFault:
        return False
    return True


def falls_silent(port: int) -> bool:
    """Tell whether the ERP ends within ten seconds: after a kill the kernel ends it, a moment later."""
    over = time.monotonic() + 10
    while answers(port):
        if time.monotonic() > over:
            return False
        time.sleep(0.1)
    return True


def until_told(log: Path) -> dict[str, Json]:
    """Wait until the demonstration has said what it found."""
    over = time.monotonic() + READY_S_MAX
    while not log.read_text("utf-8").rstrip().endswith("}"):
        assert time.monotonic() < over, log.with_suffix(".err").read_text("utf-8")
        time.sleep(0.2)
    return cast("dict[str, Json]", json.loads(log.read_text("utf-8")))


def looked_at(there: dict[str, Json], model: str) -> list[dict[str, Json]]:
    """Look at the ERP as the demonstration tells a person to: through its REST interface, with the header of a file."""
    name, _, value = Path(str(there["look"])).read_text("utf-8").strip().partition(": ")
    address = f"{there['url']}/{there['database']}/rest/model/{model}?f=reference"
    with urlopen(Request(address, headers={name: value}), timeout=30) as answer:  # noqa: S310 - our own address.
        return cast("list[dict[str, Json]]", json.load(answer))


def test_an_erp_beside_the_demo_agrees_outlives_a_kill_and_is_stopped_with_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    data_dir, log = tmp_path / "site", tmp_path / "first.json"
    process = start(*arguments(data_dir), log=log)
    try:
        there = cast("dict[str, Json]", until_told(log)[FOUND])
        port = int(str(there["url"]).rpartition(":")[2])
        shared = [row for row in looked_at(there, "sale.opportunity") if str(row["reference"] or "").startswith("SO-")]
        assert there["matched"] == 2 * len(shared) > 0
        assert (there["conflicts"], there["written"], there["rejected"]) == (2, len(shared), 0)
        assert Path(str(there["look"])).stat().st_mode & 0o077 == 0
        edited = shared[0]
        login(data_dir, port).call("model.sale.opportunity.write", [edited["id"]], {"conversion_probability": 0.123})
    finally:
        kill(process)
    assert falls_silent(port)
    again = run_once(data_dir, log=tmp_path / "second.json")
    assert (again["records"], again["matched"]) == (there["records"], there["matched"])
    assert (again["created"], again["written"], again["rejected"], again["url"]) == (0, 0, 0, there["url"])
    assert falls_silent(port)
    [probability] = [each["probability"] for each in deals(data_dir) if each["deal_number"] == edited["reference"]]
    assert probability == 0.123


def run_once(data_dir: Path, *, log: Path) -> dict[str, Json]:
    process = start(*arguments(data_dir, "--once"), log=log)
    assert process.wait(FINISH_S_MAX) == 0, log.with_suffix(".err").read_text("utf-8")
    return cast("dict[str, dict[str, Json]]", json.loads(log.read_text("utf-8")))[FOUND]


def deals(data_dir: Path) -> list[dict[str, Json]]:
    records = cast("dict[str, dict[str, Json]]", holdings(data_dir, workspace="demo")["records"])
    return [values for name, values in records.items() if name.startswith("sales.deal/")]
