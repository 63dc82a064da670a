-- What decides over calls changes under a number: each change of a key, a session, a role or a policy raises the number
-- of its workspace in the same transaction, and workers that see it raised ask again for what they remember.

create table gate_epoch (
    workspace integer primary key,
    epoch bigint not null
);
alter table gate_epoch enable row level security;
create policy workspace on gate_epoch using (workspace = current_workspace());
grant select, insert, update on gate_epoch to isthmus_app;

create function raise_gate_epoch() returns trigger
    language plpgsql
as $$
declare
    changed integer := case tg_op when 'DELETE' then old.workspace else new.workspace end;
begin
    insert into gate_epoch (workspace, epoch) values (changed, 1)
    on conflict (workspace) do update set epoch = gate_epoch.epoch + 1;
    return null;
end
$$;

-- Workers follow all workspaces at once; a number says nothing of what is in them.
create function gate_epochs() returns table (workspace integer, epoch bigint)
    language sql stable security definer
begin atomic
    select g.workspace, g.epoch from gate_epoch g;
end;
revoke execute on function gate_epochs() from public;
grant execute on function gate_epochs() to isthmus_app;

-- Moments of use are written often and change no decision, so only the columns that do are watched.
create trigger gate_epoch after update of roles, permissions, expires_at, revoked_at or delete on api_key
    for each row execute function raise_gate_epoch();
create trigger gate_epoch after update of roles, ended_at or delete on session
    for each row execute function raise_gate_epoch();
