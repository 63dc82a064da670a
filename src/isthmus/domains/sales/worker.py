"""What sales does as time passes, for the worker role."""

from datetime import datetime

from isthmus.domains.sales.crm import settle
from isthmus.domains.sales.follow_up import advance_due, workspaces_with_work
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store


async def tick(store: Store, *, now: datetime) -> int:
    """Do what is due in all workspaces, each thing once; returns how much was done. 0 means nothing is due."""
    done = 0
    for workspace in await workspaces_with_work(store, now=now):
        scope = Scope(workspace=workspace, actor="worker:sales", cause="worker:sales", now=now)
        done += await turn(store, scope)
    return done


async def turn(store: Store, scope: Scope) -> int:
    """Do what is due in one workspace."""
    return await settle(store, scope) + await advance_due(store, scope)
