"""Schedules: when jobs come by themselves. What was missed is caught up once, and two runs of one never overlap.

All jobs of a schedule share a key of which one runs at a time. A moment that comes while the job of an earlier one
waits or runs makes none: it is counted as skipped.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, LiteralString
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from psycopg.types.json import Jsonb

from isthmus.audit.trace import trace
from isthmus.kernel.errors import Conflicting, Invalid, NotFound
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.jobs.cron import check_cron, following, moments, newest_since, zone_of
from isthmus.stream.jobs.job import Wish
from isthmus.stream.jobs.queue import enqueue

BACKFILL_MAX = 1_000
FROM_THE_FUTURE = timedelta(days=1)
"""A run that lies further ahead than this was made by a clock that was wrong; nearer ones are not made again."""
_SELECT: LiteralString = """
select s.name, s.about, s.kind, s.arguments, s.cron, coalesce(s.zone, w.zone, 'UTC'), s.zone, s.paused, s.reason,
       s.standard, s.next_at, s.last_at, s.missed, s.skipped, s.last_job, s.updated_at, s.updated_by
from schedule s left join schedule_setting w on w.workspace = s.workspace
where s.workspace = current_workspace()
"""
_INSERT: LiteralString = """
insert into schedule (workspace, name, about, kind, arguments, cron, zone, standard, updated_at, updated_by)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
"""
_CHANGE: LiteralString = """
update schedule set about = %s, kind = %s, arguments = %s, cron = %s, zone = %s, next_at = null, updated_at = %s,
       updated_by = %s
where workspace = current_workspace() and name = %s
"""
_NEXT: LiteralString = """
update schedule set next_at = %s, last_at = %s, last_job = coalesce(%s, last_job), missed = missed + %s,
       skipped = skipped + %s
where workspace = current_workspace() and name = %s
"""
_PAUSE: LiteralString = """
update schedule set paused = %s, reason = %s, next_at = null, updated_at = %s, updated_by = %s
where workspace = current_workspace() and name = %s and paused <> %s
"""
_ZONE: LiteralString = """
insert into schedule_setting (workspace, zone) values (current_workspace(), %s)
on conflict (workspace) do update set zone = excluded.zone
"""
_EDITION: LiteralString = """
insert into schedule_setting (workspace, zone, edition) values (current_workspace(), %s, %s)
on conflict (workspace) do update set edition = excluded.edition
"""
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]


class ScheduleMissing(NotFound):
    """There is no such schedule."""

    code, title = "schedule-missing", "There is no such schedule"


class ScheduleTaken(Conflicting):
    """There is a schedule of that name."""

    code, title = "schedule-taken", "The name is taken"


class ScheduleBusy(Conflicting):
    """The job of the last run waits or runs, and two runs never overlap."""

    code, title = "schedule-busy", "The schedule is running already"


class ScheduleStands(Conflicting):
    """The schedule is in the state that was asked for."""

    code, title = "schedule-stands", "The schedule is in this state already"


class BackfillTooLong(Invalid):
    """The time that is to be filled holds too many runs, or none."""

    code, title = "backfill-too-long", "The time cannot be filled"


class Standard(Struct, frozen=True, kw_only=True):
    """What is scheduled in a workspace, unless somebody changes it; in the workspace's own zone without `zone`."""

    name: Name
    about: str
    kind: str
    cron: str
    arguments: dict[str, Json] = {}
    zone: str | None = None


class Schedule(Struct, frozen=True, kw_only=True):
    """A schedule as it stands; `zone` is the one it is read in, `own_zone` the one it was given, if it was.

    `missed` counts moments that nobody was there for beyond the one that was caught up, `skipped` those that came
    while the job of an earlier one was not done.
    """

    name: str
    about: str
    kind: str
    arguments: dict[str, Json]
    cron: str
    zone: str
    own_zone: str | None
    paused: bool
    reason: str
    standard: bool
    next_at: datetime | None
    last_at: datetime | None
    missed: int
    skipped: int
    last_job: UUID | None
    updated_at: datetime
    updated_by: str


async def schedules(tx: Transaction) -> list[Schedule]:
    """Return all schedules by their names."""
    rows = await (await tx.connection.execute(_SELECT + " order by s.name")).fetchall()
    return [_schedule(row) for row in rows]


async def schedule_of(tx: Transaction, name: str) -> Schedule:
    """Return a schedule; raises ScheduleMissing."""
    return await _found(tx, name, lock=False)


async def zone(tx: Transaction) -> str:
    """Return the zone in which schedules without one of their own are read."""
    query = "select zone from schedule_setting where workspace = current_workspace()"
    row = await (await tx.connection.execute(query)).fetchone()
    return "UTC" if row is None else str(row[0])


