-- Follow-ups go on as runs of the workflow `follow-up`, with the versions that they began with.

do $$
declare
    own record;
    last integer;
    place integer := -1;
    number integer;
begin
    for own in
        select workspace, definition, coalesce((definition->>'version')::integer, 1) as version,
               min(started_at) as began
        from follow_up group by 1, 2, 3 order by 1, 3, 4
    loop
        if own.workspace <> place then
            place := own.workspace;
            last := 0;
            insert into workflow (workspace, name, subject_type, version, standard, updated_at, updated_by)
            values (place, 'follow-up', 'sales.lead', 1, true, own.began, 'system:migration') on conflict do nothing;
        end if;
        number := greatest(own.version, last + 1);
        while exists (select from workflow_version v
                      where v.workspace = place and v.name = 'follow-up' and v.version = number) loop
            number := number + 1;
        end loop;
        last := number;
        insert into workflow_version (workspace, name, version, definition, made_at, made_by)
        select place, 'follow-up', number,
               jsonb_build_object('title', coalesce(own.definition->>'name', 'First contact'), 'steps', coalesce((
                   select jsonb_agg(case when step->>'kind' = 'condition' then jsonb_build_object(
                              'kind', 'condition',
                              'where', jsonb_build_array(jsonb_build_object(
                                  'field', 'status', 'is', 'one_of', 'value', step->'status')))
                          else step end order by place_of)
                   from jsonb_array_elements(own.definition->'steps') with ordinality as s(step, place_of)), '[]')),
               own.began, 'system:migration';
        update workflow set version = greatest(version, number) where workspace = place and name = 'follow-up';
        insert into workflow_run (workspace, id, name, version, subject_type, subject_id, cue, state, position,
                                  due_at, started_at, started_by, ended_at, reason, log)
        select f.workspace, f.id, 'follow-up', number, 'sales.lead', f.lead_id, 'captured', f.state, f.position,
               f.due_at, f.started_at, 'system:migration', f.ended_at, f.reason, f.log
        from follow_up f where f.workspace = own.workspace and f.definition = own.definition
        on conflict do nothing;
    end loop;
end
$$;
insert into job (workspace, id, kind, arguments, priority, rank, due_at, dedupe, tries_max, created_at, created_by)
select workspace, gen_random_uuid(), 'workflow.step', jsonb_build_object('run', id, 'turn', turn), 10,
       due_at - interval '10 minutes', due_at, id || ':' || turn, 8, now(), 'system:migration'
from workflow_run where state = 'running' and due_at is not null
on conflict do nothing;

drop function workspaces_with_due_follow_ups(timestamptz);
drop table follow_up;
