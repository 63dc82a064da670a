"""Whatever is killed without warning, nothing that was acknowledged is lost and service returns by itself."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import psutil
import psycopg

from isthmus.app.engines import EngineHealth, Engines, EngineSettings, running_engines
from isthmus.app.engines.resp import Conversation
from tests.rooms.app.engines import stage


def pid_of(engines: Engines, name: str) -> int:
    """Return the pid of an engine that runs."""
    pids = {one.name: one.pid for one in engines.health()}
    pid = pids["postgres" if name == "postgres" else "valkey"]
    assert pid is not None
    return pid


def healthy_again(engines: Engines, name: str, *, restarts: int) -> Callable[[], bool]:
    """Return the condition that an engine serves after so many restarts."""
    return lambda: any(
        one.name == name and one.status == "healthy" and one.restarts == restarts for one in engines.health()
    )


def write_until(connection: psycopg.Connection, *, kill_at: int, victim: int) -> list[int]:
    """Insert numbers one by one, kill `victim` on the way, and return the numbers that were acknowledged."""
    acknowledged: list[int] = []
    with contextlib.suppress(psycopg.OperationalError):
        for number in range(10 * kill_at):
            if number == kill_at:
                os.kill(victim, signal.SIGKILL)
            connection.execute("INSERT INTO numbers VALUES (%s)", [number])
            acknowledged.append(number)
    return acknowledged


def test_every_acknowledged_row_survives_the_death_of_the_postmaster(engines: Engines) -> None:
    with stage.connect(engines.postgres.owner) as connection:
        connection.execute("CREATE TABLE numbers (n int PRIMARY KEY)")
        acknowledged = write_until(connection, kill_at=300, victim=pid_of(engines, "postgres"))
    stage.until(healthy_again(engines, "postgres", restarts=1))
    with stage.connect(engines.postgres.owner) as connection:
        kept = set(stage.column(connection, "SELECT n FROM numbers"))
    assert len(acknowledged) >= 300
    assert set(acknowledged) <= kept
    assert len(kept) - len(acknowledged) <= 1


def test_a_busy_backend_of_a_dead_postmaster_does_not_keep_the_next_from_starting(
    engines: Engines, data_dir: Path
) -> None:
    busy = stage.connect(engines.postgres.owner)
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 400000000)")
    os.kill(pid_of(engines, "postgres"), signal.SIGKILL)
    stage.until(healthy_again(engines, "postgres", restarts=1))
    assert busy.info.backend_pid not in stage.engine_pids(data_dir)
    busy.close()


def test_every_acknowledged_row_survives_the_death_of_a_backend(engines: Engines) -> None:
    with stage.connect(engines.postgres.owner) as connection:
        connection.execute("CREATE TABLE numbers (n int PRIMARY KEY)")
        acknowledged = write_until(connection, kill_at=300, victim=connection.info.backend_pid)

    def serves() -> bool:
        with contextlib.suppress(psycopg.OperationalError), stage.connect(engines.postgres.owner) as connection:
            return set(acknowledged) <= set(stage.column(connection, "SELECT n FROM numbers"))
        return False

    stage.until(serves)
    assert len(acknowledged) >= 300
    assert healthy_again(engines, "postgres", restarts=0)()


def test_a_stop_right_after_the_death_of_a_backend_does_not_hang(data_dir: Path) -> None:
    engines = stage.start(data_dir)
    with stage.connect(engines.postgres.owner) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
    log = data_dir / "engines" / "logs" / "postgres.log"
    stage.until(lambda: "reinitializing" in log.read_text())
    begun = time.monotonic()
    engines.stop()
    assert time.monotonic() - begun < 30
    assert stage.engine_pids(data_dir) == set()


def test_every_acknowledged_key_survives_the_death_of_valkey(engines: Engines) -> None:
    assert engines.valkey is not None
    added = 0
    with Conversation.by_socket(engines.valkey.socket_path or "") as client:
        client.sign_in(engines.valkey.username, engines.valkey.password)
        while added < 1000:
            added += bool(client.ask("XADD", "numbers", "*", "n", str(added)))
    os.kill(pid_of(engines, "valkey"), signal.SIGKILL)
    stage.until(healthy_again(engines, "valkey", restarts=1))
    assert stage.ask_valkey(engines.valkey, "XLEN", "numbers") == added


def test_a_program_that_starts_while_valkey_is_dead_knows_the_way_to_it(engines: Engines, data_dir: Path) -> None:
    """Or it would go on without it for as long as it lives, with limits of its own."""
    os.kill(pid_of(engines, "valkey"), signal.SIGKILL)
    found = running_engines(settings=EngineSettings(data_dir=data_dir))
    assert found is not None
    assert found.valkey == engines.valkey
    unwanted = running_engines(settings=EngineSettings(data_dir=data_dir, want_valkey=False))
    assert unwanted is not None
    assert unwanted.valkey is None
    stage.until(healthy_again(engines, "valkey", restarts=1))


def test_engines_outlive_a_killed_program_and_the_next_one_takes_them_over_as_they_run(data_dir: Path) -> None:
    with stage.Program(data_dir) as first:
        before = first.hear()
        rest = first.kill()
        assert rest == "", "an engine that kept the program's output open would have blocked this"
    assert stage.engine_pids(data_dir)
    with stage.start(data_dir) as second:
        told = cast("list[dict[str, object]]", before["health"])
        assert {one.name: one.pid for one in second.health()} == {one["name"]: one["pid"] for one in told}
        os.kill(pid_of(second, "postgres"), signal.SIGKILL)
        stage.until(healthy_again(second, "postgres", restarts=1))
    assert stage.engine_pids(data_dir) == set()


def test_engines_that_a_killed_program_left_with_other_settings_are_stopped_in_order_and_started_anew(
    data_dir: Path,
) -> None:
    with stage.Program(data_dir) as first:
        first.hear()
        first.kill()
    facts = data_dir / "engines" / "running.json"
    facts.write_text(facts.read_text().replace('"fingerprint":"', '"fingerprint":"0'))
    before = stage.engine_pids(data_dir)
    with stage.start(data_dir):
        assert not before & stage.engine_pids(data_dir)
    assert (data_dir / "engines/logs/postgres.log").read_text().count("not properly shut down") == 0


def test_a_program_killed_together_with_its_engines_starts_again(data_dir: Path) -> None:
    with stage.Program(data_dir) as first:
        first.hear()
        for pid in stage.engine_pids(data_dir):
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        first.kill()
    with stage.start(data_dir) as second, stage.connect(second.postgres.app) as connection:
        assert stage.column(connection, "SELECT 1") == [1]


def test_a_pid_file_that_names_a_zombie_or_a_stranger_does_not_block_the_start(data_dir: Path) -> None:
    zombie = os.fork()
    if zombie == 0:
        os._exit(0)
    stage.until(lambda: psutil.Process(zombie).status() == psutil.STATUS_ZOMBIE)
    left = data_dir / "postgres" / "postmaster.pid"
    for taken in (zombie, 1):
        left.write_text(f"{taken}\n{data_dir}/postgres\n1\n5432\n\n\n\n")
        owner = (data_dir / "postgres").stat()
        os.chown(left, owner.st_uid, owner.st_gid)
        stage.start(data_dir).stop()
    os.waitpid(zombie, 0)


def test_a_cluster_that_is_removed_while_in_use_is_not_replaced_by_an_empty_one(data_dir: Path) -> None:
    with stage.start(data_dir) as engines:
        postmaster = pid_of(engines, "postgres")
        os.kill(postmaster, signal.SIGSTOP)
        shutil.rmtree(data_dir / "postgres")
        os.kill(postmaster, signal.SIGQUIT)
        os.kill(postmaster, signal.SIGCONT)
        stage.until(lambda: any("was removed while it was in use" in one.detail for one in engines.health()))
        assert not (data_dir / "postgres").exists()


def test_an_engine_that_cannot_start_is_tried_again_with_growing_pauses_until_it_can(data_dir: Path) -> None:
    heard: list[tuple[float, EngineHealth]] = []
    with stage.start(data_dir, on_change=lambda health: heard.append((time.monotonic(), health))) as engines:
        extra = data_dir / "postgres" / "postgresql.auto.conf"
        good = extra.read_bytes()
        extra.write_bytes(good + b"no_such_setting = 1\n")
        os.kill(pid_of(engines, "postgres"), signal.SIGKILL)
        stage.until(lambda: len([one for _, one in heard if one.status == "retrying"]) >= 6)
        extra.write_bytes(good)
        stage.until(lambda: heard[-1][1].status == "healthy")
        tried = [(at, one) for at, one in heard if one.status == "retrying" and one.name == "postgres"]
        assert "no_such_setting" in tried[1][1].detail
        # Two pauses together, so that a start that took long on a busy machine does not hide that they grow.
        assert tried[5][0] - tried[3][0] > tried[3][0] - tried[1][0] > 0.1
