"""Starting, joining, watching and stopping the engines of one data directory."""

import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.app.engines.access import (
    EngineHealth,
    EngineSettings,
    Holder,
    PostgresAccess,
    RunningEngines,
    ValkeyAccess,
)
from isthmus.app.engines.charge import Charge, end_abandoned
from isthmus.app.engines.errors import EngineFailed, EnginesHeld
from isthmus.app.engines.external_postgres import external_postgres, known_external_postgres
from isthmus.app.engines.external_valkey import external_valkey, known_external_valkey
from isthmus.app.engines.holding import (
    DirectoryLock,
    EngineFact,
    Facts,
    holder_of,
    read_facts,
    write_facts,
)
from isthmus.app.engines.home import EngineHome, Entropy
from isthmus.app.engines.liveness import working_in
from isthmus.app.engines.placing import place
from isthmus.app.engines.postgres import PROGRAM as POSTGRES_PROGRAM
from isthmus.app.engines.postgres import PostgresServer, postgres_access
from isthmus.app.engines.valkey import PROGRAM as VALKEY_PROGRAM
from isthmus.app.engines.valkey import ValkeyServer, valkey_access

TICK_SECONDS = 0.2
JOIN_POLL_SECONDS = 0.1

OnChange = Callable[[EngineHealth], None]


def _ignore(_health: EngineHealth) -> None:
    """Hear nothing."""


class Engines:
    """The engines of this program: how to reach them, how they are, and their end.

    `supervised` is False if another program (`holder`) supervises them; then `stop` leaves them running.
    """

    def __init__(
        self,
        *,
        running: RunningEngines,
        charges: tuple[Charge, ...] = (),
        home: EngineHome | None = None,
        lock: DirectoryLock | None = None,
        holder: Holder | None = None,
    ) -> None:
        """Made by `start_engines`."""
        self.postgres: PostgresAccess = running.postgres
        self.valkey: ValkeyAccess | None = running.valkey
        self.holder = holder
        self.supervised = lock is not None
        self._charges, self._home, self._lock = charges, home, lock
        self._ending = threading.Event()
        self._turn = threading.Lock()
        self._program = os.getpid()
        self._watch: threading.Thread | None = None

    def watch(self) -> None:
        """Begin to watch in a thread: a dead engine is reaped and started again. Called by `start_engines`."""
        if self._charges and self._watch is None:
            self._watch = threading.Thread(target=self._watching, name="engines", daemon=True)
            self._watch.start()

    def _watching(self) -> None:
        while not self._ending.wait(TICK_SECONDS):
            with self._turn:
                for charge in self._charges:
                    if not self._ending.is_set():
                        charge.tick()

    def health(self) -> tuple[EngineHealth, ...]:
        """How each supervised engine is; empty if none is supervised here."""
        return tuple(charge.health for charge in self._charges)

    def stop(self) -> None:
        """Stop what was started here, in order, and let go of the directory. A second call does nothing."""
        if self._lock is None or self._home is None or os.getpid() != self._program:
            return
        self._ending.set()
        if self._watch is not None:
            self._watch.join()
        stop_charges(self._charges, home=self._home)
        self._lock.release()
        self._lock, self.supervised = None, False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def stop_charges(charges: tuple[Charge, ...], *, home: EngineHome) -> None:
    """Stop all engines, each beginning at once, and take back what was written of them."""
    for charge in charges:
        charge.signal_stop()
    for charge in charges:
        charge.stop()
    home.facts.unlink(missing_ok=True)
    for socket_file in (home.own / "run").glob("*.sock"):
        socket_file.unlink()
    home.remove_outside_sockets()


def start_engines(
    *, settings: EngineSettings, entropy: Entropy, now: Callable[[], datetime], on_change: OnChange = _ignore
) -> Engines:
    """Return the engines, ready: started, adopted from a killed program, joined, or external.

    `entropy(n)` gives n random bytes for new passwords. `on_change` hears from the watching thread.

    Raises:
        EngineMissing: there is no PostgreSQL.
        EngineFailed: one ended or was not ready in time; its last words are in the error.
        EnginesHeld: another program holds the directory and its engines are not ready after `join_seconds`.
        EngineDirectoryUnusable: the directory belongs to another user or version, or cannot be reached.
        EngineUrlRefused: an external URL is malformed or unverified.
        ExternalEngineUnfit: an external engine does not answer or is too old.
    """
    home = EngineHome(settings.data_dir)
    home.prepare()
    if settings.database_url is not None and (settings.valkey_url is not None or not settings.want_valkey):
        running = _reach(settings, home=home, facts=Facts(), entropy=entropy)
        lock = DirectoryLock.take(home.lock, now=now())
        if lock is not None:
            _end_unwanted(home, wanted=())
            lock.release()
        return Engines(running=running)
    over = time.monotonic() + settings.join_seconds
    while (lock := DirectoryLock.take(home.lock, now=now())) is None:
        holder, joined = holder_of(home.lock), running_engines(settings=settings)
        if joined is not None:
            return Engines(running=joined, holder=holder)
        if time.monotonic() > over:
            who = f"Program {holder.pid} (since {holder.since:%Y-%m-%d %H:%M:%S %Z})" if holder else "Another program"
            raise EnginesHeld(
                f"{who} holds {home.data_dir} and its engines are not ready.",
                fix="Wait for it, stop it, or choose another --data-dir.",
            )
        time.sleep(JOIN_POLL_SECONDS)
    try:
        return _supervise(settings, home=home, lock=lock, entropy=entropy, on_change=on_change)
    except BaseException:
        lock.release()
        raise


