-- Digests of what each system said last, kept in the transactions that write it: for each bucket of external ids how
-- many are there, the exact sum of their hashes, and the hashes mixed by exclusive or. Statements append their share
-- to ref_delta, where no writer waits for another; a job gathers it into ref_digest.
create table ref_digest (
    workspace integer not null,
    type text not null,
    system text not null,
    bucket integer not null,
    count bigint not null,
    total numeric not null,
    mixed bigint not null,
    primary key (workspace, type, system, bucket)
);
alter table ref_digest enable row level security;
create policy workspace on ref_digest using (workspace = (select current_workspace()));
grant select, insert, update, delete on ref_digest to isthmus_app;

create table ref_delta (
    workspace integer not null,
    type text not null,
    system text not null,
    sign smallint not null,
    buckets integer[] not null,
    hashes bigint[] not null
);
alter table ref_delta enable row level security;
alter table ref_delta force row level security;
create policy workspace on ref_delta using (workspace = (select current_workspace()));
grant select, insert, delete on ref_delta to isthmus_app;

-- 8,192 buckets: the top 13 of the 63 bits of an external id's place.
create function ref_bucket(external_id text) returns integer language sql immutable parallel safe return
    ((('x' || left(md5(external_id), 16))::bit(64)::bigint & 9223372036854775807) >> 50)::integer;
create function ref_hash(external_id text, digest bytea) returns bigint language sql immutable parallel safe return
    ('x' || left(md5(external_id || ' ' || encode(digest, 'hex')), 16))::bit(64)::bigint;

create function ref_added() returns trigger language plpgsql as $$ begin
    insert into ref_delta (workspace, type, system, sign, buckets, hashes)
    select workspace, type, system, 1, array_agg(ref_bucket(external_id)), array_agg(ref_hash(external_id, digest))
    from new_rows where digest is not null and not deleted group by workspace, type, system;
    return null;
end $$;
create function ref_removed() returns trigger language plpgsql as $$ begin
    insert into ref_delta (workspace, type, system, sign, buckets, hashes)
    select workspace, type, system, -1, array_agg(ref_bucket(external_id)), array_agg(ref_hash(external_id, digest))
    from old_rows where digest is not null and not deleted group by workspace, type, system;
    return null;
end $$;
-- Most updates only move the time at which a word was heard last; these leave no row.
create function ref_moved() returns trigger language plpgsql as $$ begin
    insert into ref_delta (workspace, type, system, sign, buckets, hashes)
    select workspace, type, system, sign, array_agg(ref_bucket(external_id)), array_agg(ref_hash(external_id, digest))
    from (
        (select -1 as sign, workspace, type, system, external_id, digest from old_rows
         where digest is not null and not deleted
         except select -1, workspace, type, system, external_id, digest from new_rows
         where digest is not null and not deleted)
        union all
        (select 1, workspace, type, system, external_id, digest from new_rows
         where digest is not null and not deleted
         except select 1, workspace, type, system, external_id, digest from old_rows
         where digest is not null and not deleted)
    ) as changed group by sign, workspace, type, system;
    return null;
end $$;
create function ref_emptied() returns trigger language plpgsql as $$ begin
    truncate ref_delta, ref_digest;
    return null;
end $$;
create trigger digest_added after insert on ref referencing new table as new_rows
    for each statement execute function ref_added();
create trigger digest_removed after delete on ref referencing old table as old_rows
    for each statement execute function ref_removed();
create trigger digest_moved after update on ref referencing old table as old_rows new table as new_rows
    for each statement execute function ref_moved();
create trigger digest_emptied after truncate on ref for each statement execute function ref_emptied();

insert into ref_digest (workspace, type, system, bucket, count, total, mixed)
select workspace, type, system, ref_bucket(external_id), count(*), sum(ref_hash(external_id, digest)),
       bit_xor(ref_hash(external_id, digest))
from ref where digest is not null and not deleted group by 1, 2, 3, 4;
alter table ref_digest force row level security;
