"""Follow-ups of before go on as runs of the workflow, each with the version that it began with."""

from importlib.resources import files
from uuid import UUID

import msgspec
import psycopg

from isthmus.app.engines import Engines
from isthmus.kernel.marks import Json
from isthmus.stream.workflows.definition import Clause, Condition, Definition, Task

STEPS: Json = [
    {"kind": "task", "title": "Call", "due_hours": 24},
    {"kind": "condition", "status": ["new", "working"]},
    {"kind": "notify", "text": "No reply"},
]
OTHER: Json = [{"kind": "wait", "hours": 3}]
OLD = """
insert into follow_up (workspace, id, lead_id, definition, state, position, due_at, started_at, log)
values (%s, %s, %s, %s, %s, 1, %s, '2026-11-01T09:00:00Z', '[]')
"""


def test_what_ran_goes_on_and_what_rested_rests(engines: Engines, workspace: int) -> None:
    history = files("isthmus.store").joinpath("migrations")
    before = history.joinpath("2026_11_22_pre_follow_up.sql").read_text("utf-8")
    table = before[before.index("create table follow_up") : before.index("create table assignment_turn")]
    moved = history.joinpath("2026_11_23_post_workflows.sql").read_text("utf-8")
    owner = engines.postgres.owner
    with psycopg.connect(owner.conninfo, password=owner.password) as connection:
        connection.execute(table.encode())
        connection.execute(
            "create function workspaces_with_due_follow_ups(timestamptz) returns setof integer"
            " language sql begin atomic select 1; end"
        )
        rows = [(1, STEPS, "running", "2026-11-02T09:00:00Z"), (1, OTHER, "running", "2026-11-03T09:00:00Z")]
        for number, (version, steps, state, due_at) in enumerate([*rows, (2, STEPS, "paused", None)]):
            definition = msgspec.json.encode({"name": "First", "version": version, "enabled": True, "steps": steps})
            ids = (UUID(int=workspace << 32 | number), UUID(int=number))
            connection.execute(OLD, (workspace, *ids, definition.decode(), state, due_at))
        connection.execute(moved.encode())
        query = "select name, version, state, position from workflow_run where workspace = %s order by id"
        found = connection.execute(query, (workspace,)).fetchall()
        kept = connection.execute(
            "select version, definition from workflow_version where workspace = %s order by version", (workspace,)
        ).fetchall()
        query = "select count(*) from job where workspace = %s and kind = 'workflow.step' and due_at > '2026-11-01'"
        jobs = connection.execute(query, (workspace,)).fetchone()
        connection.rollback()
    assert sorted((name, state, position) for name, _, state, position in found) == [
        ("follow-up", "paused", 1),
        ("follow-up", "running", 1),
        ("follow-up", "running", 1),
    ]
    assert (sorted(version for _, version, *_ in found), [version for version, _ in kept], jobs) == (
        [1, 2, 3],
        [1, 2, 3],
        (2,),
    )
    read = [msgspec.convert(definition, Definition) for _, definition in kept]
    whole = next(each for each in read if len(each.steps) == 3)
    assert whole.steps[0] == Task(title="Call", due_hours=24)
    clause = Clause(field="status", comparison="one_of", value=["new", "working"])
    assert whole.steps[1] == Condition(where=(clause,))
