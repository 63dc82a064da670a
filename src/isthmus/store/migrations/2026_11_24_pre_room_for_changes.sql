-- Room on every page for new versions of some of its rows: a change that moves no indexed value then stays on its page
-- and leaves all indexes alone. Holds for pages that are filled from now on.
do $$
declare
    name text;
begin
    for name in
        select c.relname from pg_class c
        where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
          and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'merged_into')
    loop
        execute format('alter table %I set (fillfactor = 85)', name);
    end loop;
end
$$;
alter table ref set (fillfactor = 85);

-- Each row is hashed once, not twice for either side.
create or replace function ref_moved() returns trigger language plpgsql as $$ begin
    insert into ref_delta (workspace, type, system, sign, buckets, hashes)
    select workspace, type, system, sign, array_agg(ref_bucket(external_id)), array_agg(ref_hash(external_id, digest))
    from (
        select sum(sign) as sign, workspace, type, system, external_id, digest from (
            select -1 as sign, workspace, type, system, external_id, digest from old_rows
            where digest is not null and not deleted
            union all
            select 1, workspace, type, system, external_id, digest from new_rows
            where digest is not null and not deleted
        ) as either group by workspace, type, system, external_id, digest having sum(sign) <> 0
    ) as changed group by sign, workspace, type, system;
    return null;
end $$;
