-- A company's own services behind the gate.

create table upstream (
    workspace integer not null,
    name text not null,
    url text not null,
    permission text not null,
    connect_ms integer not null check (connect_ms > 0),
    first_byte_ms integer not null check (first_byte_ms > 0),
    idle_ms integer not null check (idle_ms > 0),
    retries integer not null check (retries >= 0),
    health_path text not null,
    health_s integer not null check (health_s > 0),
    created_at timestamptz not null,
    created_by text not null,
    primary key (workspace, name)
);

-- A name of a host leads to one upstream of one workspace.
create table upstream_host (
    workspace integer not null,
    host text not null,
    upstream text not null,
    primary key (workspace, host),
    foreign key (workspace, upstream) references upstream on delete cascade
);
create unique index upstream_host_once on upstream_host (host);

alter table upstream enable row level security;
alter table upstream_host enable row level security;
create policy workspace on upstream using (workspace = current_workspace());
create policy workspace on upstream_host using (workspace = current_workspace());
grant select, insert, update, delete on upstream, upstream_host to isthmus_app;

-- Workers serve the calls of all workspaces, and look after the health of all upstreams.
create function all_upstreams()
    returns table (workspace integer, name text, url text, permission text, hosts text[], connect_ms integer,
                   first_byte_ms integer, idle_ms integer, retries integer, health_path text, health_s integer)
    language sql stable security definer
begin atomic
    select u.workspace, u.name, u.url, u.permission,
           array(select h.host from upstream_host h where h.workspace = u.workspace and h.upstream = u.name order by 1),
           u.connect_ms, u.first_byte_ms, u.idle_ms, u.retries, u.health_path, u.health_s
    from upstream u;
end;
revoke execute on function all_upstreams() from public;
grant execute on function all_upstreams() to isthmus_app;

create trigger gate_epoch after insert or update or delete on upstream
    for each row execute function raise_gate_epoch();
