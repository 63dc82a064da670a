"""Filling the overview for a viewer: what is cheap is asked each time, what may be slow is kept for a while for all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from isthmus.analytics import Attribution
from isthmus.console.overview.agreeing import load_agreeing
from isthmus.console.overview.cases import load_cases
from isthmus.console.overview.changes import load_changes
from isthmus.console.overview.counts import counts_by_kind, domain_counts
from isthmus.console.overview.credit import PERMISSION as CREDIT_PERMISSION
from isthmus.console.overview.credit import credit_view, load_credit
from isthmus.console.overview.keeping import Kept
from isthmus.console.overview.systems import load_systems
from isthmus.console.overview.views import CreditView, DomainCount, Overview
from isthmus.gateway import Services
from isthmus.store.database import Scope, Transaction
from isthmus.sync.runs import Engine

COUNTS_LIFE = timedelta(seconds=5)
CREDIT_LIFE = timedelta(seconds=15)
SYNC_PERMISSION = "sync:read"


@dataclass(frozen=True)
class Viewer:
    """For whom the page is made: what it shows depends on nothing else, so that viewers who are equal share it."""

    workspace: int
    permissions: frozenset[str]
    model: str
    currency: str | None = None

    def may(self, permission: str) -> bool:
        """Tell whether the viewer has a permission."""
        return permission in self.permissions


@dataclass(frozen=True)
class Shelf:
    """What is kept for all viewers of a program."""

    counts: Kept[dict[str, int]] = field(default_factory=lambda: Kept[dict[str, int]](life=COUNTS_LIFE))
    credit: Kept[Sequence[Attribution]] = field(default_factory=lambda: Kept[Sequence[Attribution]](life=CREDIT_LIFE))


async def load_overview(services: Services, shelf: Shelf, viewer: Viewer, scope: Scope) -> Overview:
    """Return the page's content, without what the viewer may not see."""
    schema, vault = services.schema, services.vault
    domains = await _domains(services, shelf, viewer, scope)
    credit = await _credit(services, shelf, viewer, scope) if viewer.may(CREDIT_PERMISSION) else None
    async with services.database.transaction(scope) as tx:
        synced = await load_systems(tx, services.of(Engine).connectors) if viewer.may(SYNC_PERMISSION) else None
        return Overview(
            now=scope.now,
            workspace=await _name(tx),
            domains=domains,
            running=synced[1] if synced is not None else None,
            systems=synced[0] if synced is not None else None,
            credit=credit,
            cases=await load_cases(tx, vault, schema, may=viewer.may) if synced is not None else None,
            changes=await load_changes(tx, vault, schema, may=viewer.may),
            agreeing=await load_agreeing(tx) if synced is not None else None,
        )


async def _domains(services: Services, shelf: Shelf, viewer: Viewer, scope: Scope) -> tuple[DomainCount, ...] | None:
    async def ask() -> dict[str, int]:
        async with services.database.transaction(scope) as tx:
            return await counts_by_kind(tx, services.schema)

    counted = await shelf.counts.get(scope, ask)
    return domain_counts(counted[1], may=viewer.may) if counted is not None else None


async def _credit(services: Services, shelf: Shelf, viewer: Viewer, scope: Scope) -> CreditView:
    async def ask() -> Sequence[Attribution]:
        async with services.database.transaction(scope) as tx:
            return await load_credit(tx, services)

    answers = await shelf.credit.get(scope, ask)
    return credit_view(answers[1] if answers is not None else None, model=viewer.model, currency=viewer.currency)


async def _name(tx: Transaction) -> str:
    cursor = await tx.connection.execute("select name from workspace where id = %s", (tx.scope.workspace,))
    row = await cursor.fetchone()
    return str(row[0]) if row else ""
