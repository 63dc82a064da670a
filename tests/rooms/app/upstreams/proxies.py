"""Real proxies in front of the server, started with the examples of `deploy` as they stand but for their ports."""

import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.counterparts import require_debian
from tests.rooms.app.http.conftest import free_port

ROOT = Path(__file__).parents[4]
START_S_MAX = 20


def envoy_program() -> Path:
    """Return Envoy, which comes as a wheel."""
    found = shutil.which("envoy", path=sysconfig.get_path("scripts"))
    assert found is not None, "Envoy is not installed. Type: uv sync"
    return Path(found)


@contextmanager
def running(command: list[str], port: int, *, cwd: Path) -> Generator[None]:
    """Run a program until the end of the block; it has begun when its port answers."""
    log = cwd / "log"
    with log.open("wb") as written:
        child = subprocess.Popen(command, cwd=cwd, stdout=written, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        over = time.monotonic() + START_S_MAX
        while not _answers(port):
            assert child.poll() is None, log.read_text("utf-8", "replace")[-3000:]
            assert time.monotonic() < over, log.read_text("utf-8", "replace")[-3000:]
            time.sleep(0.05)
        yield
    finally:
        child.terminate()
        child.wait(10)


@contextmanager
def envoy(ports: Mapping[int, int], *, key: str, into: Path, workspace: str = "main") -> Generator[int]:
    """Run Envoy and return its port; `ports` are what stands in the example and what is meant."""
    front = free_port()
    text = (ROOT / "deploy/envoy/envoy.yaml").read_text("utf-8").replace("${ISTHMUS_PROXY_KEY}", key)
    text = text.replace("{string_value: main}", f"{{string_value: {workspace}}}")
    for example, meant in {10000: front, 9901: free_port(), **ports}.items():
        assert f"port_value: {example}}}" in text
        text = text.replace(f"port_value: {example}}}", f"port_value: {meant}}}")
    config = into / "envoy.yaml"
    config.write_text(text, "utf-8")
    command = [str(envoy_program()), "-c", str(config), "--concurrency", "2", "--use-dynamic-base-id", "-l", "warning"]
    with running(command, front, cwd=into):
        yield front


@contextmanager
def nginx(ports: Mapping[int, int], *, key: str, into: Path) -> Generator[int]:
    """Run nginx and return its port."""
    front = free_port()
    text = (ROOT / "deploy/nginx/isthmus.conf").read_text("utf-8").replace("${ISTHMUS_PROXY_KEY}", key)
    for example, meant in {10001: front, **ports}.items():
        assert f"127.0.0.1:{example};" in text
        text = text.replace(f"127.0.0.1:{example};", f"127.0.0.1:{meant};")
    (into / "isthmus.conf").write_text(text, "utf-8")
    paths = "".join(
        f"{name}_temp_path {into}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    main = (
        f"{user}worker_processes 1;\npid {into}/pid;\nerror_log {into}/error;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}include {into}/isthmus.conf;\n}}\n"
    )
    (into / "nginx.conf").write_text(main, "utf-8")
    program = require_debian("nginx", binary="nginx")
    with running([str(program), "-p", str(into), "-c", str(into / "nginx.conf"), "-g", "daemon off;"], front, cwd=into):
        yield front


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
