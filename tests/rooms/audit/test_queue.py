"""The queue writes in groups, bounds its memory, refuses to keep what it cannot write, and tells what it dropped."""

import asyncio
from dataclasses import replace

import pytest

from isthmus.app.engines import Engines
from isthmus.audit.entry import Entry
from isthmus.audit.queue import AuditQueue, TraceRefused
from isthmus.audit.search import search
from isthmus.store.database import Database, Scope
from tests.conftest import NOW


def entry(workspace: int, *, action: str = "call.denied", actor: str = "key:1", request: str = "r") -> Entry:
    return Entry(
        workspace=workspace,
        at=NOW,
        actor=actor,
        action=action,
        resource="/x",
        request_id=request,
        network="192.0.2.0/24",
        decision={"status": 403, "reasons": ["limit:key"]},
        details={"method": "GET"},
    )


async def rows(database: Database, scope: Scope) -> list[Entry]:
    async with database.transaction(scope) as tx:
        return list(await search(tx, before=None, limit=1_000))


async def test_what_is_kept_is_committed_when_the_wait_is_over(database: Database, scope: Scope) -> None:
    queue = AuditQueue(database)
    kept = entry(scope.workspace, action="personal.read")
    await queue.keep(kept)
    assert [replace(each, id=None) for each in await rows(database, scope)] == [kept]


async def test_many_reads_at_once_share_few_writes(database: Database, scope: Scope) -> None:
    queue = AuditQueue(database)
    before = asyncio.get_running_loop().time()
    await asyncio.gather(*(queue.keep(entry(scope.workspace, request=f"r{n}")) for n in range(500)))
    assert asyncio.get_running_loop().time() - before < 5
    assert {each.request_id for each in await rows(database, scope)} == {f"r{n}" for n in range(500)}


async def test_a_flood_of_one_denial_is_one_row_with_its_count(database: Database, scope: Scope) -> None:
    queue = AuditQueue(database)
    for _ in range(1_000):
        queue.note(entry(scope.workspace))
    queue.note(entry(scope.workspace, actor="key:2"))
    assert queue.depth == 2
    await queue.close()
    found = {each.actor: each.details for each in await rows(database, scope)}
    assert found == {"key:1": {"method": "GET", "count": 1_000}, "key:2": {"method": "GET"}}


async def test_each_workspace_gets_its_own_and_sees_no_other(database: Database, scope: Scope) -> None:
    queue = AuditQueue(database)
    stranger = replace(scope, workspace=0)
    queue.note(entry(scope.workspace))
    queue.note(entry(0, actor=f"nobody-{scope.workspace}"))
    await queue.close()
    assert [each.actor for each in await rows(database, scope)] == ["key:1"]
    assert f"nobody-{scope.workspace}" in [each.actor for each in await rows(database, stranger)]


async def test_beyond_its_bound_denials_are_counted_and_reads_refused(database: Database, scope: Scope) -> None:
    queue = AuditQueue(database, rows_max=3)
    for number in range(5):
        queue.note(entry(scope.workspace, actor=f"key:{number}"))
    assert (queue.depth, queue.dropped) == (3, 2)
    with pytest.raises(TraceRefused):
        await queue.keep(entry(scope.workspace))
    await queue.close()
    assert len(await rows(database, scope)) == 3


async def test_without_a_database_reads_are_refused_and_denials_written_later(
    engines: Engines, database: Database, scope: Scope
) -> None:
    late = Database(engines.postgres.app.conninfo)
    queue = AuditQueue(late, pace_s=0.01)
    queue.note(entry(scope.workspace))
    with pytest.raises(TraceRefused):
        await queue.keep(entry(scope.workspace, action="personal.read"))
    await late.open()
    await queue.close()
    await late.close()
    assert [each.action for each in await rows(database, scope)] == ["call.denied"]


async def test_nothing_runs_when_everything_is_written(database: Database, scope: Scope) -> None:
    queue = AuditQueue(database, pace_s=0.01)
    queue.note(entry(scope.workspace))
    await queue.close()
    assert not [each for each in asyncio.all_tasks() if "_write_all" in repr(each)]