async def set_zone(tx: Transaction, name: str) -> None:
    """Read the workspace's schedules in another zone from now on; raises BadZone."""
    zone_of(name)
    before = await zone(tx)
    await tx.connection.execute(_ZONE, (name,))
    for each in await schedules(tx):
        if each.own_zone is None:
            await _plan(tx, each)
    details = {"before": before, "after": name}
    await trace(tx, action="schedule.zone", resource="schedule", record_id=None, details=details)


async def add(tx: Transaction, wanted: Standard) -> Schedule:
    """Add a schedule; raises ScheduleTaken, BadCron and BadZone."""
    if not await _insert(tx, wanted, standard=False):
        raise ScheduleTaken(f"There is a schedule {wanted.name!r}.", fix="Choose another name, or change that one.")
    await _plan(tx, await schedule_of(tx, wanted.name))
    details = {"name": wanted.name, "kind": wanted.kind, "cron": wanted.cron}
    await trace(tx, action="schedule.added", resource="schedule", record_id=None, details=details)
    return await schedule_of(tx, wanted.name)


async def change(
    tx: Transaction,
    name: str,
    *,
    cron: str | None = None,
    own_zone: str | None = None,
    arguments: dict[str, Json] | None = None,
) -> Schedule:
    """Change when and with what a schedule comes; an empty zone is the workspace's.

    Raises ScheduleMissing, BadCron and BadZone.
    """
    before = await _found(tx, name, lock=True)
    wanted_zone = before.own_zone if own_zone is None else own_zone or None
    if wanted_zone is not None:
        zone_of(wanted_zone)
    wanted = check_cron(cron) if cron is not None else before.cron
    given = before.arguments if arguments is None else arguments
    scope = tx.scope
    row = (before.about, before.kind, Jsonb(given), wanted, wanted_zone, scope.now, scope.actor, name)
    await tx.connection.execute(_CHANGE, row)
    await _plan(tx, await schedule_of(tx, name))
    details = {
        "name": name,
        "before": f"{before.cron} {before.own_zone or ''}",
        "after": f"{wanted} {wanted_zone or ''}",
    }
    await trace(tx, action="schedule.changed", resource="schedule", record_id=None, details=details)
    return await schedule_of(tx, name)


async def pause(tx: Transaction, name: str, *, reason: str) -> Schedule:
    """Let a schedule rest; raises ScheduleMissing and ScheduleStands."""
    return await _rest(tx, name, paused=True, reason=reason)


async def resume(tx: Transaction, name: str) -> Schedule:
    """Let a schedule come again, from now on: what it rested over is not caught up.

    Raises ScheduleMissing and ScheduleStands.
    """
    return await _rest(tx, name, paused=False, reason="")


async def remove(tx: Transaction, name: str) -> None:
    """Take a schedule away; raises ScheduleMissing. A standard one stays away."""
    await _found(tx, name, lock=True)
    await tx.connection.execute("delete from schedule where workspace = current_workspace() and name = %s", (name,))
    await trace(tx, action="schedule.removed", resource="schedule", record_id=None, details={"name": name})


async def run_now(tx: Transaction, name: str) -> UUID:
    """Start the job of a schedule at once, also of one that rests; raises ScheduleMissing and ScheduleBusy."""
    found = await _found(tx, name, lock=True)
    (made,) = await enqueue(tx, [_wish(found, tx.scope.now)])
    if made is None:
        raise ScheduleBusy(
            f"A run of {name!r} waits or goes on.", fix=f"Wait for it: isthmus jobs ls --schedule {name}"
        )
    await tx.connection.execute(
        "update schedule set last_job = %s where workspace = current_workspace() and name = %s", (made, name)
    )
    await trace(tx, action="schedule.run", resource="schedule", record_id=made, details={"name": name})
    return made


async def backfill(tx: Transaction, name: str, *, since: datetime, until: datetime) -> list[UUID]:
    """Start a job for every moment from `since` up to `until`, one after the other, the oldest first.

    Raises ScheduleMissing and BackfillTooLong.
    """
    found = await _found(tx, name, lock=True)
    just_before = since - timedelta(microseconds=1)
    upcoming = moments(found.cron, zone_of(found.zone), after=just_before)
    filled = [at for at in islice(upcoming, BACKFILL_MAX + 1) if at < until]
    if not filled or len(filled) > BACKFILL_MAX:
        count = "no run" if not filled else f"more than {BACKFILL_MAX} runs"
        raise BackfillTooLong(f"Between these moments there is {count}.", fix="Name others.")
    made = await enqueue(tx, [msgspec.structs.replace(_wish(found, at), dedupe=None) for at in filled])
    details = {"name": name, "since": since.isoformat(), "until": until.isoformat(), "runs": len(made)}
    await trace(tx, action="schedule.backfilled", resource="schedule", record_id=None, details=details)
    return [own for own in made if own is not None]


