"""The whole program on a directory of its own, with the fake CRM connected and a key for the bench."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from isthmus.app.bench.gateway.peers import free_port
from isthmus.app.discovery import connectors, domain_names
from isthmus.app.engines import Engines
from isthmus.app.program import opened
from isthmus.app.settings import Settings
from isthmus.app.syncing import sync_engine
from isthmus.app.up import Up, start_up
from isthmus.auth.keys import KeyWish, create_key
from isthmus.sync.connections import Options, connect
from isthmus.sync.running import synchronise

COMPANIES = 12
CRM = "crm"
EVERY_S = 60
LOOPBACK = "127.0.0.1/32"
_PERMISSIONS = ("sales:read", "sales:write", "stream:read", "stream:write")


@dataclass(frozen=True, kw_only=True)
class Site:
    """The program that runs, the key to call it with, and the file of the fake CRM."""

    up: Up
    key: str
    company: Path
    settings: Settings

    def parts(self) -> dict[str, int]:
        """Return the processes of the parts, the engines among them."""
        own = {"-".join(each.roles): each.process.pid for each in self.up.children}
        return own | {each.name: each.pid for each in self.up.engines.health() if each.pid is not None}


@contextmanager
def served(home: Path, *, say: Callable[[str], None]) -> Generator[Site]:
    """Start everything, with what the CRM holds pulled already; stop it at the end."""
    settings = Settings(data_dir=home / "data", port=free_port(), log_level="warning", outbound_allow=LOOPBACK)
    company = home / "company.sqlite"
    up = start_up(settings, say=say)
    try:
        key = asyncio.run(_prepared(settings, up.engines, company))
        yield Site(up=up, key=key, company=company, settings=settings)
    finally:
        up.stop()


async def _prepared(settings: Settings, engines: Engines, company: Path) -> str:
    """Connect the CRM in both ways, pull what it holds, and make a key."""
    connector = connectors()["demo"]
    async with opened(settings, engines, connections_max=4) as program:
        given = {
            "system": CRM,
            "path": str(company),
            "now": datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z"),
            "companies": str(COMPANIES),
        }
        scope = program.scope(actor="bench", cause="bench")
        async with program.database.transaction(scope) as tx:
            await connect(
                tx,
                program.vault,
                connector,
                name=CRM,
                settings=given,
                options=Options(create=("sales.lead",), pipeline=False),
                every_s=EVERY_S,
            )
            wish = KeyWish(name="bench", permissions=_PERMISSIONS)
            _, text = await create_key(tx, wish, domains=domain_names(), giver=None)
        await synchronise(sync_engine(program), workspace=program.workspace, connection=CRM)
        return text.text
