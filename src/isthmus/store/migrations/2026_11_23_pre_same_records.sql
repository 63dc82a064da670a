-- Records that were found to be one are each other's names: what points to one of them points to all.
create index merge_loser on merge (workspace, loser) where undone_at is null;

-- The ids of what a record is one with, its own among them.
create function same_as(kind text, one uuid) returns setof uuid language sql stable as $$
    with recursive up (id, hops) as (
        select one, 0
        union all
        select m.winner, up.hops + 1 from up
        join merge m on m.workspace = (select current_workspace()) and m.loser = up.id and m.type = kind
                    and m.undone_at is null
        where up.hops < 100
    ), own (id) as (
        select id from (select id from up order by hops desc limit 1) top
        union
        select m.loser from own
        join merge m on m.workspace = (select current_workspace()) and m.winner = own.id and m.type = kind
                    and m.undone_at is null
    )
    select id from own
$$;
