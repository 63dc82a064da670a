"""Health over time: the score of every account, once a day."""

from collections.abc import Sequence
from datetime import date
from typing import LiteralString
from uuid import UUID

import msgspec

from isthmus.analytics import Catalog
from isthmus.domains.success.metrics import DAILY, HEALTH, HealthView, account_health
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, aliases, arrive

SNAPSHOT, ACCOUNT = "success.health_snapshot", "sales.account"
BATCH_ACCOUNTS = 25
_ACCOUNTS: LiteralString = """
select id from "sales.account" where id > %(after)s order by id limit %(limit)s
"""


async def score_next(
    tx: Transaction, store: Store, *, day: date, after: UUID, limit: int = BATCH_ACCOUNTS
) -> UUID | None:
    """Score the next accounts by their ids, as those of a day, and return the last of them; None when none are left."""
    catalog = Catalog(store.schema, metrics=(HEALTH, DAILY))
    found = await catalog.rows(tx, DAILY, _ACCOUNTS, given={"after": after, "limit": limit})
    accounts = [own for (own,) in found if isinstance(own, UUID)]
    if accounts:
        await _keep(tx, store, catalog, accounts, day=str(day))
    return accounts[-1] if accounts else None


async def _keep(tx: Transaction, store: Store, catalog: Catalog, accounts: Sequence[UUID], *, day: str) -> None:
    arrivals: list[Arrival] = []
    for own in accounts:
        ids = await aliases(tx, ACCOUNT, own)
        health = await account_health(tx, catalog, ids=ids, account_id=str(own), now=tx.scope.now)
        if health.score is not None:
            arrivals.append(Arrival(external_id=f"daily:{day}:{own}", fields=_fields(health)))
    if arrivals:
        await arrive(tx, store, SNAPSHOT, arrivals)


def _fields(health: HealthView) -> dict[str, Json]:
    """Return what is kept of a score: also what it is made of, and how old its stalest input is."""
    known = [at for at in health.inputs_until.values() if at is not None]
    said: dict[str, Json] = {
        "score": health.score,
        "at": health.as_of.isoformat(),
        "account_id": health.account_id,
        "risk": str(health.risk),
        "reasons": msgspec.to_builtins(health.reasons),
        **health.sub_scores,
    }
    if known:
        said["oldest_input_s"] = max(0, int((health.as_of - min(known)).total_seconds()))
    return said
