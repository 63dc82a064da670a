"""The embedded Valkey: reached by its socket with a password, rebuilt from PostgreSQL if it should lose anything."""

import hashlib
import os
import signal
import subprocess
from pathlib import Path

from isthmus.app.engines.access import EngineName, ValkeyAccess
from isthmus.app.engines.errors import EngineDirectoryUnusable
from isthmus.app.engines.home import EngineHome, Entropy, make_directory, write_private
from isthmus.app.engines.identity import Identity, give
from isthmus.app.engines.liveness import head_of, working_in
from isthmus.app.engines.resp import Conversation, ValkeyRefusal

USER = "isthmus"
SOCKET_NAME = "valkey.sock"
PROGRAM = "valkey-server"
SECRET = "valkey"  # noqa: S105  the name of the file, not what is in it
MEBIBYTE = 2**20


class ValkeyServer:
    """One Valkey directory and how to run it. The supervisor calls it; it keeps no clock and no child itself."""

    name: EngineName = "valkey"
    stop_steps = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0))

    def __init__(self, home: EngineHome, *, binary: Path, identity: Identity, sockets: Path, entropy: Entropy) -> None:
        """Bind the directory of `home` to the binary and the identity that run it."""
        self.directory = home.valkey
        self.log = home.log(self.name)
        self.sockets = sockets
        self._home, self._binary, self._identity, self._entropy = home, binary, identity, entropy

    def _configuration(self) -> str:
        inside = self._home.data_dir in self.sockets.parents
        sockets = f"../{self.sockets.relative_to(self._home.data_dir)}" if inside else str(self.sockets)
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MEBIBYTE
        return valkey_conf(
            directory=self._identity.place(self.directory),
            socket_path=f"{sockets}/{SOCKET_NAME}",
            memory_mb=min(max(total // 16, 128), 1024),
        )

    @property
    def fingerprint(self) -> str:
        """What a running server must have been started with to be left running."""
        told = (str(self._binary), repr(self._identity), self._configuration())
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def pids(self) -> frozenset[int]:
        """Return the living programs of this directory: the server and perhaps its rewriting child."""
        return frozenset(working_in(self.directory, program=PROGRAM))

    def main_pid(self) -> int | None:
        """Return the server's pid if it lives."""
        return head_of(working_in(self.directory, program=PROGRAM))

    def prepare(self, *, first: bool) -> None:
        """Write configuration and access list. Only to be called while no program of the directory lives.

        Raises:
            EngineDirectoryUnusable: the directory went away since the first start.
        """
        if not first and not self.directory.exists():
            raise EngineDirectoryUnusable(f"{self.directory} was removed while it was in use.", fix="Start anew.")
        make_directory(self.directory, mode=0o700)
        give(self.directory, owner=self._identity.owner)
        uid, gid = self._identity.owner
        secret = self._home.secret(SECRET, entropy=self._entropy)
        write_private(self.directory / "valkey.conf", self._configuration().encode(), uid=uid, gid=gid)
        write_private(self.directory / "users.acl", users_acl(secret).encode(), uid=uid, gid=gid)
        (self.sockets / SOCKET_NAME).unlink(missing_ok=True)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server."""
        return self._identity.start(
            [str(self._binary), f"{self._identity.place(self.directory)}/valkey.conf"],
            directory=self.directory,
            log=self.log,
        )

    def ready(self, pid: int) -> bool:
        """Say whether the server of that pid has loaded its file and answers."""
        return pid > 0 and self.answers()

    def settle(self) -> None:
        """Do nothing: the access list was read at the start."""

    def answers(self) -> bool:
        """Say whether the server lets the program in and answers."""
        try:
            access = self._access(version="")
            with Conversation.by_socket(access.socket_path or "") as valkey:
                valkey.sign_in(access.username, access.password)
                return valkey.ask("PING") == "PONG"
        except (OSError, ValkeyRefusal, EngineDirectoryUnusable):
            return False

    def access(self) -> ValkeyAccess:
        """Return how to reach the running server."""
        access = self._access(version="")
        with Conversation.by_socket(access.socket_path or "") as valkey:
            valkey.sign_in(access.username, access.password)
            return self._access(version=valkey.version())

    def _access(self, *, version: str) -> ValkeyAccess:
        return valkey_access(self._home, sockets=self.sockets, version=version)


def valkey_access(home: EngineHome, *, sockets: Path, version: str) -> ValkeyAccess:
    """Return the login of the server of `home`, whose secret must exist."""
    return ValkeyAccess(
        username=USER,
        password=home.kept_secret(SECRET),
        socket_path=str(sockets / SOCKET_NAME),
        version=version,
    )


def valkey_conf(*, directory: str, socket_path: str, memory_mb: int) -> str:
    """Return the settings: no TCP port, an append-only file synced each second, keys with a deadline go first."""
    settings = (
        ("port", "0"),
        ("unixsocket", socket_path),
        ("unixsocketperm", "700"),
        ("dir", directory),
        ("aclfile", f"{directory}/users.acl"),
        ("daemonize", "no"),
        ("databases", "1"),
        ("save", ""),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("aof-load-truncated", "yes"),
        ("maxmemory", f"{memory_mb}mb"),
        ("maxmemory-policy", "volatile-ttl"),
        ("hide-user-data-from-log", "yes"),
    )
    lines = ["# Written by isthmus at every start.", *(f"{name} {_quoted(value)}" for name, value in settings)]
    return "\n".join([*lines, ""])


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def users_acl(password: str) -> str:
    """Return the access list: one user that may do everything but administer; nobody gets in without a password."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user default off\nuser {USER} on #{digest} ~* &* +@all -@admin\n"
