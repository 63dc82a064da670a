"""What a run did, what a push would write, and what became of single records."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.console import words
from isthmus.console.connections.at import READ, found, opened, place, shown, viewer_of
from isthmus.console.connections.loading import RUN_PREFIX, run_row, workspace_name
from isthmus.console.connections.port import Connecting
from isthmus.console.connections.telling import HERE
from isthmus.console.connections.veiling import said_of
from isthmus.gateway import HTML, Call, Paging, Response, Route
from isthmus.kernel.errors import Conflicting, Invalid, IsthmusError, NotFound
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.sync.connector import ConnectorError
from isthmus.sync.mending import rejects_by_cause
from isthmus.sync.outcomes import Outcome, Place, Search, Source, outcomes, refusals
from isthmus.sync.planning import Planned, writes
from isthmus.sync.running import planned
from isthmus.sync.runs import Engine, run_of

PLANNED_MAX, PLANNED_SHOWN, ROWS_SHOWN = 1_000, 50, 50
_Text = Annotated[str, Meta(max_length=500)]


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing is chosen on the page."""


class Searching(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which records of a connection: their id there, what became of them, for which reason code, in which run."""

    external_id: _Text = ""
    outcome: Literal["", "written", "moved", "refused", "failed", "rejected"] = ""
    code: _Text = ""
    run: _Text = ""


class RunMissing(NotFound):
    """There is no such run."""

    code, title = "run-missing", "There is no such run"


@dataclass(frozen=True, kw_only=True)
class Told:
    """One field of a write: what the system holds, and what it would be told."""

    field: str
    there: str
    here: str


@dataclass(frozen=True, kw_only=True)
class Write:
    """One write that a push would make."""

    feed: str
    verb: str
    kind: str
    record: str
    external_id: str
    fields: Sequence[Told]
    waits: str


@dataclass(frozen=True, kw_only=True)
class FeedLine:
    """What a run did for one stream."""

    name: str
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """What became of one record."""

    at: datetime
    tone: str
    icon: str
    outcome: str
    kind: str
    what: str
    external_id: str
    reason: str
    code: str
    fields: str
    run: str


async def plan(call: Call) -> Response:
    """Show what a push would write now, and write nothing."""
    own, engine = await opened(call), call.services.of(Engine)
    refused: IsthmusError | None = None
    found_writes: list[Planned] = []
    try:
        found_writes = await planned(engine, workspace=call.scope.workspace, connection=own.id, limit=PLANNED_MAX + 1)
    except (ConnectorError, NotFound, Conflicting, Invalid) as error:
        refused = error
    may_read = call.services.of(Connecting).may_read
    seen = [each for each in found_writes[:PLANNED_MAX] if may_read(call, each.change.type)]
    counts = Counter((each.kind, each.change.type) for each in seen if writes(each))
    async with call.services.database.transaction(call.scope) as tx:
        workspace = await workspace_name(tx)
    values: dict[str, object] = {
        "name": own.name,
        "at": place(own),
        "workspace": workspace,
        "now": call.scope.now,
        "pushes": own.options.push,
        "counts": [
            f"{words.number(count)} {words.kind(name, count=count)} to {kind}"
            for (kind, name), count in counts.most_common()
        ],
        "ready": sum(counts.values()),
        "waiting": len(seen) - sum(counts.values()),
        "rows": [_write(call, each) for each in seen[:PLANNED_SHOWN]],
        "more": len(seen) - PLANNED_SHOWN,
        "cut": len(found_writes) > PLANNED_MAX,
        "hidden": min(len(found_writes), PLANNED_MAX) - len(seen),
        "may_act": viewer_of(call).may("sync:write"),
    }
    return shown(call, "plan", values, refused=refused)


async def show_run(call: Call) -> Response:
    """Show what a run did."""
    own = call.id_in_path("run", RUN_PREFIX, missing=RunMissing)
    types = viewer_of(call).types
    async with call.services.database.transaction(call.scope) as tx:
        connection = await found(call, tx)
        run = await run_of(tx, own)
        if run is None or run.connection_id != connection.id:
            raise RunMissing("There is no run with this id.", fix="Go back to the connection; its runs are there.")
        causes = [each for each in await rejects_by_cause(tx, run_id=own) if each.type in types]
        failed = [each for each in await refusals(tx, own) if each.type in types]
        workspace = await workspace_name(tx)
    values: dict[str, object] = {
        "name": connection.name,
        "at": place(connection),
        "workspace": workspace,
        "now": call.scope.now,
        "run": run_row(run, call.scope),
        "total": run.total,
        "unchanged": run.unchanged,
        "feeds": [FeedLine(name=name, counts=counts) for name, counts in run.feeds.items()],
        "causes": causes,
        "failed": failed,
    }
    return shown(call, "run", values)


async def search(call: Call) -> Response:
    """Show what became of single records, newest first, across all runs."""
    wanted, after, types = call.query(Searching), call.after(), viewer_of(call).types
    async with call.services.database.transaction(call.scope) as tx:
        own = await found(call, tx)
        sought = Search(
            types=types,
            connection_id=own.id,
            system=own.name,
            run_id=uuid_of(RUN_PREFIX, wanted.run) if wanted.run else None,
            external_id=wanted.external_id or None,
            outcome=wanted.outcome or None,
            code=wanted.code or None,
        )
        rows = await outcomes(tx, sought, after=_place(after), limit=ROWS_SHOWN + 1)
        workspace = await workspace_name(tx)
    listed = call.page(rows, limit=ROWS_SHOWN, after=_written)
    values: dict[str, object] = {
        "name": own.name,
        "at": place(own),
        "workspace": workspace,
        "now": call.scope.now,
        "asked": wanted,
        "first": after is None,
        "sifted": bool(wanted.external_id or wanted.outcome or wanted.code or wanted.run),
        "rows": [_outcome(each) for each in listed.data],
        "next": listed.next_cursor,
    }
    return shown(call, "records", values)


def _write(call: Call, each: Planned) -> Write:
    record_type = call.services.schema[each.change.type]
    told = {**each.change.fields, **each.change.links}
    return Write(
        feed=words.plain(each.feed),
        verb=each.kind,
        kind=words.kind(record_type.name),
        record=text_of(record_type.prefix, each.change.record_id),
        external_id=each.change.external_id or "",
        fields=[
            Told(
                field=words.plain(name),
                there=said_of(call, record_type, name, each.there.get(name)),
                here=said_of(call, record_type, name, value),
            )
            for name, value in sorted(told.items())
        ]
        if writes(each)
        else [],
        waits=", ".join(words.plain(name.removeprefix("~")) for name in each.waits),
    )


_TONES = {"written": ("good", "healthy"), "moved": ("warn", "retrying"), "failed": ("warn", "retrying")}


def _outcome(each: Outcome) -> OutcomeRow:
    tone, icon = _TONES.get(each.outcome, ("bad", "needs-attention"))
    return OutcomeRow(
        at=each.at,
        tone=tone,
        icon=icon,
        outcome=each.outcome,
        kind=words.kind(each.type),
        what=each.kind,
        external_id=each.external_id or "",
        reason=each.reason,
        code=each.code,
        fields=", ".join(words.plain(name) for name in each.fields),
        run="" if each.run_id is None else text_of(RUN_PREFIX, each.run_id),
    )


def _written(each: Outcome) -> str:
    return f"{each.at.isoformat()} {each.source} {each.id}"


def _place(after: str | None) -> Place | None:
    if after is None:
        return None
    at, source, own = after.split(" ")
    kinds: dict[str, Source] = {"write": "write", "row": "row"}
    return datetime.fromisoformat(at), kinds[source], int(own)


def _page(path: str, handler: Callable[[Call], Awaitable[Response]], summary: str, query: type[Struct]) -> Route:
    return Route(
        method="GET",
        path=f"{HERE}/{{connection}}/{path}",
        permission=READ,
        handler=handler,
        summary=summary,
        query=query,
        media=HTML,
        listed=False,
    )


ROWS = (
    _page("plan", plan, "What a push would write", Asked),
    _page("runs/{run}", show_run, "What a run did", Asked),
    _page("records", search, "What became of single records", Searching),
)
