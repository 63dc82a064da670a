-- Programs that want to be told when a person's session ends (OpenID Connect Back-Channel Logout 1.0), and what is to be told.
alter table oauth_client add column back_channel_logout text;
create index oauth_grant_session on oauth_grant (workspace, session_id) where session_id is not null;
create table oauth_sign_out (
    workspace integer not null,
    id uuid not null default gen_random_uuid(),
    client uuid not null,
    subject text not null,
    session_id uuid not null,
    ended_at timestamptz not null,
    tries integer not null default 0,
    next_at timestamptz not null,
    primary key (workspace, id)
);
create index oauth_sign_out_next_at on oauth_sign_out (next_at);
alter table oauth_sign_out enable row level security;
create policy workspace on oauth_sign_out using (workspace = (select current_workspace()));
grant select, insert, update, delete on oauth_sign_out to isthmus_app;

-- However a session ends, whoever got tokens in it is told.
create function note_sign_out() returns trigger language plpgsql as $$
begin
    insert into oauth_sign_out (workspace, client, subject, session_id, ended_at, next_at)
    select distinct g.workspace, g.client, g.subject, new.id, new.ended_at, new.ended_at
    from oauth_grant g join oauth_client c on c.workspace = g.workspace and c.id = g.client
    where g.workspace = new.workspace and g.session_id = new.id and g.kind in ('code', 'device')
      and 'openid' = any (g.scopes) and c.back_channel_logout is not null and c.removed_at is null;
    return null;
end
$$;
create trigger session_ended after update of ended_at on session
    for each row when (old.ended_at is null and new.ended_at is not null) execute function note_sign_out();

-- Looks through the wall for the workspaces in which somebody is to be told something.
create function due_sign_outs(at timestamptz) returns table (workspace integer)
    language sql stable security definer
begin atomic
    select distinct o.workspace from oauth_sign_out o where o.next_at <= at;
end;
revoke execute on function due_sign_outs(timestamptz) from public;
grant execute on function due_sign_outs(timestamptz) to isthmus_app;
