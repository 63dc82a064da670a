"""Nobody gets in without a password, over the network, or by reading a file; and no log holds a value of a row."""

import contextlib
import os
import signal
import stat
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
from valkey.exceptions import AuthenticationError, NoPermissionError

from isthmus.app.engines import Engines
from tests.rooms.app.engines import stage

LISTENING = "0A"


def test_no_engine_listens_on_tcp(shared: Engines, shared_dir: Path) -> None:
    listening: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        listening |= {f"socket:[{row[9]}]" for row in rows if row[3] == LISTENING}
    held: set[str] = set()
    for pid in stage.engine_pids(shared_dir):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                held.add(str(descriptor.readlink()))
    assert any(one.startswith("socket:") for one in held), "the view of the engines' sockets is empty"
    assert not held & listening
    assert shared.supervised


def test_a_wrong_password_is_refused_and_no_entry_trusts_anybody(shared: Engines, shared_dir: Path) -> None:
    for login in (shared.postgres.owner, shared.postgres.app, stage.superuser(shared, data_dir=shared_dir)):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            stage.connect(replace(login, password="wrong", options=()))
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            stage.connect(replace(login, password="", options=(("passfile", "/dev/null"),)))
    rules = (shared_dir / "postgres" / "pg_hba.conf").read_text().splitlines()
    methods = [rule.split()[-1] for rule in rules if rule and not rule.startswith("#")]
    assert methods == ["scram-sha-256", "scram-sha-256"]


def test_valkey_refuses_strangers_and_its_user_does_not_administer_it(shared: Engines) -> None:
    assert shared.valkey is not None
    with pytest.raises(AuthenticationError):
        stage.ask_valkey(replace(shared.valkey, username=None, password=None), "PING")
    with pytest.raises(AuthenticationError):
        stage.ask_valkey(replace(shared.valkey, password="wrong"), "PING")
    with pytest.raises(NoPermissionError):
        stage.ask_valkey(shared.valkey, "CONFIG", "SET", "maxmemory", "1")
    assert stage.ask_valkey(shared.valkey, "PING") in {True, b"PONG"}


def test_every_directory_is_closed_and_every_file_private(shared: Engines, shared_dir: Path) -> None:
    assert shared.supervised
    passable = {"", "engines"} if os.geteuid() == 0 else set[str]()
    programs = ("engines/postgres-", "engines/valkey-")
    seen = 0
    for path in (shared_dir, *shared_dir.rglob("*")):
        name = str(path.relative_to(shared_dir)).removeprefix(".")
        if name.startswith(programs) or path.is_symlink():
            continue
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
            expected = {0o711 if name in passable else 0o700} if path.is_dir() else {0o600, 0o700}
            assert mode in expected, f"{name or 'the data directory'} has mode {mode:o}"
            assert path.is_dir() or path.is_socket() or mode == 0o600, f"{name} has mode {mode:o}"
            seen += 1
    assert seen > 100


def test_no_password_stands_in_arguments_environment_or_text_forms(shared: Engines, shared_dir: Path) -> None:
    secrets = [path.read_text() for path in (shared_dir / "secrets").iterdir() if path.suffix != ".pgpass"]
    assert len(secrets) == 4
    shown = [repr(shared.postgres), repr(shared.valkey), shared.postgres.app.conninfo]
    for pid in stage.engine_pids(shared_dir):
        with contextlib.suppress(psutil.NoSuchProcess):
            shown += [*psutil.Process(pid).cmdline(), *psutil.Process(pid).environ().values()]
    assert not [secret for secret in secrets if any(secret in text for text in shown)]
    assert {len(secret) for secret in secrets} == {43}


def test_the_password_file_lets_psql_in_without_a_question(shared: Engines) -> None:
    with psycopg.connect(shared.postgres.owner.conninfo) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("isthmus_owner",)


def test_the_two_roles_are_ordinary_and_only_one_owns(shared: Engines) -> None:
    with stage.connect(shared.postgres.app) as connection:
        rows = connection.execute(
            "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles "
            "WHERE rolname IN ('isthmus_owner', 'isthmus_app') ORDER BY 1"
        ).fetchall()
        assert rows == [("isthmus_app", False), ("isthmus_owner", False)]
        owner = connection.execute("SELECT datdba::regrole::text FROM pg_database WHERE datname = 'isthmus'").fetchone()
        assert owner == ("isthmus_owner",)
        connection.execute("CREATE TEMPORARY TABLE staged (n int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE public.mine (n int)")


def test_the_log_holds_no_value_of_a_row_even_when_a_backend_dies_at_it(engines: Engines, data_dir: Path) -> None:
    canary = "canary-7f3a@example.org"
    with stage.connect(engines.postgres.owner) as connection:
        connection.execute("CREATE TABLE people (mail text UNIQUE)")
        connection.execute("INSERT INTO people VALUES (%s)", [canary])
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO people VALUES (%s)", [canary])
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            connection.execute(f"SELECT '{canary}'::uuid".encode())
        with pytest.raises(psycopg.OperationalError):
            connection.execute(f"SELECT '{canary}', pg_terminate_backend(pg_backend_pid())".encode())
    dying = stage.connect(engines.postgres.owner)
    dying.pgconn.send_query(f"SELECT pg_sleep(60), '{canary}'".encode())
    with stage.connect(engines.postgres.owner) as beside:
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        stage.until(lambda: stage.column(beside, asleep) == [1])
    os.kill(dying.info.backend_pid, signal.SIGKILL)
    dying.close()
    log = data_dir / "engines" / "logs" / "postgres.log"
    stage.until(lambda: "was terminated by signal 9" in log.read_text())
    for path in (data_dir / "engines").rglob("*.log"):
        assert canary not in path.read_text()


def test_durability_is_on(shared: Engines) -> None:
    with stage.connect(shared.postgres.app) as connection:
        wanted = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
        assert [connection.execute(f"SHOW {name}".encode()).fetchone() for name in wanted] == [("on",)] * 4
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
