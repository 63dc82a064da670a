"""Renewals that come near: yearly subscriptions whose period ends soon give their accounts a cue."""

from datetime import date, timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.analytics import Catalog, Metric
from isthmus.domains.success.playbooks import RENEWAL, RENEWAL_DAYS, cued
from isthmus.domains.success.workflows import crew_of
from isthmus.store.database import Transaction
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Acting

_ENDING: LiteralString = """
select distinct account_id_now from "finance.subscription"
where account_id_now is not null and billing_interval = 'year' and coalesce(status, 'active') in ('active', 'past_due')
  and period_ends_on between %(day)s and %(until)s
order by 1
"""


async def renewing(tx: Transaction, catalog: Catalog, *, day: date) -> list[UUID]:
    """Return the accounts of which a yearly subscription ends within the days of the cue."""
    given = {"day": day, "until": day + timedelta(days=RENEWAL_DAYS)}
    rows = await catalog.rows(tx, RENEWING, _ENDING, given=given)
    return [account for (account,) in rows if isinstance(account, UUID)]


RENEWING = Metric(
    name="success.renewing",
    reads={"finance.subscription": ("account_id", "billing_interval", "status", "period_ends_on")},
    compute=renewing,
    permission="success:read",
    meaning="Which accounts have a yearly subscription that ends soon.",
)


async def cue_renewals(tx: Transaction, store: Store, *, day: date) -> int:
    """Begin what a renewal that is near starts; returns how many runs began."""
    accounts = await renewing(tx, Catalog(store.schema, metrics=(RENEWING,)), day=day)
    return len(await cued(tx, crew_of(Acting(tx, store)), accounts, cue=RENEWAL))
