"""What the tests of the stream share: events written by hand, a Valkey of their own, and work beside a test."""

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import LiteralString, Self
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from valkey.asyncio import Valkey

from isthmus.app.engines.binaries import find_valkey
from isthmus.store.database import Database, Scope
from isthmus.stream.broker import Broker, BrokerAway
from isthmus.stream.event import Event, events_after, within

EMIT: LiteralString = """
insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
values (current_workspace(), %s, 'sales.deal', array[%s], array[%s], array[1], %s, 'user:tester', 'test', %s)
"""
BUNDLED: LiteralString = """
insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
values (current_workspace(), %s, 'sales.deal', %s, %s, %s, %s, 'user:tester', 'test', %s)
"""
CHANGED = "isthmus.sales.deal.changed.v1"


async def emit(database: Database, scope: Scope, records: Sequence[int], *, kind: str = CHANGED) -> None:
    """Commit one event for each record, in one transaction; a record is named by a number."""
    async with database.transaction(scope) as tx:
        await emit_in(tx.connection, scope, records, kind=kind)


async def emit_in(
    connection: AsyncConnection[TupleRow], scope: Scope, records: Sequence[int], *, kind: str = CHANGED
) -> None:
    """Write one event for each record in an open transaction."""
    rows = [(kind, UUID(int=each), UUID(int=7), ["stage"], scope.now) for each in records]
    async with connection.cursor() as cursor:
        await cursor.executemany(EMIT, rows)


async def emit_together(database: Database, scope: Scope, records: Sequence[int], *, kind: str = CHANGED) -> None:
    """Commit the events of these records as one bundle, as a statement does that changes many."""
    ids, accounts = [UUID(int=each) for each in records], [UUID(int=7)] * len(records)
    async with database.transaction(scope) as tx:
        given = (kind, ids, accounts, list(range(1, len(ids) + 1)), ["stage"], scope.now)
        await tx.connection.execute(BUNDLED, given)


async def log(database: Database, workspace: int, *, after: int = 0) -> list[Event]:
    """Return the stamped events of a workspace."""
    async with database.plain() as connection, within(connection, workspace):
        return await events_after(connection, after=after, limit=1_000_000)


async def until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait for a condition; fail if it does not come."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"it did not come true in {seconds} s")


async def log_reaches(database: Database, workspace: int, count: int) -> None:
    """Wait until this many events of a workspace are stamped; fail if they are not."""
    for _ in range(200):
        if len(await log(database, workspace)) == count:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{count} events were not stamped")


async def tail_becomes(broker: Broker, workspace: int, seqs: list[int]) -> None:
    """Wait until the tail of a workspace holds exactly these events; fail if it does not."""
    found: list[int] = []
    for _ in range(200):
        with suppress(BrokerAway):
            found = [each.seq for each in await broker.read(workspace, after=0, limit=1000, wait_s=0.05)]
        if found == seqs:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the tail holds {found}")


@asynccontextmanager
async def connected(conninfo: str) -> AsyncGenerator[Database]:
    """Open a database of its own, and close it whatever happens."""
    database = Database(conninfo)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def beside(*works: Coroutine[None, None, None]) -> AsyncGenerator[None]:
    """Run work beside the block, cancel it in the end, and raise what broke it."""
    tasks = [asyncio.create_task(each) for each in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


class OwnValkey:
    """A Valkey that a test may stop, start, flush and kill."""

    def __init__(self) -> None:
        """Make its directory; it does not run yet."""
        self._home = Path(tempfile.mkdtemp(prefix="isthmus-valkey-"))
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        """Where it listens while it runs."""
        return str(self._home / "v.sock")

    def client(self) -> Valkey:
        """Return a client of it, whether it runs or not."""
        return Valkey(unix_socket_path=str(self._home / "v.sock"), socket_timeout=None)

    def start(self) -> None:
        """Start it with what it wrote down, and wait until it answers."""
        binary = find_valkey()
        assert binary is not None
        socket = str(self._home / "v.sock")
        arguments = ["--port", "0", "--unixsocket", socket, "--dir", str(self._home), "--appendonly", "yes"]
        self._running = subprocess.Popen(
            [str(binary), *arguments, "--save", ""], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        for _ in range(500):
            if Path(socket).exists():
                return
            time.sleep(0.01)
        raise AssertionError("Valkey did not start")

    async def flush(self) -> None:
        """Make it forget everything."""
        await self.command("FLUSHALL")

    async def command(self, *words: str) -> None:
        """Send it a command."""
        client = self.client()
        await client.execute_command(*words)  # pyright: ignore[reportUnknownMemberType] - loosely typed there.
        await client.aclose()

    def kill(self) -> None:
        """Kill it at once."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            (self._home / "v.sock").unlink(missing_ok=True)
            self._running = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._home)
