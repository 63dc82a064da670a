"""Engines for the whole run, a fresh workspace for each test."""

import gc
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from isthmus.app.discovery import schema
from isthmus.app.engines import Engines
from isthmus.store.database import Database, Scope
from isthmus.store.migrate import migrate
from isthmus.sync.ingest import Store
from isthmus.vault import KeyStore, Vault
from tests.rooms.app.engines import stage


class _AtOnce:
    """Shows a failure when it happens: a run that is cut short would take it along."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if report.failed and isinstance(reporter, pytest.TerminalReporter):
            reporter.ensure_newline()
            reporter.write_line(f"{report.nodeid} failed after {report.duration:.1f} s, {report.when}:", red=True)
            reporter.write_line(report.longreprtext[-4000:])


def pytest_configure(config: pytest.Config) -> None:
    """Tell of failures at once, and let programs that tests start hear Ctrl-C.

    A shell that starts the tests in the background has them ignore it, and so would everything below them.
    """
    config.pluginmanager.register(_AtOnce(config))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _compile_once(config)


def pytest_collection_finish() -> None:
    """Take what all tests share out of the search for garbage."""
    gc.collect()
    gc.freeze()


def _compile_once(config: pytest.Config) -> None:
    """Let the hundreds of programs that tests start share what one of them compiled.

    Where the environment forbids to keep it, each of them would spend seconds on that.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is not None:
        kept = TemporaryDirectory(prefix="isthmus-bytecode-")
        config.add_cleanup(kept.cleanup)
        os.environ["PYTHONPYCACHEPREFIX"] = kept.name


NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """Running engines, migrated, for all tests."""
    with stage.directory() as data_dir, stage.start(data_dir) as running:
        owner = running.postgres.owner
        with psycopg.connect(owner.conninfo, password=owner.password) as connection:
            migrate(connection)
        yield running


@pytest.fixture
async def database(engines: Engines) -> AsyncIterator[Database]:
    """The database as the application sees it."""
    opened = Database(engines.postgres.app.conninfo)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def workspace(database: Database) -> int:
    """A workspace of the test's own."""
    slug = f"test-{secrets.token_hex(6)}"
    async with database.plain() as connection:
        cursor = await connection.execute(
            "insert into workspace (slug, name, created_at) values (%s, %s, %s) returning id", (slug, "Test", NOW)
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def scope(workspace: int) -> Scope:
    """The workspace in the name of a tester, at a moment that stands still."""
    return Scope(workspace=workspace, actor="user:tester", cause="test", now=NOW)


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Iterator[Store]:
    """A store of all record types, with a vault of the test's own."""
    keys = KeyStore(tmp_path / "keys.sqlite", kek=secrets.token_bytes(32))
    yield Store(schema(), database, Vault(keys))
    keys.close()
