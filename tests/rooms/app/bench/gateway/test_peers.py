"""The gateways we are measured beside answer the mix as it is meant, and one that is missing says how to get it."""

import http.client
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from isthmus.app.bench.gateway.envoy import PeerKey
from isthmus.app.bench.gateway.load import cpu_s, load
from isthmus.app.bench.gateway.peers import Peer, PeerMissing, binary, check_peers, envoy, nginx, versions
from tests.counterparts import require_debian

KEYS = (
    PeerKey(text="good", id="key_1", role="viewer", slow=False),
    PeerKey(text="other", id="key_2", role="other", slow=False),
    PeerKey(text="slow", id="key_3", role="viewer", slow=True),
)
ANSWER = b'{"period":"2026-11"}'
Start = Callable[[Path, tuple[PeerKey, ...], bytes], AbstractContextManager[Peer]]


@pytest.fixture(scope="module", autouse=True)
def _peers() -> None:
    for package, program in (("nginx", "nginx"), ("redis-server", "redis-server"), ("wrk", "wrk")):
        require_debian(package, binary=program)
    check_peers()


def status(url: str, key: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", parts.path, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("start", [nginx, envoy])
def test_a_peer_answers_each_caller_as_it_is_meant(start: Start, tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    with start(tmp_path / "peer", KEYS, ANSWER) as peer:
        for url in peer.urls[:1]:
            assert status(url, "good") == (200, ANSWER)
            assert status(url, "nobody")[0] == 401
            assert status(url, "other")[0] == 403
            assert [status(url, "slow")[0] for _ in range(3)] == [200, 429, 429]


def test_load_counts_calls_refusals_and_the_servers_time(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    with nginx(tmp_path / "peer", KEYS, ANSWER) as peer:
        before = cpu_s(peer.pid)
        met = load(peer.urls[:1], ["Bearer good", "Bearer nobody"], pid=peer.pid, home=tmp_path, seconds=1)
        assert met.requests > 100
        assert 0.4 < met.refused < 0.6
        assert 0 < met.cpu_us * met.requests / 1e6 <= cpu_s(peer.pid) - before


def test_a_missing_program_is_an_error_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PeerMissing) as raised:
        binary("wrk")
    assert "apt-get install" in raised.value.fix


def test_every_peer_tells_its_version() -> None:
    assert {"nginx", "Redis", "Envoy", "wrk"} <= versions().keys()
    assert "?" not in versions().values()
