"""The other side of files: programs that others wrote keep them, and its people write them whole or not at all."""

import gzip
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, cast

import msgspec

from isthmus.kernel.marks import Json
from tests.counterparts import S3, require_debian, require_libraries

STARTS_S = 30
S3_PROGRAM = Path(__file__).with_name("s3_program.py")
BUCKET = "drop-of-files"
Row = dict[str, Json]


class Side(Protocol):
    """A place as its people use it; `settings` connect to it, `wrong` do not."""

    settings: Mapping[str, str]
    wrong: Mapping[str, str]

    def names(self) -> list[str]:
        """Return the names of all files, in order."""
        ...

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, whole."""
        ...


@dataclass(kw_only=True)
class LocalSide:
    """A folder, of this machine or of the server whose folder it is.

    With `seconds` each file is written a second after the one before, as times of SFTP have no fractions.
    """

    root: Path
    seconds: int = 0
    settings: Mapping[str, str]
    wrong: Mapping[str, str]

    def names(self) -> list[str]:
        """Return the names of all files, in order."""
        found = (each for each in self.root.rglob("*") if each.is_file() and not each.name.startswith("."))
        return sorted(each.relative_to(self.root).as_posix() for each in found)

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        return (self.root / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Put a file there under another name, and rename it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}.part")
        hidden.write_bytes(content)
        if self.seconds:
            self.seconds += 1
            os.utime(hidden, (self.seconds, self.seconds))
        hidden.rename(path)


@dataclass(kw_only=True)
class BucketSide:
    """A bucket of moto's server, used by boto3: both run in a process with their own packages."""

    settings: Mapping[str, str]
    wrong: Mapping[str, str]
    program: subprocess.Popen[bytes]

    def names(self) -> list[str]:
        """Return the names of all files, in order."""
        return cast("list[str]", self.ask({"do": "names"}))

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        return bytes.fromhex(cast("str", self.ask({"do": "read", "name": name})))

    def write(self, name: str, content: bytes) -> None:
        """Put a file there."""
        self.ask({"do": "write", "name": name, "content": content.hex()})

    def ask(self, said: dict[str, Json]) -> Json:
        """Have the program do something."""
        assert self.program.stdin
        assert self.program.stdout
        self.program.stdin.write(msgspec.json.encode(said) + b"\n")
        self.program.stdin.flush()
        line = self.program.stdout.readline()
        assert line, "the program of S3 ended"
        answer = msgspec.json.decode(line, type=dict[str, Json])
        assert "error" not in answer, answer
        return answer["answer"]


def local(home: Path) -> LocalSide:
    """Return a folder of this machine."""
    root = home / "drop"
    root.mkdir(parents=True, exist_ok=True)
    return LocalSide(root=root, settings={"folder": str(root)}, wrong={"folder": "/none"})


