"""Routes of schedules: when jobs come by themselves; changing, resting, running at once and filling a past time."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.app.scheduling.kinds import BadArguments, checked, kind_of, kinds
from isthmus.app.scheduling.views import JobView, ScheduleView, job_view, schedule_view
from isthmus.gateway import Call, Page, Paging, Route
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.jobs import schedules
from isthmus.stream.jobs.board import job_of
from isthmus.stream.jobs.cron import BadCron, BadZone
from isthmus.stream.jobs.job import JOB_PREFIX, UnknownKind
from isthmus.stream.jobs.schedules import (
    BackfillTooLong,
    Name,
    Schedule,
    ScheduleBusy,
    ScheduleMissing,
    ScheduleStands,
    ScheduleTaken,
    Standard,
)

_TAGS = ("jobs",)
_TEXT_MAX = 200
_Text = Annotated[str, Meta(max_length=_TEXT_MAX)]
_Cron = Annotated[
    str,
    Meta(min_length=9, max_length=_TEXT_MAX, description="Minute, hour, day of the month, month, day of the week."),
]
_Zone = Annotated[str, Meta(max_length=60, description="A name of the IANA database; empty is the workspace's own.")]
_Moment = Annotated[datetime, Meta(tz=True)]


class NewSchedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule: which jobs come when; without a zone in that of the workspace."""

    name: Name
    kind: Annotated[str, Meta(min_length=1, max_length=_TEXT_MAX)]
    cron: _Cron
    about: _Text = ""
    arguments: dict[str, Json] = {}
    zone: _Zone = ""


class ScheduleChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different."""

    cron: _Cron | None = None
    zone: _Zone | None = None
    arguments: dict[str, Json] | None = None


class Resting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it rests."""

    reason: _Text = ""


class Filling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The past time that is filled: a job for each moment from `since` up to `until`."""

    since: _Moment
    until: _Moment


class Filled(Struct, frozen=True, kw_only=True):
    """The jobs that were made, the oldest moment first."""

    jobs: list[str]


class ZoneView(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The zone in which schedules without one of their own are read."""

    zone: Annotated[str, Meta(min_length=1, max_length=60)]


