"""A real BottleCRM from PyPI, as processes of its own, and what its people do there beside the connector.

It keeps companies apart by row-level security, so it runs as a role of PostgreSQL that is no superuser.

python -m tests.rooms.connectors.bottlecrm_room        records the fixtures of the connector anew
"""

import asyncio
import fcntl
import json
import os
import pwd
import subprocess
import tarfile
import time
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import msgspec
import psycopg

from isthmus.connectors import bottlecrm as connector
from isthmus.connectors.bottlecrm import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Page, Raw, Session
from tests.counterparts import PYTHON, require_debian, require_python
from tests.rooms.app.engines import stage
from tests.rooms.app.engines.counterpart_postgres import free_port

FIXTURES = Path(connector.__file__).parent / "fixtures"
PACKAGE, OWNER, DATABASE = "django-crm", "bottle", "bottle"
START_S_MAX, STOP_S_MAX = 120.0, 30.0
# The tables as the models say them, which the migrations lead to in two hundred times as long, with the policies that
# keep companies apart; then a company, isthmus, one of its people, and one who is no admin.
STEPS = """
import crm.settings, django

class Skipped(dict):
    def __contains__(self, name):
        return True
    def __getitem__(self, name):
        return None
    def get(self, name, default=None):
        return None

crm.settings.MIGRATION_MODULES = Skipped()
django.setup()
from django.core.management import call_command
from django.db import connection
from common.models import Org, PersonalAccessToken, Profile, User
from common.rls import ORG_SCOPED_TABLES, get_enable_policy_sql, get_set_context_sql

call_command("migrate", run_syncdb=True, verbosity=0)
org = Org.objects.create(name="Quince", default_currency="EUR")
with connection.cursor() as cursor:
    for table in ORG_SCOPED_TABLES:
        cursor.execute(get_enable_policy_sql(table))
    cursor.execute(get_set_context_sql(), [str(org.id)])
for name, role in (("isthmus", "ADMIN"), ("agent", "ADMIN"), ("intern", "USER")):
    user = User.objects.create(email=name + "@bottle.example", name=name.title(), is_active=True)
    profile = Profile.objects.create(user=user, org=org, role=role, is_active=True, phone=None)
    print(PersonalAccessToken.generate(profile, name)[0])
"""
Row = dict[str, Json]


@dataclass(frozen=True, slots=True)
class BottleCrm:
    """A running server; `token` is that of isthmus, `agent` that of one of its people, `intern` that of no admin."""

    url: str
    home: Path
    database: int
    token: str = field(repr=False)
    agent: str = field(repr=False)
    intern: str = field(repr=False)

    @property
    def settings(self) -> dict[str, str]:
        """What connects to it."""
        return {"url": self.url, "token": self.token}

    def ask(self, method: str, path: str, payload: Json = None) -> tuple[int, Json]:
        """Ask as an agent; returns the status and what was answered."""
        headers = {"Authorization": f"Bearer {self.agent}", "Content-Type": "application/json"}
        body = None if payload is None else msgspec.json.encode(payload)
        asked = Request(f"{self.url}/api/{path}", data=body, method=method, headers=headers)  # noqa: S310 - a server of ours.
        try:
            with urlopen(asked, timeout=60) as answer:  # noqa: S310 - a server of ours.
                status, said = answer.status, answer.read()
        except HTTPError as error:
            with error:
                status, said = error.code, error.read()
        return status, msgspec.json.decode(said) if said else None

    def make(self, kind: str, **values: Json) -> str:
        """Make a record and return its id."""
        status, said = self.ask("POST", f"{kind}/", dict(values))
        assert status == 200, said
        return str(cast("Row", said)["id"])

    def change(self, kind: str, of: str, **values: Json) -> None:
        """Change a record."""
        status, said = self.ask("PATCH", f"{kind}/{of}/", dict(values))
        assert status == 200, said

    def delete(self, kind: str, of: str) -> None:
        """Delete a record."""
        status, said = self.ask("DELETE", f"{kind}/{of}/")
        assert status in (200, 204), said

    def get(self, kind: str, of: str) -> Row:
        """Return a record; empty when it is not there."""
        status, found = self.ask("GET", f"{kind}/{of}/")
        if status == 404:
            return {}
        assert status == 200, found
        whole = cast("Row", found)
        return cast("Row", next((each for name, each in whole.items() if name in _ALONE), whole))

    def do(self, query: str, *given: object) -> list[tuple[object, ...]]:
        """Change its database by hand, for what nobody can do in time: such as many records in one instant."""
        url = f"postgresql://postgres@127.0.0.1:{self.database}/{DATABASE}"
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), given)
            return list(cursor.fetchall()) if cursor.description else []


