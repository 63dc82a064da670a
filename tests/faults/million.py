"""A million rows through the proxy with bad days: none is missed, none doubled, and an empty source destroys nothing.

python -m tests.faults.million [ROWS] [SEED]        a million rows take minutes; 20,000 by default
"""

import asyncio
import secrets
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import cast

import psycopg
from aiohttp import web
from aiohttp.test_utils import TestServer

import isthmus.connectors
from isthmus.app.clock import SystemClock
from isthmus.app.discovery import schema
from isthmus.app.engines import Engines
from isthmus.app.scaffolding.connectors import write_connector
from isthmus.kernel.status import Status
from isthmus.store.database import Database, Scope
from isthmus.store.migrate import migrate
from isthmus.sync.connections import connect
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.sync.running import Part, synchronise
from isthmus.sync.runs import Engine, Retry, Run
from isthmus.vault import KeyStore, Vault
from tests.faults.proxy import Fault, Script, proxy
from tests.rooms.app.engines import stage

BEGAN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
PER_STAMP, PAGE_ROWS, KEY = 1_700, 500, "a-key"
STORM = (Fault.TOO_MANY, Fault.SERVER_ERROR, Fault.RESET, Fault.TRUNCATED, Fault.DOUBLED, Fault.SLOW)
RUNS_MAX = 50


class Source:
    """A vendor whose rows are known by their numbers; more of them share a stamp than a page holds."""

    def __init__(self, rows: int) -> None:
        """`empty` makes it say that it has none."""
        self.rows, self.empty = rows, False

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_get("/companies", self._list)
        app.router.add_get("/companies/ids", self._ids)
        return app

    async def _list(self, request: web.Request) -> web.Response:
        after = request.query["id"]
        first = int(after[1:]) + 1 if after else _first(datetime.fromisoformat(request.query["after"]))
        last = min(first + int(request.query["limit"]), self.rows)
        return web.json_response([] if self.empty else [_row(number) for number in range(first, last)])

    async def _ids(self, request: web.Request) -> web.Response:
        after = request.query["after"]
        first = int(after[1:]) + 1 if after else 0
        last = min(first + int(request.query["limit"]), self.rows)
        return web.json_response([] if self.empty else [f"c{number:08}" for number in range(first, last)])


def _first(after: datetime) -> int:
    """Return the number of the first row that changed at a time or after it."""
    return max(0, (after - BEGAN) // timedelta(milliseconds=1)) * PER_STAMP


def _row(number: int) -> dict[str, object]:
    at = BEGAN + timedelta(milliseconds=number // PER_STAMP)
    row = {"id": f"c{number:08}", "title": f"Company {number}", "town": "Ghent", "changed_at": at.isoformat()}
    return {**row, "version": 1, "deleted": False}


async def _measure(store: Store, connector: Connector, *, rows: int, seed: int) -> None:
    source = Source(rows)
    async with store.database.plain() as plain:
        cursor = await plain.execute(
            "insert into workspace (slug, name, created_at) values (%s, 'Million', now()) returning id",
            (f"million-{secrets.token_hex(4)}",),
        )
        workspace = cast("tuple[int]", await cursor.fetchone())[0]
    engine = Engine(
        store=store,
        clock=SystemClock(),
        chance=Random(seed),
        connectors={"acme": connector},
        retry=Retry(base_s=0.05),
    )
    async with TestServer(source.app()) as server, proxy(str(server.make_url("/"))) as front:
        scope = engine.scope(workspace=workspace, actor="user:tester", cause="million")
        settings = {"url": front.url, "key": KEY, "page_rows": str(PAGE_ROWS), "overlap_s": "0"}
        async with store.database.transaction(scope) as tx:
            await connect(tx, store.vault, connector, name="vendor", settings=settings)
        front.script = Script.storm(seed, share=0.1, kinds=STORM)

        async def run(*parts: Part) -> Run:
            return await synchronise(engine, workspace=workspace, connection="vendor", parts=parts)

        began, runs = perf_counter(), 1
        while (last := await run("pull")).status is not Status.HEALTHY:
            assert runs < RUNS_MAX, last.error
            runs += 1
        seconds = perf_counter() - began
        assert await _counts(store, scope) == (rows, rows, rows)
        met = ", ".join(f"{count} × {fault}" for fault, count in front.met.most_common())
        print(f"{rows:,} rows in {seconds:,.0f} s ({rows / seconds:,.0f}/s), {runs} runs; met {met}")  # noqa: T201 - it speaks to whoever runs it.
        source.empty, front.script = True, None
        tripped = await run("sweep")
        assert tripped.status is Status.NEEDS_ATTENTION, tripped.error
        assert await _counts(store, scope) == (rows, rows, rows)
        print(f"an empty source: {tripped.error}")  # noqa: T201 - it speaks to whoever runs it.


async def _counts(store: Store, scope: Scope) -> tuple[int, int, int]:
    """Return how many ids, claims and living records there are."""
    table = store.schema["sales.account"].table
    living = f"select count(*) from {table} where workspace = current_workspace() and deleted_at is null"  # noqa: S608 - the name comes from a declaration.
    refs = "select count(*) from ref where workspace = current_workspace() and not deleted"
    claims = "select count(*) from claim where workspace = current_workspace()"
    query = f"select ({refs}), ({claims}), ({living})"
    async with store.database.transaction(scope) as tx:
        row = await (await tx.connection.execute(query.encode())).fetchone()
    return cast("tuple[int, int, int]", row)


async def _main(engines: Engines, home: Path, *, rows: int, seed: int) -> None:
    write_connector("acme", into=home)
    isthmus.connectors.__path__.append(str(home))
    connector = cast("Connector", import_module("isthmus.connectors.acme").CONNECTOR)
    keys = KeyStore(home / "keys.sqlite", kek=secrets.token_bytes(32))
    database = Database(engines.postgres.app.conninfo)
    await database.open()
    try:
        await _measure(Store(schema(), database, Vault(keys)), connector, rows=rows, seed=seed)
    finally:
        await database.close()
        keys.close()


def main() -> None:
    """Run it."""
    rows, seed = (int(each) for each in [*sys.argv[1:3], *("20000", "7")[len(sys.argv) - 1 :]])
    with TemporaryDirectory() as home, stage.directory() as directory, stage.start(directory) as engines:
        owner = engines.postgres.owner
        with psycopg.connect(owner.conninfo, password=owner.password) as connection:
            migrate(connection)
        asyncio.run(_main(engines, Path(home), rows=rows, seed=seed))


if __name__ == "__main__":
    main()
