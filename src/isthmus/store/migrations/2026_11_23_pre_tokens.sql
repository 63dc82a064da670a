-- The authorisation server. Of secrets, codes and tokens only digests are stored; the private parts of signing keys and
-- the successor of a refresh token are sealed. Signing keys are those of the whole server: they stand in workspace 0.

create table oauth_key (
    workspace integer not null check (workspace = 0),
    id uuid not null,
    public jsonb not null,
    private bytea,
    created_at timestamptz not null,
    signs_from timestamptz not null,
    primary key (workspace, id)
);

create table oauth_client (
    workspace integer not null,
    id uuid not null,
    name text not null,
    method text not null check (method in ('secret', 'private_key_jwt', 'none')),
    digest bytea,
    old_digest bytea,
    old_until timestamptz,
    keys jsonb,
    grants text[] not null,
    scopes text[] not null,
    redirects text[] not null,
    after_sign_out text[] not null,
    audience text,
    pushed_only boolean not null default false,
    bound_only boolean not null default false,
    created_at timestamptz not null,
    created_by text not null,
    rotated_at timestamptz,
    removed_at timestamptz,
    removed_by text,
    primary key (workspace, id)
);
create unique index oauth_client_id on oauth_client (id);
create unique index oauth_client_audience on oauth_client (workspace, audience) where removed_at is null;

-- What an authorisation asks for, on its way: pushed by the program, then shown to a person. Used once.
create table oauth_request (
    workspace integer not null,
    digest bytea not null,
    kind text not null check (kind in ('pushed', 'shown')),
    client uuid not null,
    asked jsonb not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    primary key (workspace, digest)
);
create unique index oauth_request_digest on oauth_request (digest);
create index oauth_request_expires_at on oauth_request (workspace, expires_at);

-- What tokens stand on: whose permissions they carry at most. `parent` is the grant a token was exchanged from.
create table oauth_grant (
    workspace integer not null,
    id uuid not null,
    client uuid not null,
    kind text not null check (kind in ('client', 'code', 'device', 'exchange')),
    subject text not null,
    name text not null,
    user_id uuid,
    session_id uuid,
    permissions text[] not null,
    narrowed jsonb not null default '{}',
    scopes text[] not null,
    resources text[] not null default '{}',
    methods text[] not null default '{}',
    proven_at timestamptz,
    mfa_at timestamptz,
    act jsonb,
    parent uuid,
    from_token uuid,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_why text,
    primary key (workspace, id)
);
create index oauth_grant_subject on oauth_grant (workspace, subject, client);
create index oauth_grant_parent on oauth_grant (workspace, parent) where parent is not null;
create index oauth_grant_from_token on oauth_grant (workspace, from_token) where from_token is not null;
create index oauth_grant_expires_at on oauth_grant (workspace, expires_at);

create table oauth_code (
    workspace integer not null,
    digest bytea not null,
    client uuid not null,
    grant_id uuid not null,
    asked jsonb not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    primary key (workspace, digest)
);
create index oauth_code_expires_at on oauth_code (workspace, expires_at);

create table oauth_refresh (
    workspace integer not null,
    digest bytea not null,
    client uuid not null,
    grant_id uuid not null,
    bound_to text,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    successor bytea,
    primary key (workspace, digest)
);
create index oauth_refresh_expires_at on oauth_refresh (workspace, expires_at);

create table oauth_device (
    workspace integer not null,
    digest bytea not null,
    user_digest bytea not null,
    client uuid not null,
    scopes text[] not null,
    resources text[] not null,
    status text not null default 'waiting' check (status in ('waiting', 'allowed', 'refused')),
    grant_id uuid,
    interval_s integer not null,
    asked_at timestamptz,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    primary key (workspace, digest)
);
create unique index oauth_device_user_digest on oauth_device (workspace, user_digest);
create index oauth_device_expires_at on oauth_device (workspace, expires_at);

-- Proofs that were shown once and are refused again, and wrong guesses at codes, until they expire.
create table oauth_seen (
    workspace integer not null,
    kind text not null check (kind in ('dpop', 'assertion', 'guess')),
    owner text not null,
    digest bytea not null,
    expires_at timestamptz not null,
    primary key (workspace, kind, owner, digest)
);
create index oauth_seen_expires_at on oauth_seen (workspace, expires_at);

create table oauth_revoked (
    workspace integer not null,
    token uuid not null,
    expires_at timestamptz not null,
    primary key (workspace, token)
);
create index oauth_revoked_expires_at on oauth_revoked (workspace, expires_at);

do $$
declare
    name text;
begin
    foreach name in array array['oauth_key', 'oauth_client', 'oauth_request', 'oauth_grant', 'oauth_code',
                                'oauth_refresh', 'oauth_device', 'oauth_seen', 'oauth_revoked'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = (select current_workspace()))', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;

-- A credential tells its workspace only once it is found, so these look through the wall for exactly one row each.
create function find_oauth_client(wanted uuid) returns integer
    language sql stable security definer
begin atomic
    select c.workspace from oauth_client c where c.id = wanted and c.removed_at is null;
end;
create function find_oauth_request(wanted bytea) returns integer
    language sql stable security definer
begin atomic
    select r.workspace from oauth_request r where r.digest = wanted and r.kind = 'shown';
end;
-- `ended` follows the person too: who is disabled, or whose session was ended, has no token that opens anything.
create function find_oauth_token(wanted uuid, token_id uuid)
    returns table (workspace integer, client uuid, client_name text, client_scopes text[], kind text, subject text,
                   name text, user_id uuid, sealed bytea, roles text[], permissions text[], narrowed jsonb,
                   scopes text[], methods text[], proven_at timestamptz, mfa_at timestamptz, act jsonb,
                   expires_at timestamptz, ended boolean)
    language sql stable security definer
begin atomic
    select g.workspace, g.client, c.name, c.scopes, g.kind, g.subject, g.name, g.user_id, l.sealed, l.roles,
           g.permissions, g.narrowed, g.scopes, g.methods, g.proven_at, g.mfa_at, g.act, g.expires_at,
           g.revoked_at is not null or c.removed_at is not null
           or exists (select from oauth_revoked r where r.workspace = g.workspace and r.token = token_id)
           or (g.user_id is not null and (l.id is null or l.disabled_at is not null))
           or (not 'offline_access' = any (g.scopes)
               and exists (select from session s
                           where s.workspace = g.workspace and s.id = g.session_id and s.ended_at is not null))
    from oauth_grant g
        join oauth_client c on c.workspace = g.workspace and c.id = g.client
        left join person_login l on l.workspace = g.workspace and l.id = g.user_id
    where g.id = wanted;
end;
revoke execute on function find_oauth_client(uuid), find_oauth_request(bytea), find_oauth_token(uuid, uuid) from public;
grant execute on function find_oauth_client(uuid), find_oauth_request(bytea), find_oauth_token(uuid, uuid)
    to isthmus_app;

create trigger gate_epoch after update of scopes, removed_at or delete on oauth_client
    for each row execute function raise_gate_epoch();
create trigger gate_epoch after update of revoked_at or delete on oauth_grant
    for each row execute function raise_gate_epoch();
create trigger gate_epoch after insert on oauth_revoked
    for each row execute function raise_gate_epoch();
