"""What customer success does when its time has come."""

from datetime import date
from typing import Protocol
from uuid import UUID

from isthmus.domains.success.renewals import cue_renewals
from isthmus.domains.success.snapshots import score_next
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.jobs.cron import zone_of
from isthmus.stream.jobs.job import Kind
from isthmus.stream.jobs.schedules import zone
from isthmus.stream.jobs.work import Work
from isthmus.sync.ingest import Store

DAILY_HEALTH = "success.health"


class Holding(Protocol):
    """What these jobs work with."""

    @property
    def store(self) -> Store:
        """The store."""
        ...


async def score_all(work: Work, context: Holding) -> Json:
    """Write down the health of every account, some at a time, each once on a day whatever stops in between."""

    async def due(tx: Transaction) -> Json:
        # What goes on after a standstill belongs to the day on which it was due.
        at = work.claim.occurrence or tx.scope.now
        return str(at.astimezone(zone_of(await zone(tx))).date())

    day = date.fromisoformat(str(await work.step("day", due)))
    after, batches = UUID(int=0), 0
    while True:

        async def some(tx: Transaction, after: UUID = after) -> Json:
            last = await score_next(tx, context.store, day=day, after=after)
            return None if last is None else str(last)

        last = await work.step(f"after {after}", some)
        if not isinstance(last, str):
            begun = await work.step("renewals", lambda tx: cue_renewals(tx, context.store, day=day))
            return {"day": str(day), "batches": batches, "renewals": begun}
        after, batches = UUID(last), batches + 1
        work.tell(done=batches, text="batches of accounts")


JOBS = (
    Kind(
        name=DAILY_HEALTH,
        about="Write down the health score of every account, and begin what renewals that are near start.",
        run=score_all,
        permission="success:write",
    ),
)
