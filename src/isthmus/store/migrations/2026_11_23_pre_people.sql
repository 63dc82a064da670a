-- People who sign in: who they are (sealed), what they prove themselves with, and the sessions that follow.
-- Secrets are stored as digests or sealed; of an e-mail address there is a keyed digest, by which it is looked up.

-- `sealed` holds e-mail address and name, `totp` the secret of one-time codes, `totp_new` one that is not confirmed yet.
-- `totp_step` is the newest time step whose code was taken: no code of it or before opens anything again.
create table person_login (
    workspace integer not null,
    id uuid not null,
    email_index bytea not null,
    sealed bytea not null,
    roles text[] not null,
    password text,
    password_long boolean not null default false,
    totp bytea,
    totp_new bytea,
    totp_step bigint not null default 0,
    external_id text,
    created_at timestamptz not null,
    created_by text not null,
    joined_at timestamptz,
    signed_in_at timestamptz,
    disabled_at timestamptz,
    primary key (workspace, id)
);
create unique index person_login_email on person_login (workspace, email_index);
create index person_login_find on person_login (email_index);

-- A link that sets a password once: an invitation, or a way back for somebody who forgot theirs.
create table login_link (
    workspace integer not null,
    id uuid not null,
    digest bytea not null,
    login uuid not null,
    created_at timestamptz not null,
    created_by text not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    primary key (workspace, id)
);
create unique index login_link_digest on login_link (workspace, digest);

create table passkey (
    workspace integer not null,
    id uuid not null,
    login uuid not null,
    credential bytea not null,
    public_key bytea not null,
    sign_count bigint not null,
    host text not null,
    name text not null,
    synced boolean not null,
    created_at timestamptz not null,
    used_at timestamptz,
    primary key (workspace, id)
);
create unique index passkey_credential on passkey (credential);
create index passkey_login on passkey (workspace, login);

create table recovery_code (
    workspace integer not null,
    login uuid not null,
    digest bytea not null,
    created_at timestamptz not null,
    used_at timestamptz,
    primary key (workspace, login, digest)
);

-- Somebody on the way in: a password was right and the second factor is asked for, or a passkey's challenge is out.
create table sign_in_step (
    workspace integer not null,
    digest bytea not null,
    kind text not null check (kind in ('code', 'passkey', 'enrol', 'upstream')),
    login uuid,
    challenge bytea,
    upstream uuid,
    tries integer not null default 0,
    expires_at timestamptz not null,
    primary key (workspace, digest)
);
create index sign_in_step_expires on sign_in_step (workspace, expires_at);

-- Tries that failed, by keyed digest of the account or address; they belong to no workspace (0).
create table sign_in_pause (
    workspace integer not null,
    key bytea not null,
    failures integer not null,
    at timestamptz not null,
    until timestamptz not null,
    primary key (workspace, key)
);

-- Where people may sign in elsewhere: an OpenID provider. `secret` is sealed under the row's own id.
create table upstream_issuer (
    workspace integer not null,
    id uuid not null,
    title text not null,
    issuer text not null,
    client text not null,
    secret bytea,
    internal boolean not null default false,
    roles text[] not null default '{}',
    mail_domains text[] not null default '{}',
    created_at timestamptz not null,
    removed_at timestamptz,
    primary key (workspace, id)
);

create table upstream_identity (
    workspace integer not null,
    upstream uuid not null,
    subject_index bytea not null,
    login uuid not null,
    created_at timestamptz not null,
    primary key (workspace, upstream, subject_index)
);

alter table session
    add column login uuid,
    add column methods text[] not null default '{link}',
    add column proven_at timestamptz,
    add column mfa_at timestamptz,
    add column network text not null default '',
    add column agent text not null default '';
create index session_login on session (workspace, login) where ended_at is null;

do $$
declare
    name text;
begin
    foreach name in array array['person_login', 'login_link', 'passkey', 'recovery_code', 'sign_in_step',
                                'sign_in_pause', 'upstream_issuer', 'upstream_identity'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = (select current_workspace()))', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;

-- Whoever signs in tells no workspace; these look through the wall for what must be found before it is known.
drop function find_session(bytea);
create function find_session(wanted bytea)
    returns table (workspace integer, id uuid, name text, roles text[], seen_at timestamptz, expires_at timestamptz,
                   ended_at timestamptz, login uuid, sealed bytea, methods text[], proven_at timestamptz,
                   mfa_at timestamptz)
    language sql stable security definer
begin atomic
    select s.workspace, s.id, s.name, coalesce(l.roles, s.roles), s.seen_at, s.expires_at,
           coalesce(s.ended_at, l.disabled_at), s.login, l.sealed, s.methods, coalesce(s.proven_at, s.created_at),
           s.mfa_at
    from session s left join person_login l on l.workspace = s.workspace and l.id = s.login
    where s.digest = wanted;
end;
create function find_logins(wanted bytea) returns table (workspace integer, slug text, id uuid)
    language sql stable security definer
begin atomic
    select l.workspace, w.slug, l.id from person_login l left join workspace w on w.id = l.workspace
    where l.email_index = wanted and l.disabled_at is null order by l.created_at, l.id limit 20;
end;
create function find_passkey(wanted bytea) returns table (workspace integer, login uuid)
    language sql stable security definer
begin atomic
    select p.workspace, p.login from passkey p where p.credential = wanted;
end;
create function upstream_issuers() returns table (workspace integer, id uuid, title text)
    language sql stable security definer
begin atomic
    select u.workspace, u.id, u.title from upstream_issuer u where u.removed_at is null order by u.created_at limit 20;
end;
create function find_upstream_issuer(wanted uuid) returns integer
    language sql stable security definer
begin atomic
    select u.workspace from upstream_issuer u where u.id = wanted and u.removed_at is null;
end;
revoke execute on function find_session(bytea), find_logins(bytea), find_passkey(bytea), upstream_issuers(),
    find_upstream_issuer(uuid) from public;
grant execute on function find_session(bytea), find_logins(bytea), find_passkey(bytea), upstream_issuers(),
    find_upstream_issuer(uuid) to isthmus_app;
