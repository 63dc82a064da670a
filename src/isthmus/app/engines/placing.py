"""Choosing who the engines run as and from which copy of their programs."""

import os
from dataclasses import dataclass
from pathlib import Path

from isthmus.app.engines.binaries import PostgresPrograms, copied, copied_valkey, find_postgres, find_valkey
from isthmus.app.engines.errors import EngineDirectoryUnusable
from isthmus.app.engines.home import EngineHome
from isthmus.app.engines.identity import (
    Identity,
    initialising,
    nested_identity,
    other_identity,
    own_identity,
    reachable,
)

NAMES_ITSELF_BY_ABSOLUTE_PATH = 15
"""While it starts, this version returns to its working directory by absolute path, so it must be able to reach it."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Who the engines run as and the programs that this identity can execute; None for an engine not run here."""

    identity: Identity
    postgres: PostgresPrograms | None
    valkey: Path | None


def place(home: EngineHome, *, want_postgres: bool, want_valkey: bool) -> Placement:
    """Return the placement that works on this machine.

    Raises:
        EngineMissing: PostgreSQL is wanted and there is none.
        EngineDirectoryUnusable: root, and neither a second uid nor a user namespace can run them.
    """
    postgres = find_postgres() if want_postgres else None
    valkey = find_valkey() if want_valkey else None
    if os.geteuid() != 0 or (postgres is None and valkey is None):
        return Placement(own_identity(), postgres, valkey)
    return _as_another(home, postgres=postgres, valkey=valkey) or _nested(home, postgres=postgres, valkey=valkey)


def _as_another(home: EngineHome, *, postgres: PostgresPrograms | None, valkey: Path | None) -> Placement | None:
    """Return the engines under a uid of their own; None if it does not exist here or cannot reach the programs."""
    other = other_identity()
    inside = reachable(home.own)
    if postgres is not None and not inside and postgres.major <= NAMES_ITSELF_BY_ABSOLUTE_PATH:
        return None
    near = copied(postgres, into=home.own) if postgres is not None and inside else postgres
    near_valkey = copied_valkey(valkey, into=home.own) if valkey is not None and inside else valkey
    works = all(_works(one, home=home, postgres=near, valkey=near_valkey) for one in (other, initialising(other)))
    return Placement(other, near, near_valkey) if works else None


def _nested(home: EngineHome, *, postgres: PostgresPrograms | None, valkey: Path | None) -> Placement:
    nested = nested_identity()
    if _works(nested, home=home, postgres=postgres, valkey=valkey):
        return Placement(nested, postgres, valkey)
    raise EngineDirectoryUnusable(
        f"PostgreSQL refuses to run as root, no other user can reach its programs or {home.data_dir}, "
        "and user namespaces are not permitted.",
        fix="Choose a --data-dir below a directory that others may pass through, such as /var/lib/isthmus, "
        "or run as an ordinary user, or set ISTHMUS_DATABASE_URL.",
    )


def _works(identity: Identity, *, home: EngineHome, postgres: PostgresPrograms | None, valkey: Path | None) -> bool:
    wanted = ([postgres.bin / "postgres"] if postgres is not None else []) + ([valkey] if valkey is not None else [])
    log = home.log("start")
    return all(identity.works(binary, directory=home.own, log=log) for binary in wanted)
