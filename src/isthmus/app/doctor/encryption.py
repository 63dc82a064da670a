"""Whether a directory lies on an encrypted file system, as far as Linux tells: fscrypt, encrypting mounts, dm-crypt."""

import errno
import fcntl
import os
import re
from pathlib import Path

_FS_IOC_GET_ENCRYPTION_POLICY_EX = 0xC0096616  # linux/fscrypt.h
_POLICY_BYTES = 32
_MOUNTS = {
    "ecryptfs": "eCryptfs",
    "fuse.gocryptfs": "gocryptfs",
    "fuse.encfs": "EncFS",
    "fuse.cryfs": "CryFS",
    "fuse.securefs": "securefs",
}
_OCTAL = re.compile(r"\\(\d{3})")
_DEPTH_MAX = 8


def encrypted_by(path: Path, *, proc: Path = Path("/proc"), devices: Path = Path("/sys/dev/block")) -> str | None:
    """Return what encrypts the directory, or None when no encryption is seen, which does not prove that there is none.

    Seen are fscrypt policies, mounts of encrypting file systems, and block devices on dm-crypt (LUKS), also below LVM.
    Not seen are encryption by the disk itself, by a hypervisor, by ZFS, and anything below a container's overlay.
    """
    if _has_policy(path):
        return "fscrypt"
    found = _mount_of(path, proc / "self/mountinfo")
    if found is None:
        return None
    device, kind, source = found
    if kind in _MOUNTS:
        return _MOUNTS[kind]
    if device.startswith("0:") and source.startswith("/dev/"):
        device = _number_of(source) or device
    return "dm-crypt (LUKS)" if _on_crypt(devices / device) else None


def _has_policy(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        policy = bytearray((_POLICY_BYTES - 8).to_bytes(8, "little") + bytes(_POLICY_BYTES - 8))
        fcntl.ioctl(descriptor, _FS_IOC_GET_ENCRYPTION_POLICY_EX, policy)
    except OSError as error:
        # ENODATA: encryption is possible here and not used. Others: not possible, or not ours to ask.
        return error.errno == errno.ENOKEY
    finally:
        os.close(descriptor)
    return True


def _mount_of(path: Path, mounts: Path) -> tuple[str, str, str] | None:
    """Return device number, file system and source of the mount that a path lies on: the longest that contains it."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    whole = path.resolve()
    best: tuple[int, tuple[str, str, str]] | None = None
    for line in lines:
        head, _, tail = line.partition(" - ")
        before, after = head.split(), tail.split()
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), before[4]))
        if whole.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), (before[2], after[0], after[1]))
    return best[1] if best else None


def _number_of(source: str) -> str | None:
    try:
        device = Path(source).stat().st_rdev
    except OSError:
        return None
    return f"{os.major(device)}:{os.minor(device)}"


def _on_crypt(device: Path, depth: int = 0) -> bool:
    """Tell whether a block device is dm-crypt, or everything that it is made of is."""
    name = device / "dm/uuid"
    if name.is_file() and name.read_text(encoding="ascii", errors="replace").startswith("CRYPT-"):
        return True
    below = list((device / "slaves").iterdir()) if (device / "slaves").is_dir() else []
    if not below and (device / "partition").is_file():
        return False
    return bool(below) and depth < _DEPTH_MAX and all(_on_crypt(each, depth + 1) for each in below)
