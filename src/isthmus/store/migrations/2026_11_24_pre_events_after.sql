-- A bound that is one subquery can be looked up in the index; around a subquery `coalesce` kept every reader of the end
-- of the log reading all of it.
create or replace function events_after(after bigint) returns setof event
    language sql stable
begin atomic
    select e.* from event e
    where e.workspace = current_workspace() and e.seq > after and e.bundle >= (
        select coalesce(max(b.first), 0) from event_bundle b
        where b.workspace = current_workspace() and b.first <= after + 1
    );
end;
