-- What runs and conflicts tell through the interface: counts by feed, rules that were learned, the most at stake first.

alter table run add column feeds jsonb not null default '{}';
alter table run drop constraint run_kind_check;
alter table run add constraint run_kind_check
    check (kind in ('sync', 'pull', 'push', 'sweep', 'import', 'backfill', 'resync'));

-- A decision that was taken back waits for a person: no rule decides that case again.
alter table inbox_case add column taken_back boolean not null default false;
create index inbox_case_stake on inbox_case (workspace, status, (coalesce(stake, -1)) desc, id);

create index write_outcome_connection on write_outcome (workspace, connection_id, id);
create index rejected_run on rejected (workspace, run_id) where run_id is not null;

-- Which of two systems wins on a field when both moved it; `case_id` is the conflict that it was learned from.
create table conflict_rule (
    workspace integer not null,
    id uuid not null,
    type text not null,
    field text not null,
    winner text not null,
    loser text not null,
    case_id uuid not null,
    note text not null,
    created_at timestamptz not null,
    created_by text not null,
    primary key (workspace, id),
    check (winner <> loser)
);
create unique index conflict_rule_pair on conflict_rule
    (workspace, type, field, least(winner, loser), greatest(winner, loser));
alter table conflict_rule enable row level security;
alter table conflict_rule force row level security;
create policy workspace on conflict_rule using (workspace = (select current_workspace()));
grant select, insert, update, delete on conflict_rule to isthmus_app;
