"""Every kind of job there is."""

import pkgutil
from datetime import timedelta
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, cast

import msgspec
from msgspec import Meta, Struct

import isthmus.domains
from isthmus.app.arriving import arrivals, arriving
from isthmus.app.reacting import consumers
from isthmus.app.scheduling import connections, figures, matching, reconciling, rereading
from isthmus.app.scheduling.context import JobContext
from isthmus.app.scheduling.standard import HOUSEKEEPING
from isthmus.app.workflows import KINDS as WORKFLOWS
from isthmus.auth.oauth.sweeping import sweep
from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.jobs.board import forget
from isthmus.stream.jobs.job import Kind, UnknownKind
from isthmus.stream.jobs.work import Work
from isthmus.stream.trimming import KEPT, KEPT_LEAST, trim
from isthmus.sync.reconciling.held import fold

TRIMS_MAX = 200


class KindView(Struct, frozen=True, kw_only=True):
    """A kind of job that people may start, with the permission that takes."""

    name: str
    about: str
    permission: str
    arguments: list[str]


class BadArguments(Invalid):
    """The arguments do not fit the kind of job."""

    code, title = "bad-arguments", "The arguments do not fit"


class _House(Struct, forbid_unknown_fields=True):
    """What housekeeping is told: for how many days the log of events is kept."""

    keep_events_days: Annotated[int, Meta(ge=KEPT_LEAST.days, le=36_500)] = KEPT.days


async def keep_house(work: Work, context: JobContext) -> Json:
    """Delete what can open nothing any more, jobs that ended and events that passed long ago; gather kept digests."""
    try:
        given = work.given(_House)
    except msgspec.ValidationError as error:
        fix = f"Give keep_events_days as a whole number of days, {KEPT_LEAST.days} or more."
        raise BadArguments(f"Housekeeping cannot be done so: {error}.", fix=fix) from error
    readers = [each.name for each in (*consumers(context.store), *arriving(arrivals(context.store)))]

    async def away(tx: Transaction) -> Json:
        return {"expired": await sweep(tx), "job_steps": await forget(tx)}

    async def gather(tx: Transaction) -> Json:
        await fold(tx)
        return None

    async def old(tx: Transaction) -> Json:
        return await trim(tx, readers, kept=timedelta(days=given.keep_events_days))

    await work.step("digests", gather)
    gone = 0
    for number in range(TRIMS_MAX):
        some = await work.step(f"events-{number}", old)
        gone += some if isinstance(some, int) else 0
        if not some:
            break
    done = await work.step("away", away)
    return {**(done if isinstance(done, dict) else {}), "events": gone}


_OWN: tuple[Kind[JobContext], ...] = (
    *connections.KINDS,
    *rereading.KINDS,
    *figures.KINDS,
    *reconciling.KINDS,
    *WORKFLOWS,
    *matching.KINDS,
    Kind(name=HOUSEKEEPING, about="Delete what has expired.", run=keep_house),
)


@cache
def kinds() -> dict[str, Kind[JobContext]]:
    """Return all kinds by name: the program's own, and `JOBS` of every domain; raises TypeError for another `JOBS`."""
    found = [*_OWN]
    for module in pkgutil.iter_modules(isthmus.domains.__path__):
        path = f"isthmus.domains.{module.name}.jobs"
        if not module.ispkg or find_spec(path) is None:
            continue
        declared: object = getattr(import_module(path), "JOBS", None)
        if not isinstance(declared, tuple):
            message = f"{path} must define JOBS: tuple[Kind, ...]"
            raise TypeError(message)
        found += cast("tuple[Kind[JobContext], ...]", declared)
    return {each.name: each for each in found}


def kind_of(name: str) -> Kind[JobContext]:
    """Return a kind that people may start; raises UnknownKind."""
    known = kinds()
    if name not in known or not known[name].by_hand:
        there = ", ".join(sorted(each.name for each in known.values() if each.by_hand))
        raise UnknownKind(f"There are no jobs of kind {name!r}.", fix=f"There are: {there}.")
    return known[name]


def checked(kind: Kind[JobContext], arguments: dict[str, Json], *, pointer: str = "/arguments") -> dict[str, Json]:
    """Return arguments that fit a kind; raises BadArguments."""
    try:
        given: Struct = msgspec.convert(arguments, kind.arguments)
    except msgspec.ValidationError as error:
        fault = Fault(pointer=pointer, code=BadArguments.code, detail=str(error))
        raise BadArguments(f"{kind.name}: {error}.", fix="Mend the arguments.", faults=(fault,)) from error
    return cast("dict[str, Json]", msgspec.to_builtins(given))


def kind_views() -> list[KindView]:
    """Return the kinds of jobs that people may start, by name."""
    return [
        KindView(
            name=each.name,
            about=each.about,
            permission=each.permission,
            arguments=list(each.arguments.__struct_fields__),
        )
        for each in sorted(kinds().values(), key=lambda each: each.name)
        if each.by_hand
    ]
