"""A conversation with Valkey of a few words, for supervision only: RESP over a connected socket."""

import socket
import ssl
from typing import Self

PROBE_SECONDS = 5.0


class ValkeyRefusal(Exception):
    """Valkey answered with an error; its words are the message."""


class Conversation:
    """One connection: send a command, get its reply as text. Knows status, error and bulk replies."""

    def __init__(self, connected: socket.socket) -> None:
        """Speak over `connected`, which is closed at the end."""
        self._socket = connected
        self._reader = connected.makefile("rb")

    @classmethod
    def by_socket(cls, path: str) -> Self:
        """Connect to a unix socket."""
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(PROBE_SECONDS)
        try:
            connected.connect(path)
        except OSError:
            connected.close()
            raise
        return cls(connected)

    @classmethod
    def by_host(cls, host: str, port: int, *, tls: ssl.SSLContext | None) -> Self:
        """Connect over TCP, and with TLS verified against `host` if a context is given."""
        connected = socket.create_connection((host, port), timeout=PROBE_SECONDS)
        if tls is None:
            return cls(connected)
        try:
            return cls(tls.wrap_socket(connected, server_hostname=host))
        except OSError:
            connected.close()
            raise

    def ask(self, *words: str) -> str:
        """Return the reply to a command.

        Raises:
            ValkeyRefusal: an error reply.
            OSError: the connection broke.
        """
        parts = [word.encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("Valkey closed the connection.")
        mark, rest = line[:1], line[1:-2]
        if mark == b"-":
            raise ValkeyRefusal(rest.decode(errors="replace"))
        if mark == b"$":
            return self._reader.read(int(rest) + 2)[:-2].decode(errors="replace")
        return rest.decode(errors="replace")

    def sign_in(self, username: str | None, password: str | None) -> None:
        """Authenticate, if there is a password."""
        if password is not None:
            self.ask("AUTH", *([username] if username is not None else []), password)

    def version(self) -> str:
        """Return the server's version: of Valkey, or of the Redis it stands in for."""
        told = dict(line.split(":", 1) for line in self.ask("INFO", "server").splitlines() if ":" in line)
        return told.get("valkey_version", told.get("redis_version", ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._socket.close()
