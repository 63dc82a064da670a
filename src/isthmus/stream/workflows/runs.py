"""Runs of workflows: begun, resting, cancelled, and looked at. What a run is to do next is a job in its own time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, LiteralString, TypeAlias
from uuid import UUID

import msgspec

from isthmus.audit.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many
from isthmus.store.database import Transaction
from isthmus.stream.jobs.job import Wish
from isthmus.stream.jobs.queue import enqueue, take_back
from isthmus.stream.workflows.shelf import Workflow
from isthmus.stream.workflows.subject import Run
from isthmus.vault import entropy

STEP = "workflow.step"
RUN_PREFIX = "wrun"
WOKEN_AT_ONCE = 1_000
State: TypeAlias = Literal["running", "paused", "done", "cancelled"]
_SELECT: LiteralString = """
select r.id, r.name, r.version, r.subject_type, r.subject_id, r.cue, r.state, r.position, r.turn, r.due_at, r.made,
       r.own_record, r.started_at, r.started_by, r.ended_at, r.reason, r.log, v.definition
from workflow_run r join workflow_version v on v.workspace = r.workspace and v.name = r.name and v.version = r.version
where r.workspace = current_workspace()
"""
_LIST: LiteralString = (
    _SELECT
    + """
and (%(name)s::text is null or r.name = %(name)s) and (%(state)s::text is null or r.state = %(state)s)
and (%(subject)s::uuid is null or r.subject_id = %(subject)s)
and (%(types)s::text[] is null or r.subject_type = any(%(types)s)) and (%(before)s::uuid is null or r.id < %(before)s)
order by r.id desc limit %(limit)s
"""
)
_START: LiteralString = """
insert into workflow_run (workspace, id, name, version, subject_type, subject_id, cue, state, due_at, started_at,
                          started_by)
select current_workspace(), s.id, %(name)s, %(version)s, %(type)s, s.subject_id, %(cue)s, 'running', %(now)s, %(now)s,
       %(actor)s
from unnest(%(ids)s::uuid[], %(subjects)s::uuid[]) as s(id, subject_id)
where %(since)s::timestamptz is null or not exists (
    select from workflow_run o where o.workspace = current_workspace() and o.subject_id = s.subject_id
       and o.name = %(name)s and o.started_at > %(since)s
)
on conflict (workspace, name, subject_id) where state in ('running', 'paused') do nothing returning id
"""
_KEEP: LiteralString = """
update workflow_run set state = k.state, position = k.position, turn = k.turn, due_at = k.due_at, made = k.made::jsonb,
       own_record = k.own_record, ended_at = k.ended_at, reason = k.reason, log = k.log::jsonb
from unnest(%s::uuid[], %s::text[], %s::integer[], %s::integer[], %s::timestamptz[], %s::text[], %s::uuid[],
            %s::timestamptz[], %s::text[], %s::text[])
    as k(id, state, position, turn, due_at, made, own_record, ended_at, reason, log)
where workflow_run.workspace = current_workspace() and workflow_run.id = k.id
"""
_CANCEL: LiteralString = """
update workflow_run r set state = 'cancelled', due_at = null, ended_at = %(now)s, reason = %(reason)s
where workspace = current_workspace() and subject_type = %(type)s and subject_id = any(%(subjects)s)
  and state in ('running', 'paused')
  and (%(cue)s::text is null or started_at <= %(at)s and exists (
      select from workflow_version v
      where v.workspace = r.workspace and v.name = r.name and v.version = r.version
        and v.definition->'ends_on' ? %(cue)s
  ))
