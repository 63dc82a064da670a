-- Who may come in: keys of machines, one-time links and sessions of people; and answers kept for calls made again.
-- Only digests of secrets are stored.

create table api_key (
    workspace integer not null,
    id uuid not null,
    name text not null,
    kind text not null check (kind in ('live', 'test')),
    digest bytea not null,
    roles text[] not null,
    permissions text[] not null,
    created_at timestamptz not null,
    created_by text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    last_used_at timestamptz,
    primary key (workspace, id)
);
create unique index api_key_id on api_key (id);

create table admin_link (
    workspace integer not null,
    id uuid not null,
    digest bytea not null,
    roles text[] not null,
    created_at timestamptz not null,
    created_by text not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    primary key (workspace, id)
);
create unique index admin_link_digest on admin_link (digest);

create table session (
    workspace integer not null,
    id uuid not null,
    digest bytea not null,
    name text not null,
    roles text[] not null,
    created_at timestamptz not null,
    seen_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at timestamptz,
    primary key (workspace, id)
);
create unique index session_digest on session (digest);

-- An answer kept for 24 hours. `answer` is sealed under `principal`; while it is null the first call is being answered,
-- and if its program was killed another may take over after `leased_until`.
create table idempotency (
    workspace integer not null,
    principal uuid not null,
    route text not null,
    key text not null,
    fingerprint bytea not null,
    once uuid not null,
    attempt uuid not null,
    leased_until timestamptz not null,
    answer bytea,
    created_at timestamptz not null,
    primary key (workspace, principal, route, key)
);
create index idempotency_created_at on idempotency (workspace, created_at);

do $$
declare
    name text;
begin
    foreach name in array array['api_key', 'admin_link', 'session', 'idempotency'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = current_workspace())', name);
    end loop;
end
$$;
grant select, insert, update on api_key, admin_link, session to isthmus_app;
grant select, insert, update, delete on idempotency to isthmus_app;

-- A credential tells its workspace only once it is found, so these look through the wall for exactly one row each.
create function find_api_key(wanted uuid)
    returns table (workspace integer, name text, digest bytea, roles text[], permissions text[], expires_at timestamptz,
                   revoked_at timestamptz, last_used_at timestamptz)
    language sql stable security definer
begin atomic
    select k.workspace, k.name, k.digest, k.roles, k.permissions, k.expires_at, k.revoked_at, k.last_used_at
    from api_key k where k.id = wanted;
end;
create function find_session(wanted bytea)
    returns table (workspace integer, id uuid, name text, roles text[], seen_at timestamptz, expires_at timestamptz,
                   ended_at timestamptz)
    language sql stable security definer
begin atomic
    select s.workspace, s.id, s.name, s.roles, s.seen_at, s.expires_at, s.ended_at from session s where s.digest = wanted;
end;
create function find_admin_link(wanted bytea) returns integer
    language sql stable security definer
begin atomic
    select l.workspace from admin_link l where l.digest = wanted;
end;
revoke execute on function find_api_key(uuid), find_session(bytea), find_admin_link(bytea) from public;
grant execute on function find_api_key(uuid), find_session(bytea), find_admin_link(bytea) to isthmus_app;
