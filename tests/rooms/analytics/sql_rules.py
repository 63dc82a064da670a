"""A second implementation of the rules, in DuckDB SQL over the raw rows, sharing nothing with the first."""

from typing import cast

import duckdb

from isthmus.analytics import Table

JOURNEYS = """
create or replace table journey as
with won as (
  select outcome, unit, least(coalesce(committed_at, "at"), "at") as decided_at from outcomes where won
)
select w.outcome, s.step, s.bucket, s.direct, s.role, s."at",
       row_number() over forward as k, count(*) over whole as n, max(s."at") over whole as last_at
from won w join steps s
  on s.unit = w.unit and s."at" <= w.decided_at and s."at" >= w.decided_at - to_days(cast($window_days as integer))
window forward as (partition by w.outcome order by s."at", s.step), whole as (partition by w.outcome)
"""
ANCHORS = """
create or replace table anchored as
select *,
       coalesce(min(case when role = 'first' then k end) over whole, 1) as first_k,
       min(case when role = 'captured' then k end) over whole as captured_k,
       min(case when role = 'qualified' then k end) over whole as qualified_k,
       coalesce(max(case when role = 'closed' then k end) over whole, n) as closed_k,
       max(case when not direct then k end) over whole as indirect_k
from journey window whole as (partition by outcome)
"""
WEIGHTS = """
create or replace table weighted as
select *,
       (k = 1)::int * 0.4 + (k = n)::int * 0.4 as u,
       coalesce((k = first_k)::int * 0.3, 0) + coalesce((k = captured_k)::int * 0.3, 0)
         + coalesce((k = coalesce(qualified_k, n))::int * 0.3, 0) as w,
       0.225 * ((k = first_k)::int + coalesce((k = captured_k)::int, 0) + coalesce((k = qualified_k)::int, 0)
         + (k = closed_k)::int) as full_path,
       pow(2, -(epoch_us(last_at) - epoch_us("at")) / ($half_life_days * 86400e6)) as decay
from anchored
"""
SHARES = """
create or replace table shared as
select outcome, step, bucket,
       (k = 1)::double as first,
       (k = n)::double as last,
       (k = coalesce(indirect_k, n))::double as last_non_direct,
       1.0::double / n as linear,
       (decay / sum(decay) over whole)::double as time_decay,
       case when u > 0 then u / sum(u) over whole * (1 - case when bool_or(u = 0) over whole then 0.2 else 0 end)
            else 0.2 / count(case when u = 0 then 1 end) over whole end::double as u,
       case when w > 0 then w / sum(w) over whole * (1 - case when bool_or(w = 0) over whole then 0.1 else 0 end)
            else 0.1 / count(case when w = 0 then 1 end) over whole end::double as w,
       case when full_path > 0
            then full_path / sum(full_path) over whole
                 * (1 - case when bool_or(full_path = 0) over whole then 0.1 else 0 end)
            else 0.1 / count(case when full_path = 0 then 1 end) over whole end::double as full_path
from weighted window whole as (partition by outcome)
"""
RULES = ("first", "last", "last_non_direct", "linear", "time_decay", "u", "w", "full_path")


def sql_shares(*, steps: Table, outcomes: Table, window_days: int, half_life_days: float) -> duckdb.DuckDBPyConnection:
    """Return a connection whose table `shared` holds outcome, step, bucket, and one column of shares per rule."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.register("steps", steps)
    connection.register("outcomes", outcomes)
    connection.execute(JOURNEYS, {"window_days": window_days})
    connection.execute(ANCHORS)
    connection.execute(WEIGHTS, {"half_life_days": half_life_days})
    connection.execute(SHARES)
    return connection


def by_step(connection: duckdb.DuckDBPyConnection, *, rule: str) -> dict[tuple[str, str], float]:
    """Return the share of each outcome and step under one rule."""
    assert rule in RULES
    found = connection.sql(f'select outcome, step, "{rule}" from shared').fetchall()  # noqa: S608 - one of RULES.
    return {(outcome, step): share for outcome, step, share in cast("list[tuple[str, str, float]]", found)}
