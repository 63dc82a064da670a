"""The data directory: whose it is, who can read it, how much room is left, and whether its disk is encrypted."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from isthmus.app.doctor.encryption import encrypted_by
from isthmus.app.doctor.finding import Finding, fail, ok, warn
from isthmus.app.settings import Settings

MIB, GIB = 2**20, 2**30
FREE_WARN, FREE_FAIL = GIB, 200 * MIB
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PASS_THROUGH = stat.S_IXGRP | stat.S_IXOTH
_SHOWN_MAX = 3


def directory(settings: Settings) -> Iterator[Finding]:
    """Look at owners and modes: directories 0700 (as root its top may be passed through), secrets 0600."""
    top = settings.data_dir
    if not top.exists():
        yield warn("data directory", f"{top} is not there yet.", fix="Make it: isthmus up")
        return
    if top.stat().st_uid != os.geteuid():
        yield fail(
            "data directory", f"{top} belongs to another user.", fix="Run as its owner, or use another --data-dir."
        )
        return
    allowed = _PASS_THROUGH if os.geteuid() == 0 else 0
    wide = [each for each in (top, top / "engines") if each.exists() and _mode(each) & _OTHERS & ~allowed]
    wide += [each for each in _private(top) if _mode(each) & _OTHERS]
    if wide:
        names = ", ".join(str(each) for each in wide[:_SHOWN_MAX])
        more = f" and {len(wide) - _SHOWN_MAX} more" if len(wide) > _SHOWN_MAX else ""
        fix = f"chmod go-rwx {' '.join(str(each) for each in wide)}"
        yield fail("data directory", f"Others on this machine can reach {names}{more}.", fix=fix)
        return
    yield ok("data directory", f"{top}, yours alone")


def disk(settings: Settings) -> Iterator[Finding]:
    """Look at the room that is left."""
    place = _existing(settings.data_dir)
    free = shutil.disk_usage(place).free
    found = f"{_size(free)} free at {place}"
    if free < FREE_FAIL:
        yield fail("disk", found, fix="Make room now: below this no write is taken.")
    elif free < FREE_WARN:
        yield warn("disk", found, fix="Make room.")
    else:
        yield ok("disk", found)


def at_rest(settings: Settings) -> Iterator[Finding]:
    """Tell what somebody finds who takes the disk away."""
    if settings.database_url is not None:
        found = "mode pii: personal fields are sealed; the external database's disk cannot be seen from here"
        yield ok("at rest", found)
        return
    means = encrypted_by(_existing(settings.data_dir))
    if means is None:
        found = (
            "mode pii: personal fields are sealed, all else is readable to who takes the disk: no encryption of it is"
        )
        yield ok("at rest", f"{found} seen from here. For mode full put it on LUKS, fscrypt or gocryptfs")
    else:
        yield ok("at rest", f"mode full: personal fields are sealed, and all of it is on a disk encrypted by {means}")


def _private(top: Path) -> Iterator[Path]:
    for name in ("secrets", "keys", "logs", "demo", "engines/run", "engines/logs"):
        folder = top / name
        if folder.is_dir():
            yield folder
            if name in {"secrets", "keys"}:
                yield from sorted(each for each in folder.iterdir() if each.is_file())


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def _size(count: int) -> str:
    return f"{count / GIB:,.1f} GiB" if count >= GIB else f"{count / MIB:,.0f} MiB"
