"""The log of events as a terminal reads it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.output import say
from isthmus.app.topics import topics as catalogue
from isthmus.stream.envelope import CloudEvent, envelope
from isthmus.stream.event import Event, before_moment, events_of, head_of, last_events
from isthmus.stream.trimming import EventsForgotten, trimmed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import timedelta

    from isthmus.app.program import Program

POLL_S = 0.2
ROWS = 500
Line = CloudEvent


def wanted_types(topics: Sequence[str], types: Sequence[str]) -> list[str]:
    """Return the types of events that are meant, all when none are named; raises UnknownTopic."""
    found = catalogue()
    areas = {each.area for each in found.types.values()}
    meant = frozenset(found.types)
    for names, pointer in ((topics, "/topic"), (types, "/type")):
        if names:
            found.check(names, areas=areas, pointer=pointer)
            meant &= found.chosen(names, areas=areas)
    return sorted(meant)


async def last(program: Program, types: Sequence[str], *, count: int) -> tuple[list[Line], int]:
    """Return the last events of some types, and how far the log is."""
    async with program.database.transaction(operator(program, "events-tail")) as tx:
        head = await head_of(tx.connection)
        found = await last_events(tx.connection, types, limit=count) if count else []
    return [_line(program, each) for each in found], head


async def follow(program: Program, types: Sequence[str], *, after: int) -> AsyncGenerator[Line]:
    """Yield events as they come."""
    while True:
        upto = await _head(program)
        async for each in _between(program, types, after=after, upto=upto):
            yield each
        after = upto
        await asyncio.sleep(POLL_S)


async def lines_after(
    program: Program, types: Sequence[str], *, after: int | None, since: timedelta | None
) -> AsyncGenerator[Line]:
    """Yield events from a number or a length of time ago up to where the log ends now."""
    scope = operator(program, "events-replay")
    at = after or 0
    async with program.database.transaction(scope) as tx:
        first = await trimmed(tx.connection)
    if after is not None and after < first:
        raise EventsForgotten(
            f"The log begins after event {first:,}; what was before is no longer kept.",
            fix=f"Read from what is kept: --after {first}.",
        )
    if since is not None:
        async with program.database.transaction(scope) as tx:
            at = await before_moment(tx.connection, scope.now - since)
    async for each in _between(program, types, after=at, upto=await _head(program)):
        yield each


async def _between(program: Program, types: Sequence[str], *, after: int, upto: int) -> AsyncGenerator[Line]:
    while after < upto:
        async with program.database.transaction(operator(program, "events")) as tx:
            found = await events_of(tx.connection, types, after=after, until=upto, limit=ROWS)
        for each in found:
            yield _line(program, each)
        after = found[-1].seq if len(found) == ROWS else upto


async def _head(program: Program) -> int:
    async with program.database.transaction(operator(program, "events")) as tx:
        return await head_of(tx.connection)


def show_lines(lines: Sequence[Line]) -> None:
    """Print events for people."""
    for each in lines:
        show_line(each)
    if not lines:
        say("nothing has happened; see what can: isthmus events topics")


def show_line(line: Line) -> None:
    """Print one event for people, on one line."""
    at = line.time.strftime("%Y-%m-%d %H:%M:%S")
    changed = ", ".join(line.data.changed)
    kind = line.type.removeprefix("isthmus.")
    click.echo(f"{line.sequence:>8}  {at}  {kind:<36}  {line.subject}  {changed}".rstrip())


def _line(program: Program, event: Event) -> Line:
    return envelope(event, workspace=program.workspace, schema=program.store.schema)
