-- Events that one statement tells and that differ only in their record share a row of the log. What is paid for each row
-- (heap, indexes, a second version when it is numbered) is then paid once for up to 128 of them.
create table event_bundle (
    workspace integer not null,
    -- The id of its first event; the others follow it.
    id bigint generated always as identity (increment by 128),
    -- The number of its first event, once it is stamped; the others follow it.
    first bigint,
    events integer not null generated always as (cardinality(record_ids)) stored,
    type text not null,
    record_type text not null,
    record_ids uuid[] not null,
    account_ids uuid[] not null,
    hlcs bigint[] not null,
    changed text[] not null,
    actor text not null,
    cause text not null,
    at timestamptz not null,
    primary key (workspace, id),
    check (cardinality(record_ids) between 1 and 128 and cardinality(account_ids) = cardinality(record_ids)
           and cardinality(hlcs) = cardinality(record_ids))
);
-- Ids do not compress, and a full bundle fits into a page.
alter table event_bundle set (toast_tuple_target = 8160);
alter table event_bundle alter record_ids set storage external, alter account_ids set storage external,
                         alter hlcs set storage external;

insert into event_bundle (workspace, id, first, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause,
                          at)
overriding system value
select workspace, id, seq, type, record_type, array[record_id], array[account_id], array[hlc], changed, actor, cause, at
from event;
select setval(pg_get_serial_sequence('event_bundle', 'id'), coalesce(max(id), 0) + 128, false) from event_bundle;

drop function stamp_events(integer, integer);
drop function waiting_workspaces();
drop table event;

create unique index event_bundle_first on event_bundle (workspace, first) where first is not null;
create index event_bundle_waiting on event_bundle (workspace, id) where first is null;
alter table event_bundle enable row level security;
create policy workspace on event_bundle using (workspace = current_workspace());
grant select, insert, update, delete on event_bundle to isthmus_app;

-- The events one by one. `bundle` is what a search must narrow, because it alone is indexed.
create view event with (security_invoker = true) as
select b.workspace, b.id + told.place - 1 as id, b.type, b.record_type, told.record_id, told.account_id, told.hlc,
       b.changed, b.actor, b.cause, b.at, b.first + told.place - 1 as seq, b.first as bundle
from event_bundle b
cross join lateral unnest(b.record_ids, b.account_ids, b.hlcs) with ordinality as told(record_id, account_id, hlc, place);
grant select on event to isthmus_app;

-- To be read in the order of `bundle, seq`.
create function events_after(after bigint) returns setof event
    language sql stable
begin atomic
    select e.* from event e
    where e.workspace = current_workspace() and e.seq > after and e.bundle >= coalesce((
        select max(b.first) from event_bundle b where b.workspace = current_workspace() and b.first <= after + 1
    ), 0);
end;
create function event_at(wanted bigint) returns setof event
    language sql stable
begin atomic
    select e.* from event e
    where e.workspace = current_workspace() and e.seq = wanted and e.bundle = (
        select max(b.first) from event_bundle b where b.workspace = current_workspace() and b.first <= wanted
    );
end;
revoke execute on function events_after(bigint), event_at(bigint) from public;
grant execute on function events_after(bigint), event_at(bigint) to isthmus_app;

create function waiting_workspaces() returns setof integer
    language sql stable security definer set search_path from current
begin atomic
    with recursive step(workspace) as (
        (select e.workspace from event_bundle e where e.first is null order by e.workspace limit 1)
        union all
        select (select e.workspace from event_bundle e where e.first is null and e.workspace > step.workspace
                order by e.workspace limit 1)
        from step where step.workspace is not null
    )
    select step.workspace from step where step.workspace is not null;
end;
revoke execute on function waiting_workspaces() from public;
grant execute on function waiting_workspaces() to isthmus_app;

-- Numbers for waiting events in one round trip: the statements behind each other see what was committed before each.
-- About `most` events are numbered, and bundles are never divided.
create function stamp_events(of_workspace integer, most integer) returns setof event_bundle
    language plpgsql volatile set search_path from current
as $$
declare
    head bigint;
begin
    perform set_config('isthmus.workspace', of_workspace::text, true);
    -- The head is locked before anything is looked at, so that the numbers have no gap whoever stamps.
    select h.seq into head from event_head h where h.workspace = of_workspace for update;
    if not found then
        insert into event_head as h (workspace, seq) values (of_workspace, 0)
        on conflict (workspace) do update set seq = h.seq returning h.seq into head;
    end if;
    return query
        with looked as (
            select e.id, e.events, sum(e.events) over (order by e.id) as upto
            from (select b.id, b.events from event_bundle b where b.workspace = of_workspace and b.first is null
                  order by b.id limit most) as e
        ), waiting as (
            select id, events, upto from looked where upto - events < most
        ), moved as (
            update event_head h set seq = head + told.upto from (select max(upto) as upto from waiting) as told
            where h.workspace = of_workspace and told.upto is not null
        )
        update event_bundle e set first = head + waiting.upto - waiting.events + 1 from waiting
        where e.workspace = of_workspace and e.id = waiting.id
        returning e.*;
end $$;
revoke execute on function stamp_events(integer, integer) from public;
grant execute on function stamp_events(integer, integer) to isthmus_app;
