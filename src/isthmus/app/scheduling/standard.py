"""What is scheduled in each workspace unless somebody changes it. Kinds are named, so that commands begin quickly."""

from isthmus.store.database import Transaction
from isthmus.stream.jobs.schedules import Standard, install

HOUSEKEEPING = "housekeeping"
EDITION = 5
"""Raised when a standard schedule is added, so that workspaces which are there get it too."""
STANDARD: tuple[Standard, ...] = (
    Standard(
        name="daily-crm",
        about="CRM contacts and campaign performance",
        kind="sync.streams",
        cron="0 2 * * *",
        arguments={"domains": ["sales", "marketing"]},
    ),
    Standard(
        name="daily-finance",
        about="Financial figures",
        kind="sync.streams",
        cron="0 6 * * *",
        arguments={"domains": ["finance"]},
    ),
    Standard(name="daily-matching", about="People who are probably one", kind="matching.people", cron="0 1 * * *"),
    Standard(name="new-people", about="Who people that are new probably are", kind="matching.new", cron="*/10 * * * *"),
    Standard(name="daily-health", about="Health scores", kind="success.health", cron="0 6 * * *"),
    Standard(name="weekly-analytics", about="Full analytics and returns", kind="analytics.full", cron="0 3 * * 0"),
    Standard(
        name="weekly-attribution",
        about="Attribution under every rule",
        kind="analytics.attribution",
        cron="0 4 * * 3",
    ),
    Standard(
        name="weekly-reconciliation",
        about="What systems hold against what is held of them",
        kind="sync.reconcile",
        cron="0 1 * * 6",
    ),
    Standard(
        name="daily-probes",
        about="Some records of every system against what is held of them",
        kind="sync.probe",
        cron="30 4 * * *",
    ),
    Standard(
        name="monthly-report",
        about="The executive figures of the month before",
        kind="report.executive",
        cron="0 5 * * 1#1",
    ),
    Standard(
        name="housekeeping",
        about="Delete what has expired",
        kind=HOUSEKEEPING,
        cron="17 * * * *",
    ),
)


async def installed(tx: Transaction) -> int:
    """See that a workspace has the standard schedules of this edition; returns how many are new."""
    return await install(tx, STANDARD, edition=EDITION)