returning id, turn
"""
_WAKE: LiteralString = """
select id, turn, due_at from workflow_run
where workspace = current_workspace() and name = %s and state = 'running' and id > %s order by id limit %s
"""


class RunMissing(NotFound):
    """There is no such run."""

    code, title = "workflow-run-missing", "There is no such run"


class RunOver(Conflicting):
    """The run is not in the state that the change needs."""

    code, title = "workflow-run-over", "The run is in another state"


class AlreadyRuns(Conflicting):
    """The workflow runs for this record, and two runs of one never do."""

    code, title = "workflow-already-runs", "The workflow runs for this record already"


async def start(
    tx: Transaction,
    workflow: Workflow,
    subjects: Sequence[UUID],
    *,
    cue: str = "",
    quiet: timedelta | None = None,
) -> list[UUID]:
    """Begin a workflow for every record for which it does not run; returns the runs, whose first step is due at once.

    With `quiet`, none begins for a record for which one began within that time.
    """
    if workflow.paused or not subjects:
        return []
    now = tx.scope.now
    ids = mint_many(unix_ms=milliseconds(now), count=len(subjects), entropy=entropy(len(subjects) * ENTROPY_BYTES))
    given = {
        "name": workflow.name,
        "version": workflow.version,
        "type": workflow.subject_type,
        "cue": cue,
        "now": now,
        "actor": tx.scope.actor,
        "ids": ids,
        "subjects": list(subjects),
        "since": None if quiet is None else now - quiet,
    }
    cursor = await tx.connection.execute(_START, given, prepare=True)
    made = [own for (own,) in await cursor.fetchall()]
    await enqueue(tx, [wish_for(own, turn=0, due_at=now) for own in made])
    return made


def wish_for(run: UUID, *, turn: int, due_at: datetime) -> Wish:
    """Return the wish for the next step of a run."""
    return Wish(kind=STEP, arguments={"run": str(run), "turn": turn}, due_at=due_at, dedupe=_name(run, turn))


def _name(run: UUID, turn: int) -> str:
    return f"{run}:{turn}"


async def run_of(tx: Transaction, own: UUID, *, lock: bool = False) -> Run:
    """Return a run; raises RunMissing."""
    query: LiteralString = _SELECT + " and r.id = %s" + (" for update of r" if lock else "")
    row = await (await tx.connection.execute(query, (own,), prepare=True)).fetchone()
    if row is None:
        raise RunMissing("There is no run with this id.", fix="List them: isthmus workflows runs")
    return _run(row)


async def locked_runs(tx: Transaction, ids: Sequence[UUID]) -> list[Run]:
    """Lock and return the runs of these ids that there are, in the order of ids."""
    query: LiteralString = _SELECT + " and r.id = any(%s) order by r.id for update of r"
    return [_run(row) for row in await (await tx.connection.execute(query, (list(ids),), prepare=True)).fetchall()]


async def runs(
    tx: Transaction,
    *,
    name: str | None = None,
    state: State | None = None,
    subject: UUID | None = None,
    types: Sequence[str] | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[Run]:
    """Return runs on records of some types, the newest first, below the id `before`."""
    chosen = None if types is None else list(types)
    given = {"name": name, "state": state, "subject": subject, "types": chosen, "before": before, "limit": limit}
    return [_run(row) for row in await (await tx.connection.execute(_LIST, given)).fetchall()]


async def latest(tx: Transaction, name: str, subjects: Sequence[UUID]) -> dict[UUID, Run]:
    """Return the last run of a workflow for each record that ever had one."""
    query: LiteralString = _SELECT + " and r.name = %s and r.subject_id = any(%s) order by r.started_at, r.id"
    rows = await (await tx.connection.execute(query, (name, list(subjects)))).fetchall()
    return {each.subject_id: each for each in map(_run, rows)}


async def cancel(
    tx: Transaction,
    subject_type: str,
    subjects: Sequence[UUID],
    *,
    reason: str,
    cue: str | None = None,
    at: datetime | None = None,
) -> list[UUID]:
    """End what runs or rests for these records, and return those runs: a reply, a conversion, a withdrawal came.

    With `cue`, only those end whose definition `ends_on` it and that had begun when it was given, `at` that moment.
    """
    now = tx.scope.now
    given = {
        "type": subject_type,
        "subjects": list(subjects),
        "reason": reason,
        "cue": cue,
        "now": now,
        "at": at or now,
    }
    cursor = await tx.connection.execute(_CANCEL, given)
    rows: list[tuple[UUID, int]] = await cursor.fetchall()
    if rows:
        await take_back(tx, STEP, [_name(own, turn) for own, turn in rows])
    return [own for own, _ in rows]


async def end(tx: Transaction, own: UUID, *, reason: str) -> Run:
    """Cancel a run because somebody says so; raises RunMissing and RunOver."""
    found = await run_of(tx, own, lock=True)
    if found.state not in ("running", "paused"):
        raise RunOver(f"The run is {found.state}.", fix="There is nothing left to cancel.")
    ended = msgspec.structs.replace(found, state="cancelled", due_at=None, ended_at=tx.scope.now, reason=reason)
    await keep(tx, ended)
    await take_back(tx, STEP, [_name(own, found.turn)])
    await _trace(tx, ended, "cancelled", {"reason": reason})
    return ended


async def pause(tx: Transaction, own: UUID) -> Run:
    """Let a run rest; raises RunMissing and RunOver."""
    found = await _in_state(tx, own, "running")
    resting = msgspec.structs.replace(found, state="paused")
    await keep(tx, resting)
    await take_back(tx, STEP, [_name(own, found.turn)])
    await _trace(tx, resting, "paused", {})
    return resting


async def resume(tx: Transaction, own: UUID) -> Run:
    """Let a resting run go on where it was: what fell due meanwhile is done at once. Raises RunMissing and RunOver."""
    found = await _in_state(tx, own, "paused")
    going = msgspec.structs.replace(found, state="running", reason="", turn=found.turn + 1)
    await keep(tx, going)
    await enqueue(tx, [wish_for(own, turn=going.turn, due_at=max(found.due_at or tx.scope.now, tx.scope.now))])
    await _trace(tx, going, "resumed", {})
    return going


async def wake_all(tx: Transaction, name: str) -> int:
    """Want the next step of every run of a workflow that rested; returns how many jobs are new."""
    after, made = UUID(int=0), 0
    while rows := await (await tx.connection.execute(_WAKE, (name, after, WOKEN_AT_ONCE))).fetchall():
        after = rows[-1][0]
        now = tx.scope.now
        wishes = [wish_for(own, turn=turn, due_at=max(due_at or now, now)) for own, turn, due_at in rows]
        made += sum(each is not None for each in await enqueue(tx, wishes))
    return made


async def keep(tx: Transaction, *runs: Run) -> None:
    """Write runs down as they are."""
    if not runs:
        return
    columns = (
        [each.id for each in runs],
        [each.state for each in runs],
        [each.position for each in runs],
        [each.turn for each in runs],
        [each.due_at for each in runs],
        [msgspec.json.encode(each.made).decode() for each in runs],
        [each.own_record for each in runs],
        [each.ended_at for each in runs],
        [each.reason for each in runs],
        [msgspec.json.encode(each.log).decode() for each in runs],
    )
    await tx.connection.execute(_KEEP, columns, prepare=True)


async def _in_state(tx: Transaction, own: UUID, state: State) -> Run:
    found = await run_of(tx, own, lock=True)
    if found.state != state:
        raise RunOver(f"The run is {found.state}, and not {state}.", fix="Look at it: isthmus workflows runs")
    return found


async def _trace(tx: Transaction, run: Run, what: str, details: dict[str, object]) -> None:
    said = {"workflow": run.name, "run": str(run.id), **details}
    await trace(tx, action=f"workflow.run.{what}", resource=run.subject_type, record_id=run.subject_id, details=said)


def _run(row: Sequence[object]) -> Run:
    return msgspec.convert(dict(zip(Run.__struct_fields__, row, strict=True)), Run)
