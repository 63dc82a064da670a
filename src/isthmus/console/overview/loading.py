"""Filling the overview for a viewer: what is cheap is asked each time, what is not is asked once in a while for all."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from isthmus.analytics import Attribution
from isthmus.console.overview.cases import load_cases
from isthmus.console.overview.changes import load_changes
from isthmus.console.overview.counts import counts_by_kind, domain_counts
from isthmus.console.overview.credit import PERMISSION as CREDIT_PERMISSION
from isthmus.console.overview.credit import credit_view, load_credit
from isthmus.console.overview.systems import load_systems
from isthmus.console.overview.views import Overview
from isthmus.gateway import Services
from isthmus.store.database import Scope, Transaction

COUNTS_LIFE = timedelta(seconds=5)
CREDIT_LIFE = timedelta(seconds=15)
SYNC_PERMISSION = "sync:read"
T = TypeVar("T")


@dataclass(frozen=True)
class Viewer:
    """For whom the page is made: what it shows depends on nothing else, so that viewers who are equal share it."""

    workspace: int
    permissions: frozenset[str]
    model: str

    def may(self, permission: str) -> bool:
        """Tell whether the viewer has a permission."""
        return permission in self.permissions


@dataclass(slots=True)
class Kept(Generic[T]):
    """The last answer of each workspace to a question that costs something; one asks, the others wait for it."""

    life: timedelta
    answers: dict[int, tuple[datetime, T]] = field(default_factory=dict[int, tuple[datetime, T]])
    turns: defaultdict[int, asyncio.Lock] = field(default_factory=lambda: defaultdict[int, asyncio.Lock](asyncio.Lock))

    async def get(self, tx: Transaction, ask: Callable[[Transaction], Awaitable[T]]) -> tuple[datetime, T]:
        """Return the answer and when it was given, asked anew when it is too old."""
        workspace, now = tx.scope.workspace, tx.scope.now
        async with self.turns[workspace]:
            kept = self.answers.get(workspace)
            if kept is None or now - kept[0] >= self.life:
                kept = self.answers[workspace] = (now, await ask(tx))
            return kept


@dataclass(frozen=True)
class Shelf:
    """What is asked once in a while, for all viewers of a program."""

    counts: Kept[dict[str, int]] = field(default_factory=lambda: Kept[dict[str, int]](COUNTS_LIFE))
    credit: Kept[Sequence[Attribution]] = field(default_factory=lambda: Kept[Sequence[Attribution]](CREDIT_LIFE))


async def load_overview(services: Services, shelf: Shelf, viewer: Viewer, scope: Scope) -> Overview:
    """Return the page's content, without what the viewer may not see."""
    schema, vault = services.schema, services.vault
    async with services.database.transaction(scope) as tx:
        _, counted = await shelf.counts.get(tx, lambda tx: counts_by_kind(tx, schema))
        credit = None
        if viewer.may(CREDIT_PERMISSION):
            asked_at, answers = await shelf.credit.get(tx, lambda tx: load_credit(tx, services))
            credit = credit_view(answers, model=viewer.model, now=asked_at)
        synced = await load_systems(tx) if viewer.may(SYNC_PERMISSION) else None
        return Overview(
            now=scope.now,
            workspace=await _name(tx),
            domains=domain_counts(counted, may=viewer.may),
            running=synced[1] if synced is not None else None,
            systems=synced[0] if synced is not None else None,
            credit=credit,
            cases=await load_cases(tx, vault, schema, may=viewer.may) if synced is not None else None,
            changes=await load_changes(tx, vault, schema, may=viewer.may),
        )


async def _name(tx: Transaction) -> str:
    cursor = await tx.connection.execute("select name from workspace where id = %s", (tx.scope.workspace,))
    row = await cursor.fetchone()
    return str(row[0]) if row else ""
