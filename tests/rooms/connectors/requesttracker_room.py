"""A real Request Tracker 5 from Debian, as processes of its own, and what its people do there beside the connector.

Request Tracker is GPL: it is only ever run.

python -m tests.rooms.connectors.requesttracker_room        records the fixtures of the connector anew
"""

import asyncio
import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import msgspec

from isthmus.connectors import requesttracker as connector
from isthmus.connectors.requesttracker import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Page, Raw, Session
from tests.counterparts import require_debian
from tests.rooms.app.engines import stage
from tests.rooms.app.engines.counterpart_postgres import free_port

FIXTURES = Path(connector.__file__).parent / "fixtures"
PACKAGES = "request-tracker5 rt5-db-sqlite rt5-standalone"
SERVER = "/usr/share/request-tracker5/libexec/rt-server"
START_S_MAX, STOP_S_MAX = 120.0, 15.0
# The cost of a check of a token is low, since each request has one.
CONFIGURATION = """\
Set($rtname, 'desk.example'); Set($Organization, 'desk.example'); Set($WebDomain, '127.0.0.1'); Set($WebPort, {port});
Set($WebPath, ''); Set($WebBaseURL, 'http://127.0.0.1:{port}'); Set($DatabaseType, 'SQLite');
Set($DatabaseName, '{home}/desk.db'); Set($DatabaseUser, ''); Set($DatabasePassword, ''); Set($DatabaseAdmin, '');
Set($MailCommand, 'testfile'); Set($LogToSyslog, undef); Set($WebSessionClass, 'Apache::Session::File');
Set($MasonSessionDir, '{home}/session'); Set($Timezone, 'US/Eastern'); Set($BcryptCost, 4);
1;
"""
# Its people's first steps: no mail, a custom field, an agent in another time zone, and a user for isthmus in UTC.
STEPS = r"""
use lib '/usr/share/request-tracker5/lib'; use RT -init; use RT::AuthToken;
my $system = RT->SystemUser;
my $scrips = RT::Scrips->new($system); $scrips->UnLimit;
while (my $scrip = $scrips->Next) { $scrip->SetDisabled(1) unless $scrip->ActionObj->Name =~ /Open/ }
my $channel = RT::CustomField->new($system);
$channel->Create(Name => 'Channel', Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket');
$channel->AddToObject(RT::Queue->new($system));
my $tier = RT::CustomField->new($system);
$tier->Create(Name => 'Tier', Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket');
my $orders = RT::Queue->new($system);
$orders->Create(Name => 'Orders');
$tier->AddToObject($orders);
for my $each (['isthmus', 'UTC'], ['agent', 'Europe/Brussels']) {
    my ($name, $zone) = @$each;
    my $user = RT::User->new($system);
    $user->Create(Name => $name, EmailAddress => "$name\@desk.example", Timezone => $zone, Privileged => 1,
        RealName => ucfirst $name, Password => "$name of the desk");
    $user->PrincipalObj->GrantRight(Right => 'SuperUser', Object => RT->System);
    my ($ok, $said, $token) = RT::AuthToken->new($system)->Create(Owner => $user->id, Description => $name);
    print "$token\n";
}
"""
Row = dict[str, Json]


@dataclass(frozen=True, slots=True)
class RequestTracker:
    """A running server; `token` is that of isthmus, `agent` that of one of its people."""

    url: str
    home: Path
    token: str = field(repr=False)
    agent: str = field(repr=False)

    @property
    def settings(self) -> dict[str, str]:
        """What connects to it, without overlap."""
        return {"url": self.url, "token": self.token, "overlap_s": "0"}

    def ask(self, method: str, path: str, payload: Json = None, *, tag: str = "") -> tuple[int, Json]:
        """Ask as an agent; returns the status and what was answered."""
        headers = {"Authorization": f"token {self.agent}", "Content-Type": "application/json"}
        headers |= {"If-Match": tag} if tag else {}
        body = None if payload is None else msgspec.json.encode(payload)
        asked = Request(f"{self.url}/REST/2.0/{path}", data=body, method=method, headers=headers)  # noqa: S310 - a server of ours.
        try:
            with urlopen(asked, timeout=60) as answer:  # noqa: S310 - a server of ours.
                status, said = answer.status, answer.read()
        except HTTPError as error:
            with error:
                status, said = error.code, error.read()
        return status, msgspec.json.decode(said) if said else None

    def tickets(self, *subjects: str, **values: Json) -> list[str]:
        """Make tickets at once and return their numbers."""
        rows: Json = [{"Queue": "General", "Subject": each, **values} for each in subjects]
        _, made = self.ask("POST", "tickets/bulk", rows)
        return [str(each["id"]) for each in cast("list[Row]", made)]

    def ticket(self, subject: str, **values: Json) -> str:
        """Make a ticket and return its number."""
        return self.tickets(subject, **values)[0]

    def change(self, kind: str, of: str, **values: Json) -> None:
        """Change a record."""
        status, said = self.ask("PUT", f"{kind}/{of}", dict(values))
        assert status == 200, said

    def get(self, kind: str, of: str) -> Row:
        """Return a record; empty when it is not there."""
        status, found = self.ask("GET", f"{kind}/{of}")
        return cast("Row", found) if status == 200 else {}

    def user(self, name: str, **values: Json) -> str:
        """Make a customer and return the number."""
        self.ask("POST", "user", {"Name": name, "EmailAddress": name, "Privileged": 0, **values})
        return str(self.get("user", name)["id"])

    def answer(self, of: str, text: str = "We are on it.", *, kind: str = "correspond") -> None:
        """Write to who asked."""
        status, said = self.ask("POST", f"ticket/{of}/{kind}", {"Content": text, "ContentType": "text/plain"})
        assert status == 201, said

    def do(self, query: str, *given: object) -> list[tuple[object, ...]]:
        """Change its database by hand, for what nobody can do in time: such as many changes in one second."""
        with closing(sqlite3.connect(self.home / "desk.db", isolation_level=None, timeout=30)) as database:
            return database.execute(query, given).fetchall()