@contextmanager
def bucket() -> Generator[BucketSide]:
    """Start a server of S3 that checks signatures, with a bucket and a key for it."""
    python = require_libraries(S3) / "python"
    # What it logs goes to where pytest keeps what tests print.
    program = subprocess.Popen([python, S3_PROGRAM, BUCKET], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert program.stdout
        began = msgspec.json.decode(program.stdout.readline(), type=dict[str, str])
        settings = {
            "where": f"s3://{BUCKET}/drop",
            "endpoint": began["endpoint"],
            "key_id": began["key_id"],
            "secret_key": began["secret"],
        }
        yield BucketSide(settings=settings, wrong={"secret_key": "of nobody there at all"}, program=program)
    finally:
        for pipe in (program.stdin, program.stdout):
            cast("IO[bytes]", pipe).close()
        program.terminate()
        program.wait(STARTS_S)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def new_key(path: Path) -> str:
    """Make a key pair; returns the public half."""
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(made, check=True, capture_output=True)
    return path.with_suffix(".pub").read_text("utf-8").strip()


@contextmanager
def server_of_sftp(home: Path) -> Generator[LocalSide]:
    """Start OpenSSH's server as ourselves on this machine, with a host key and one user's key of its own."""
    program = require_debian("openssh-server", binary="sshd")
    root = home / "drop"
    root.mkdir()
    host_key, user_key = new_key(home / "host"), new_key(home / "user")
    (home / "authorized").write_text(f"restrict {user_key}\n", "utf-8")
    port = _free_port()
    (home / "sshd.conf").write_text(
        f"""ListenAddress 127.0.0.1:{port}
HostKey {home / "host"}
AuthorizedKeysFile {home / "authorized"}
PidFile {home / "sshd.pid"}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
""",
        "utf-8",
    )
    # As root it wants a folder that Debian's own service makes; it is empty, and no one's but root's.
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (home / "sshd.log").open("wb") as log:
        running = subprocess.Popen(
            [program, "-D", "-e", "-f", home / "sshd.conf"], stdin=subprocess.DEVNULL, stderr=log
        )
        try:
            _until_it_listens(port, running, home / "sshd.log")
            user = pwd.getpwuid(os.geteuid()).pw_name
            settings = {
                "where": f"sftp://{user}@127.0.0.1:{port}{root}",
                "key": (home / "user").read_text("utf-8"),
                "host_key": host_key,
            }
            yield LocalSide(root=root, seconds=1_800_000_000, settings=settings, wrong={"host_key": user_key})
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(STARTS_S)


def _until_it_listens(port: int, running: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_S
    while time.monotonic() < deadline and running.poll() is None:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    message = f"sshd does not listen: {log.read_text('utf-8', 'replace')}"
    raise AssertionError(message)


@dataclass
class Desk:
    """A program of theirs: it keeps rows in files of NDJSON, and takes in what was handed over to it."""

    side: Side
    files: dict[str, dict[str, Row]] = field(default_factory=dict[str, dict[str, Row]])
    taken: set[str] = field(default_factory=set[str])
    number: int = 0

    def add(self, rows: list[Row]) -> list[str]:
        """Put rows into a new file; returns their keys."""
        keys: list[str] = []
        for row in rows:
            self.number += 1
            keys.append(str(self.number))
            row["id"] = keys[-1]
        self._keep(f"customers-{self.number:06d}.ndjson", dict(zip(keys, rows, strict=True)))
        return keys

    def change(self, key: str, values: Mapping[str, Json]) -> None:
        """Change a row, in the file that it is in."""
        self.take_in()
        name = next(name for name, rows in self.files.items() if key in rows)
        self._keep(name, self.files[name] | {key: {**self.files[name][key], **values}})

    def row(self, key: str) -> Row | None:
        """Return a row; nothing for one that is gone."""
        self.take_in()
        found = next((rows[key] for rows in self.files.values() if key in rows), None)
        return None if found is None or found.get("gone") else found

    def take_in(self) -> None:
        """Take in what was handed over, by the names of the files."""
        for name in self.side.names():
            if name.startswith("outgoing/") and name not in self.taken:
                self.taken.add(name)
                for line in self.side.read(name).splitlines():
                    self._take(msgspec.json.decode(line, type=dict[str, Json]))

    def _take(self, said: Row) -> None:
        key = str(said["id"])
        name = next((name for name, rows in self.files.items() if key in rows), f"customers-{key}.ndjson")
        rows = self.files.get(name, {})
        blank: Row = dict.fromkeys(("id", "name", "city", "revenue", "gone"))
        self._keep(name, rows | {key: rows.get(key, blank) | said})

    def _keep(self, name: str, rows: dict[str, Row]) -> None:
        self.files[name] = rows
        self.side.write(name, b"".join(msgspec.json.encode(row) + b"\n" for row in rows.values()))


def packed(text: str) -> bytes:
    """Return a text, compressed."""
    return gzip.compress(text.encode())