async def list_schedules(call: Call) -> Page[ScheduleView]:
    """List schedules by name."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        found = [schedule_view(each) for each in await schedules.schedules(tx)]
    rest = [each for each in found if after is None or each.name > after]
    return call.page(rest, limit=paging.limit, after=lambda each: each.name)


async def show_schedule(call: Call) -> ScheduleView:
    """Show a schedule."""
    async with call.services.database.transaction(call.scope) as tx:
        return schedule_view(await schedules.schedule_of(tx, call.path["name"]))


async def add_schedule(call: Call) -> ScheduleView:
    """Add a schedule."""
    wanted = call.body(NewSchedule)
    kind = kind_of(wanted.kind)
    call.require(kind.permission)
    made = Standard(
        name=wanted.name,
        about=wanted.about,
        kind=kind.name,
        cron=wanted.cron,
        arguments=checked(kind, wanted.arguments),
        zone=wanted.zone or None,
    )
    async with call.services.database.transaction(call.scope) as tx:
        return schedule_view(await schedules.add(tx, made))


async def change_schedule(call: Call) -> ScheduleView:
    """Change a schedule."""
    wanted, name = call.body(ScheduleChange), call.path["name"]
    async with call.services.database.transaction(call.scope) as tx:
        kind = kind_of((await _permitted(call, tx)).kind)
        arguments = None if wanted.arguments is None else checked(kind, wanted.arguments)
        return schedule_view(
            await schedules.change(tx, name, cron=wanted.cron, own_zone=wanted.zone, arguments=arguments)
        )


async def remove_schedule(call: Call) -> None:
    """Take a schedule away."""
    async with call.services.database.transaction(call.scope) as tx:
        await _permitted(call, tx)
        await schedules.remove(tx, call.path["name"])


async def pause_schedule(call: Call) -> ScheduleView:
    """Let a schedule rest."""
    async with call.services.database.transaction(call.scope) as tx:
        await _permitted(call, tx)
        return schedule_view(await schedules.pause(tx, call.path["name"], reason=call.body(Resting).reason))


async def resume_schedule(call: Call) -> ScheduleView:
    """Let a schedule come again."""
    async with call.services.database.transaction(call.scope) as tx:
        await _permitted(call, tx)
        return schedule_view(await schedules.resume(tx, call.path["name"]))


async def run_schedule(call: Call) -> JobView:
    """Run a schedule now."""
    async with call.services.database.transaction(call.scope) as tx:
        await _permitted(call, tx)
        return job_view(await job_of(tx, await schedules.run_now(tx, call.path["name"])))


async def backfill_schedule(call: Call) -> Filled:
    """Fill a past time."""
    wanted = call.body(Filling)
    async with call.services.database.transaction(call.scope) as tx:
        await _permitted(call, tx)
        made = await schedules.backfill(tx, call.path["name"], since=wanted.since, until=wanted.until)
    return Filled(jobs=[text_of(JOB_PREFIX, each) for each in made])


async def show_zone(call: Call) -> ZoneView:
    """Show the zone."""
    async with call.services.database.transaction(call.scope) as tx:
        return ZoneView(zone=await schedules.zone(tx))


async def set_zone(call: Call) -> ZoneView:
    """Set the zone."""
    wanted = call.body(ZoneView)
    async with call.services.database.transaction(call.scope) as tx:
        await schedules.set_zone(tx, wanted.zone)
    return wanted


async def _permitted(call: Call, tx: Transaction) -> Schedule:
    """Return the schedule in the path; raises Denied for jobs that the caller may not start."""
    found = await schedules.schedule_of(tx, call.path["name"])
    if (kind := kinds().get(found.kind)) is not None:
        call.require(kind.permission)
    return found


_OWN = "/api/v1/schedules/{name}"
ROUTES = (
    Route(
        method="GET",
        path="/api/v1/schedules",
        permission="stream:read",
        handler=list_schedules,
        summary="List schedules, and when they come next",
        tags=_TAGS,
        query=Paging,
        response=Page[ScheduleView],
    ),
    Route(
        method="POST",
        path="/api/v1/schedules",
        permission="stream:write",
        handler=add_schedule,
        summary="Add a schedule",
        tags=_TAGS,
        body=NewSchedule,
        response=ScheduleView,
        status=201,
        request_example={"name": "noon-health", "kind": "success.health", "cron": "0 12 * * 1-5"},
        errors=(ScheduleTaken, BadCron, BadZone, UnknownKind, BadArguments),
    ),
    Route(
        method="GET",
        path="/api/v1/schedule-zone",
        permission="stream:read",
        handler=show_zone,
        summary="Show the time zone of schedules",
        tags=_TAGS,
        response=ZoneView,
    ),
    Route(
        method="PUT",
        path="/api/v1/schedule-zone",
        permission="stream:write",
        handler=set_zone,
        summary="Set the time zone of schedules that have none of their own",
        tags=_TAGS,
        body=ZoneView,
        response=ZoneView,
        request_example={"zone": "Europe/Brussels"},
        errors=(BadZone,),
    ),
    Route(
        method="GET",
        path=_OWN,
        permission="stream:read",
        handler=show_schedule,
        summary="Show a schedule",
        tags=_TAGS,
        response=ScheduleView,
        errors=(ScheduleMissing,),
    ),
    Route(
        method="PATCH",
        path=_OWN,
        permission="stream:write",
        handler=change_schedule,
        summary="Change when a schedule comes, and with what",
        tags=_TAGS,
        body=ScheduleChange,
        response=ScheduleView,
        request_example={"cron": "30 2 * * *", "zone": "Europe/Brussels"},
        errors=(ScheduleMissing, BadCron, BadZone, UnknownKind, BadArguments),
    ),
    Route(
        method="DELETE",
        path=_OWN,
        permission="stream:write",
        handler=remove_schedule,
        summary="Take a schedule away",
        tags=_TAGS,
        status=204,
        errors=(ScheduleMissing,),
    ),
    Route(
        method="POST",
        path=f"{_OWN}:pause",
        permission="stream:write",
        handler=pause_schedule,
        summary="Let a schedule rest",
        tags=_TAGS,
        body=Resting,
        response=ScheduleView,
        request_example={"reason": "the warehouse is moved tonight"},
        errors=(ScheduleMissing, ScheduleStands),
    ),
    Route(
        method="POST",
        path=f"{_OWN}:resume",
        permission="stream:write",
        handler=resume_schedule,
        summary="Let a schedule come again, from now on",
        tags=_TAGS,
        response=ScheduleView,
        errors=(ScheduleMissing, ScheduleStands),
    ),
    Route(
        method="POST",
        path=f"{_OWN}:run",
        permission="stream:write",
        handler=run_schedule,
        summary="Run the job of a schedule now",
        tags=_TAGS,
        response=JobView,
        status=201,
        errors=(ScheduleMissing, ScheduleBusy),
    ),
    Route(
        method="POST",
        path=f"{_OWN}:backfill",
        permission="stream:write",
        handler=backfill_schedule,
        summary="Make a job for every moment of a past time, one after the other",
        tags=_TAGS,
        body=Filling,
        response=Filled,
        status=201,
        request_example={"since": "2026-11-01T00:00:00Z", "until": "2026-11-08T00:00:00Z"},
        errors=(ScheduleMissing, BackfillTooLong),
    ),
)
