"""TLS over one connection, driven by hand: a packet is decrypted, answered and encrypted in a handful of calls.

The settings are Mozilla's intermediate ones: TLS 1.2 with forward secrecy and authenticated ciphers, and TLS 1.3. No
session is resumed, so that there is no key of tickets which would open old traffic.
"""

import asyncio
import os
import ssl
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import cast

from isthmus.app.http.lane import Floor, Lane

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_CONFIG, _CONFIG_NAME = Path(__file__).with_name("openssl.cnf"), "OPENSSL_CONF"
_RECORD_BYTES = 16 << 10


def with_groups() -> None:
    """Begin this program anew with the groups of Mozilla's settings, unless OpenSSL is configured already.

    Python 3.11 lets a program choose one group only, so they stand in a file that OpenSSL reads when it is loaded.
    """
    if _CONFIG_NAME not in os.environ:
        os.environ[_CONFIG_NAME] = str(_CONFIG)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - itself, with its own arguments.


def context_of(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the settings of a server; raises OSError for files that cannot be read as a certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    if _CONFIG_NAME not in os.environ:
        context.set_ecdh_curve("prime256v1")
    context.load_cert_chain(certificate, key)
    return context


class TlsLine(asyncio.Transport, asyncio.Protocol):
    """TLS between a connection of TCP, whose protocol this is, and what speaks inside, whose transport this is."""

    def __init__(self, context: ssl.SSLContext, floor: Floor, loop: asyncio.AbstractEventLoop) -> None:
        """`floor` is shared with all other connections; the one inside is made once hands are shaken."""
        super().__init__()
        self._context, self._floor, self._loop = context, floor, loop
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going, server_side=True)
        self._wire = cast("asyncio.Transport", None)
        self._inside: Lane | None = None
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self._floor.shaking[self] = self._floor.beat
        if self._floor.full:
            self.abort()

    def data_received(self, data: bytes) -> None:
        coming = self._coming
        coming.write(data)
        try:
            if self._inside is None:
                self._shake_hands()
            while coming.pending and self._inside is not None and not self._closing:
                plain = self._tls.read(_RECORD_BYTES)
                if not plain:
                    self.close()
                    return
                self._inside.data_received(plain)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._flush()
            self.abort()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        finally:
            self._flush()
        del self._floor.shaking[self]
        self._inside = Lane(self._floor, self._loop)
        self._inside.connection_made(self)

    def _flush(self) -> None:
        if self._going.pending:
            self._wire.write(self._going.read())

    def eof_received(self) -> None:
        """Let the connection be closed."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._floor.shaking.pop(self, None)
        if self._inside is not None:
            self._inside.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inside is not None:
            self._inside.pause_writing()

    def resume_writing(self) -> None:
        if self._inside is not None:
            self._inside.resume_writing()

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        if data and not self._closing:
            sent = self._tls.write(data)
            self._wire.write(self._going.read())
            if sent < len(data):
                self.write(memoryview(data)[sent:])

    def writelines(self, list_of_data: "Iterable[bytes | bytearray | memoryview]") -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
        self._wire.close()

    def abort(self) -> None:
        self._closing = True
        self._wire.abort()

    def is_closing(self) -> bool:
        return self._closing or self._wire.is_closing()

    def is_reading(self) -> bool:
        return self._wire.is_reading()

    def pause_reading(self) -> None:
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        self._wire.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._wire.get_write_buffer_size()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return what is known of the connection, and of its encryption."""
        return self._context if name == "sslcontext" else self._wire.get_extra_info(name, default)
