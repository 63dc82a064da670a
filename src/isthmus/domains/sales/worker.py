"""What sales does as time passes, for the worker role: it looks whether leads have come to the CRM."""

from datetime import datetime

from isthmus.domains.sales.crm import settle, workspaces_waiting
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store


async def tick(store: Store, *, now: datetime) -> int:
    """Do what is due in all workspaces, each thing once; returns how much was done. 0 means nothing is due."""
    done = 0
    for workspace in await workspaces_waiting(store, now=now):
        done += await settle(store, Scope(workspace=workspace, actor="worker:sales", cause="worker:sales", now=now))
    return done
