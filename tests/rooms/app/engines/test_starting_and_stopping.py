"""Cold, warm, joined, stopped."""

import os
import tempfile
from pathlib import Path

import psutil
import pytest

from isthmus.app.engines import EngineSettings, EnginesHeld, running_engines, start_engines
from isthmus.app.engines.holding import DirectoryLock
from isthmus.app.engines.home import EngineHome
from isthmus.app.engines.liveness import working_in
from tests.rooms.app.engines import stage
from tests.rooms.app.engines.program import present_moment


def test_a_cold_start_gives_both_engines_and_a_warm_one_finds_what_was_written() -> None:
    with stage.directory(parent=Path(tempfile.gettempdir())) as data_dir:
        with stage.start(data_dir) as cold:
            assert cold.supervised
            assert cold.valkey is not None
            with stage.connect(cold.postgres.owner) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
            stage.ask_valkey(cold.valkey, "SET", "kept", "8")
        with stage.start(data_dir) as warm, stage.connect(warm.postgres.owner) as connection:
            assert warm.valkey is not None
            assert stage.column(connection, "SELECT n FROM kept") == [7]
            assert stage.ask_valkey(warm.valkey, "GET", "kept") == b"8"
            assert {one.name: one.status for one in warm.health()} == {"postgres": "healthy", "valkey": "healthy"}


def test_a_clean_stop_leaves_no_program_no_socket_and_nothing_to_join(data_dir: Path) -> None:
    engines = stage.start(data_dir)
    sockets = Path(engines.postgres.app.host)
    assert len(stage.engine_pids(data_dir)) > 1
    assert list(sockets.iterdir())
    pids = [one.pid for one in engines.health()]
    engines.stop()
    assert stage.engine_pids(data_dir) == set()
    assert list(sockets.iterdir()) == []
    assert str(sockets) not in Path("/proc/net/unix").read_text()
    assert not [pid for pid in pids if pid is not None and psutil.pid_exists(pid)], "stopped and not reaped"
    assert running_engines(settings=EngineSettings(data_dir=data_dir)) is None
    engines.stop()


def test_a_second_program_joins_and_leaves_the_engines_running_when_it_ends(data_dir: Path) -> None:
    with stage.start(data_dir) as first, stage.Program(data_dir) as second:
        told = second.hear()
        assert (told["supervised"], told["holder"]) == (False, os.getpid())
        assert told["postgres"] == first.postgres.version
        assert second.tell("stop") == {"stopped": True}
        with stage.connect(first.postgres.app) as connection:
            assert stage.column(connection, "SELECT 1") == [1]


def test_a_command_beside_a_running_program_finds_its_engines(data_dir: Path) -> None:
    with stage.start(data_dir) as first:
        found = running_engines(settings=EngineSettings(data_dir=data_dir))
        assert found is not None
        assert (found.postgres, found.valkey) == (first.postgres, first.valkey)


def test_a_directory_whose_holder_has_no_engines_ready_is_refused_with_the_holders_name(data_dir: Path) -> None:
    home = EngineHome(data_dir)
    home.prepare()
    lock = DirectoryLock.take(home.lock, now=present_moment())
    assert lock is not None
    settings = EngineSettings(data_dir=data_dir, join_seconds=0.1)
    with pytest.raises(EnginesHeld, match=f"Program {os.getpid()} .since 20"):
        start_engines(settings=settings, entropy=os.urandom, now=present_moment)
    lock.release()


def test_a_forked_child_neither_keeps_the_lock_nor_stops_the_engines(data_dir: Path) -> None:
    with stage.start(data_dir) as engines:
        child = os.fork()
        if child == 0:
            engines.stop()
            os._exit(0 if stage.engine_pids(data_dir) else 1)
        assert os.waitpid(child, 0)[1] == 0
        with stage.connect(engines.postgres.app) as connection:
            assert stage.column(connection, "SELECT 1") == [1]


def test_postgresql_only_mode_runs_no_valkey_and_ends_one_left_running(data_dir: Path) -> None:
    with stage.Program(data_dir) as killed:
        killed.hear()
        killed.kill()
    alone = EngineSettings(data_dir=data_dir, want_valkey=False)
    with start_engines(settings=alone, entropy=os.urandom, now=present_moment) as engines:
        assert engines.valkey is None
        assert stage.engine_pids(data_dir)
        assert not working_in(data_dir / "valkey", program="valkey-server")


def test_a_cluster_of_another_major_version_is_refused_and_left_alone(data_dir: Path) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("14\n")
    with stage.Program(data_dir) as program:
        told = program.hear()
    assert told["refused"] == "engine-directory-unusable"
    assert "made by PostgreSQL 14" in str(told["detail"])
    assert (data_dir / "postgres" / "PG_VERSION").read_text() == "14\n"
    assert stage.engine_pids(data_dir) == set()


def test_an_initialisation_that_was_killed_half_way_is_begun_again() -> None:
    with stage.directory() as data_dir:
        home = EngineHome(data_dir)
        home.prepare()
        half = data_dir / "postgres.unfinished"
        half.mkdir()
        (half / "PG_VERSION").write_text("18\n")
        with stage.start(data_dir) as engines:
            assert engines.postgres.version >= 150000
        assert not half.exists()
