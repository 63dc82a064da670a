-- Limits: what a workspace set, buckets for where there is no Valkey, and the ledger of what was used.

-- The tier of a workspace, where it is not that of its kind.
create table limit_tier (
    workspace integer primary key,
    tier text not null check (tier in ('free', 'professional', 'enterprise')),
    set_at timestamptz not null,
    set_by text not null
);

-- Limits beyond those of the tier, or in their place when they have their names. `subject` empty means each one.
create table limit_rule (
    workspace integer not null,
    name text not null,
    scope text not null check (scope in ('caller', 'workspace', 'integration', 'route')),
    subject text not null,
    count bigint check (count > 0),
    seconds integer check (seconds > 0),
    burst bigint check (burst > 0),
    concurrency integer check (concurrency > 0),
    quota_day bigint check (quota_day > 0),
    quota_month bigint check (quota_month > 0),
    dry_run boolean not null,
    away text not null check (away in ('fail_open_local', 'fail_closed')),
    away_s integer not null check (away_s >= 0),
    set_at timestamptz not null,
    set_by text not null,
    primary key (workspace, name),
    check ((count is null) = (seconds is null))
);

-- What each worker counted, as its own running total: written again after a crash it stays the same number. Of a quota
-- `granted` was taken in advance and `used` of it is spent; where there is no quota `granted` stays 0.
create table limit_ledger (
    workspace integer not null,
    subject text not null,
    period text not null,
    holder uuid not null,
    used bigint not null,
    granted bigint not null,
    settled boolean not null default false,
    at timestamptz not null,
    primary key (workspace, subject, period, holder)
);

do $$
declare
    name text;
begin
    foreach name in array array['limit_tier', 'limit_rule', 'limit_ledger'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy workspace on %I using (workspace = current_workspace())', name);
    end loop;
end
$$;
grant select, insert, update, delete on limit_tier, limit_rule, limit_ledger to isthmus_app;

-- One writer at a time leases of a quota, so that what all workers hold together never goes over the cap. Near the cap
-- leases become small, so that little of what is left lies unused at one worker while another needs it.
create function lease_quota(wanted_subject text, wanted_period text, own uuid, now_used bigint, want bigint,
                            at_least bigint, cap bigint, moment timestamptz)
    returns bigint
    language plpgsql
as $$
declare
    taken numeric;
    given bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended(format('%s|%s|%s', current_workspace(), wanted_subject,
                                                          wanted_period), 0));
    select coalesce(sum(case when settled then used else greatest(used, granted) end), 0) into taken from limit_ledger
    where workspace = current_workspace() and subject = wanted_subject and period = wanted_period;
    given := greatest(0, least(want, greatest(at_least, ((cap - taken) / 8)::bigint), cap - taken));
    insert into limit_ledger as l (workspace, subject, period, holder, used, granted, at)
    values (current_workspace(), wanted_subject, wanted_period, own, now_used, given, moment)
    on conflict (workspace, subject, period, holder)
    do update set used = greatest(l.used, now_used), granted = l.granted + given, at = moment
    returning granted into given;
    return given;
end
$$;

-- Buckets in their row: the moment of fullness in microseconds, the epoch, and what lies in leases of the epoch before
-- and of this one. A crash empties the table, and the nodes bring back what they know. Keys of all workspaces are drawn
-- in one statement; only numbers come back, so the functions look through the wall and nobody else does.
create unlogged table limit_bucket (
    workspace integer not null default 0,
    key text not null,
    full_us double precision not null,
    epoch bigint not null,
    before bigint not null,
    this bigint not null,
    primary key (workspace, key)
) with (fillfactor = 50);
alter table limit_bucket enable row level security;
create policy workspace on limit_bucket using (workspace = current_workspace());

create unlogged table limit_node (
    workspace integer not null default 0,
    node text not null,
    seen_at timestamptz not null,
    primary key (workspace, node)
);
alter table limit_node enable row level security;
create policy workspace on limit_node using (workspace = current_workspace());

create function draw_limits(keys text[], emissions double precision[], rooms bigint[], lives bigint[], needs bigint[],
                            units bigint[], aheads bigint[], backs bigint[], back_epochs bigint[],
                            seens double precision[], losts boolean[], old_epochs bigint[], old_gones bigint[],
                            new_epochs bigint[], new_gones bigint[], debts bigint[])
    returns table (place bigint, given bigint, given_ahead bigint, wait_us double precision, full_us double precision,
                   epoch bigint, free double precision)
    language plpgsql security definer set search_path from current
as $$
#variable_conflict use_variable
declare
    each record;
    now_us bigint;
    last bigint;
    earlier bigint;
    this bigint;
    back bigint;
    room bigint;
