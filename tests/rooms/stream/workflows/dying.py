"""A worker of workflows in a process of its own, which tests kill: `python -m tests.rooms.stream.workflows.dying`."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from random import Random

from isthmus.app.discovery import schema
from isthmus.app.workflows import stepper
from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Database
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine
from isthmus.vault import KeyStore, Vault


async def main(conninfo: str, keys: str, kek: str, workspace: str, moment: str) -> None:
    """Take the runs of a workspace forward until killed, at a moment that stands still."""
    clock = FrozenClock(datetime.fromisoformat(moment))
    database = Database(conninfo)
    await database.open()
    store = Store(schema(), database, Vault(KeyStore(Path(keys), kek=bytes.fromhex(kek))))
    engine = Engine(store=store, clock=clock, chance=Random(1), connectors={})
    await stepper(engine, clock, only=frozenset({int(workspace)}), slots=2).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:6]))
