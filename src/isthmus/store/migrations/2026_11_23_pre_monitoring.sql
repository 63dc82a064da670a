-- What the audit log says of a call besides who did what, traffic by the minute, and alerts with their channels.

-- Every row takes the circumstances of its call from the transaction, whoever writes it.
alter table audit
    add column purpose text default nullif(current_setting('isthmus.purpose', true), ''),
    add column network text default nullif(current_setting('isthmus.network', true), ''),
    alter column on_behalf_of set default nullif(current_setting('isthmus.behind', true), ''),
    alter column decision set default nullif(current_setting('isthmus.decision', true), '')::jsonb;
create index audit_at on audit using brin (at);
create index audit_request on audit (workspace, request_id) where details is not null;

-- Sums of one minute as one instance of the program counted them: of everything, of a domain, a route, a key, a probe.
-- `places` and `counts` are the filled buckets of the histogram of latency; `slow` counts what took over the objective.
-- What was called without a credential, and probes, stand in workspace 0.
create table traffic_minute (
    workspace integer not null,
    kind text not null check (kind in ('all', 'domain', 'route', 'key', 'probe')),
    minute timestamptz not null,
    name text not null,
    instance text not null,
    calls bigint not null,
    refused bigint not null,
    failed bigint not null,
    slow bigint not null,
    timed bigint not null,
    micros bigint not null,
    places smallint[] not null,
    counts integer[] not null,
    primary key (workspace, kind, minute, name, instance)
);

-- A rule that holds about something. Only one alert of a rule about a thing is open at a time.
create table alert (
    workspace integer not null,
    id uuid not null,
    rule text not null,
    about text not null,
    severity text not null check (severity in ('page', 'warning')),
    status text not null check (status in ('open', 'acknowledged', 'resolved')),
    value double precision not null,
    threshold double precision not null,
    reason text not null,
    opened_at timestamptz not null,
    seen_at timestamptz not null,
    acknowledged_at timestamptz,
    acknowledged_by text,
    resolved_at timestamptz,
    told_at timestamptz,
    primary key (workspace, id)
);
create unique index alert_unresolved on alert (workspace, rule, about) where status <> 'resolved';

create table alert_silence (
    workspace integer not null,
    id uuid not null,
    rule text not null,
    about text not null,
    reason text not null,
    created_at timestamptz not null,
    created_by text not null,
    until timestamptz not null,
    primary key (workspace, id)
);

-- Where alerts are told. The target is sealed under the channel's own subject, its id: addresses name people, and the
-- address of a webhook is its secret.
create table alert_channel (
    workspace integer not null,
    id uuid not null,
    name text not null,
    kind text not null check (kind in ('email', 'webhook')),
    target bytea not null,
    created_at timestamptz not null,
    created_by text not null,
    removed_at timestamptz,
    primary key (workspace, id)
);
create unique index alert_channel_name on alert_channel (workspace, name) where removed_at is null;

-- One message to one channel about a group of alerts, tried until it is delivered or given up.
create table alert_notice (
    workspace integer not null,
    id uuid not null,
    channel_id uuid not null,
    rule text not null,
    alerts uuid[] not null,
    resolved boolean not null,
    created_at timestamptz not null,
    due_at timestamptz not null,
    tries integer not null default 0,
    sent_at timestamptz,
    given_up_at timestamptz,
    failure text,
    primary key (workspace, id)
);
create index alert_notice_due on alert_notice (workspace, due_at) where sent_at is null and given_up_at is null;

do $$
declare
    name text;
begin
    foreach name in array array['traffic_minute', 'alert', 'alert_silence', 'alert_channel', 'alert_notice'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = (select current_workspace()))', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;