_ALONE = ("account_obj", "contact_obj", "lead_obj", "opportunity_obj", "cases_obj", "task_obj")


@contextmanager
def bottlecrm() -> Generator[BottleCrm]:
    """Run a server with nothing in it while the block runs; it ends with us, however we end."""
    programs = require_python(PACKAGE, version=PYTHON[PACKAGE])
    template = _template(programs)
    with TemporaryDirectory(prefix="isthmus-bottle-", dir=stage.quick_parent()) as made:
        home = Path(made)
        home.chmod(0o755)
        with tarfile.open(template / "cluster.tar") as packed:
            packed.extractall(home, filter="tar")
        with _postgres(home) as database:
            port = free_port()
            token, agent, intern = (template / "tokens").read_text("utf-8").split()
            found = BottleCrm(
                url=f"http://127.0.0.1:{port}", home=home, database=database, token=token, agent=agent, intern=intern
            )
            serve = [str(programs / "uvicorn"), "crm.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
            serve += ["--log-level", "warning", "--timeout-keep-alive", "120"]
            with _leashed(serve, home=home, environment=_environment(database), log="server.txt") as process:
                _wait(process, found)
                yield found


@contextmanager
def _leashed(
    program: list[str], *, home: Path, environment: dict[str, str], log: str, user: str | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run a program while the block runs; when we end, the pipe closes, and it is ended too."""
    leash = ["/bin/sh", "-c", '"$@" & server=$!; read -r _; kill -INT "$server"; wait "$server"', "leash", *program]
    with (home / log).open("wb") as told:
        process = subprocess.Popen(
            leash, cwd=home, env=environment, user=user, stdin=subprocess.PIPE, stdout=told, stderr=told
        )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(STOP_S_MAX)


@contextmanager
def _postgres(home: Path) -> Generator[int]:
    """Run the PostgreSQL of a home while the block runs."""
    program, port = require_debian("postgresql", binary="postgres"), free_port()
    _give(home)
    serve = [str(program), "-D", str(home / "cluster"), "-p", str(port), "-k", str(home / "cluster")]
    serve += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=32MB"]
    with _leashed(serve, home=home, environment=dict(os.environ), log="postgres.txt", user=_user()):
        stage.until(lambda: _answers(port))
        yield port


def _answers(port: int) -> bool:
    try:
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres"):
            return True
    except psycopg.OperationalError:
        return False


def _user() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


def _give(home: Path) -> None:
    """Give the cluster to the user that will run it, and to nobody else."""
    if (user := _user()) is not None:
        subprocess.run(["chown", "-R", str(pwd.getpwnam(user).pw_uid), str(home / "cluster")], check=True)  # noqa: S607  found by PATH as everywhere
    (home / "cluster").chmod(0o700)


def _environment(database: int) -> dict[str, str]:
    """Return the environment that the server and its programs run in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO"))}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "crm.settings",
        "SECRET_KEY": "a secret of no importance that is as long as it must be for the server to be content",
        "ENV_TYPE": "dev",
        "DEBUG": "False",
        "DBNAME": DATABASE,
        "DBUSER": OWNER,
        "DBHOST": "127.0.0.1",
        "DBPORT": str(database),
        "CELERY_BROKER_URL": "memory://",
        "CELERY_RESULT_BACKEND": "cache+memory://",
        "ALLOWED_HOSTS": "127.0.0.1",
        "DB_POOL_ENABLED": "true",
    }


def _wait(process: subprocess.Popen[bytes], server: BottleCrm) -> None:
    deadline = time.monotonic() + START_S_MAX
    while process.poll() is None and time.monotonic() < deadline:
        try:
            status, said = server.ask("GET", "profile/")
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            assert status == 200, said
            return
    told = (server.home / "server.txt").read_text("utf-8", "replace")[-2000:]
    message = f"BottleCRM did not start:\n{told}"
    raise RuntimeError(message)


def _template(programs: Path) -> Path:
    """Return a directory with a packed cluster that holds a new company, made once on this machine."""
    postgres = require_debian("postgresql", binary="postgres")
    name = sha256(f"{PYTHON[PACKAGE]} {postgres} {STEPS}".encode()).hexdigest()[:16]
    above = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "isthmus", "counterparts")
    root = above / f"bottlecrm-{name}"
    root.mkdir(parents=True, exist_ok=True)
    with (above / f"{root.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (root / "tokens").exists():
            with TemporaryDirectory(prefix="isthmus-bottle-", dir=stage.quick_parent()) as made:
                home = Path(made)
                home.chmod(0o755)
                (home / "cluster").mkdir()
                _give(home)
                options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
                _run([str(postgres.with_name("initdb")), "-D", str(home / "cluster"), *options], home, user=_user())
                with _postgres(home) as database:
                    url = f"postgresql://postgres@127.0.0.1:{database}/postgres"
                    with psycopg.connect(url, autocommit=True) as connection:
                        connection.execute(f"create role {OWNER} login".encode())
                        connection.execute(f"create database {DATABASE} owner {OWNER}".encode())
                    tokens = _run([str(programs / "python"), "-c", STEPS], home, environment=_environment(database))
                with tarfile.open(root / "cluster.tar", "w") as packed:
                    packed.add(home / "cluster", "cluster")
                (root / "tokens").write_text(tokens, "utf-8")
    return root


def _run(command: list[str], home: Path, *, user: str | None = None, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=home,
        env=environment,
        user=user,
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def opened(server: BottleCrm, **settings: str) -> AbstractAsyncContextManager[Session]:
    """Open a session as a person would connect it."""
    defaults = {each.name: each.default for each in CONNECTOR.settings if each.default is not None}
    return CONNECTOR.open(defaults | server.settings | settings)


async def pages(session: Session, feed: str, cursor: str | None = None) -> list[Page]:
    """Read a feed to its end."""
    return [page async for page in session.read(feed, cursor=cursor)]


async def rows(session: Session, feed: str, cursor: str | None = None) -> list[Raw]:
    """Read the rows of a feed."""
    return [row for page in await pages(session, feed, cursor) for row in page.rows]


def fixture(feed: str) -> list[Row]:
    """Return the recorded rows of a feed."""
    return cast("list[Row]", json.loads((FIXTURES / f"{feed}.json").read_text("utf-8")))


def company(server: BottleCrm) -> None:
    """Make what the fixtures show: a company with somebody in it, a lead, a deal, a ticket and tasks."""
    agent = next(
        str(each["id"])
        for each in cast("list[Row]", cast("Row", server.ask("GET", "users/get-teams-and-users/")[1])["profiles"])
        if cast("Row", each["user_details"])["email"] == "agent@bottle.example"
    )
    gold = cast("Row", cast("Row", server.ask("POST", "tags/", {"name": "gold"})[1])["tag"])["id"]
    tier = {"target_model": "Account", "key": "tier", "label": "Tier", "field_type": "text"}
    assert server.ask("POST", "custom-fields/", cast("Json", tier))[0] == 201
    quince = server.make(
        "accounts",
        name="Quince GmbH",
        website="https://www.quince.example/en",
        phone="+32 9 555 01 00",
        industry="BANKING",
        number_of_employees=40,
        annual_revenue="1200000.00",
        currency="EUR",
        address_line="Kouter 1",
        city="Gent",
        postcode="9000",
        country="BE",
        tags=[gold],
        assigned_to=[agent],
        custom_fields={"tier": "one"},
    )
    server.make("accounts", name="Sleeping Ltd", is_active=False)
    ines = server.make(
        "contacts",
        first_name="Ines",
        last_name="Quettier",
        email="ines@quince.example",
        title="Head of marketing",
        account=quince,
        source_ref="fair",
    )
    server.make("contacts", first_name="Only", last_name="-")
    server.make(
        "leads",
        first_name="Ada",
        last_name="Anker",
        email="ada@anker.example",
        company_name="Anker",
        status="in process",
        opportunity_amount="500.00",
        currency="EUR",
        country="NL",
    )
    server.make("leads", first_name="Bo", last_name="Bow", email="bo@bow.example", company_name="Bow", status="closed")
    deal = server.make(
        "opportunities",
        name="Quince 2027",
        account=quince,
        amount="100.00",
        currency="EUR",
        closed_on="2026-12-01",
        stage="NEGOTIATION",
        contacts=[ines],
        assigned_to=[agent],
    )
    case: Row = {"status": "Pending", "priority": "High", "case_type": "Question", "description": "Since Monday."}
    server.make("cases", name="The order is late", account=quince, contacts=[ines], **case)
    for title, more in (
        ("Call Ines", {"opportunity": deal, "due_date": "2026-12-01", "status": "New"}),
        ("Sent the offer", {"account": quince, "status": "Completed"}),
    ):
        made = server.ask("POST", "tasks/", cast("Json", {"title": title, "priority": "Medium", **more}))
        assert made[0] == 200, made[1]


async def _record() -> None:
    with bottlecrm() as server:
        company(server)
        async with opened(server) as session:
            for feed in CONNECTOR.feeds:
                bodies = [row.body for row in await rows(session, feed.name)]
                written = json.dumps(bodies, indent=1, ensure_ascii=False, sort_keys=True)
                (FIXTURES / f"{feed.name}.json").write_text(f"{written}\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(_record())
