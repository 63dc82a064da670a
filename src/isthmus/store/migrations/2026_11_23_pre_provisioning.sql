-- People who come from a company's own directory: provisioned by SCIM, and signed in by SAML.
-- What tells who somebody is, is sealed under the user's id; names and ids at the client are found by keyed digests.

-- What a provisioning client told of a user. `granted` are those roles that the user holds by groups alone; a user who
-- was removed by the client keeps a row that says so, and nothing else.
create table provisioned_login (
    workspace integer not null,
    login uuid not null,
    name_index bytea,
    external_index bytea,
    sealed bytea,
    granted text[] not null default '{}',
    updated_at timestamptz not null,
    removed_at timestamptz,
    primary key (workspace, login)
);
create unique index provisioned_login_name on provisioned_login (workspace, name_index);
create index provisioned_login_external on provisioned_login (workspace, external_index);

create table provisioned_group (
    workspace integer not null,
    id uuid not null,
    name text not null,
    external_id text,
    role text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (workspace, id)
);
create unique index provisioned_group_name on provisioned_group (workspace, lower(name));

create table provisioned_member (
    workspace integer not null,
    group_id uuid not null,
    login uuid not null,
    primary key (workspace, group_id, login)
);
create index provisioned_member_login on provisioned_member (workspace, login);

-- Where people may sign in elsewhere: an identity provider that speaks SAML. Certificates are public.
create table saml_provider (
    workspace integer not null,
    id uuid not null,
    title text not null,
    entity text not null,
    sign_in_url text not null,
    certificates text[] not null,
    email_attribute text not null default '',
    name_attribute text not null default '',
    roles text[] not null default '{}',
    mail_domains text[] not null default '{}',
    created_at timestamptz not null,
    removed_at timestamptz,
    primary key (workspace, id)
);

create table saml_identity (
    workspace integer not null,
    provider uuid not null,
    subject_index bytea not null,
    login uuid not null,
    created_at timestamptz not null,
    primary key (workspace, provider, subject_index)
);

-- A request that is out, by the digest of the secret that the browser keeps. Its answer is taken once: `answered_at`.
create table saml_request (
    workspace integer not null,
    digest bytea not null,
    provider uuid not null,
    next_page text not null,
    forced boolean not null default false,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    answered_at timestamptz,
    login uuid,
    methods text[] not null default '{}',
    primary key (workspace, digest)
);
create index saml_request_expires on saml_request (workspace, expires_at);

do $$
declare
    name text;
begin
    foreach name in array array['provisioned_login', 'provisioned_group', 'provisioned_member', 'saml_provider',
                                'saml_identity', 'saml_request'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = (select current_workspace()))', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
        if name <> 'saml_provider' then  -- The functions below look at this one through the wall.
            execute format('alter table %I force row level security', name);
        end if;
    end loop;
end
$$;

-- Whoever signs in tells no workspace; these look through the wall for what must be found before it is known.
create function saml_providers() returns table (workspace integer, id uuid, title text)
    language sql stable security definer
begin atomic
    select s.workspace, s.id, s.title from saml_provider s where s.removed_at is null order by s.created_at limit 20;
end;
create function find_saml_provider(wanted uuid) returns integer
    language sql stable security definer
begin atomic
    select s.workspace from saml_provider s where s.id = wanted and s.removed_at is null;
end;
revoke execute on function saml_providers(), find_saml_provider(uuid) from public;
grant execute on function saml_providers(), find_saml_provider(uuid) to isthmus_app;
