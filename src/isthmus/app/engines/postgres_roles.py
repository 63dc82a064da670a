"""The two roles of the database: an owner that runs migrations, and one for the program that owns nothing."""

import psycopg
from psycopg import sql

from isthmus.app.engines.access import PostgresLogin
from isthmus.app.engines.errors import EngineFailed

DATABASE = "isthmus"
SUPERUSER = "isthmus_engine"
OWNER = "isthmus_owner"
APP = "isthmus_app"
CONNECT_SECONDS = 10

_ORDINARY = sql.SQL("LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION")


def connect(login: PostgresLogin) -> psycopg.Connection:
    """Return a connection in autocommit mode that waits at most ten seconds to be made."""
    return psycopg.connect(login.conninfo, password=login.password, autocommit=True, connect_timeout=CONNECT_SECONDS)


def opens(login: PostgresLogin) -> bool:
    """Say whether the login is let in and answers."""
    try:
        with connect(login) as connection:
            return connection.execute("SELECT true").fetchone() is not None
    except psycopg.OperationalError:
        return False


def server_version(login: PostgresLogin) -> int:
    """Return `server_version_num`.

    Raises:
        EngineFailed: the server lets nobody in.
    """
    try:
        with connect(login) as connection:
            return connection.info.server_version
    except psycopg.OperationalError as refusal:
        raise EngineFailed(
            f"PostgreSQL does not let {login.user} in: {refusal}",
            fix="Look into engines/logs/postgres.log in the data directory.",
        ) from refusal


def ensure_roles(*, superuser: PostgresLogin, owner: PostgresLogin, app: PostgresLogin) -> None:
    """Make both roles and the database, or mend what is missing; the passwords in our files are the ones that count."""
    with connect(superuser) as connection:
        for login in (owner, app):
            ensure_role(connection, user=login.user, password=login.password)
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [owner.database]).fetchone()
        if found is None:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(owner.database), sql.Identifier(owner.user)
                )
            )
        close_to_the_public(connection, database=owner.database, app=app.user)


def ensure_role(connection: psycopg.Connection, *, user: str, password: str) -> None:
    """Make a login role, or give the one that exists this password. Only its SCRAM verifier travels."""
    verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone() is not None
    verb = sql.SQL("ALTER ROLE {} {} PASSWORD {}") if exists else sql.SQL("CREATE ROLE {} {} PASSWORD {}")
    connection.execute(verb.format(sql.Identifier(user), _ORDINARY, sql.Literal(verifier)))


def close_to_the_public(connection: psycopg.Connection, *, database: str, app: str) -> None:
    """Let only the owner and `app` in; `app` may connect and stage rows in temporary tables."""
    names = {"database": sql.Identifier(database), "app": sql.Identifier(app)}
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names))
    connection.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {app}").format(**names))
