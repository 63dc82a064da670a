"""What customer success does as time passes, for the worker role."""

from datetime import datetime

from isthmus.domains.success.snapshots import score_due, workspaces_due
from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store


async def tick(store: Store, *, now: datetime) -> int:
    """Do what is due in all workspaces; returns how much was done. 0 means nothing is due.

    Raises what went wrong in one workspace after the others had their turn.
    """
    done = 0
    failure: IsthmusError | None = None
    for workspace in await workspaces_due(store, now=now):
        scope = Scope(workspace=workspace, actor="worker:success", cause="worker:success", now=now)
        try:
            done += await score_due(store, scope)
        except IsthmusError as error:
            failure = error
    if failure is not None:
        raise failure
    return done