begin
    -- In the order of the keys, so that two statements never wait for each other in a circle.
    for each in
        select t.* from unnest(keys, emissions, rooms, lives, needs, units, aheads, backs, back_epochs, seens, losts,
                                old_epochs, old_gones, new_epochs, new_gones, debts)
            with ordinality as t(key, emission, room, life, need, unit, ahead, back, back_epoch, seen, lost, old_epoch,
                                 old_gone, new_epoch, new_gone, debt, place)
        order by t.key, t.place
    loop
        insert into limit_bucket as b (key, full_us, epoch, before, this) values (each.key, 0, 0, 0, 0)
        on conflict on constraint limit_bucket_pkey do update set key = excluded.key
        returning b.full_us, b.epoch, b.before, b.this into full_us, last, earlier, this;
        place := each.place;
        room := each.room;
        now_us := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
        epoch := now_us / each.life;
        if each.lost or full_us = 0 then
            full_us := greatest(full_us, each.seen);
        end if;
        full_us := least(full_us, now_us + room * each.emission);
        if epoch < last then
            earlier := earlier + this;
            this := 0;
        elsif epoch > last then
            full_us := greatest(full_us, (last + 1) * each.life + (earlier + this) * each.emission);
            if epoch > last + 1 then
                full_us := greatest(full_us, (last + 2) * each.life + this * each.emission);
                this := 0;
            end if;
            earlier := this;
            this := 0;
        end if;
        this := greatest(0, this - case epoch when each.old_epoch then each.old_gone else 0 end
                                 - case epoch when each.new_epoch then each.new_gone else 0 end);
        earlier := greatest(0, earlier - case epoch - 1 when each.old_epoch then each.old_gone else 0 end
                                       - case epoch - 1 when each.new_epoch then each.new_gone else 0 end);
        back := case when each.back_epoch >= epoch - 1 then each.back else 0 end;
        full_us := least(full_us + (each.debt - back) * each.emission, now_us + room * each.emission);
        full_us := greatest(full_us, now_us + (earlier + this) * each.emission);
        free := floor(room - (full_us - now_us) / each.emission + 1e-9);
        given := least(each.need, floor(greatest(0, free) / each.unit)::bigint * each.unit);
        given_ahead := 0;
        if given = each.need then
            given_ahead := greatest(0, least(each.ahead, free::bigint - each.need,
                                             floor(room * 0.75)::bigint - earlier - this));
        end if;
        this := this + given_ahead;
        full_us := full_us + (given + given_ahead) * each.emission;
        wait_us := 0;
        if given < each.need or given + given_ahead = 0 then
            wait_us := greatest(0, full_us + each.unit * each.emission - room * each.emission - now_us);
        end if;
        free := greatest(0, room - (full_us - now_us) / each.emission);
        -- On the right hand of each equation stands the variable.
        update limit_bucket b set full_us = full_us, epoch = epoch, before = earlier, this = this
        where b.workspace = 0 and b.key = each.key;
        return next;
    end loop;
end
$$;
-- Buckets that are full again say nothing; a node that was not seen for a while lives no more.
create function count_limit_nodes(wanted text, lives_s integer) returns bigint
    language plpgsql security definer set search_path from current
as $$
declare
    living bigint;
begin
    insert into limit_node as n (node, seen_at) values (wanted, clock_timestamp())
    on conflict on constraint limit_node_pkey do update set seen_at = excluded.seen_at;
    delete from limit_node n where n.workspace = 0 and n.seen_at < clock_timestamp() - make_interval(secs => 60);
    select count(*) into living from limit_node n
    where n.workspace = 0 and n.seen_at >= clock_timestamp() - make_interval(secs => lives_s);
    return living;
end
$$;
create function sweep_limits() returns bigint
    language sql security definer set search_path from current
begin atomic
    with gone as (
        delete from limit_bucket b
        where b.full_us < extract(epoch from clock_timestamp()) * 1000000 - 60000000
        returning 1
    )
    select count(*) from gone;
end;
revoke execute on function draw_limits(text[], double precision[], bigint[], bigint[], bigint[], bigint[], bigint[],
                                       bigint[], bigint[], double precision[], boolean[], bigint[], bigint[], bigint[],
                                      bigint[], bigint[]),
    count_limit_nodes(text, integer), sweep_limits() from public;
grant execute on function draw_limits(text[], double precision[], bigint[], bigint[], bigint[], bigint[], bigint[],
                                      bigint[], bigint[], double precision[], boolean[], bigint[], bigint[], bigint[],
                                      bigint[], bigint[]),
    count_limit_nodes(text, integer), sweep_limits() to isthmus_app;
