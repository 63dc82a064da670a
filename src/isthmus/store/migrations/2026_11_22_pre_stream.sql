-- What the relay and the consumers need to find their work in all workspaces, and where failed events wait.

-- Waiting rows are looked up by workspace, so that a long import in one does not stand in the way of another.
drop index event_unstamped;
create index event_waiting on event (workspace, id) where seq is null;

-- Events whose effect failed, and the later events of the same record, which wait behind them.
create table parked (
    workspace integer not null,
    consumer text not null,
    seq bigint not null,
    record_id uuid not null,
    reason text not null,
    attempts integer not null,
    parked_at timestamptz not null,
    tried_at timestamptz not null,
    primary key (workspace, consumer, seq)
);
create index parked_record on parked (workspace, consumer, record_id);
alter table parked enable row level security;
create policy workspace on parked using (workspace = current_workspace());
grant select, insert, update, delete on parked to isthmus_app;

-- The numbers of workspaces are all that these functions show beyond the row-level wall.
create function waiting_workspaces() returns setof integer
    language sql stable security definer set search_path from current
begin atomic
    with recursive step(workspace) as (
        (select e.workspace from event e where e.seq is null order by e.workspace limit 1)
        union all
        select (select e.workspace from event e where e.seq is null and e.workspace > step.workspace
                order by e.workspace limit 1)
        from step where step.workspace is not null
    )
    select step.workspace from step where step.workspace is not null;
end;
revoke execute on function waiting_workspaces() from public;
grant execute on function waiting_workspaces() to isthmus_app;

create function consumers_behind(consumers text[]) returns table (workspace integer, consumer text)
    language sql stable security definer set search_path from current
begin atomic
    select h.workspace, c.name
    from event_head h cross join unnest(consumers) as c(name)
    left join consumer_offset o on o.workspace = h.workspace and o.consumer = c.name
    where h.seq > coalesce(o.seq, 0);
end;
revoke execute on function consumers_behind(text[]) from public;
grant execute on function consumers_behind(text[]) to isthmus_app;
