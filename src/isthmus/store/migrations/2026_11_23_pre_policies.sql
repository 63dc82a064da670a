-- Roles that a workspace makes itself, machine identities that own keys, policies with their reasons, and a sample of
-- decisions over which a change is tried before it is made.

create table custom_role (
    workspace integer not null,
    name text not null,
    about text not null,
    parents text[] not null,
    permissions text[] not null,
    created_at timestamptz not null,
    created_by text not null,
    primary key (workspace, name)
);

create table service_account (
    workspace integer not null,
    id uuid not null,
    name text not null,
    about text not null,
    roles text[] not null,
    permissions text[] not null,
    created_at timestamptz not null,
    created_by text not null,
    disabled_at timestamptz,
    disabled_by text,
    primary key (workspace, id),
    unique (workspace, name)
);

create table policy (
    workspace integer not null,
    name text not null,
    text text not null,
    effect text not null check (effect in ('forbid', 'permit')),
    reason text not null,
    mode text not null check (mode in ('enforced', 'shadow')),
    created_at timestamptz not null,
    created_by text not null,
    primary key (workspace, name)
);

-- Decisions of one hour that are alike are one row. `facts` names the caller by id and its network, never its address.
create table decision_sample (
    workspace integer not null,
    digest bytea not null,
    hour timestamptz not null,
    facts jsonb not null,
    allowed boolean not null,
    refused_by text[] not null,
    shadowed_by text[] not null,
    seen bigint not null,
    primary key (workspace, hour, digest)
);

alter table api_key add column account uuid;
alter table api_key add column only_records jsonb not null default '{}';
alter table api_key add column rotated_from uuid;

do $$
declare
    name text;
begin
    foreach name in array array['custom_role', 'service_account', 'policy', 'decision_sample'] loop
        execute format('alter table %I enable row level security', name);
        execute format('create policy workspace on %I using (workspace = current_workspace())', name);
    end loop;
end
$$;
-- The owner of a service account's table looks through its wall in find_key; nobody has to look through these.
alter table custom_role force row level security;
alter table policy force row level security;
alter table decision_sample force row level security;
grant select, insert, update, delete on custom_role, service_account, policy, decision_sample to isthmus_app;

create trigger gate_epoch after insert or update or delete on custom_role
    for each row execute function raise_gate_epoch();
create trigger gate_epoch after insert or update or delete on service_account
    for each row execute function raise_gate_epoch();
create trigger gate_epoch after insert or update or delete on policy
    for each row execute function raise_gate_epoch();
create trigger gate_epoch_narrowed after update of only_records, account on api_key
    for each row execute function raise_gate_epoch();

-- As find_api_key, with what narrows the key: its account, and the records it is limited to.
create function find_key(wanted uuid)
    returns table (workspace integer, name text, digest bytea, roles text[], permissions text[], expires_at timestamptz,
                   revoked_at timestamptz, last_used_at timestamptz, only_records jsonb, account uuid,
                   account_name text, account_roles text[], account_permissions text[], account_disabled_at timestamptz)
    language sql stable security definer
begin atomic
    select k.workspace, k.name, k.digest, k.roles, k.permissions, k.expires_at, k.revoked_at, k.last_used_at,
           k.only_records, k.account, a.name, a.roles, a.permissions, a.disabled_at
    from api_key k left join service_account a on a.workspace = k.workspace and a.id = k.account
    where k.id = wanted;
end;
revoke execute on function find_key(uuid) from public;
grant execute on function find_key(uuid) to isthmus_app;
