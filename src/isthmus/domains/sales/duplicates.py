"""Who a capture may be: the lead with the same address, or the one of the same name in the same company."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from isthmus.domains.sales.rules import name_key
from isthmus.store.database import Transaction
from isthmus.store.records import find
from isthmus.sync.ingest import Store

NAME_EVIDENCE = "same name and company"
LEADS_OF_COMPANY_MAX = 1_000
_ADDRESSES: LiteralString = """
select distinct email_index from sales_lead
where workspace = current_workspace() and email_index = any(%s) and deleted_at is null and merged_into is null
"""
_COMPANIES: LiteralString = """
select id from sales_lead
where workspace = current_workspace() and lower(company) = any(%s) and deleted_at is null and merged_into is null
order by id desc limit %s
"""


async def known_addresses(tx: Transaction, store: Store, emails: Sequence[str]) -> set[str]:
    """Return those of the addresses that a living lead has; looked up by blind index, nothing is opened."""
    preparer = store.preparer("sales.lead", tx.scope.workspace)
    by_index = {index: email for email in emails if (index := preparer.index("email", email)) is not None}
    cursor = await tx.connection.execute(_ADDRESSES, (list(by_index),))
    found = {bytes(index) for (index,) in await cursor.fetchall()}
    return {email for email in emails if preparer.index("email", email) in found}


async def known_names(tx: Transaction, store: Store, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """Return the oldest living lead of each name and company, among the newest of the company.

    Names are sealed, so the company's leads are opened to compare them.
    """
    if not keys:
        return {}
    companies = sorted({company for _, company in keys})
    cursor = await tx.connection.execute(_COMPANIES, (companies, LEADS_OF_COMPANY_MAX))
    ids: list[UUID] = [lead for (lead,) in await cursor.fetchall()]
    found: dict[tuple[str, str], UUID] = {}
    for lead in sorted((await find(tx, store.vault, store.schema["sales.lead"], ids)).values(), key=lambda one: one.id):
        own = name_key(**{name: lead.values.get(name) for name in ("first_name", "last_name", "company")})
        if own in keys and own is not None:
            found.setdefault(own, lead.id)
    return found
