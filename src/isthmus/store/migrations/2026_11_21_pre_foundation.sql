-- The tables every record type shares. The workspace is first in every key and row-level security is the second wall:
-- a session that names no workspace sees nothing. Policies take it from a sub-select: the planner then reckons with an
-- average workspace, where a workspace that its statistics have not seen yet would count as empty and be read in full.

create function current_workspace() returns integer
    language sql stable parallel safe
    return nullif(current_setting('isthmus.workspace', true), '')::integer;

create table workspace (
    id integer generated always as identity primary key,
    slug text not null unique,
    name text not null,
    kind text not null default 'live' check (kind in ('live', 'sandbox', 'demo')),
    settings jsonb not null default '{}',
    created_at timestamptz not null
);
grant select, insert, update on workspace to isthmus_app;

-- Which record a system's id means, and the digest of what that system said last: our memory of it.
create table ref (
    workspace integer not null,
    type text not null,
    system text not null,
    external_id text not null,
    record_id uuid not null,
    digest bytea,
    hlc bigint not null,
    seen bigint not null,
    version text,
    deleted boolean not null default false,
    primary key (workspace, type, system, external_id)
);

-- What a system said of a record at one time. `subject` is whose key sealed it, when that is not the record's own.
create table claim (
    workspace integer not null,
    record_id uuid not null,
    hlc bigint not null,
    system text not null,
    external_id text not null,
    type text not null,
    fields jsonb not null,
    sealed bytea,
    subject uuid,
    basis jsonb,
    deleted boolean not null default false,
    actor text not null,
    cause text not null,
    payload bytea,
    primary key (workspace, record_id, hlc, system, external_id)
);

-- The facts that records changed, in the transaction that changed them. The relay stamps `seq`, without gaps.
create table event (
    workspace integer not null,
    id bigint generated always as identity,
    type text not null,
    record_type text not null,
    record_id uuid not null,
    account_id uuid,
    hlc bigint not null,
    changed text[] not null,
    actor text not null,
    cause text not null,
    at timestamptz not null,
    seq bigint,
    primary key (workspace, id)
);
create index event_unstamped on event (id) where seq is null;
create unique index event_seq on event (workspace, seq) where seq is not null;

create table event_head (
    workspace integer primary key,
    seq bigint not null
);

create table consumer_offset (
    workspace integer not null,
    consumer text not null,
    seq bigint not null,
    primary key (workspace, consumer)
);

create table audit (
    workspace integer not null,
    id bigint generated always as identity,
    at timestamptz not null,
    actor text not null,
    on_behalf_of text,
    action text not null,
    resource text not null,
    record_id uuid,
    request_id text not null,
    digest bytea,
    decision jsonb,
    details jsonb,
    primary key (workspace, id)
);

-- A question for a person: two living claims on a critical field differ, and nothing is pushed for it meanwhile.
-- The values stay in the claims that are pointed to.
create table inbox_case (
    workspace integer not null,
    id uuid not null,
    type text not null,
    record_id uuid not null,
    field text not null,
    status text not null check (status in ('open', 'resolved', 'dissolved')),
    kept_hlc bigint not null,
    kept_system text not null,
    kept_external_id text not null,
    claimed_hlc bigint not null,
    claimed_system text not null,
    claimed_external_id text not null,
    stake numeric(20,4),
    stake_currency text,
    opened_at timestamptz not null,
    settled_at timestamptz,
    settled_by text,
    choice text,
    note text,
    primary key (workspace, id)
);
create unique index inbox_case_open on inbox_case (workspace, record_id, field) where status = 'open';
create index inbox_case_status on inbox_case (workspace, status, opened_at);

-- Two records found to be one. `refs` are the ids that moved, so that it can be undone.
create table merge (
    workspace integer not null,
    id uuid not null,
    type text not null,
    winner uuid not null,
    loser uuid not null,
    refs jsonb not null,
    evidence text not null,
    actor text not null,
    at timestamptz not null,
    undone_at timestamptz,
    undone_by text,
    primary key (workspace, id)
);
create index merge_winner on merge (workspace, winner);

-- What could not be stored, with the reason, so that it can be mended and tried again.
create table rejected (
    workspace integer not null,
    id bigint generated always as identity,
    type text not null,
    system text not null,
    external_id text not null,
    code text not null,
    reason text not null,
    observation bytea not null,
    subject uuid not null,
    run_id uuid,
    at timestamptz not null,
    settled_at timestamptz,
    primary key (workspace, id)
);
create index rejected_open on rejected (workspace, system, code) where settled_at is null;

do $$
declare
    name text;
begin
    foreach name in array array['ref', 'claim', 'event', 'event_head', 'consumer_offset', 'audit', 'inbox_case',
                                'merge', 'rejected'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = (select current_workspace()))', name);
    end loop;
    foreach name in array array['ref', 'claim', 'event', 'event_head', 'consumer_offset', 'inbox_case', 'merge',
                                'rejected'] loop
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;
-- The log of who did what can be written and read, and by the program never changed.
grant select, insert on audit to isthmus_app;
