"""Tryton as a process beside us: built once, data kept, nothing left behind."""

import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isthmus.app.counterparts import tryton as module
from isthmus.app.counterparts.tryton import default_cache, prepare, tryton
from isthmus.app.counterparts.tryton_rpc import TrytonFault, TrytonLogin, rpc
from isthmus.app.counterparts.tryton_running import CounterpartFailed

HOLDER = """
import sys, time
from pathlib import Path
from isthmus.app.counterparts.tryton import tryton
with tryton(Path(sys.argv[1])) as server:
    print(server.port, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module", autouse=True)
def built() -> Path:
    """The environment and the template, built before anything is timed."""
    return prepare(default_cache(), report=print)


def answers(port: int) -> bool:
    try:
        rpc(port=port, path="/rpc/", method="common.server.version", params=[])
    except TrytonFault:
        return False
    return True


def test_a_server_starts_in_seconds_and_ends_with_its_block(tmp_path: Path) -> None:
    told: list[str] = []
    begun = time.monotonic()
    with tryton(tmp_path, report=told.append) as server:
        assert time.monotonic() - begun < 30
        assert rpc(port=server.port, path="/rpc/", method="common.server.version", params=[]) == "8.2"
        assert len(server.login().find("sale.opportunity")) == 8
    assert not answers(server.port)
    assert told == ["Tryton: starting the server"]


def test_a_server_keeps_its_company_from_one_start_to_the_next(tmp_path: Path) -> None:
    with tryton(tmp_path) as server:
        server.login().create("party.party", {"name": "Kept"})
    with tryton(tmp_path, port=server.port) as again:
        assert again.url == server.url
        assert len(again.login().find("party.party", ["name", "=", "Kept"])) == 1


def test_a_server_ends_when_the_program_that_started_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        assert answers(port)
        holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while answers(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(port)


def test_a_port_that_is_taken_is_reported(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(CounterpartFailed, match="did not start"),
            tryton(tmp_path, port=int(taken.getsockname()[1])),
        ):
            pass


def test_a_step_that_fails_is_reported_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "tryton.lock"
    broken.write_text("trytond==0.0.1 \\\n    --hash=sha256:" + "0" * 64 + "\n", "utf-8")
    monkeypatch.setattr(module, "LOCK", broken)
    with pytest.raises(CounterpartFailed, match=r"(?s)Could not install Tryton.*trytond"):
        prepare(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/ready"))


def test_the_password_and_the_key_are_ours_alone_to_read(built: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE((built / "access.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(built.stat().st_mode) == 0o700
    with tryton(tmp_path) as server:
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        with pytest.raises(TrytonFault, match="401"):
            TrytonLogin(port=server.port, database=server.database, user=server.user, password="guess")


def test_the_lock_pins_every_package_with_hashes_and_names_no_address() -> None:
    lock = module.LOCK.read_text("utf-8")
    pins = re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE)
    assert ("trytond", "8.2.1") in pins
    assert lock.count("--hash=sha256:") >= len(pins) > 30
    assert "://" not in lock


def test_nothing_of_tryton_is_imported_here() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, isthmus.app.counterparts.tryton; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "isthmus.app.counterparts.tryton" in loaded
    assert not {"trytond", "proteus"} & set(loaded)
