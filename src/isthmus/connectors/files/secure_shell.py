"""The program `ssh` of OpenSSH as the way to a server: one key, one host key, nothing of this machine's own settings.

The server is the one at the address that was looked at, and must show the host key of the settings: nothing is asked,
nothing is learned, no agent and no other key is used.
"""

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from isthmus.connectors.files.places import Where
from isthmus.sync.addresses import numeric
from isthmus.sync.connector import ConnectorError, KeyRefused

PROGRAM = "ssh"
ALIAS = "isthmus-host"
CONNECT_S, CLOSES_S = 10, 2
_HOST_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,3}( .*)?")
_OPTIONS = {
    "BatchMode": "yes",
    "CheckHostIP": "no",
    "ClearAllForwardings": "yes",
    "ConnectTimeout": str(CONNECT_S),
    "ControlMaster": "no",
    "ControlPath": "none",
    "GlobalKnownHostsFile": "/dev/null",
    "HostKeyAlias": ALIAS,
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "LogLevel": "ERROR",
    "PreferredAuthentications": "publickey",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "15",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
}


def known_hosts(host_key: str) -> str:
    """Return the file of known hosts for the host keys of a setting, one a line; raises ConnectorError."""
    lines = [line.strip() for line in host_key.splitlines() if line.strip()]
    if not lines or not all(map(_HOST_KEY.fullmatch, lines)):
        raise ConnectorError(
            "`host_key` holds no host key.",
            fix="Give what `ssh-keyscan files.example` shows behind the name, compared with what its people say.",
        )
    return "".join(f"{ALIAS} {line}\n" for line in lines)


def _command(program: str, where: Where, address: str, home: Path) -> list[str]:
    options = _OPTIONS | {"IdentityFile": str(home / "key"), "UserKnownHostsFile": str(home / "known_hosts")}
    said = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return [program, "-F", "/dev/null", "-T", *said, "-l", where.user, "-p", str(where.port), "-s", address, "sftp"]


@asynccontextmanager
async def spoken(where: Where, *, key: str, host_key: str) -> AsyncGenerator[Process]:
    """Start the program, which speaks SFTP with the server over its pipes; raises ConnectorError."""
    known = known_hosts(host_key)
    if "PRIVATE KEY" not in key:
        raise ConnectorError("There is no private key.", fix="Give the secret `key`, of OpenSSH's form, no passphrase.")
    program = shutil.which(PROGRAM)
    if program is None:
        raise ConnectorError(
            "OpenSSH is not installed on this machine.", fix="Install it, as with `apt-get install openssh-client`."
        )
    address = await numeric(where.host, port=where.port, setting="where")
    with TemporaryDirectory(prefix="isthmus-ssh-") as folder:
        home = Path(folder)
        await asyncio.to_thread(_laid, home, key, known)
        process = await asyncio.create_subprocess_exec(
            *_command(program, where, address, home), stdin=PIPE, stdout=PIPE, stderr=PIPE, env={"LC_ALL": "C"}
        )
        try:
            yield process
        finally:
            await _ended(process)


def _laid(home: Path, key: str, known: str) -> None:
    (home / "key").touch(mode=0o600)
    (home / "key").write_text(f"{key.strip()}\n", "utf-8")
    (home / "known_hosts").write_text(known, "utf-8")


async def _ended(process: Process) -> None:
    """End the program: by itself when it is not spoken to any more, or at once."""
    assert process.stdin is not None
    process.stdin.close()
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(CLOSES_S):
            await process.communicate()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def complaint(process: Process, where: Where) -> ConnectorError:
    """Return in words why the program ended."""
    assert process.stderr is not None
    try:
        async with asyncio.timeout(CLOSES_S):
            said = (await process.stderr.read()).decode("utf-8", "replace").strip()
    except TimeoutError:
        said = ""
    if "Host key verification failed" in said or "host key is known" in said:
        return ConnectorError(
            f"{where.host} shows another host key than `host_key`.",
            fix="Nothing was sent. Ask its people for the key, and give it only if it is right.",
        )
    if "Permission denied" in said:
        return KeyRefused(f"{where.host} refuses the key.", fix="Have its public half added there for this user.")
    if "error in libcrypto" in said or "invalid format" in said or "incorrect passphrase" in said:
        return KeyRefused("The private key cannot be read.", fix="Give `key` in OpenSSH's form, without a passphrase.")
    last = said.splitlines()[-1][:200] if said else "it ended without a word"
    return ConnectorError(f"{where.host} cannot be reached: {last}.", fix="Check `where`, and that SFTP is open there.")
