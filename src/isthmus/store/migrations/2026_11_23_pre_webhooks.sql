-- Webhooks out and in. What is told is rendered from the log; rows here say to whom, how often, and with what answer.

-- `chosen` are patterns of event types and names of topics, `areas` the domains its maker may read, `accounts` those it
-- is limited to (none: all). Its secrets are sealed under its own subject, its id.
create table webhook_endpoint (
    workspace integer not null,
    id uuid not null,
    url text not null,
    about text not null,
    chosen text[] not null,
    areas text[] not null,
    accounts uuid[] not null,
    kind text not null check (kind in ('hmac', 'ed25519')),
    ordered boolean not null,
    per_s integer check (per_s > 0),
    signing bytea not null,
    created_at timestamptz not null,
    created_by text not null,
    paused_at timestamptz,
    removed_at timestamptz,
    primary key (workspace, id)
);

-- How an endpoint is. Whoever calls it locks this row first: its rate and its circuit hold for all workers together.
-- Nobody calls it before `next_at` (its rate) or `closed_until` (its circuit); after the latter one call tries it.
create table webhook_health (
    workspace integer not null,
    endpoint_id uuid not null,
    next_at timestamptz not null,
    failures integer not null default 0,
    failing_since timestamptz,
    closed_until timestamptz,
    disabled_at timestamptz,
    reason text not null default '',
    succeeded_at timestamptz,
    failed_at timestamptz,
    primary key (workspace, endpoint_id),
    foreign key (workspace, endpoint_id) references webhook_endpoint on delete cascade
);

-- One event on its way to one endpoint. `key` is what order holds within; `step` is the place in the retry schedule,
-- `attempts` numbers all tries, and only the one that made the last of them may say how it ended.
create table webhook_delivery (
    workspace integer not null,
    id uuid not null,
    endpoint_id uuid not null,
    seq bigint not null,
    event_type text not null,
    key uuid not null,
    status text not null check (status in ('pending', 'retrying', 'delivered', 'needs attention')),
    step integer not null default 0,
    attempts integer not null default 0,
    due_at timestamptz not null,
    created_at timestamptz not null,
    done_at timestamptz,
    reason text not null default '',
    primary key (workspace, id),
    foreign key (workspace, endpoint_id) references webhook_endpoint on delete cascade
);
create unique index webhook_delivery_once on webhook_delivery (workspace, endpoint_id, seq);
create index webhook_delivery_due on webhook_delivery (workspace, endpoint_id, due_at) where done_at is null;
create index webhook_delivery_order on webhook_delivery (workspace, endpoint_id, key, seq) where done_at is null;
create index webhook_delivery_done on webhook_delivery (workspace, done_at) where done_at is not null;

-- The log of tries. The first bytes of an answer may hold anything, so they are sealed under the endpoint's subject.
create table webhook_attempt (
    workspace integer not null,
    delivery_id uuid not null,
    number integer not null,
    at timestamptz not null,
    status integer,
    took_ms integer not null,
    answer bytea,
    failure text not null,
    primary key (workspace, delivery_id, number),
    foreign key (workspace, delivery_id) references webhook_delivery on delete cascade
);

-- What vendors sent, sealed under its own subject, its id, until it was worked on and some days longer.
create table webhook_inbound (
    workspace integer not null,
    id uuid not null,
    connection_id uuid not null,
    external_id text not null,
    body bytea not null,
    status text not null check (status in ('pending', 'retrying', 'done', 'needs attention')),
    attempts integer not null default 0,
    received_at timestamptz not null,
    due_at timestamptz not null,
    done_at timestamptz,
    reason text not null default '',
    primary key (workspace, id)
);
create unique index webhook_inbound_once on webhook_inbound (workspace, connection_id, external_id);
create index webhook_inbound_due on webhook_inbound (workspace, connection_id, id) where done_at is null;

-- Parked events are named from outside.
alter table parked add column id uuid not null default gen_random_uuid();
create unique index parked_id on parked (workspace, id);

do $$
declare
    name text;
begin
    foreach name in array array['webhook_endpoint', 'webhook_health', 'webhook_delivery', 'webhook_attempt',
                                'webhook_inbound'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = (select current_workspace()))', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;

-- Workers look over all workspaces for what is to be done; ids are all that they see beyond the row-level wall.

-- Endpoints whose cursor stands behind the log. While nobody can be reached, not more than `waiting_max` events are
-- written down; the log keeps the rest.
create function webhooks_behind(waiting_max integer) returns table (workspace integer, endpoint_id uuid)
    language sql stable security definer set search_path from current
begin atomic
    select e.workspace, e.id
    from webhook_endpoint e
    join webhook_health h on h.workspace = e.workspace and h.endpoint_id = e.id
    join event_head s on s.workspace = e.workspace
    join consumer_offset o on o.workspace = e.workspace and o.consumer = 'webhook:' || e.id::text
    where e.removed_at is null and e.paused_at is null and h.disabled_at is null and s.seq > o.seq
      and (h.closed_until is null or waiting_max > (
          select count(*) from (
              select from webhook_delivery d where d.workspace = e.workspace and d.endpoint_id = e.id
                                               and d.done_at is null limit waiting_max
          ) as waiting
      ));
end;
revoke execute on function webhooks_behind(integer) from public;
grant execute on function webhooks_behind(integer) to isthmus_app;

create function webhooks_due(moment timestamptz) returns table (workspace integer, endpoint_id uuid)
    language sql stable security definer set search_path from current
begin atomic
    select e.workspace, e.id
    from webhook_endpoint e
    join webhook_health h on h.workspace = e.workspace and h.endpoint_id = e.id
    where e.removed_at is null and e.paused_at is null and h.next_at <= moment
      and (h.closed_until is null or h.closed_until <= moment)
      and exists (
          select from webhook_delivery d where d.workspace = e.workspace and d.endpoint_id = e.id
                                           and d.done_at is null and d.due_at <= moment
      );
end;
revoke execute on function webhooks_due(timestamptz) from public;
grant execute on function webhooks_due(timestamptz) to isthmus_app;

create function webhooks_received(moment timestamptz) returns table (workspace integer, connection_id uuid)
    language sql stable security definer set search_path from current
begin atomic
    select distinct i.workspace, i.connection_id from webhook_inbound i where i.done_at is null and i.due_at <= moment;
end;
revoke execute on function webhooks_received(timestamptz) from public;
grant execute on function webhooks_received(timestamptz) to isthmus_app;

-- Who sends names a connection; which workspace it is of is found before any workspace is known.
create function workspace_of_connection(wanted uuid) returns integer
    language sql stable security definer set search_path from current
begin atomic
    select c.workspace from connection c where c.id = wanted and c.removed_at is null;
end;
revoke execute on function workspace_of_connection(uuid) from public;
grant execute on function workspace_of_connection(uuid) to isthmus_app;
