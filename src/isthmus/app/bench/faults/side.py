"""Our side: a workspace that is connected with the vendor, its runs, and how it compares with the truth in the end."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID

from isthmus.app.bench.faults.source import Truth, id_of, title
from isthmus.app.bench.faults.vendor import NAME, TYPE, described
from isthmus.app.clock import SystemClock
from isthmus.app.discovery import schema
from isthmus.app.engines import PostgresAccess
from isthmus.kernel.status import Status
from isthmus.store.database import Database, Scope
from isthmus.stream.relay import stamp
from isthmus.sync.connections import Options, connect
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Store
from isthmus.sync.mending import rejects_by_cause
from isthmus.sync.outcomes import refusals
from isthmus.sync.running import Part, synchronise
from isthmus.sync.runs import Engine, Retry, Run
from isthmus.vault import KeyStore, Vault, entropy

CONNECTION, PAGE_ROWS, OVERLAP_S = "vendor", 500, 15
_KNOWN = """
select r.external_id, r.deleted or t.deleted_at is not null, t.name, t.next_step, t.id from ref r
join sales_deal t on t.workspace = r.workspace and t.id = r.record_id
where r.workspace = current_workspace() and r.system = %s and r.type = %s
"""


class Ahead(SystemClock):
    """The clock of this machine, moved on by what was slept through."""

    def __init__(self) -> None:
        """Begin with the time of this machine."""
        self.slept = timedelta()

    def now(self) -> datetime:
        """Return the time."""
        return super().now() + self.slept


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How what is held here differs from the truth, in rows.

    `missed` are not here, or not as they stand there; `doubled` are records more than rows; `destroyed` live there and
    not here; `lingering` live here and not there; `edits_lost` were edited here and do not say so there.
    """

    missed: int
    doubled: int
    destroyed: int
    lingering: int
    edits_lost: int


@dataclass(kw_only=True)
class Side:
    """The workspace; `ended` counts how runs ended, and `unexplained` those that went wrong without a word of why."""

    engine: Engine
    clock: Ahead
    workspace: int
    ended: Counter[str] = field(default_factory=Counter[str])
    unexplained: int = 0
    edits: dict[int, str] = field(default_factory=dict[int, str])

    def scope(self) -> Scope:
        """Return a scope of this moment, in the name of a person."""
        return self.engine.scope(workspace=self.workspace, actor="user:bench", cause="bench")

    async def connect(self, url: str) -> None:
        """Connect the vendor, both ways."""
        settings = {"url": url, "token": "a key", "page_rows": str(PAGE_ROWS), "overlap_s": str(OVERLAP_S)}
        async with self.engine.store.database.transaction(self.scope()) as tx:
            connector = self.engine.connectors[NAME]
            vault = self.engine.store.vault
            await connect(tx, vault, connector, name=CONNECTION, settings=settings, options=Options())

    async def run(self, *parts: Part) -> Run:
        """Run the connection; whatever goes wrong has to be said."""
        run = await synchronise(
            self.engine, workspace=self.workspace, connection=CONNECTION, parts=parts, sweep_every_s=10**9
        )
        self.ended[str(run.status)] += 1
        if run.status is not Status.HEALTHY and not await self._words(run):
            self.unexplained += 1
        await self._stamp()
        return run

    async def causes(self) -> dict[str, int]:
        """Return how many rows wait here because they could not be stored, by cause."""
        async with self.engine.store.database.transaction(self.scope()) as tx:
            return {each.code: each.rows for each in await rejects_by_cause(tx, system=CONNECTION)}

    async def _words(self, run: Run) -> bool:
        """Tell whether a run says why it did not end well: an error, rows kept aside, or writes that were refused."""
        async with self.engine.store.database.transaction(self.scope()) as tx:
            refused = await refusals(tx, run.id)
        return bool(run.error) or bool(await self.causes()) or any(each.reason for each in refused)

    async def edit(self, records: Sequence[tuple[int, UUID]], *, text: str) -> None:
        """Edit records here, as a person does."""
        for number, record in records:
            self.edits[number] = f"{text} {number}"
            await edit(self.engine.store, self.scope(), TYPE, record, {"next_step": self.edits[number]})

    async def some(self, count: int, *, dice: Random) -> list[tuple[int, UUID]]:
        """Return living records that were made by the vendor, chosen by the dice: number and id here."""
        living = [(int(one[1:]), record) for one, gone, _, _, record in await self._known() if not gone]
        return dice.sample(sorted(living), count)

    async def judge(self, truth: Truth) -> Judged:
        """Compare every row with the truth."""
        known = await self._known()
        at = {external_id: (gone, name) for external_id, gone, name, _, _ in known}
        missed = destroyed = lingering = 0
        for number in range(truth.rows):
            gone, name = at.get(id_of(number), (None, None))
            if number in truth.gone:
                lingering += gone is False
            elif gone:
                destroyed += 1
            elif name != title(number, truth.versions.get(number, 1)):
                missed += 1
        lost = sum(truth.said.get(each) != text for each, text in self.edits.items() if each not in truth.gone)
        records = len({record for *_, record in known})
        doubled = max(records - len(at), await self._records() - records, len(at) - truth.rows)
        return Judged(missed=missed, doubled=max(0, doubled), destroyed=destroyed, lingering=lingering, edits_lost=lost)

    async def _known(self) -> list[tuple[str, bool, str, str | None, UUID]]:
        async with self.engine.store.database.transaction(self.scope()) as tx:
            cursor = await tx.connection.execute(_KNOWN, (CONNECTION, TYPE))
            return [(row[0], row[1], row[2], row[3], row[4]) for row in await cursor.fetchall()]

    async def _records(self) -> int:
        async with self.engine.store.database.transaction(self.scope()) as tx:
            cursor = await tx.connection.execute(
                "select count(*) from sales_deal where workspace = current_workspace()"
            )
            row = await cursor.fetchone()
        return int(row[0]) if row else 0

    async def _stamp(self) -> None:
        """Number the events, as the relay does beside a run."""
        more = 1
        while more:
            async with self.engine.store.database.transaction(self.scope()) as tx:
                more = await stamp(tx.connection)


@asynccontextmanager
async def opened(postgres: PostgresAccess, home: Path, *, seed: int, slug: str = "faults") -> AsyncGenerator[Side]:
    """Open a workspace of its own."""
    database = Database(postgres.app.conninfo, password=postgres.app.password)
    keys = KeyStore(home / f"{slug}.sqlite", kek=entropy(32))
    await database.open()
    try:
        async with database.plain() as connection:
            cursor = await connection.execute(
                "insert into workspace (slug, name, created_at) values (%s, %s, now()) returning id", (slug, slug)
            )
            row = await cursor.fetchone()
        clock, connector = Ahead(), described()
        engine = Engine(
            store=Store(schema(), database, Vault(keys)),
            clock=clock,
            chance=Random(seed),
            connectors={connector.name: connector},
            retry=Retry(base_s=0.05),
        )
        yield Side(engine=engine, clock=clock, workspace=int(row[0]) if row else 0)
    finally:
        await database.close()
        keys.close()
