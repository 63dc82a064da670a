"""The embedded PostgreSQL: made once, configured at every start, reached by its socket with a password."""

import hashlib
import shutil
import signal
import subprocess
from pathlib import Path

import psutil

from isthmus.app.engines.access import EngineName, PostgresAccess, PostgresLogin
from isthmus.app.engines.binaries import PostgresPrograms
from isthmus.app.engines.errors import EngineDirectoryUnusable, EngineFailed
from isthmus.app.engines.home import EngineHome, Entropy, last_lines, make_directory, write_private
from isthmus.app.engines.identity import Identity, give, initialising
from isthmus.app.engines.liveness import working_in
from isthmus.app.engines.postgres_roles import APP, DATABASE, OWNER, SUPERUSER, ensure_roles, opens, server_version
from isthmus.app.engines.postgres_settings import HBA, PORT, postgresql_conf

PROGRAM = "postgres"
BUILTIN_LOCALE = 17
STATUS_LINE = 7


class PostgresServer:
    """One cluster and how to run it. The supervisor calls it; it keeps no clock and no child itself."""

    name: EngineName = "postgres"
    stop_steps = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 20.0), (signal.SIGKILL, 10.0))

    def __init__(
        self, home: EngineHome, *, programs: PostgresPrograms, identity: Identity, sockets: Path, entropy: Entropy
    ) -> None:
        """Bind the cluster of `home` to the programs and the identity that run it."""
        self.directory = home.cluster
        self.log = home.log(self.name)
        self.sockets = sockets
        self._home, self._programs, self._identity, self._entropy = home, programs, identity, entropy
        self._new = False

    def _configuration(self) -> str:
        inside = self._home.data_dir in self.sockets.parents
        sockets = f"../{self.sockets.relative_to(self._home.data_dir)}" if inside else str(self.sockets)
        disk_bytes = shutil.disk_usage(self._home.data_dir).total
        return postgresql_conf(major=self._programs.major, sockets=sockets, disk_bytes=disk_bytes)

    @property
    def fingerprint(self) -> str:
        """What a running server must have been started with to be left running."""
        told = (str(self._programs.bin), self._programs.version, repr(self._identity), self._configuration())
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def pids(self) -> frozenset[int]:
        """Return the living programs of this cluster: the postmaster and its backends."""
        return frozenset(working_in(self.directory, program=PROGRAM))

    def main_pid(self) -> int | None:
        """Return the postmaster's pid if it lives."""
        written = self._pid_file()
        pid = int(written[0]) if written and written[0].isdigit() else None
        return pid if pid in self.pids() else None

    def _pid_file(self) -> list[str]:
        try:
            return (self.directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def prepare(self, *, first: bool) -> None:
        """Make the cluster if there is none, write its configuration, clear what the dead left behind.

        Only to be called while no program of the cluster lives.

        Raises:
            EngineDirectoryUnusable: the cluster belongs to another major version, or went away since the first start.
            EngineFailed: `initdb` failed.
        """
        if not (self.directory / "PG_VERSION").exists():
            if not first:
                raise EngineDirectoryUnusable(
                    f"{self.directory} was removed while it was in use.", fix="Restore it from a backup, or start anew."
                )
            self._initialise()
        made_by = (self.directory / "PG_VERSION").read_text().strip()
        if made_by != str(self._programs.major):
            raise EngineDirectoryUnusable(
                f"{self.directory} was made by PostgreSQL {made_by}, and this is {self._programs.version}.",
                fix=f"Install PostgreSQL {made_by} to dump it, or upgrade it with pg_upgrade.",
            )
        give(self.directory, owner=self._identity.owner)
        self._configure()
        self._clear()

    def _clear(self) -> None:
        """Remove what would make PostgreSQL believe that it runs already.

        It only asks whether the pid in its file exists, and so takes for itself a zombie that nobody reaped and a
        stranger that got the number. Otherwise the file stays: it also leads PostgreSQL to orphaned shared memory.
        """
        written = self._pid_file()
        if written and written[0].isdigit() and psutil.pid_exists(int(written[0])):
            (self.directory / "postmaster.pid").unlink()
        for left in self.sockets.glob(".s.PGSQL.*"):
            left.unlink()

    def _configure(self) -> None:
        uid, gid = self._identity.owner
        write_private(self.directory / "postgresql.conf", self._configuration().encode(), uid=uid, gid=gid)
        write_private(self.directory / "pg_hba.conf", HBA.encode(), uid=uid, gid=gid)
        self._home.secret("postgres-owner", entropy=self._entropy)
        self._home.secret("postgres-app", entropy=self._entropy)
        access = postgres_access(self._home, sockets=self.sockets, version=0)
        for login in (access.owner, access.app):
            line = f"*:*:*:{login.user}:{login.password}\n"
            write_private(passfile(self._home, user=login.user), line.encode())

    def _initialise(self) -> None:
        """Make the cluster beside its place and move it there whole, so that a kill in between leaves nothing half."""
        if self.directory.exists() and any(self.directory.iterdir()):
            raise EngineDirectoryUnusable(
                f"{self.directory} is not empty and no cluster.", fix="Move it away or choose another --data-dir."
            )
        making, identity = self.directory.with_name("postgres.unfinished"), initialising(self._identity)
        shutil.rmtree(making, ignore_errors=True)
        make_directory(making, mode=0o700)
        password = making.with_name("postgres.password")
        uid, gid = identity.owner
        secret = self._home.secret("postgres-superuser", entropy=self._entropy)
        give(making, owner=(uid, gid))
        try:
            write_private(password, secret.encode(), uid=uid, gid=gid)
            self._run_initdb(making, password=password, identity=identity)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        finally:
            password.unlink(missing_ok=True)
        give(making, owner=self._identity.owner)
        making.replace(self.directory)
        self._new = True

    def _run_initdb(self, making: Path, *, password: Path, identity: Identity) -> None:
        place = identity.place(making)
        builtin = self._programs.major >= BUILTIN_LOCALE
        log = self._home.log("initdb")
        since = log.stat().st_size
        code = identity.run(
            [
                str(self._programs.bin / "initdb"),
                f"--pgdata={place}",
                f"--username={SUPERUSER}",
                f"--pwfile={place}/../{password.name}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--data-checksums",
                *(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if builtin else []),
                f"--locale={'C' if builtin else 'C.UTF-8'}",
            ],
            directory=making,
            log=log,
        )
        if code != 0:
            raise EngineFailed(
                f"initdb ended with {code}: {last_lines(log, since=since)}", fix="Mend what it names and start again."
            )

    def start(self) -> subprocess.Popen[bytes]:
        """Start the postmaster."""
        return self._identity.start(
            [str(self._programs.bin / PROGRAM), "-D", self._identity.place(self.directory)],
            directory=self.directory,
            log=self.log,
        )

    def ready(self, pid: int) -> bool:
        """Say whether the postmaster of that pid says that it accepts connections."""
        written = self._pid_file()
        return len(written) > STATUS_LINE and written[0] == str(pid) and written[STATUS_LINE].strip() == "ready"

    def settle(self) -> None:
        """Make roles and database, once the server is ready."""
        access = postgres_access(self._home, sockets=self.sockets, version=0)
        if self._new or not (opens(access.owner) and opens(access.app)):
            superuser = PostgresLogin(
                host=str(self.sockets),
                port=PORT,
                database="postgres",
                user=SUPERUSER,
                password=self._home.kept_secret("postgres-superuser"),
            )
            server_version(superuser)
            ensure_roles(superuser=superuser, owner=access.owner, app=access.app)
            self._new = False

    def answers(self) -> bool:
        """Say whether the server lets the program in and answers."""
        try:
            return opens(postgres_access(self._home, sockets=self.sockets, version=0).app)
        except EngineDirectoryUnusable:
            return False

    def access(self) -> PostgresAccess:
        """Return how to reach the running server."""
        version = server_version(postgres_access(self._home, sockets=self.sockets, version=0).app)
        return postgres_access(self._home, sockets=self.sockets, version=version)


def passfile(home: EngineHome, *, user: str) -> Path:
    """Return the libpq password file of a role: with it `psql` opens the database without asking."""
    return home.secrets / f"{user}.pgpass"


def postgres_access(home: EngineHome, *, sockets: Path, version: int) -> PostgresAccess:
    """Return the logins of the cluster of `home`, whose secrets must exist."""

    def login(user: str, secret: str) -> PostgresLogin:
        return PostgresLogin(
            host=str(sockets),
            port=PORT,
            database=DATABASE,
            user=user,
            password=home.kept_secret(secret),
            options=(("passfile", str(passfile(home, user=user))),),
        )

    return PostgresAccess(
        owner=login(OWNER, "postgres-owner"), app=login(APP, "postgres-app"), version=version, external=False
    )
