-- What a person's consent gave a connection: tokens, sealed under the connection's own subject. One program at a time
-- renews them, `holder`, until `held_until`; `version` grows with each renewal. `refused_at` is when they were refused.
create table connection_grant (
    workspace integer not null,
    connection_id uuid not null,
    tokens bytea not null,
    version bigint not null default 1,
    renew_at timestamptz not null,
    refresh_expires_at timestamptz,
    holder uuid,
    held_until timestamptz,
    refused_at timestamptz,
    reason text not null default '',
    consented_at timestamptz not null,
    consented_by text not null,
    primary key (workspace, connection_id)
);

-- Consents under way. Of the word that goes out and comes back only the digest is kept; `asker` is who asked.
create table connection_consent (
    workspace integer not null,
    digest bytea not null,
    connection_id uuid not null,
    asker text not null,
    redirect_uri text not null,
    expires_at timestamptz not null,
    primary key (workspace, digest)
);

do $$
declare
    name text;
begin
    foreach name in array array['connection_grant', 'connection_consent'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy workspace on %I using (workspace = current_workspace())', name);
        execute format('grant select, insert, update, delete on %I to isthmus_app', name);
    end loop;
end
$$;
