"""A PostgreSQL given by URL: TLS is verified beyond this machine, the version checked, the two roles separate."""

import ipaddress

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from isthmus.app.engines.access import PostgresAccess, PostgresLogin
from isthmus.app.engines.errors import EngineUrlRefused, ExternalEngineUnfit
from isthmus.app.engines.home import EngineHome, Entropy
from isthmus.app.engines.postgres_roles import APP, connect, ensure_role, opens

OLDEST = 150000
VERIFYING = ("verify-full", "verify-ca")
APP_SECRET = "external-postgres-app"  # noqa: S105  the name of the file, not what is in it
OWNER_VARIABLE, APP_VARIABLE = "ISTHMUS_DATABASE_URL", "ISTHMUS_DATABASE_APP_URL"


def is_local(host: str) -> bool:
    """Say whether a host is a socket directory or a loopback address, so that nothing leaves this machine."""
    if host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def postgres_login(url: str, *, variable: str) -> PostgresLogin:
    """Return the login that a libpq URL (or connection string) names; `variable` is what to call it in errors.

    Raises:
        EngineUrlRefused: it cannot be read, leaves out host or user, or would not verify the server's certificate.
    """
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError:
        raise EngineUrlRefused(
            f"{variable} cannot be read.", fix="Write it as postgresql://user:password@host:5432/database."
        ) from None
    hosts = [host for name in ("host", "hostaddr") for host in given.get(name, "").split(",") if host]
    if not hosts or "user" not in given or "service" in given:
        raise EngineUrlRefused(
            f"{variable} must itself name host and user, and no service.",
            fix="Write it as postgresql://user:password@host:5432/database.",
        )
    if not all(is_local(host) for host in hosts):
        _demand_verified_tls(given, variable=variable)
    host, ports = given.pop("host", given.get("hostaddr", "")), given.pop("port", "5432")
    user, password = given.pop("user"), given.pop("password", "")
    database = given.pop("dbname", user)
    several = {"port": ports} if "," in ports else {}
    return PostgresLogin(
        host=host,
        port=int(ports.split(",")[0] or "5432"),
        database=database,
        user=user,
        password=password,
        options=tuple({**given, **several}.items()),
    )


def _demand_verified_tls(given: dict[str, str], *, variable: str) -> None:
    """Complete the parameters so that only a server with a verified certificate is spoken to."""
    mode = given.setdefault("sslmode", "verify-full")
    if mode not in VERIFYING:
        raise EngineUrlRefused(
            f"{variable} asks for sslmode={mode}, which does not verify who answers.",
            fix="Use sslmode=verify-full with sslrootcert=/path/to/ca.pem (for public certificates "
            "/etc/ssl/certs/ca-certificates.crt or sslrootcert=system).",
        )
    given["gssencmode"] = "disable"


def external_postgres(*, url: str, app_url: str | None, home: EngineHome, entropy: Entropy) -> PostgresAccess:
    """Return the checked access to an external PostgreSQL; the restricted role is made if that is permitted.

    Raises:
        EngineUrlRefused: a URL is malformed or unverified.
        ExternalEngineUnfit: no answer, too old, or no separate role.
    """
    owner = postgres_login(url, variable=OWNER_VARIABLE)
    try:
        with connect(owner) as connection:
            version = connection.info.server_version
            if version < OLDEST:
                raise ExternalEngineUnfit(
                    f"The PostgreSQL of {OWNER_VARIABLE} is version {version // 10000}.",
                    fix=f"Upgrade it to {OLDEST // 10000} or newer.",
                )
            if app_url is not None:
                app = postgres_login(app_url, variable=APP_VARIABLE)
            else:
                app = _own_app_role(connection, owner=owner, home=home, entropy=entropy)
            _demand_separate_roles(connection, owner=owner, app=app)
    except psycopg.OperationalError as refusal:
        raise _unanswered(OWNER_VARIABLE, refusal) from refusal
    try:
        connect(app).close()
    except psycopg.OperationalError as refusal:
        raise _unanswered(APP_VARIABLE, refusal) from refusal
    return PostgresAccess(owner=owner, app=app, version=version, external=True)


def known_external_postgres(*, url: str, app_url: str | None, home: EngineHome) -> PostgresAccess | None:
    """Return the access that `external_postgres` established earlier; None if it never did or nobody answers now."""
    owner = postgres_login(url, variable=OWNER_VARIABLE)
    if app_url is None and not (home.secrets / APP_SECRET).exists():
        return None
    app = (
        postgres_login(app_url, variable=APP_VARIABLE)
        if app_url is not None
        else _app_beside(owner, password=home.kept_secret(APP_SECRET))
    )
    try:
        with connect(app) as connection:
            return PostgresAccess(owner=owner, app=app, version=connection.info.server_version, external=True)
    except psycopg.OperationalError:
        return None


def _unanswered(variable: str, refusal: psycopg.OperationalError) -> ExternalEngineUnfit:
    return ExternalEngineUnfit(
        f"The PostgreSQL of {variable} cannot be used: {str(refusal).strip()}",
        fix="Check host, port, password and certificate; sslrootcert names the authority that signed the server's.",
    )


def _app_beside(owner: PostgresLogin, *, password: str) -> PostgresLogin:
    own = {"sslcert", "sslkey", "sslpassword", "passfile"}
    return PostgresLogin(
        host=owner.host,
        port=owner.port,
        database=owner.database,
        user=APP,
        password=password,
        options=tuple(pair for pair in owner.options if pair[0] not in own),
    )


def _own_app_role(
    connection: psycopg.Connection, *, owner: PostgresLogin, home: EngineHome, entropy: Entropy
) -> PostgresLogin:
    """Return the login of the restricted role, made on first use; one that others made keeps its password."""
    app = _app_beside(owner, password=home.secret(APP_SECRET, entropy=entropy))
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APP]).fetchone() is not None
    may = connection.execute(
        "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    ).fetchone() == (True,)
    if not exists and may:
        ensure_role(connection, user=APP, password=app.password)
        names = {"database": sql.Identifier(owner.database), "app": sql.Identifier(APP)}
        connection.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {app}").format(**names))
    if not opens(app):
        raise ExternalEngineUnfit(
            f"There is no restricted role for isthmus: {APP} "
            f"{'exists with a password of its own' if exists else 'cannot be made by the owner'}.",
            fix=f"Let an administrator run: CREATE ROLE {APP} LOGIN PASSWORD '…'; and set {APP_VARIABLE} to its URL.",
        )
    return app


def _demand_separate_roles(connection: psycopg.Connection, *, owner: PostgresLogin, app: PostgresLogin) -> None:
    """Refuse a restricted role that row-level security would not bind."""
    row = connection.execute(
        "SELECT rolsuper OR rolbypassrls OR pg_has_role(rolname, %s, 'MEMBER') FROM pg_roles WHERE rolname = %s",
        [owner.user, app.user],
    ).fetchone()
    if row != (False,):
        raise ExternalEngineUnfit(
            f"The role {app.user} of {APP_VARIABLE} is unknown, a superuser, exempt from row security, or the owner.",
            fix=f"Let an administrator run: CREATE ROLE {APP} LOGIN PASSWORD '…'; and set {APP_VARIABLE} to its URL.",
        )