async def install(tx: Transaction, standards: Iterable[Standard], *, edition: int, zone_name: str = "UTC") -> int:
    """Add the standard schedules of an edition that a workspace has not met; returns how many are new."""
    query = "select edition from schedule_setting where workspace = current_workspace() for update"
    row = await (await tx.connection.execute(query)).fetchone()
    if row is not None and row[0] >= edition:
        return 0
    await tx.connection.execute(_EDITION, (zone_name, edition))
    added = [each.name for each in standards if await _insert(tx, each, standard=True)]
    for name in added:
        await _plan(tx, await schedule_of(tx, name))
    return len(added)


async def fire(tx: Transaction) -> list[UUID]:
    """Make the jobs of all schedules that are due, one for each whatever it missed; returns the jobs.

    Several programs may do so at once: each schedule is another's while its row is locked.
    """
    now = tx.scope.now
    query: LiteralString = (
        _SELECT
        + """ and not s.paused and (s.next_at is null or s.next_at <= %s or s.last_at > %s)
        order by s.next_at for update of s skip locked"""
    )
    rows = await (await tx.connection.execute(query, (now, now + FROM_THE_FUTURE))).fetchall()
    made: list[UUID] = []
    for each in map(_schedule, rows):
        ahead = each.last_at is not None and each.last_at > now + FROM_THE_FUTURE
        if each.next_at is None or ahead or each.next_at > now:
            await _plan(tx, each)
            continue
        read_in = zone_of(each.zone)
        newest, before = newest_since(each.cron, read_in, since=each.next_at, now=now)
        (own,) = await enqueue(tx, [_wish(each, newest)])
        upcoming = following(each.cron, read_in, after=now)
        skipped = 1 if own is None else 0
        await tx.connection.execute(_NEXT, (upcoming, newest, own, before, skipped, each.name))
        made += [own] if own is not None else []
    return made


async def _plan(tx: Transaction, found: Schedule) -> None:
    """Say when a schedule comes next, counted from now."""
    now = tx.scope.now
    upcoming = following(found.cron, zone_of(found.zone), after=now)
    last_at = found.last_at if found.last_at is not None and found.last_at <= now + FROM_THE_FUTURE else None
    await tx.connection.execute(_NEXT, (upcoming, last_at, None, 0, 0, found.name))


async def _rest(tx: Transaction, name: str, *, paused: bool, reason: str) -> Schedule:
    scope = tx.scope
    row = (paused, reason, scope.now, scope.actor, name, paused)
    if (await tx.connection.execute(_PAUSE, row)).rowcount != 1:
        await schedule_of(tx, name)
        state = "rests" if paused else "comes"
        raise ScheduleStands(f"{name!r} {state} already.", fix="See how it stands: isthmus schedule ls")
    if not paused:
        await _plan(tx, await schedule_of(tx, name))
    action = "schedule.paused" if paused else "schedule.resumed"
    await trace(tx, action=action, resource="schedule", record_id=None, details={"name": name, "reason": reason})
    return await schedule_of(tx, name)


async def _found(tx: Transaction, name: str, *, lock: bool) -> Schedule:
    query: LiteralString = _SELECT + " and s.name = %s" + (" for update of s" if lock else "")
    row = await (await tx.connection.execute(query, (name,))).fetchone()
    if row is None:
        raise ScheduleMissing(f"There is no schedule {name!r}.", fix="List them: isthmus schedule ls")
    return _schedule(row)


async def _insert(tx: Transaction, wanted: Standard, *, standard: bool) -> bool:
    cron = check_cron(wanted.cron)
    if wanted.zone is not None:
        zone_of(wanted.zone)
    scope = tx.scope
    row = (wanted.name, wanted.about, wanted.kind, Jsonb(wanted.arguments), cron, wanted.zone, standard, scope.now)
    return (await tx.connection.execute(_INSERT, (*row, scope.actor))).rowcount == 1


def _wish(found: Schedule, occurrence: datetime) -> Wish:
    own = f"schedule:{found.name}"
    return Wish(
        kind=found.kind,
        arguments=found.arguments,
        dedupe=own,
        key=own,
        schedule=found.name,
        occurrence=occurrence,
    )


def _schedule(row: Sequence[object]) -> Schedule:
    return msgspec.convert(dict(zip(Schedule.__struct_fields__, row, strict=True)), Schedule)
