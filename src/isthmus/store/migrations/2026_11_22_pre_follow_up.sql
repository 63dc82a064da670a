-- What becomes of a lead after its capture: follow-ups, whose turn it is, and which leads wait for the connected CRM.

-- `definition` is a copy: a follow-up goes on as it was started, whatever the settings say later.
create table follow_up (
    workspace integer not null,
    id uuid not null,
    lead_id uuid not null,
    definition jsonb not null,
    state text not null check (state in ('running', 'paused', 'done', 'cancelled')),
    position integer not null default 0,
    due_at timestamptz,
    started_at timestamptz not null,
    ended_at timestamptz,
    reason text not null default '',
    log jsonb not null default '[]',
    primary key (workspace, id)
);
create unique index follow_up_open on follow_up (workspace, lead_id) where state in ('running', 'paused');
create index follow_up_lead on follow_up (workspace, lead_id, started_at);
create index follow_up_due on follow_up (workspace, due_at) where state = 'running';

create table assignment_turn (
    workspace integer not null,
    territory text not null,
    turn bigint not null,
    primary key (workspace, territory)
);

-- `check_at` moves away with every look, so that a CRM that is down costs little.
create table crm_waiting (
    workspace integer not null,
    lead_id uuid not null,
    system text not null,
    tries integer not null default 0,
    check_at timestamptz not null,
    primary key (workspace, lead_id)
);
create index crm_waiting_check on crm_waiting (workspace, check_at);

create index sales_lead_company on sales_lead (workspace, lower(company))
    where deleted_at is null and merged_into is null;
create index sales_lead_open_owner on sales_lead (workspace, owner_id)
    where status in ('new', 'working', 'qualified') and deleted_at is null and merged_into is null;

do $$
declare
    name text;
begin
    foreach name in array array['follow_up', 'assignment_turn', 'crm_waiting'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = current_workspace())', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;

-- The numbers of workspaces are all that this function shows beyond the row-level wall.
create function workspaces_with_due_follow_ups(moment timestamptz) returns setof integer
    language sql stable security definer set search_path from current
begin atomic
    select w.id from workspace w
    where exists (select from follow_up f where f.workspace = w.id and f.state = 'running' and f.due_at <= moment)
       or exists (select from crm_waiting c where c.workspace = w.id and c.check_at <= moment);
end;
revoke execute on function workspaces_with_due_follow_ups(timestamptz) from public;
grant execute on function workspaces_with_due_follow_ups(timestamptz) to isthmus_app;
