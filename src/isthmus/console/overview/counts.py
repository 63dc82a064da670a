"""How many records every domain holds."""

from collections.abc import Callable
from typing import LiteralString, cast

from isthmus.console.overview.views import DomainCount, KindCount
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema

KINDS_MAX = 4


async def counts_by_kind(tx: Transaction, schema: Schema) -> dict[str, int]:
    """Return how many living records there are of every type, in one question."""
    parts = [
        f"select '{each.name}', (select count(*) from {each.table} where workspace = current_workspace()"  # noqa: S608 - names come from declarations.
        " and deleted_at is null and merged_into is null)"
        for each in schema
    ]
    cursor = await tx.connection.execute(cast("LiteralString", " union all ".join(parts)))
    return {str(name): int(count) for name, count in await cursor.fetchall()}


def domain_counts(counted: dict[str, int], *, may: Callable[[str], bool]) -> tuple[DomainCount, ...]:
    """Return the counts of the domains that may be read, each with its largest kinds."""
    by_domain: dict[str, list[KindCount]] = {}
    for name, count in counted.items():
        domain = name.partition(".")[0]
        if may(f"{domain}:read"):
            by_domain.setdefault(domain, []).append(KindCount(name=name, count=count))
    found: list[DomainCount] = []
    for domain, kinds in by_domain.items():
        largest = sorted(kinds, key=lambda each: (-each.count, each.name))
        shown = tuple(each for each in largest[:KINDS_MAX] if each.count)
        rest = sum(each.count for each in largest) - sum(each.count for each in shown)
        found.append(DomainCount(name=domain, count=sum(each.count for each in kinds), kinds=shown, more=rest))
    return tuple(found)
