"""A server answers on loopback or with TLS, stops in order, and leaves nothing behind."""

import datetime as dt
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from isthmus.app.http.server import AddressRefused, HttpServer, ServerFailed, check_address
from tests.rooms.app.http.conftest import Site, free_port


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "isthmus.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths


def tree(server: HttpServer) -> list[psutil.Process]:
    """Return the server's process and its workers."""
    top = psutil.Process(server.child.pid)
    return [top, *top.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    """Wait until all processes have ended."""
    _, alive = psutil.wait_procs(processes, timeout=15)
    return not alive


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "isthmus.example.test"])  # noqa: S104 - refused here.
def test_plain_http_is_refused_anywhere_but_on_loopback(site: Site, host: str) -> None:
    with pytest.raises(AddressRefused, match="no certificate"):
        check_address(replace(site.settings, host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.5.0.1"])
def test_loopback_may_be_plain(site: Site, host: str) -> None:
    check_address(replace(site.settings, host=host))


def test_half_a_certificate_is_refused(site: Site, certificate: tuple[Path, Path]) -> None:
    for half in (
        replace(site.settings, tls_certificate=certificate[0]),
        replace(site.settings, tls_key=certificate[1]),
        replace(site.settings, tls_certificate=certificate[0], tls_key=Path("/nowhere/key.pem")),
    ):
        with pytest.raises(AddressRefused):
            check_address(half)


def test_tls_is_served_from_1_2_on_with_secure_cookies(site: Site, certificate: tuple[Path, Path]) -> None:
    settings = replace(
        site.settings, port=free_port(), workers=1, tls_certificate=certificate[0], tls_key=certificate[1]
    )
    server = HttpServer.start(settings)
    try:
        assert server.url.startswith("https://")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=certificate[0])
            context.minimum_version = context.maximum_version = version
            connection = http.client.HTTPSConnection("127.0.0.1", settings.port, context=context, timeout=10)
            path = f"/enter/{site.link(site.workspace())}"
            connection.request("POST", path, b"", {"content-type": "application/x-www-form-urlencoded"})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            assert answer.status == 303
            assert "max-age" in (answer.getheader("strict-transport-security") or "")
            cookie = answer.getheader("set-cookie") or ""
            assert cookie.startswith("__Host-isthmus_session=")
            assert "; Secure" in cookie
    finally:
        server.stop()


def test_a_stopped_server_leaves_no_process_and_no_listener(site: Site) -> None:
    settings = replace(site.settings, port=free_port(), workers=2)
    server = HttpServer.start(settings)
    processes = tree(server)
    assert len(processes) >= 3
    server.stop()
    assert server.child.returncode == 0
    assert gone(processes)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", settings.port)) != 0


def test_an_open_stream_does_not_hold_up_the_end(site: Site) -> None:
    settings = replace(site.settings, port=free_port(), workers=1)
    server = HttpServer.start(settings)
    connection = http.client.HTTPConnection("127.0.0.1", settings.port, timeout=10)
    path = f"/enter/{site.link(site.workspace())}"
    connection.request("POST", path, b"", {"content-type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    answer.read()
    cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
    connection.request("GET", "/overview/live", headers={"cookie": cookie})
    stream = connection.getresponse()
    assert stream.getheader("content-type", "").startswith("text/event-stream")
    assert stream.read(1)
    processes, began = tree(server), time.monotonic()
    server.stop()
    assert time.monotonic() - began < 4
    assert gone(processes)
    connection.close()


def test_a_dead_worker_is_replaced(site: Site) -> None:
    settings = replace(site.settings, port=free_port(), workers=1)
    server = HttpServer.start(settings)
    try:
        [worker] = tree(server)[1:]
        worker.kill()
        over = time.monotonic() + 20
        answered = False
        while not answered and time.monotonic() < over:
            time.sleep(0.1)
            answered = _alive(settings.port)
        assert answered
    finally:
        server.stop()


def test_workers_end_when_their_server_is_killed(site: Site) -> None:
    server = HttpServer.start(replace(site.settings, port=free_port(), workers=2))
    processes = tree(server)
    os.kill(server.child.pid, signal.SIGKILL)
    server.child.wait()
    assert gone(processes)
    server.stop()


def test_a_server_ends_when_the_program_that_started_it_is_killed(site: Site, tmp_path: Path) -> None:
    port = free_port()
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\nfrom isthmus.app.http.server import HttpServer\n"
        "from isthmus.app.settings import Settings\n"
        f"server = HttpServer.start(Settings(data_dir=Path({str(site.settings.data_dir)!r}), port={port}))\n"
        "print(server.child.pid, flush=True)\ntime.sleep(600)\n"
    )
    program = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    pid = int(program.stdout.readline())
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    program.kill()
    program.wait()
    program.stdout.close()
    assert gone(processes)


def test_a_port_in_use_is_told(site: Site) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerFailed, match="port in use"):
            HttpServer.start(replace(site.settings, port=taken.getsockname()[1]))


def _alive(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
