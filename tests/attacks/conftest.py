"""One target and one twin for the attackers of a file: left running for the whole run they would slow all others."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attacks import twin as twin_script
from tests.attacks.certificate import certify
from tests.attacks.target import Target
from tests.journeys.running import free_port
from tests.rooms.app.engines import stage


@dataclass(frozen=True)
class TwinServer:
    """The server with planted faults."""

    url: str
    tls_port: int
    authority: Path


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The program as it is run."""
    with stage.directory() as data_dir:
        target = Target.start(data_dir, certify(tmp_path_factory.mktemp("target")))
        yield target
        target.stop()


@pytest.fixture(scope="module")
def cookie(target: Target) -> str:
    """The session of the administrator."""
    return target.cookie()


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwinServer]:
    """The server with a fault for each scanner."""
    files = certify(tmp_path_factory.mktemp("twin"), rsa_key=True)
    port, tls_port = free_port(), free_port()
    script = [sys.executable, twin_script.__file__, str(port), str(tls_port), str(files.chain), str(files.key)]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield TwinServer(f"http://127.0.0.1:{port}", tls_port, files.authority)
        child.stdin.close()
        child.wait(10)
