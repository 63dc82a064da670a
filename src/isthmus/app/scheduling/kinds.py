"""Every kind of job there is, and what is scheduled in each workspace unless somebody changes it."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import cast

import msgspec
from msgspec import Struct

import isthmus.domains
from isthmus.app.scheduling import connections, figures
from isthmus.app.scheduling.context import JobContext
from isthmus.auth.oauth.sweeping import sweep
from isthmus.domains.success.jobs import DAILY_HEALTH
from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.jobs.board import forget
from isthmus.stream.jobs.job import Kind, UnknownKind
from isthmus.stream.jobs.schedules import Standard
from isthmus.stream.jobs.work import Work

HOUSEKEEPING = "housekeeping"
EDITION = 1
"""Raised when a standard schedule is added, so that workspaces which are there get it too."""
STANDARD: tuple[Standard, ...] = (
    Standard(
        name="daily-crm",
        about="CRM contacts and campaign performance",
        kind=connections.STREAMS,
        cron="0 2 * * *",
        arguments={"domains": ["sales", "marketing"]},
    ),
    Standard(
        name="daily-finance",
        about="Financial figures",
        kind=connections.STREAMS,
        cron="0 6 * * *",
        arguments={"domains": ["finance"]},
    ),
    Standard(name="daily-health", about="Health scores", kind=DAILY_HEALTH, cron="0 6 * * *"),
    Standard(name="weekly-analytics", about="Full analytics and returns", kind=figures.FULL, cron="0 3 * * 0"),
    Standard(
        name="weekly-attribution",
        about="Attribution under every rule",
        kind=figures.ATTRIBUTION,
        cron="0 4 * * 3",
    ),
    Standard(
        name="monthly-report",
        about="The executive figures of the month before",
        kind=figures.EXECUTIVE,
        cron="0 5 * * 1#1",
    ),
    Standard(
        name="housekeeping",
        about="Delete what has expired",
        kind=HOUSEKEEPING,
        cron="17 * * * *",
    ),
)


class BadArguments(Invalid):
    """The arguments do not fit the kind of job."""

    code, title = "bad-arguments", "The arguments do not fit"


async def keep_house(work: Work, _: JobContext) -> Json:
    """Delete what can open nothing any more, and jobs that ended long ago."""

    async def away(tx: Transaction) -> Json:
        return {"expired": await sweep(tx), "job_steps": await forget(tx)}

    return await work.step("away", away)


_OWN: tuple[Kind[JobContext], ...] = (
    *connections.KINDS,
    *figures.KINDS,
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
