-- How far the daily health scores of a workspace are: accounts up to `after` have theirs of `day`, and when the next
-- are due. A row whose moment has passed is taken on from where it was left.
create table health_turn (
    workspace integer primary key,
    day date not null,
    after uuid,
    next_at timestamptz not null
);
alter table health_turn enable row level security;
create policy workspace on health_turn using (workspace = current_workspace());
grant select, insert, update, delete on health_turn to isthmus_app;

-- The numbers of workspaces are all that this function shows beyond the row-level wall.
create function workspaces_due_for_health(moment timestamptz) returns setof integer
    language sql stable security definer set search_path from current
begin atomic
    select w.id from workspace w left join health_turn t on t.workspace = w.id
    where t.next_at is null or t.next_at <= moment;
end;
revoke execute on function workspaces_due_for_health(timestamptz) from public;
grant execute on function workspaces_due_for_health(timestamptz) to isthmus_app;
