-- Pairs of records that are probably one, for a person to decide. `reasons` name fields and levels of likeness, never
-- values. What was refused is remembered and not asked again.

create table match_candidate (
    workspace integer not null,
    id uuid not null,
    type text not null,
    one uuid not null,
    other uuid not null,
    chance double precision not null,
    reasons jsonb not null,
    status text not null check (status in ('open', 'merged', 'refused')),
    seen_at timestamptz not null,
    decided_at timestamptz,
    decided_by text,
    merge_id uuid,
    primary key (workspace, id),
    check (one < other)
);
create unique index match_candidate_pair on match_candidate (workspace, type, one, other);
create index match_candidate_waiting on match_candidate (workspace, status, id);
alter table match_candidate enable row level security;
alter table match_candidate force row level security;
create policy workspace on match_candidate using (workspace = (select current_workspace()));
grant select, insert, update, delete on match_candidate to isthmus_app;