def _supervise(
    settings: EngineSettings, *, home: EngineHome, lock: DirectoryLock, entropy: Entropy, on_change: OnChange
) -> Engines:
    before = read_facts(home)
    servers = _servers(settings, home=home, entropy=entropy)
    charges = tuple(Charge(server, on_change=on_change) for server in servers)
    try:
        home.facts.unlink(missing_ok=True)
        _end_unwanted(home, wanted=servers)
        for charge in charges:
            known = before.postgres if charge.server.name == "postgres" else before.valkey
            if not charge.adopt(fingerprint=known.fingerprint if known is not None else None):
                charge.launch()
        for charge in charges:
            if charge.health.status != "healthy":
                charge.wait_ready(seconds=settings.ready_seconds)
        facts = _facts(servers)
        running = _reach(settings, home=home, facts=facts, entropy=entropy)
        write_facts(home, facts)
    except BaseException:
        stop_charges(charges, home=home)
        raise
    engines = Engines(running=running, charges=charges, home=home, lock=lock, holder=holder_of(home.lock))
    engines.watch()
    return engines


def _servers(
    settings: EngineSettings, *, home: EngineHome, entropy: Entropy
) -> tuple[PostgresServer | ValkeyServer, ...]:
    """Return the engines to run here: those without a URL, and of those the ones that have programs."""
    placed = place(
        home,
        want_postgres=settings.database_url is None,
        want_valkey=settings.valkey_url is None and settings.want_valkey,
    )
    uid, gid = placed.identity.owner
    sockets = home.sockets(uid=uid, gid=gid)
    servers: list[PostgresServer | ValkeyServer] = []
    if placed.postgres is not None:
        servers.append(
            PostgresServer(home, programs=placed.postgres, identity=placed.identity, sockets=sockets, entropy=entropy)
        )
    if placed.valkey is not None:
        servers.append(
            ValkeyServer(home, binary=placed.valkey, identity=placed.identity, sockets=sockets, entropy=entropy)
        )
    return tuple(servers)


def _end_unwanted(home: EngineHome, *, wanted: tuple[PostgresServer | ValkeyServer, ...]) -> None:
    """Stop what runs in this directory from times when it had other settings."""
    names = {server.name for server in wanted}
    for kind, directory, program in (
        (PostgresServer, home.cluster, POSTGRES_PROGRAM),
        (ValkeyServer, home.valkey, VALKEY_PROGRAM),
    ):
        if kind.name not in names:
            step, seconds = kind.stop_steps[0]
            end_abandoned(directory, program=program, step=step, seconds=seconds)


def _facts(servers: tuple[PostgresServer | ValkeyServer, ...]) -> Facts:
    """Return what to write of engines that are ready."""
    facts = {
        server.name: EngineFact(
            sockets=str(server.sockets), fingerprint=server.fingerprint, version=str(server.access().version)
        )
        for server in servers
    }
    return Facts(postgres=facts.get("postgres"), valkey=facts.get("valkey"))


def _embedded_postgres(facts: Facts, *, home: EngineHome) -> PostgresAccess | None:
    known = facts.postgres
    return postgres_access(home, sockets=Path(known.sockets), version=int(known.version)) if known else None


def _embedded_valkey(facts: Facts, *, home: EngineHome) -> ValkeyAccess | None:
    known = facts.valkey
    return valkey_access(home, sockets=Path(known.sockets), version=known.version) if known else None


def _reach(settings: EngineSettings, *, home: EngineHome, facts: Facts, entropy: Entropy) -> RunningEngines:
    """Return the access to all engines, external ones checked."""
    if settings.database_url is not None:
        postgres = external_postgres(
            url=settings.database_url, app_url=settings.database_app_url, home=home, entropy=entropy
        )
    else:
        postgres = _embedded_postgres(facts, home=home)
    if postgres is None:
        raise EngineFailed("PostgreSQL is not ready.", fix="Look into engines/logs in the data directory.")
    valkey = external_valkey(settings.valkey_url) if settings.valkey_url else _embedded_valkey(facts, home=home)
    return RunningEngines(postgres=postgres, valkey=valkey)


def running_engines(*, settings: EngineSettings) -> RunningEngines | None:
    """Return how to reach engines that run now, without starting or waiting; None if PostgreSQL does not.

    Valkey may be away at this moment: it comes back, and whoever was told that there is none would never look again.

    Raises:
        EngineUrlRefused: an external URL is malformed or unverified.
    """
    home = EngineHome(settings.data_dir)
    facts = read_facts(home)
    if settings.database_url is not None:
        postgres = known_external_postgres(url=settings.database_url, app_url=settings.database_app_url, home=home)
    elif working_in(home.cluster, program=POSTGRES_PROGRAM):
        postgres = _embedded_postgres(facts, home=home)
    else:
        postgres = None
    if postgres is None:
        return None
    if settings.valkey_url is not None:
        return RunningEngines(postgres=postgres, valkey=known_external_valkey(settings.valkey_url))
    return RunningEngines(
        postgres=postgres, valkey=_embedded_valkey(facts, home=home) if settings.want_valkey else None
    )
