"""Packets of SFTP version 3, as the protocol's draft has them (draft-ietf-secsh-filexfer-02). Pure."""

from dataclasses import dataclass
from stat import S_ISDIR, S_ISREG
from struct import Struct, error

INIT, VERSION, OPEN, CLOSE, READ, WRITE, FSTAT, OPENDIR, READDIR, REMOVE = 1, 2, 3, 4, 5, 6, 8, 11, 12, 13
MKDIR, STAT, RENAME, STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED = 14, 17, 18, 101, 102, 103, 104, 105, 200
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED = 0, 1, 2, 3
TO_READ, TO_WRITE_NEW = 0x01, 0x02 | 0x08 | 0x10
POSIX_RENAME = b"posix-rename@openssh.com"
PACKET_BYTES_MAX = 1 << 20
_SIZE, _OWNERS, _RIGHTS, _TIMES, _MORE = 0x01, 0x02, 0x04, 0x08, 0x80000000
_U32, _U64 = Struct(">I"), Struct(">Q")
_REASON_CHARACTERS_MAX = 200


class NotSftp(ValueError):
    """Bytes that are no packet of the protocol."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is told of a file; what the server leaves out is zero."""

    size: int = 0
    rights: int = 0
    changed: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return S_ISDIR(self.rights)

    @property
    def is_file(self) -> bool:
        """Whether it is a plain file; neither a link nor a device."""
        return S_ISREG(self.rights)


def u32(number: int) -> bytes:
    """Return a number in four bytes."""
    return _U32.pack(number)


def u64(number: int) -> bytes:
    """Return a number in eight bytes."""
    return _U64.pack(number)


def text(said: str | bytes) -> bytes:
    """Return a text with its length; names that are no UTF-8 come back as they came."""
    told = said.encode("utf-8", "surrogateescape") if isinstance(said, str) else said
    return u32(len(told)) + told


def packet(kind: int, *parts: bytes) -> bytes:
    """Return a packet with its length."""
    body = bytes((kind,)) + b"".join(parts)
    return u32(len(body)) + body


class Reading:
    """Reads the parts of a packet one after the other; raises NotSftp where it ends too early."""

    def __init__(self, body: bytes) -> None:
        """Begin at the kind."""
        self._body, self._at = body, 1
        if not body:
            raise NotSftp("an empty packet")
        self.kind = body[0]

    def u32(self) -> int:
        """Return the next number of four bytes."""
        return self._number(_U32)

    def u64(self) -> int:
        """Return the next number of eight bytes."""
        return self._number(_U64)

    def bytes(self) -> bytes:
        """Return the next bytes with their length before them."""
        length = self.u32()
        found = self._body[self._at : self._at + length]
        if len(found) != length:
            raise NotSftp("a packet that ends too early")
        self._at += length
        return found

    def text(self) -> str:
        """Return the next text."""
        return self.bytes().decode("utf-8", "surrogateescape")

    def told(self) -> Told:
        """Return what is told of a file."""
        flags = self.u32()
        size = self.u64() if flags & _SIZE else 0
        if flags & _OWNERS:
            self.u64()
        rights = self.u32() if flags & _RIGHTS else 0
        changed = (self.u32(), self.u32())[1] if flags & _TIMES else 0
        if flags & _MORE:
            for _ in range(2 * self.u32()):
                self.bytes()
        return Told(size=size, rights=rights, changed=changed)

    def names(self) -> list[tuple[str, Told]]:
        """Return the names of a folder, with what is told of each."""
        found: list[tuple[str, Told]] = []
        for _ in range(self.u32()):
            name, _ = self.text(), self.bytes()
            found.append((name, self.told()))
        return found

    def status(self) -> tuple[int, str]:
        """Return a status and its reason, which old servers leave out."""
        code = self.u32()
        return code, self.text()[:_REASON_CHARACTERS_MAX] if self._at < len(self._body) else ""

    def _number(self, shape: Struct) -> int:
        try:
            (number,) = shape.unpack_from(self._body, self._at)
        except error as problem:
            raise NotSftp("a packet that ends too early") from problem
        self._at += shape.size
        return int(number)
