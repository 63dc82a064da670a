"""A PostgreSQL that somebody else runs: Debian's, on a TCP port of the loopback, with a certificate of a private CA."""

import datetime as dt
import ipaddress
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.counterparts import require_debian
from tests.rooms.app.engines import stage

PASSWORD = "counterpart"
HBA = "hostssl all all all scram-sha-256\nhostnossl all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a private authority and of a server that it vouches for as `db.example.org` and `localhost`."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ForeignPostgres:
    """A running server: its port, the URL of its administrator, and its authority's certificate."""

    port: int
    authority: Path

    def url(self, *, user: str = "admin", password: str = PASSWORD, host: str = "127.0.0.1", rest: str = "") -> str:
        """Return a URL of the database `company`."""
        return f"postgresql://{user}:{password}@{host}:{self.port}/company{rest}"


def sign(name: str, *, issuer: str, signer: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate in PEM, of an authority if it is its own issuer."""
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(name), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signs = name == issuer
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signs, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


def certificates(folder: Path) -> Certificates:
    """Make an authority and a server's certificate in `folder`."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    made = Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    made.authority.write_bytes(sign("authority", issuer="authority", signer=authority_key, key=authority_key))
    made.certificate.write_bytes(sign("db.example.org", issuer="authority", signer=authority_key, key=key))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    made.key.chmod(0o600)
    return made


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def quietly(program: list[str], *, folder: Path) -> subprocess.Popen[bytes]:
    """Start a program as an ordinary user, mute."""
    return subprocess.Popen(
        program,
        cwd=folder,
        user="nobody" if os.geteuid() == 0 else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def make_cluster(programs: Path, *, folder: Path) -> Path:
    """Make a cluster in `folder`, all of which is given to the user that will run it."""
    (folder / "password").write_text(PASSWORD)
    if os.geteuid() == 0:
        account = pwd.getpwnam("nobody")
        for path in (*folder.iterdir(), folder):
            os.chown(path, account.pw_uid, account.pw_gid)
    cluster = folder / "cluster"
    options = ["--auth=scram-sha-256", f"--pwfile={folder}/password", "--username=admin", "--no-sync"]
    assert quietly([str(programs / "initdb"), "-D", str(cluster), *options], folder=folder).wait(60) == 0
    (cluster / "pg_hba.conf").write_text(HBA)
    return cluster


@contextmanager
def foreign_postgres(**more: str) -> Generator[ForeignPostgres]:
    """Run Debian's PostgreSQL with a database `company`; `more` are settings of the server."""
    programs = require_debian("postgresql", binary="postgres").parent
    above = Path(tempfile.mkdtemp(prefix="isthmus-foreign-", dir=stage.quick_parent()))
    authority, server = above.with_name(f"{above.name}.pem"), None
    try:
        made = certificates(above)
        shutil.copy2(made.authority, authority)
        cluster = make_cluster(programs, folder=above)
        foreign = ForeignPostgres(port=free_port(), authority=authority)
        settings = {
            "port": str(foreign.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(above),
            "ssl": "on",
            "ssl_cert_file": str(made.certificate),
            "ssl_key_file": str(made.key),
            **more,
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        server = quietly([str(programs / "postgres"), "-D", str(cluster), *given], folder=above)
        stage.until(lambda: _made_database(foreign))
        yield foreign
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(30)
        shutil.rmtree(above)
        authority.unlink(missing_ok=True)


def _made_database(foreign: ForeignPostgres) -> bool:
    try:
        with psycopg.connect(foreign.url().replace("/company", "/postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE company")
    except psycopg.OperationalError:
        return False
    return True
