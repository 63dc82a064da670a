"""What stands in the database: workspaces, events that wait, connections that are late, and its clock."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import LiteralString, cast

from psycopg import Connection

from isthmus.app.doctor.finding import Finding, fail, ok, warn
from isthmus.console import words
from isthmus.kernel.status import Status
from isthmus.store.migrate import history

SKEW_WARN, SKEW_FAIL = timedelta(seconds=2), timedelta(minutes=1)
LAG_WARN, LAG_FAIL = timedelta(minutes=1), timedelta(minutes=10)
LATE_SLACK = timedelta(minutes=1)
_CLOCK = "clock"
_SET_CLOCK = "Set the clock by the network: timedatectl set-ntp true"
_NEWEST: LiteralString = "select greatest((select max(at) from audit), (select max(created_at) from workspace))"
_WAITING: LiteralString = "select count(*), min(at) from event where bundle is null"
_PARKED: LiteralString = "select consumer, count(*), min(reason) from parked group by consumer order by consumer"
_DEAD: LiteralString = """
select w.slug, j.kind, count(*), max(j.reason) from job j join workspace w on w.id = j.workspace
where j.status = 'needs attention' group by w.slug, j.kind order by w.slug, j.kind
"""
_LATE: LiteralString = """
select w.slug, s.name, s.next_at from schedule s join workspace w on w.id = s.workspace
where not s.paused and s.next_at < %s order by s.next_at
"""
_CONNECTIONS: LiteralString = """
select w.slug, c.name, c.status, c.reason, c.every_s, greatest(max(f.finished_at), c.created_at)
from connection c join workspace w on w.id = c.workspace
left join feed_state f on f.workspace = c.workspace and f.connection_id = c.id
where c.removed_at is null group by w.slug, c.workspace, c.id, c.name, c.status, c.reason, c.every_s, c.created_at
order by w.slug, c.name
"""


def clock(connection: Connection, *, now: Callable[[], datetime]) -> Finding:
    """Compare this machine's clock with the database's, with what it wrote before, and with the age of the program."""
    before = now()
    row = connection.execute("select clock_timestamp()").fetchone()
    middle = before + (now() - before) / 2
    theirs = cast("datetime", row[0]).astimezone(UTC) if row else middle
    skew = abs(theirs - middle)
    made = datetime.strptime(history()[-1].name[:10], "%Y_%m_%d").replace(tzinfo=UTC)
    if middle < made - timedelta(days=1):
        return fail(_CLOCK, f"It is {middle:%Y-%m-%d} here, before this program was made.", fix=_SET_CLOCK)
    if skew > SKEW_WARN:
        found = f"This machine and the database are {words.duration(skew.total_seconds())} apart."
        return fail(_CLOCK, found, fix=_SET_CLOCK) if skew > SKEW_FAIL else warn(_CLOCK, found, fix=_SET_CLOCK)
    newest = _newest(connection)
    if newest is not None and newest > middle + SKEW_WARN:
        ahead = words.duration((newest - middle).total_seconds())
        return warn(_CLOCK, f"It went back: what was written last is {ahead} in the future.", fix=_SET_CLOCK)
    return ok(_CLOCK, f"{middle:%Y-%m-%d %H:%M:%S} UTC, the same here and in the database")


def workspaces(connection: Connection, *, now: datetime, runs: bool) -> Iterator[Finding]:
    """List the workspaces."""
    del now, runs
    rows = connection.execute("select slug, kind from workspace order by id").fetchall()
    if not rows:
        yield ok("workspaces", "none yet; the first command makes the workspace main")
        return
    yield ok("workspaces", ", ".join(slug if kind == "live" else f"{slug} ({kind})" for slug, kind in rows))


def events(connection: Connection, *, now: datetime, runs: bool) -> Iterator[Finding]:
    """Look at events that wait for the relay, and at those that a consumer could not take."""
    row = connection.execute(_WAITING).fetchone()
    count, oldest = (int(row[0]), row[1]) if row else (0, None)
    lag = now - oldest if oldest is not None else timedelta()
    waiting = (
        f"{words.counted(count, 'event')} wait for the relay, the oldest for {words.duration(lag.total_seconds())}"
    )
    if not count:
        yield ok("events", "all are numbered and passed on")
    elif not runs:
        yield ok("events", f"{waiting}; it runs with isthmus up")
    elif lag > LAG_FAIL:
        yield fail("events", f"{waiting}.", fix="isthmus down, then isthmus up; a role relay has to run.")
    elif lag > LAG_WARN:
        yield warn("events", f"{waiting}.", fix="After a large import wait; else see whether a role relay runs.")
    else:
        yield ok("events", waiting)
    for consumer, parked, reason in connection.execute(_PARKED).fetchall():
        found = f"{words.counted(int(parked), 'event')} could not be taken by {consumer}: {reason}"
        yield warn("events", found, fix="They are tried again; mend the reason, which the log of the worker tells.")


def connections(connection: Connection, *, now: datetime, runs: bool) -> Iterator[Finding]:
    """Look for connections that need somebody, and for schedules that are late."""
    rows = connection.execute(_CONNECTIONS).fetchall()
    troubles: list[Finding] = []
    for slug, name, status, reason, every_s, finished_at in rows:
        title = f"connection {name}" if slug == "main" else f"connection {name} ({slug})"
        if status == Status.NEEDS_ATTENTION:
            troubles.append(warn(title, f"needs attention: {reason}", fix=f"Then run it: isthmus sync run {name}"))
        elif every_s and status != Status.PAUSED:
            late = now - finished_at - 2 * timedelta(seconds=every_s) - LATE_SLACK
            if late > timedelta():
                fresh = words.ago(finished_at, now=now)
                fix = f"See why: isthmus sync watch {name}" if runs else "Schedules run with isthmus up."
                found = f"is due every {words.duration(every_s)}, and its last pull ended {fresh}."
                troubles.append(warn(title, found, fix=fix))
    yield from troubles
    if not troubles:
        found = f"{words.counted(len(rows), 'connection')}, none late, none needs attention" if rows else "none yet"
        yield ok("connections", found)


def jobs(connection: Connection, *, now: datetime, runs: bool) -> Iterator[Finding]:
    """Look for jobs that nobody will do any more unless a person does something, and for schedules that are late."""
    troubles: list[Finding] = []
    for slug, kind, count, reason in connection.execute(_DEAD).fetchall():
        found = f"{words.counted(int(count), 'job')} of kind {kind} in {slug} failed for good: {reason}"
        troubles.append(warn("jobs", found, fix='See them: isthmus jobs ls --status "needs attention"'))
    for slug, name, next_at in connection.execute(_LATE, (now - LATE_SLACK,)).fetchall():
        found = f"{name} in {slug} was to come {words.ago(next_at, now=now)}."
        fix = "See whether a role scheduler runs." if runs else "Schedules run with isthmus up."
        troubles.append(warn(f"schedule {name}", found, fix=fix))
    yield from troubles
    if not troubles:
        yield ok("jobs", "none failed for good, no schedule is late")


def _newest(connection: Connection) -> datetime | None:
    row = connection.execute("select to_regclass('audit') is not null").fetchone()
    if not row or not row[0]:
        return None
    found = connection.execute(_NEWEST).fetchone()
    return found[0].astimezone(UTC) if found and found[0] else None
