"""Health over time: the score of every account, once a day, restart-safe and never twice."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from isthmus.analytics import Catalog
from isthmus.domains.success.metrics import DAILY, HEALTH, HealthView, account_health
from isthmus.domains.success.settings import SuccessSettings
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, SettingsBroken, aliases, arrive, committed, settings_of

SNAPSHOT, ACCOUNT = "success.health_snapshot", "sales.account"
BATCH_ACCOUNTS = 25
_DUE: LiteralString = "select workspaces_due_for_health(%s)"
_TURN: LiteralString = """
select day, after, next_at from health_turn where workspace = current_workspace() for update skip locked
"""
_BEGIN: LiteralString = """
insert into health_turn (workspace, day, next_at) values (current_workspace(), %s, %s) on conflict do nothing
"""
_MOVE: LiteralString = """
update health_turn set day = %s, after = %s, next_at = %s where workspace = current_workspace()
"""
_ACCOUNTS: LiteralString = """
select id from "sales.account" where id > %(after)s order by id limit %(limit)s
"""


async def workspaces_due(store: Store, *, now: datetime) -> list[int]:
    """Return the workspaces whose accounts are to be scored, and those that have no schedule yet."""
    async with store.database.plain() as connection:
        cursor = await connection.execute(_DUE, (now,))
        return [int(row[0]) for row in await cursor.fetchall()]


async def score_due(store: Store, scope: Scope) -> int:
    """Score the next accounts of a workspace that is due; returns how many were looked at, 0 when none are left.

    A workspace that is seen for the first time is due at its next hour. What was missed while nothing ran is made up
    for once. Raises SettingsBroken.
    """
    return await committed(store, scope, lambda tx: _score(tx, store))


async def _score(tx: Transaction, store: Store) -> int:
    settings = await settings_of(tx, "success", SuccessSettings)
    now = tx.scope.now
    local = now.astimezone(_zone(settings))
    following = _next(local, settings.health_hour)
    row = await (await tx.connection.execute(_TURN)).fetchone()
    if row is None:
        await tx.connection.execute(_BEGIN, (local.date(), following))
        return 0
    day, after, next_at = row
    if next_at > now:
        return 0
    # What is under way belongs to the day on which it began, also when it goes on after a night of standstill.
    day, after = (day, after) if after is not None and day == local.date() else (local.date(), UUID(int=0))
    catalog = Catalog(store.schema, metrics=(HEALTH, DAILY))
    given = {"after": after, "limit": BATCH_ACCOUNTS}
    found = await catalog.rows(tx, DAILY, _ACCOUNTS, given=given) if settings.health_daily else ()
    accounts = [own for (own,) in found if isinstance(own, UUID)]
    if not accounts:
        await tx.connection.execute(_MOVE, (day, None, following))
        return 0
    await _keep(tx, store, catalog, accounts, day=str(day))
    await tx.connection.execute(_MOVE, (day, accounts[-1], next_at))
    return len(accounts)


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


def _next(local: datetime, hour: int) -> datetime:
    """Return when the hour of the day comes next; one that a clock change leaves out is taken as it would have been."""
    today = local.replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today > local else today + timedelta(days=1)


def _zone(settings: SuccessSettings) -> ZoneInfo:
    try:
        return ZoneInfo(settings.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsBroken(
            f"The settings of success name no time zone: {settings.time_zone!r}.",
            fix="Use one such as Europe/Brussels.",
        ) from error
