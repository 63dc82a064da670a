"""How long one record takes to meet its likely matches among many, in the database, with values sealed."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import numpy as np

from isthmus.app.bench.match.people import People
from isthmus.app.discovery import schema
from isthmus.app.engines import EngineSettings, start_engines
from isthmus.app.matching import learn_type
from isthmus.app.matching_near import likely
from isthmus.app.program import migrate_as_owner
from isthmus.matching.near import Probes
from isthmus.matching.probable.people import PEOPLE
from isthmus.store.columns import Columns
from isthmus.store.database import Database, Scope
from isthmus.sync.ingest import BATCH_ROWS_MAX, Interval, Store, put_stream
from isthmus.vault import KeyStore, Vault, entropy

TYPE = "sales.person"
PROBES, WARM = 500, 20
_SYSTEMS = {1: "crm", 2: "billing", 4: "desk"}
_FIELDS = ("email", "phone", "first_name", "last_name", "city")
_AT = datetime(2026, 1, 1, tzinfo=UTC)


def one_record(people: People, *, chance: Random) -> dict[str, float]:
    """Return figures: how many people are held, and what one look-up takes, in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        settings = EngineSettings(data_dir=home / "data", want_valkey=False)
        with start_engines(settings=settings, entropy=entropy, now=lambda: datetime.now(UTC)) as engines:
            migrate_as_owner(engines.postgres)
            login = engines.postgres.app
            database = Database(login.conninfo, password=login.password)
            store = Store(schema(), database, Vault(KeyStore(home / "keys.sqlite", kek=entropy(32))))
            return asyncio.run(_measured(store, people, chance))


async def _measured(store: Store, people: People, chance: Random) -> dict[str, float]:
    await store.database.open()
    try:
        async with store.database.plain() as connection:
            row = await (
                await connection.execute(
                    "insert into workspace (slug, name, created_at) values ('match', 'Match', now()) returning id"
                )
            ).fetchone()
        now = datetime.now(UTC)
        scope = Scope(workspace=int(row[0]) if row else 0, actor="bench", cause="bench", now=now)
        record_type, interval = store.schema[TYPE], Interval(since=None, until=now)
        await put_stream(store, scope, record_type, _batches(people), interval=interval, progress=lambda _: None)
        ids = await learn_type(store, scope, TYPE)
        probes, took = Probes(PEOPLE), list[float]()
        for record in chance.sample(ids, min(PROBES + WARM, len(ids))):
            began = time.perf_counter()
            async with store.database.transaction(scope) as tx:
                await likely(tx, store, probes, TYPE, record)
            took.append((time.perf_counter() - began) * 1_000)
    finally:
        await store.database.close()
    told = np.array(took[WARM:])
    figures = {"one_p50_ms": np.percentile(told, 50), "one_p99_ms": np.percentile(told, 99)}
    return {"one_people": len(ids), **{name: round(float(each), 2) for name, each in figures.items()}}


async def _batches(people: People) -> AsyncIterator[Columns]:
    for bit, system in _SYSTEMS.items():
        rows = [n for n, each in enumerate(people.columns["sources"]) if each == bit]
        for begin in range(0, len(rows), BATCH_ROWS_MAX):
            own = rows[begin : begin + BATCH_ROWS_MAX]
            fields = {name: [people.columns[name][n] for n in own] for name in _FIELDS}
            yield Columns(type=TYPE, system=system, external_ids=[f"P{n}" for n in own], fields=fields, at=_AT)
