-- Whoever chose what an endpoint is told must still be allowed to read it. `vouched_by` is who chose last (null: whoever
-- made it); while it may not, the endpoint is withheld: nothing is told, and what happens waits in the log.

alter table webhook_endpoint add column vouched_by text;
alter table webhook_health add column withheld_at timestamptz;
alter table webhook_health add column withheld text not null default '';

create or replace function webhooks_behind(waiting_max integer) returns table (workspace integer, endpoint_id uuid)
    language sql stable security definer set search_path from current
begin atomic
    select e.workspace, e.id
    from webhook_endpoint e
    join webhook_health h on h.workspace = e.workspace and h.endpoint_id = e.id
    join event_head s on s.workspace = e.workspace
    join consumer_offset o on o.workspace = e.workspace and o.consumer = 'webhook:' || e.id::text
    where e.removed_at is null and e.paused_at is null and h.disabled_at is null and h.withheld_at is null
      and s.seq > o.seq
      and (h.closed_until is null or waiting_max > (
          select count(*) from (
              select from webhook_delivery d where d.workspace = e.workspace and d.endpoint_id = e.id
                                               and d.done_at is null limit waiting_max
          ) as waiting
      ));
end;

create or replace function webhooks_due(moment timestamptz) returns table (workspace integer, endpoint_id uuid)
    language sql stable security definer set search_path from current
begin atomic
    select e.workspace, e.id
    from webhook_endpoint e
    join webhook_health h on h.workspace = e.workspace and h.endpoint_id = e.id
    where e.removed_at is null and e.paused_at is null and h.withheld_at is null and h.next_at <= moment
      and (h.closed_until is null or h.closed_until <= moment)
      and exists (
          select from webhook_delivery d where d.workspace = e.workspace and d.endpoint_id = e.id
                                           and d.done_at is null and d.due_at <= moment
      );
end;
