"""Where files lie: in a folder of this machine, in a bucket, or on a server of SFTP; all are read and written alike."""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol
from urllib.parse import unquote, urlsplit

from isthmus.connectors.files.layouts import OWN
from isthmus.sync.connector import ConnectorError, FeedTrouble

EXAMPLES = "s3://bucket/folder or sftp://user@files.example/folder"
FILES_MAX = 10_000
OURS = re.compile(re.escape(OWN) + r"(\d{8}T\d{6}\.\d{6}Z)-.+")
_MOMENT = "%Y%m%dT%H%M%S.%fZ"
WRITING = ".isthmus-writing"
"""How the names of files end that are being written; they are hidden, and renamed when they are whole."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file by its name below the place, its size in bytes and its stamp, which moves when it is written."""

    name: str
    size: int
    stamp: str


class FileMoved(ConnectorError):
    """A file changed, or went, while it was read."""

    code, title = "file-moved", "A file changed while it was read"


class Shelf(Protocol):
    """An open place; names are below it, with slashes.

    `whole` tells that a file is seen only when all of it is there, so that none is found half written.
    """

    whole: bool

    def here(self, file: Found) -> Path | None:
        """Return the path of a file that lies on this machine; nothing for one that has to be fetched."""
        ...

    async def check(self) -> str:
        """Return where it is, and as whom we are there; raises ConnectorError."""
        ...

    async def found(self) -> Sequence[Found]:
        """Return all files that lie there; raises ConnectorError, FeedTrouble when there are too many."""
        ...

    async def fetch(self, file: Found, into: Path, spans: Sequence[tuple[int, int]]) -> None:
        """Append spans (first byte, byte after the last) of a file to one that is there; raises FileMoved."""
        ...

    async def put(self, folder: str, tail: str, content: bytes, *, after: str) -> str:
        """Write a file that is seen whole or not at all, and return its name.

        Its name is the folder, the beginning of ours, when it was written and `tail`; it sorts behind `after`.
        """
        ...

    async def replace(self, name: str, content: bytes) -> None:
        """Write a file anew under a name."""
        ...


class Opens(Protocol):
    """What opens a place."""

    def __call__(self) -> AbstractAsyncContextManager[Shelf]:
        """Open it; raises ConnectorError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Where:
    """A place as the settings tell it."""

    kind: Literal["folder", "s3", "sftp"]
    path: str
    host: str = ""
    port: int = 0
    user: str = ""
    bucket: str = ""

    @property
    def words(self) -> str:
        """Where it is, for sentences."""
        match self.kind:
            case "folder":
                return self.path
            case "s3":
                return f"s3://{self.bucket}/{self.path}"
            case "sftp":
                return f"sftp://{self.host}:{self.port}{self.path}"


def where(settings: Mapping[str, str]) -> Where:
    """Read where the files lie; raises ConnectorError with its fix."""
    url, folder = settings.get("where", "").strip(), settings.get("folder", "")
    if bool(url) == bool(folder):
        fix = f"Give `where` as {EXAMPLES}, or `folder` such as /srv/files."
        raise ConnectorError("The files lie in one place.", fix=fix)
    if folder:
        if not PurePosixPath(folder).is_absolute():
            raise ConnectorError("The folder has no absolute path.", fix="Give `folder` such as /srv/files.")
        return Where(kind="folder", path=folder)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConnectorError("The place cannot be read.", fix=f"Give `where` such as {EXAMPLES}.") from error
    if parts.scheme not in ("s3", "sftp") or not parts.hostname or parts.query or parts.fragment:
        raise ConnectorError("The place is none that is known.", fix=f"Give `where` such as {EXAMPLES}.")
    if parts.password is not None:
        raise ConnectorError("The place holds a password.", fix="Leave it out; SFTP is used with the secret `key`.")
    if parts.scheme == "s3":
        prefix = unquote(parts.path).strip("/")
        return Where(kind="s3", bucket=parts.netloc, path=f"{prefix}/" if prefix else "")
    if not parts.username:
        raise ConnectorError("The place names no user.", fix="Give `where` such as sftp://user@files.example/folder.")
    path = unquote(parts.path).rstrip("/") or "/"
    return Where(kind="sftp", host=parts.hostname, port=port or 22, user=unquote(parts.username), path=path)


def named(folder: str, stamp: datetime, tail: str, *, after: str) -> str:
    """Return the name of a file that was written then; right behind `after`, where the clock there has not moved on.

    Names sort in the order in which they are given.
    """
    head = f"{folder.strip('/')}/" if folder.strip("./") else ""
    found = OURS.fullmatch(after.removeprefix(head))
    if found is not None:
        stamp = max(stamp, datetime.strptime(found[1], _MOMENT).replace(tzinfo=UTC) + timedelta(microseconds=1))
    return f"{head}{OWN}{stamp.strftime(_MOMENT)}-{tail}"


def few(count: int) -> None:
    """Raise FeedTrouble when more files lie in a place than can be kept track of."""
    if count > FILES_MAX:
        raise FeedTrouble(
            f"More than {FILES_MAX:,} files lie there.", fix="Move those away that were read; nothing is deleted by it."
        )
