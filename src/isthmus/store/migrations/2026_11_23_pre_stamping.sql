-- Numbers for waiting events in one round trip: the statements behind each other see what was committed before each.
create function stamp_events(of_workspace integer, most integer) returns setof event
    language plpgsql volatile set search_path from current
as $$
declare
    head bigint;
    stamped bigint;
begin
    perform set_config('isthmus.workspace', of_workspace::text, true);
    -- The head is locked before anything is looked at, so that the numbers have no gap whoever stamps.
    select h.seq into head from event_head h where h.workspace = of_workspace for update;
    if not found then
        insert into event_head as h (workspace, seq) values (of_workspace, 0)
        on conflict (workspace) do update set seq = h.seq returning h.seq into head;
    end if;
    return query
        with waiting as (
            select first.id, row_number() over (order by first.id) as place
            from (select e.id from event e where e.workspace = of_workspace and e.seq is null
                  order by e.id limit most) as first
        )
        update event e set seq = head + waiting.place from waiting
        where e.workspace = of_workspace and e.id = waiting.id
        returning e.*;
    get diagnostics stamped = row_count;
    if stamped > 0 then
        update event_head h set seq = head + stamped where h.workspace = of_workspace;
    end if;
end $$;
revoke execute on function stamp_events(integer, integer) from public;
grant execute on function stamp_events(integer, integer) to isthmus_app;
