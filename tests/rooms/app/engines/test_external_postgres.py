"""A PostgreSQL by URL is used as it is, if its answers can be believed."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from isthmus.app.engines import (
    Engines,
    EngineSettings,
    EngineUrlRefused,
    ExternalEngineUnfit,
    running_engines,
    start_engines,
)
from isthmus.app.engines.external_postgres import postgres_login
from tests.rooms.app.engines import stage
from tests.rooms.app.engines.counterpart_postgres import ForeignPostgres, certificates, foreign_postgres
from tests.rooms.app.engines.program import present_moment


@pytest.fixture(scope="module")
def foreign() -> Iterator[ForeignPostgres]:
    """A PostgreSQL that somebody else runs."""
    with foreign_postgres() as running:
        yield running


def use(data_dir: Path, url: str, *, app_url: str | None = None) -> Engines:
    """Start with an external PostgreSQL and no Valkey."""
    settings = EngineSettings(data_dir=data_dir, database_url=url, database_app_url=app_url, want_valkey=False)
    return start_engines(settings=settings, entropy=secrets.token_bytes, now=present_moment)


def test_with_a_url_nothing_is_started_and_the_restricted_role_is_made(
    foreign: ForeignPostgres, tmp_path: Path
) -> None:
    engines = use(tmp_path, foreign.url())
    assert engines.postgres.external
    assert engines.postgres.version >= 150000
    assert engines.health() == ()
    assert not (tmp_path / "postgres").exists()
    with stage.connect(engines.postgres.app) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("isthmus_app", "company")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE public.mine (n int)")
    again = use(tmp_path, foreign.url())
    assert again.postgres == engines.postgres
    settings = EngineSettings(data_dir=tmp_path, database_url=foreign.url(), want_valkey=False)
    found = running_engines(settings=settings)
    assert found is not None
    assert found.postgres == engines.postgres
    assert oct((tmp_path / "secrets" / "external-postgres-app").stat().st_mode & 0o777) == "0o600"
    elsewhere = tmp_path / "another machine"
    with pytest.raises(ExternalEngineUnfit, match="exists with a password of its own"):
        use(elsewhere, foreign.url())
    password = engines.postgres.app.password
    given = use(elsewhere, foreign.url(), app_url=foreign.url(user="isthmus_app", password=password))
    assert given.postgres.app.user == "isthmus_app"


def test_a_restricted_role_that_row_security_would_not_bind_is_refused(
    foreign: ForeignPostgres, tmp_path: Path
) -> None:
    with psycopg.connect(foreign.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE free LOGIN BYPASSRLS PASSWORD 'x'")
        connection.execute("CREATE ROLE heir LOGIN PASSWORD 'x' IN ROLE admin")
    for user, password in (("free", "x"), ("heir", "x"), ("admin", "counterpart")):
        with pytest.raises(ExternalEngineUnfit, match="superuser, exempt from row security, or the owner"):
            use(tmp_path, foreign.url(), app_url=foreign.url(user=user, password=password))


def test_a_wrong_password_is_told_without_showing_it(foreign: ForeignPostgres, tmp_path: Path) -> None:
    with pytest.raises(ExternalEngineUnfit, match="password authentication failed") as refusal:
        use(tmp_path, foreign.url(password="wrong-and-secret"))
    assert "wrong-and-secret" not in str(refusal.value)


def test_a_verified_server_is_used_and_an_impostor_is_not(foreign: ForeignPostgres, tmp_path: Path) -> None:
    with psycopg.connect(foreign.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE tenant LOGIN PASSWORD 'x'")
    rest = f"?sslmode=verify-full&hostaddr=127.0.0.1&sslrootcert={foreign.authority}"
    app_url = foreign.url(user="tenant", password="x", host="db.example.org", rest=rest)
    engines = use(tmp_path, foreign.url(host="db.example.org", rest=rest), app_url=app_url)
    with stage.connect(engines.postgres.app) as connection:
        assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
    with pytest.raises(ExternalEngineUnfit, match=r"db\.example\.net"):
        use(tmp_path, foreign.url(host="db.example.net", rest=rest), app_url=app_url)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    unknown = rest.replace(str(foreign.authority), str(certificates(stranger).authority))
    with pytest.raises(ExternalEngineUnfit, match="SSL error"):
        use(tmp_path, foreign.url(host="db.example.org", rest=unknown), app_url=app_url)


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_beyond_this_machine_every_mode_that_verifies_nothing_is_refused_with_the_fix(mode: str) -> None:
    with pytest.raises(EngineUrlRefused, match="sslmode=verify-full with sslrootcert"):
        postgres_login(f"postgresql://u:p@db.example.org/d?sslmode={mode}", variable="ISTHMUS_DATABASE_URL")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@db.example.org/d",
        "postgresql://u:p@localhost,db.example.org/d",
        "postgresql://u:p@localhost/d?hostaddr=192.0.2.7",
        "host=192.0.2.7 user=u password=p dbname=d",
        "host=/run/postgresql,db.example.org user=u dbname=d",
    ],
)
def test_beyond_this_machine_verification_is_the_default(url: str) -> None:
    options = dict(postgres_login(url, variable="ISTHMUS_DATABASE_URL").options)
    assert (options["sslmode"], options["gssencmode"]) == ("verify-full", "disable")


@pytest.mark.parametrize(
    "url",
    ["", "postgresql://db.example.org/d", "postgresql:///d?user=u", "nonsense://", "postgresql://u@h/d?service=s"],
)
def test_a_url_that_leaves_out_whom_to_ask_is_refused(url: str) -> None:
    with pytest.raises(EngineUrlRefused, match="postgresql://user:password@host:5432/database"):
        postgres_login(url, variable="ISTHMUS_DATABASE_URL")


def test_a_url_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(EngineUrlRefused) as refusal:
        postgres_login("postgresql://u:secret@[::1/d", variable="ISTHMUS_DATABASE_URL")
    assert "secret" not in str(refusal.value)


def test_several_hosts_keep_their_ports() -> None:
    login = postgres_login("postgresql://u:p@127.0.0.1:6001,127.0.0.2:6002/d", variable="ISTHMUS_DATABASE_URL")
    assert "port=6001,6002" in login.conninfo
    assert "p@" not in login.conninfo
