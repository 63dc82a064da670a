-- Connections and what happens on them: feeds with their cursors, runs with their counts, the ledger of our own writes.

-- `name` is the system in claims. The secrets are sealed under the connection's own subject, its id.
create table connection (
    workspace integer not null,
    id uuid not null,
    name text not null,
    connector text not null,
    settings jsonb not null,
    options jsonb not null,
    secrets bytea,
    status text not null check (status in ('pending', 'running', 'retrying', 'healthy', 'degraded', 'needs attention',
                                           'paused')),
    reason text not null default '',
    status_at timestamptz not null,
    retry_at timestamptz,
    every_s integer,
    pushed_seq bigint not null default 0,
    created_at timestamptz not null,
    removed_at timestamptz,
    primary key (workspace, id)
);
create unique index connection_name on connection (workspace, name) where removed_at is null;

-- `since` is when the last pull that came to its end began: what is read next was made after it.
create table feed_state (
    workspace integer not null,
    connection_id uuid not null,
    feed text not null,
    cursor text,
    since timestamptz,
    finished_at timestamptz,
    swept_at timestamptz,
    primary key (workspace, connection_id, feed)
);

create table run (
    workspace integer not null,
    id uuid not null,
    connection_id uuid,
    about text not null,
    kind text not null check (kind in ('sync', 'pull', 'push', 'sweep', 'import')),
    status text not null check (status in ('pending', 'running', 'retrying', 'healthy', 'degraded', 'needs attention',
                                           'paused')),
    feed text,
    started_at timestamptz not null,
    updated_at timestamptz not null,
    finished_at timestamptz,
    read bigint not null default 0,
    created bigint not null default 0,
    changed bigint not null default 0,
    unchanged bigint not null default 0,
    rejected bigint not null default 0,
    written bigint not null default 0,
    conflicts bigint not null default 0,
    total bigint,
    error text,
    primary key (workspace, id)
);
create index run_connection on run (workspace, connection_id, started_at);

-- What was sent to a system, as keyed hashes by field: [sent, returned]. It is `sent` until the answer is a claim; then
-- only fields stay that the system holds in another form than ours.
create table write_ledger (
    workspace integer not null,
    connection_id uuid not null,
    type text not null,
    record_id uuid not null,
    external_id text not null default '',
    key text not null,
    state text not null check (state in ('sent', 'settled')),
    fields jsonb not null,
    at timestamptz not null,
    primary key (workspace, connection_id, type, record_id, external_id)
);
create index write_ledger_external on write_ledger (workspace, connection_id, type, external_id);

create table write_outcome (
    workspace integer not null,
    id bigint generated always as identity,
    connection_id uuid not null,
    run_id uuid not null,
    type text not null,
    record_id uuid not null,
    external_id text,
    kind text not null check (kind in ('create', 'update', 'delete')),
    outcome text not null check (outcome in ('written', 'moved', 'refused', 'failed')),
    reason text not null,
    fields text[] not null,
    at timestamptz not null,
    primary key (workspace, id)
);
create index write_outcome_record on write_outcome (workspace, record_id);
create index write_outcome_run on write_outcome (workspace, run_id);

-- Records to look at in the next push although no event tells of them: a claim that lost, a decided case, a failed write.
create table push_pending (
    workspace integer not null,
    connection_id uuid not null,
    type text not null,
    record_id uuid not null,
    tries integer not null default 0,
    reason text not null,
    at timestamptz not null,
    primary key (workspace, connection_id, type, record_id)
);

create table file_mapping (
    workspace integer not null,
    name text not null,
    type text not null,
    mapping jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (workspace, name)
);

do $$
declare
    name text;
begin
    foreach name in array array['connection', 'feed_state', 'run', 'write_ledger', 'write_outcome', 'push_pending',
                                'file_mapping'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = current_workspace())', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;
