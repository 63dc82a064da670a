"""A Valkey by URL is used as it is, if its answers can be believed."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from isthmus.app.engines import Engines, EngineUrlRefused, ExternalEngineUnfit, ValkeyAccess
from isthmus.app.engines.external_valkey import external_valkey, known_external_valkey, valkey_login
from tests.rooms.app.engines import stage
from tests.rooms.app.engines.counterpart_postgres import Certificates, certificates


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Copy what arrives until either side closes."""
    with contextlib.suppress(OSError):
        while sent := source.recv(65536):
            target.sendall(sent)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def behind_tls(socket_path: str, *, made: Certificates, address: str = "127.0.0.1") -> Generator[int]:
    """Put TLS before a Valkey, as a managed service does; give the port. The wheel's own build has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    def serve(connected: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            contextlib.closing(connected),
            socket.socket(socket.AF_UNIX) as inner,
            context.wrap_socket(connected, server_side=True) as outer,
        ):
            inner.connect(socket_path)
            back = threading.Thread(target=pass_on, args=(inner, outer))
            back.start()
            pass_on(outer, inner)
            back.join(10)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                serve(listening.accept()[0])

    with socket.create_server((address, 0)) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join(10)


@pytest.fixture
def valkey(shared: Engines) -> ValkeyAccess:
    """The shared Valkey, which others will take for an external one."""
    assert shared.valkey is not None
    return shared.valkey


@pytest.fixture
def service(valkey: ValkeyAccess, tmp_path: Path) -> Iterator[tuple[int, Certificates]]:
    """A Valkey behind TLS: its port and certificates."""
    made = certificates(tmp_path)
    with behind_tls(valkey.socket_path or "", made=made) as port:
        yield port, made


def url(valkey: ValkeyAccess, *, port: int, host: str = "localhost", rest: str = "") -> str:
    """Return the URL of a Valkey behind TLS."""
    return f"rediss://{valkey.username}:{quote(valkey.password or '')}@{host}:{port}/0{rest}"


def test_a_verified_valkey_is_used_by_our_check_and_by_the_client(
    service: tuple[int, Certificates], valkey: ValkeyAccess
) -> None:
    port, made = service
    access = external_valkey(url(valkey, port=port, rest=f"?ssl_ca_certs={made.authority}"))
    assert (access.tls, access.external, access.version) == (True, True, valkey.version)
    assert stage.ask_valkey(access, "ECHO", "heard") == b"heard"


def test_an_impostor_is_refused(service: tuple[int, Certificates], valkey: ValkeyAccess) -> None:
    port, made = service
    with pytest.raises(ExternalEngineUnfit, match="certificate verify failed"):
        external_valkey(url(valkey, port=port))
    with (
        behind_tls(valkey.socket_path or "", made=made, address="127.0.0.2") as other,
        pytest.raises(ExternalEngineUnfit, match=r"not valid for '127\.0\.0\.2'"),
    ):
        external_valkey(url(valkey, port=other, host="127.0.0.2", rest=f"?ssl_ca_certs={made.authority}"))


def test_a_wrong_password_is_told_without_showing_it(valkey: ValkeyAccess) -> None:
    with pytest.raises(ExternalEngineUnfit, match="WRONGPASS") as refusal:
        external_valkey(f"unix://isthmus:wrong-and-secret@{valkey.socket_path}")
    assert "wrong-and-secret" not in str(refusal.value)


def test_a_socket_url_is_used(valkey: ValkeyAccess) -> None:
    access = external_valkey(f"unix://isthmus:{valkey.password}@{valkey.socket_path}")
    assert stage.ask_valkey(access, "ECHO", "heard") == b"heard"


def test_the_way_to_one_that_is_away_is_known_and_one_that_answers_says_its_version(valkey: ValkeyAccess) -> None:
    away = known_external_valkey("unix:///nowhere/valkey.sock")
    assert (away.socket_path, away.version) == ("/nowhere/valkey.sock", "")
    there = f"unix://isthmus:{valkey.password}@{valkey.socket_path}"
    assert known_external_valkey(there) == external_valkey(there)


@pytest.mark.parametrize(
    "wrong",
    [
        "redis://u:p@cache.example.org:6379/0",
        "valkey://192.0.2.7",
        "rediss://cache.example.org?ssl_cert_reqs=none",
        "rediss://cache.example.org?ssl_check_hostname=false",
        "rediss://cache.example.org?surprise=1",
        "rediss://cache.example.org:port",
        "rediss://cache.example.org/zero",
        "http://localhost:6379",
        "unix:",
        "",
    ],
)
def test_a_url_that_is_unverified_or_unclear_is_refused_with_an_example(wrong: str) -> None:
    with pytest.raises(EngineUrlRefused, match="rediss://user:password@host:6379/0"):
        valkey_login(wrong)


def test_plain_speech_is_permitted_within_this_machine() -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        access = valkey_login(f"redis://:p%40ss@{host}:6380/2")
        assert (access.tls, access.port, access.database, access.username, access.password) == (
            False, 6380, 2, None, "p@ss",
        )  # fmt: skip
    assert "p@ss" not in repr(valkey_login("redis://:p%40ss@localhost"))
