-- Workflows: what is done for a record step by step, in versions, and each run of one on one record.

create table workflow (
    workspace integer not null,
    name text not null,
    subject_type text not null,
    version integer not null,
    standard boolean not null default false,
    paused boolean not null default false,
    reason text not null default '',
    updated_at timestamptz not null,
    updated_by text not null,
    primary key (workspace, name)
);

-- A version never changes: a run goes on as it was started, whatever comes after it.
create table workflow_version (
    workspace integer not null,
    name text not null,
    version integer not null,
    definition jsonb not null,
    note text not null default '',
    made_at timestamptz not null,
    made_by text not null,
    primary key (workspace, name, version)
);

-- `turn` grows whenever a run is to come again, and what comes for an older turn finds nothing to do.
-- `made` are the tasks that its steps gave, `own_record` is the record that stands for the run, where there is one.
create table workflow_run (
    workspace integer not null,
    id uuid not null,
    name text not null,
    version integer not null,
    subject_type text not null,
    subject_id uuid not null,
    cue text not null default '',
    state text not null check (state in ('running', 'paused', 'done', 'cancelled')),
    position integer not null default 0,
    turn integer not null default 0,
    due_at timestamptz,
    made jsonb not null default '[]',
    own_record uuid,
    started_at timestamptz not null,
    started_by text not null,
    ended_at timestamptz,
    reason text not null default '',
    log jsonb not null default '[]',
    primary key (workspace, id)
) with (fillfactor = 80);
create unique index workflow_run_open on workflow_run (workspace, name, subject_id)
    where state in ('running', 'paused');
create index workflow_run_subject on workflow_run (workspace, subject_id, started_at);
create index workflow_run_living on workflow_run (workspace, name, id) where state = 'running';
create index workflow_run_own on workflow_run (workspace, own_record) where own_record is not null;

do $$
declare
    name text;
begin
    foreach name in array array['workflow', 'workflow_version', 'workflow_run'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = (select current_workspace()))', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;

-- The numbers of workspaces are all that this function shows beyond the row-level wall.
create function workspaces_with_waiting_leads(moment timestamptz) returns setof integer
    language sql stable security definer set search_path from current
begin atomic
    select w.id from workspace w
    where exists (select from crm_waiting c where c.workspace = w.id and c.check_at <= moment) order by w.id;
end;
revoke execute on function workspaces_with_waiting_leads(timestamptz) from public;
grant execute on function workspaces_with_waiting_leads(timestamptz) to isthmus_app;