@contextmanager
def requesttracker() -> Generator[RequestTracker]:
    """Run a server with nothing in it while the block runs; it ends with us, however we end."""
    require_debian(PACKAGES, binary="rt-setup-database-5")
    template = _template()
    with TemporaryDirectory(prefix="isthmus-desk-", dir=stage.quick_parent()) as made:
        home, port = Path(made), free_port()
        shutil.copy(template / "desk.db", home / "desk.db")
        token, agent = (template / "tokens").read_text("utf-8").split()
        environment = _configured(home, port)
        serve = [SERVER, "--server", "Starlet", "--host", "127.0.0.1", "--port", str(port), "--max-workers", "2"]
        serve += ["--max-keepalive-reqs", "1000", "--max-reqs-per-child", "100000"]
        # When we end, the pipe closes, and the server is ended too.
        leash = ["/bin/sh", "-c", '"$@" & server=$!; read -r _; kill "$server"; wait "$server"', "leash", *serve]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(leash, cwd=home, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            found = RequestTracker(url=f"http://127.0.0.1:{port}", home=home, token=token, agent=agent)
            _wait(process, found)
            yield found
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(STOP_S_MAX)


def _wait(process: subprocess.Popen[bytes], server: RequestTracker) -> None:
    deadline = time.monotonic() + START_S_MAX
    while process.poll() is None and time.monotonic() < deadline:
        try:
            status, _ = server.ask("GET", "rt")
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            assert status == 200, "the token is taken"
            return
    said = (server.home / "log").read_text("utf-8", "replace")[-2000:]
    message = f"Request Tracker did not start:\n{said}"
    raise RuntimeError(message)


def _configured(home: Path, port: int) -> dict[str, str]:
    """Write the configuration of a server and return the environment that leads to it."""
    for each in ("session", "more"):
        (home / each).mkdir()
    (home / "RT.pm").write_text(CONFIGURATION.format(home=home, port=port), "utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERL", "RT_"))}
    return kept | {"RT_SITE_CONFIG": str(home / "RT.pm"), "RT_SITE_CONFIG_DIR": str(home / "more")}


def _template() -> Path:
    """Return a directory with a new database, made once on this machine."""
    release = Path("/usr/share/request-tracker5/lib/RT/Generated.pm").read_bytes()
    name = sha256(release + f"{CONFIGURATION}{STEPS}".encode()).hexdigest()[:16]
    above = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "isthmus", "counterparts")
    root = above / f"requesttracker-{name}"
    root.mkdir(parents=True, exist_ok=True)
    with (above / f"{root.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (root / "tokens").exists():
            with TemporaryDirectory(prefix="isthmus-desk-", dir=stage.quick_parent()) as made:
                home = Path(made)
                environment = _configured(home, 80)
                setup = ["rt-setup-database-5", "--action", "init", "--dba", "", "--skip-create"]
                setup[0] = str(require_debian(PACKAGES, binary=setup[0]))
                _run(setup, environment)
                tokens = _run(["perl", "-e", STEPS], environment)
                shutil.copy(home / "desk.db", root / "desk.db")
                (root / "tokens").write_text(tokens, "utf-8")
    return root


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def opened(server: RequestTracker, **settings: str) -> AbstractAsyncContextManager[Session]:
    """Open a session as a person would connect it; without overlap unless one is given."""
    defaults = {each.name: each.default for each in CONNECTOR.settings if each.default is not None}
    return CONNECTOR.open(defaults | server.settings | settings)


async def pages(session: Session, feed: str, cursor: str | None = None) -> list[Page]:
    """Read a feed to its end."""
    return [page async for page in session.read(feed, cursor=cursor)]


async def rows(session: Session, feed: str, cursor: str | None = None) -> list[Raw]:
    """Read the rows of a feed."""
    return [row for page in await pages(session, feed, cursor) for row in page.rows]


async def latest(session: Session, feed: str) -> str:
    """Return the cursor after all that is there now."""
    return (await pages(session, feed))[-1].cursor


def fixture(feed: str) -> list[Row]:
    """Return the recorded rows of a feed."""
    return cast("list[Row]", json.loads((FIXTURES / f"{feed}.json").read_text("utf-8")))


def company(server: RequestTracker) -> None:
    """Make what the fixtures show: a customer, and tickets in the states that tell something."""
    server.user("ines@quince.example", RealName="Ines Quettier", City="Gent", Country="BE", WorkPhone="+32 9 555 01 02")
    asked = server.ticket("The order is late", Requestor="ines@quince.example", CustomFields={"Channel": "phone"})
    server.answer(asked)
    server.change("ticket", asked, Status="resolved", Owner="agent", Priority="100")
    server.ticket("Who reads this?", Queue="Orders", CustomFields={"Tier": "gold"})
    server.ticket("A printer of ours", Requestor="agent@desk.example")


async def _record() -> None:
    with requesttracker() as server:
        company(server)
        async with opened(server) as session:
            for feed in CONNECTOR.feeds:
                bodies = [row.body for row in await rows(session, feed.name)]
                written = json.dumps(bodies, indent=1, ensure_ascii=False, sort_keys=True)
                (FIXTURES / f"{feed.name}.json").write_text(f"{written}\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(_record())
