"""The program opened: engines reached, migrations checked, database, vault and store ready to use."""

import asyncio
import difflib
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from isthmus.app.clock import SystemClock
from isthmus.app.discovery import schema
from isthmus.app.engines import Engines, PostgresAccess, RunningEngines, ValkeyAccess, running_engines, start_engines
from isthmus.app.running import found
from isthmus.app.settings import Settings
from isthmus.kernel.errors import IsthmusError, NotFound
from isthmus.store.database import Database, Scope
from isthmus.store.migrate import migrate, pending
from isthmus.stream.hints import Hints
from isthmus.stream.lane import Lane, LaneAddress
from isthmus.sync.ingest import Store
from isthmus.vault import KeyStore, Vault, entropy, holds_keys

MAIN = "main"
_KEK_BYTES = 32
_NAMES_TOLD = 10


class BadKek(IsthmusError):
    """The file with the key-encryption key is not usable."""

    code, title = "bad-kek", "The key-encryption key cannot be used"


class NoWorkspace(NotFound):
    """There is no workspace of that name."""

    code, title = "no-workspace", "There is no such workspace"


@dataclass(frozen=True, kw_only=True)
class Program:
    """What every role and command works with; `workspace` is the one that commands act in."""

    settings: Settings
    clock: SystemClock
    store: Store
    postgres: PostgresAccess
    valkey: ValkeyAccess | None
    workspace: int
    slug: str

    @property
    def database(self) -> Database:
        """The database as the restricted role sees it."""
        return self.store.database

    @property
    def vault(self) -> Vault:
        """The vault."""
        return self.store.vault

    def scope(self, *, actor: str, cause: str) -> Scope:
        """Return the scope of something done now in the program's workspace."""
        return Scope(workspace=self.workspace, actor=actor, cause=cause, now=self.clock.now())


def key_encryption_key(settings: Settings) -> bytes:
    """Return the key-encryption key, made on first use in `<data_dir>/secrets/kek` (mode 0600). Raises BadKek."""
    path = settings.kek_file or settings.data_dir / "secrets" / "kek"
    if not path.exists():
        if settings.kek_file is not None:
            raise BadKek(f"{path} is not there.", fix="Correct the setting kek_file, or restore the file.")
        if holds_keys(_key_store(settings)):
            # A new key would open nothing of what is stored, and hide that the old one is gone.
            raise BadKek(f"{path} is gone, and stored data was sealed with it.", fix="Restore it from your copy.")
        _make_kek(path)
    text = path.read_text(encoding="ascii").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEK_BYTES:
        raise BadKek(f"{path} holds no key.", fix="It must hold 64 hexadecimal digits: restore the file.")
    return key


def _key_store(settings: Settings) -> Path:
    return settings.data_dir / "keys" / "keys.sqlite"


def _make_kek(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, entropy(_KEK_BYTES).hex().encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(written, path)
    except FileExistsError:
        pass
    finally:
        written.unlink()


def start(settings: Settings) -> Engines:
    """Start the engines, or join those that run."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return start_engines(settings=settings.engines, entropy=entropy, now=SystemClock().now)


def migrate_as_owner(postgres: PostgresAccess) -> list[str]:
    """Apply missing migrations as the owner and return their names."""
    with psycopg.connect(postgres.owner.conninfo, password=postgres.owner.password) as connection:
        return migrate(connection)


def pending_migrations(postgres: PostgresAccess) -> list[str]:
    """Return the names of migrations that are not applied."""
    with psycopg.connect(postgres.owner.conninfo, password=postgres.owner.password, autocommit=True) as connection:
        return pending(connection)


def lane_address(access: ValkeyAccess) -> LaneAddress:
    """Return the way to Valkey as the lane takes it."""
    return LaneAddress(
        socket_path=access.socket_path,
        host=access.host,
        port=access.port,
        username=access.username,
        password=access.password,
        database=access.database,
        tls=access.tls,
        ca_file=access.ca_file,
    )


@asynccontextmanager
async def opened(
    settings: Settings, engines: Engines | RunningEngines, *, connections_max: int = 12, create_workspace: bool = True
) -> AsyncGenerator[Program]:
    """Open database, vault and store on engines that run."""
    postgres = engines.postgres
    login = postgres.app
    hints = Hints(Lane(lane_address(engines.valkey))) if engines.valkey else None
    tell = hints.tell if hints else None
    database = Database(login.conninfo, password=login.password, connections_max=connections_max, tell=tell)
    await database.open()
    keys = KeyStore(_key_store(settings), kek=key_encryption_key(settings))
    try:
        slug = settings.workspace or await _meant(database, settings)
        workspace = await workspace_id(database, slug, create=create_workspace)
        yield Program(
            settings=settings,
            clock=SystemClock(),
            store=Store(schema(), database, Vault(keys)),
            postgres=postgres,
            valkey=engines.valkey,
            workspace=workspace,
            slug=slug,
        )
    finally:
        if hints is not None:
            await hints.close()
        await database.close()
        keys.close()


@asynccontextmanager
async def command(settings: Settings, *, progress: Callable[[str], None]) -> AsyncGenerator[Program]:
    """Open the program for a command: beside a running one, or with engines of its own for as long as it takes.

    A workspace that is named must be there: a mistyped name raises NoWorkspace.
    """
    create = settings.workspace is None
    running = await asyncio.to_thread(running_engines, settings=settings.engines)
    if running is not None:
        async with opened(settings, running, create_workspace=create) as program:
            yield program
        return
    progress("starting the embedded engines")
    starting = asyncio.create_task(asyncio.to_thread(start, settings))
    try:
        engines = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # A thread cannot be cancelled: what it starts is stopped when it is there.
        await asyncio.to_thread((await starting).stop)
        raise
    try:
        await asyncio.to_thread(migrate_as_owner, engines.postgres)
        async with opened(settings, engines, create_workspace=create) as program:
            yield program
    finally:
        await asyncio.to_thread(engines.stop)


async def _meant(database: Database, settings: Settings) -> str:
    """Return the workspace that is meant when none is named."""
    running = found(settings.data_dir)
    if running is not None:
        return running.workspace
    async with database.plain() as connection:
        rows = await (await connection.execute("select slug from workspace order by id limit 2")).fetchall()
    return str(rows[0][0]) if len(rows) == 1 else MAIN


def _most_alike(slug: str, others: list[str]) -> str:
    """Return a few names, the likeliest to have been meant first, and how many are not told."""
    told = sorted(others, key=lambda each: -difflib.SequenceMatcher(None, slug, each).ratio())[:_NAMES_TOLD]
    more = len(others) - len(told)
    return (", ".join(told) + (f" and {more:,} more" if more else "")) or "none"


async def workspace_id(database: Database, slug: str, *, create: bool, kind: str = "live") -> int:
    """Return the id of a workspace; raises NoWorkspace."""
    async with database.plain() as connection:
        if create:
            await connection.execute(
                "insert into workspace (slug, name, kind, created_at) values (%s, %s, %s, %s) on conflict do nothing",
                (slug, slug.capitalize(), kind, SystemClock().now()),
            )
        cursor = await connection.execute("select id from workspace where slug = %s", (slug,))
        row = await cursor.fetchone()
        others = await (await connection.execute("select slug from workspace order by slug")).fetchall()
    if row is None:
        raise NoWorkspace(
            f"There is no workspace {slug!r}; there are: {_most_alike(slug, [str(each) for (each,) in others])}.",
            fix=f"Name one of them, or make it: isthmus up --workspace {slug}",
        )
    return int(row[0])
