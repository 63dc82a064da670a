"""The address and its certificate."""

import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from isthmus.app.doctor.finding import Finding, fail, ok, warn
from isthmus.app.http.server import check_address
from isthmus.app.settings import Settings

SOON = timedelta(days=14)
_NAME = "address and TLS"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_RENEW = "Renew it."


def tls(settings: Settings, *, now: datetime) -> Iterator[Finding]:
    """Look at how the program is reached: plain on loopback only, else by a certificate that holds.

    Raises AddressRefused.
    """
    check_address(settings)
    where = f"{settings.host}:{settings.port}"
    if settings.tls_certificate is None or settings.tls_key is None:
        yield ok(_NAME, f"{where}, plain HTTP, which only this machine can reach")
        return
    try:
        certificate = x509.load_pem_x509_certificate(settings.tls_certificate.read_bytes())
        key = load_pem_private_key(settings.tls_key.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        yield fail(
            _NAME,
            f"The certificate or its key cannot be read: {error}.",
            fix="Give both as PEM, the key without a password.",
        )
        return
    own = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != own:
        yield fail(
            _NAME,
            f"{settings.tls_key} is not the key of {settings.tls_certificate}.",
            fix="Give the key that belongs to it.",
        )
        return
    yield _certified(settings.tls_key, certificate, host=settings.host, where=where, now=now)


def _certified(key: Path, certificate: x509.Certificate, *, host: str, where: str, now: datetime) -> Finding:
    until = certificate.not_valid_after_utc
    if key.stat().st_mode & _OTHERS:
        return fail(_NAME, f"Others on this machine can read {key}.", fix=f"chmod 600 {key}")
    if now < certificate.not_valid_before_utc:
        return fail(_NAME, f"The certificate holds only from {certificate.not_valid_before_utc:%Y-%m-%d}.", fix=_RENEW)
    if until <= now:
        return fail(_NAME, f"The certificate ended on {until:%Y-%m-%d}.", fix=_RENEW)
    if until - now < SOON:
        return warn(_NAME, f"The certificate ends on {until:%Y-%m-%d}.", fix=_RENEW)
    names = _names(certificate)
    if host not in names and not _any_address(host):
        shown = ", ".join(names) or "nobody"
        return warn(
            _NAME,
            f"The certificate names {shown}, not {host}.",
            fix="Use one that names the host, or clients refuse it.",
        )
    return ok(_NAME, f"{where}, TLS 1.2 or newer, certificate of {', '.join(names)} until {until:%Y-%m-%d}")


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = found.get_values_for_type(x509.DNSName)
    return [*names, *(str(each) for each in found.get_values_for_type(x509.IPAddress))]


def _any_address(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
