-- Durable jobs, who holds them, and when they are to come: schedules.

-- `rank` is when a job is due, less its priority in minutes: what is important goes first, and what waits long overtakes.
-- `attempt` is the fence: it grows with every claim, and what a worker does for a job is kept only under its own.
-- Arguments, results and progress name nobody: ids, counts and names of connections only.
create table job (
    workspace integer not null,
    id uuid not null,
    kind text not null,
    status text not null default 'pending' check (
        status in ('pending', 'running', 'retrying', 'healthy', 'degraded', 'needs attention', 'paused')
    ),
    reason text not null default '',
    arguments jsonb not null default '{}',
    priority smallint not null default 0,
    rank timestamptz not null,
    due_at timestamptz not null,
    dedupe text,
    key text,
    schedule text,
    occurrence timestamptz,
    lease uuid,
    attempt integer not null default 0,
    tries integer not null default 0,
    tries_max smallint not null,
    progress jsonb,
    result jsonb,
    cancelled_by text,
    created_at timestamptz not null,
    created_by text not null,
    tried_at timestamptz,
    ended_at timestamptz,
    primary key (workspace, id)
) with (fillfactor = 70);
create index job_waiting on job (workspace, rank, id) where status in ('pending', 'retrying') and key is null;
create index job_queued on job (workspace, key, rank, id) where status in ('pending', 'retrying') and key is not null;
create index job_running on job (workspace, lease) where status = 'running';
create index job_held on job (workspace, key) where status = 'running' and key is not null;
create unique index job_once on job (workspace, kind, dedupe)
    where dedupe is not null and status in ('pending', 'running', 'retrying');
create index job_schedule on job (workspace, schedule, id) where schedule is not null;

-- A worker holds its jobs of a workspace by one row, so that it says with one write that it lives.
create table job_lease (
    workspace integer not null,
    id uuid not null,
    worker text not null,
    renewed_at timestamptz not null,
    until timestamptz not null,
    primary key (workspace, id)
);

-- What a job has done already; the row commits with the effect.
create table job_step (
    workspace integer not null,
    job_id uuid not null,
    name text not null,
    result jsonb,
    at timestamptz not null,
    primary key (workspace, job_id, name)
);

-- How many jobs of a key may run at once, and how many may begin in a time; `tokens` is what was left at `filled_at`.
create table job_key (
    workspace integer not null,
    key text not null,
    at_once integer not null check (at_once > 0),
    rate_count integer check (rate_count > 0),
    rate_seconds integer check (rate_seconds > 0),
    tokens double precision,
    filled_at timestamptz,
    primary key (workspace, key)
);

-- `zone` null is the workspace's own. `last_at` is the newest moment for which a job was made, `next_at` the one to come.
create table schedule (
    workspace integer not null,
    name text not null,
    about text not null default '',
    kind text not null,
    arguments jsonb not null default '{}',
    cron text not null,
    zone text,
    paused boolean not null default false,
    reason text not null default '',
    standard boolean not null default false,
    next_at timestamptz,
    last_at timestamptz,
    missed integer not null default 0,
    skipped integer not null default 0,
    last_job uuid,
    updated_at timestamptz not null,
    updated_by text not null,
    primary key (workspace, name)
);
create index schedule_due on schedule (workspace, next_at) where not paused;

-- The zone in which a workspace's schedules are read, and up to which edition the standard ones were installed.
create table schedule_setting (
    workspace integer primary key,
    zone text not null default 'UTC',
    edition integer not null default 0
);

do $$
declare
    name text;
begin
    foreach name in array array['job', 'job_lease', 'job_step', 'job_key', 'schedule', 'schedule_setting'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = (select current_workspace()))', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;

-- The numbers of workspaces are all that these functions show beyond the row-level wall.
create function workspaces_with_jobs(moment timestamptz, kinds text[]) returns setof integer
    language sql stable security definer set search_path from current
begin atomic
    select w.id from workspace w
    where exists (
        select from job j where j.workspace = w.id and j.status in ('pending', 'retrying') and j.key is null
           and j.rank <= moment and j.due_at <= moment and j.kind = any(kinds)
    ) or exists (
        select from job j where j.workspace = w.id and j.status in ('pending', 'retrying') and j.key is not null
           and j.due_at <= moment and j.kind = any(kinds)
    ) order by w.id;
end;
create function workspaces_with_running_jobs() returns setof integer
    language sql stable security definer set search_path from current
begin atomic
    select w.id from workspace w where exists (select from job j where j.workspace = w.id and j.status = 'running')
       or exists (select from job_lease l where l.workspace = w.id) order by w.id;
end;
create function workspaces_with_due_schedules(moment timestamptz, newest integer) returns setof integer
    language sql stable security definer set search_path from current
begin atomic
    select w.id from workspace w left join schedule_setting s on s.workspace = w.id
    where s.edition is distinct from newest or exists (
        select from schedule e where e.workspace = w.id and not e.paused
           and (e.next_at is null or e.next_at <= moment or e.last_at > moment + interval '1 day')
    ) order by w.id;
end;
revoke execute on function workspaces_with_jobs(timestamptz, text[]), workspaces_with_running_jobs(),
    workspaces_with_due_schedules(timestamptz, integer) from public;
grant execute on function workspaces_with_jobs(timestamptz, text[]), workspaces_with_running_jobs(),
    workspaces_with_due_schedules(timestamptz, integer) to isthmus_app;
