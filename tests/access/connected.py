"""A connection of the fake company, and what differs between it and what is held, for calls that need one."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from isthmus.sync.connections import connect, connection_of
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import keep
from isthmus.sync.reconciling.systems import Finding, Reconciled
from isthmus.sync.runs import Engine
from tests.rooms.domains.desk import Desk


@cache
def folder() -> TemporaryDirectory[str]:
    """A folder that goes when the tests are over."""
    return TemporaryDirectory()


async def connection(desk: Desk) -> str:
    """Connect the fake company, which lives in a file of its own."""
    settings = {"system": "crm", "path": str(Path(folder().name) / "company.sqlite"), "now": "2026-11-22T06:00:00Z"}
    known, vault = desk.services.of(Engine).connectors["demo"], desk.store.vault
    async with desk.store.database.transaction(desk.now) as tx:
        await connect(tx, vault, known, name="crm", settings={**settings, "companies": "12"})
    return "crm"


async def consentable_connection(desk: Desk) -> str:
    """Connect an organisation that somebody is to consent for."""
    known = desk.services.of(Engine).connectors["xero"]
    async with desk.store.database.transaction(desk.now) as tx:
        await connect(tx, desk.store.vault, known, name="books", settings={"client_id": "of-an-app"})
    return "books"


async def resting_connection(desk: Desk) -> str:
    """Let a connection rest."""
    found = await connection(desk)
    assert (await desk.post(f"/api/v1/connections/{found}:pause", {})).status == 200
    return found


async def difference(desk: Desk) -> str:
    """Have a system and what is held of it differ."""
    name = await connection(desk)
    found = Finding(kind=DifferenceKind.FIELD, type="sales.account", external_id="1", field="city")
    told = Reconciled(type="sales.account", there=1, here=1, compared=1, differing=1, unvisited=0, findings=(found,))
    async with desk.store.database.transaction(desk.now) as tx:
        await keep(tx, desk.store, (await connection_of(tx, name)).id, [told])
    return str((await desk.get("/api/v1/reconciliation-differences")).at("data.0.id"))


async def ignored(desk: Desk) -> str:
    """Ignore one."""
    found = await difference(desk)
    path = f"/api/v1/reconciliation-differences/{found}:ignore"
    assert (await desk.post(path, {"reason": "A test."})).status == 200
    return found
