"""A Valkey (or Redis) given by URL: TLS is verified beyond this machine, and the version is checked."""

import dataclasses
import ssl
from urllib.parse import parse_qsl, unquote, urlsplit

from isthmus.app.engines.access import ValkeyAccess
from isthmus.app.engines.errors import EngineUrlRefused, ExternalEngineUnfit
from isthmus.app.engines.external_postgres import is_local
from isthmus.app.engines.resp import Conversation, ValkeyRefusal

VARIABLE = "ISTHMUS_VALKEY_URL"
OLDEST_MAJOR = 7
TLS_SCHEMES, PLAIN_SCHEMES = ("rediss", "valkeys"), ("redis", "valkey")
EXAMPLE = "Write it as rediss://user:password@host:6379/0?ssl_ca_certs=/path/to/ca.pem."


def valkey_login(url: str) -> ValkeyAccess:
    """Return the access that a URL names; its version is still empty.

    Raises:
        EngineUrlRefused: it cannot be read, or would leave this machine without verified TLS.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
        query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        database = int(query.pop("db", parts.path.strip("/") if parts.scheme != "unix" else "") or "0")
    except ValueError:
        raise EngineUrlRefused(f"{VARIABLE} cannot be read.", fix=EXAMPLE) from None
    ca_file = query.pop("ssl_ca_certs", None)
    if query.pop("ssl_cert_reqs", "required") != "required" or query.pop("ssl_check_hostname", "true") != "true":
        raise EngineUrlRefused(f"{VARIABLE} turns the verification of the server off.", fix=EXAMPLE)
    if query:
        raise EngineUrlRefused(f"{VARIABLE} has unknown parameters: {', '.join(sorted(query))}.", fix=EXAMPLE)
    login = ValkeyAccess(
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password is not None else None,
        database=database,
        external=True,
    )
    if parts.scheme == "unix" and parts.path:
        return dataclasses.replace(login, socket_path=unquote(parts.path))
    tls = parts.scheme in TLS_SCHEMES
    if parts.hostname is None or not (tls or parts.scheme in PLAIN_SCHEMES):
        raise EngineUrlRefused(f"{VARIABLE} cannot be read.", fix=EXAMPLE)
    if not tls and not is_local(parts.hostname):
        raise EngineUrlRefused(f"{VARIABLE} would speak to {parts.hostname} without TLS.", fix=EXAMPLE)
    return dataclasses.replace(login, host=parts.hostname, port=port, tls=tls, ca_file=ca_file)


def external_valkey(url: str) -> ValkeyAccess:
    """Return the checked access to an external Valkey.

    Raises:
        EngineUrlRefused: the URL is malformed or unverified.
        ExternalEngineUnfit: no answer, a refused password, or too old.
    """
    login = valkey_login(url)
    try:
        with _converse(login) as valkey:
            valkey.sign_in(login.username, login.password)
            version = valkey.version()
    except (OSError, ValkeyRefusal) as refusal:
        raise ExternalEngineUnfit(
            f"The Valkey of {VARIABLE} cannot be used: {refusal}",
            fix="Check host, port, password and certificate; ssl_ca_certs names the authority that signed it.",
        ) from refusal
    if int(version.split(".")[0] or "0") < OLDEST_MAJOR:
        raise ExternalEngineUnfit(
            f"The server of {VARIABLE} is version {version}.", fix=f"Upgrade it to {OLDEST_MAJOR} or newer."
        )
    return dataclasses.replace(login, version=version)


def known_external_valkey(url: str) -> ValkeyAccess:
    """Return the access to an external Valkey that may be away; its version is empty then.

    Raises:
        EngineUrlRefused: the URL is malformed or unverified.
    """
    try:
        return external_valkey(url)
    except ExternalEngineUnfit:
        return valkey_login(url)


def _converse(login: ValkeyAccess) -> Conversation:
    if login.socket_path is not None:
        return Conversation.by_socket(login.socket_path)
    context = None
    if login.tls:
        context = ssl.create_default_context(cafile=login.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return Conversation.by_host(login.host, login.port, tls=context)
