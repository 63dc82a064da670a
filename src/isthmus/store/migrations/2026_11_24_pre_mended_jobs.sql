-- A clock that was ahead may have wished for jobs that nobody has begun: where jobs only wait, they are mended too.
create function workspaces_with_unended_jobs() returns setof integer
    language sql stable security definer set search_path from current
begin atomic
    select w.id from workspace w where exists (select from job j where j.workspace = w.id and j.status = 'running')
       or exists (select from job j where j.workspace = w.id and j.status in ('pending', 'retrying') and j.key is null)
       or exists (
           select from job j where j.workspace = w.id and j.status in ('pending', 'retrying') and j.key is not null
       )
       or exists (select from job_lease l where l.workspace = w.id) order by w.id;
end;
drop function workspaces_with_running_jobs();
revoke execute on function workspaces_with_unended_jobs() from public;
grant execute on function workspaces_with_unended_jobs() to isthmus_app;
