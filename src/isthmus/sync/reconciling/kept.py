"""Digests that a table of PostgreSQL keeps of itself, in the transactions of those who write to it.

Triggers append one row for each statement with the hashes that it added and took away; no row is shared by writers, so
nobody waits. `fold` gathers these rows into one digest for each bucket. At every moment the digests are those of the
gathered and the appended rows together, so it does not matter when somebody folds, nor who dies in between.
"""

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from isthmus.sync.reconciling.digest import Buckets, Digest, coarser
from isthmus.sync.reconciling.postgres import PostgresSide, hashed, place
from isthmus.sync.reconciling.shape import Shape

_INSTALL = """
create table {digest} (bucket bigint primary key, count bigint not null, total numeric not null, mixed bigint not null);
create table {delta} (sign smallint not null, buckets bigint[] not null, hashes bigint[] not null);
create function {added}() returns trigger language plpgsql security definer set search_path from current
set timezone = 'UTC' as $$ begin
    insert into {delta} select 1, array_agg(bucket), array_agg(hash) from
        (select {place} >> {bits} as bucket, {hash} as hash from new_rows as row offset 0) as every having count(*) > 0;
    return null;
end $$;
create function {removed}() returns trigger language plpgsql security definer set search_path from current
set timezone = 'UTC' as $$ begin
    insert into {delta} select -1, array_agg(bucket), array_agg(hash) from
        (select {place} >> {bits} as bucket, {hash} as hash from old_rows as row offset 0) as every having count(*) > 0;
    return null;
end $$;
create function {moved}() returns trigger language plpgsql security definer set search_path from current
set timezone = 'UTC' as $$ begin
    insert into {delta} select -1, array_agg(bucket), array_agg(hash) from
        (select {place} >> {bits} as bucket, {hash} as hash from old_rows as row offset 0) as every having count(*) > 0
    union all select 1, array_agg(bucket), array_agg(hash) from
        (select {place} >> {bits} as bucket, {hash} as hash from new_rows as row offset 0) as every having count(*) > 0;
    return null;
end $$;
create function {emptied}() returns trigger language plpgsql security definer set search_path from current as $$ begin
    delete from {digest};
    delete from {delta};
    return null;
end $$;
create trigger digest_added after insert on {table} referencing new table as new_rows
    for each statement execute function {added}();
create trigger digest_removed after delete on {table} referencing old table as old_rows
    for each statement execute function {removed}();
create trigger digest_moved after update on {table} referencing old table as old_rows new table as new_rows
    for each statement execute function {moved}();
create trigger digest_emptied after truncate on {table} for each statement execute function {emptied}();
"""
_ALONE = sql.SQL("lock table {digest} in share row exclusive mode")
_DELTAS = sql.SQL(
    "select bucket, sum(sign)::bigint as count, sum(sign * hash::numeric) as total, bit_xor(hash) as mixed"
    " from {deltas}, unnest(buckets, hashes) as each(bucket, hash) group by bucket"
)
_FOLD = sql.SQL(
    "with taken as (delete from {delta} returning *), gathered as ({deltas})"
    " insert into {digest} as d (bucket, count, total, mixed) select * from gathered"
    " on conflict (bucket) do update set count = d.count + excluded.count, total = d.total + excluded.total,"
    " mixed = d.mixed # excluded.mixed"
)
_REBUILD = sql.SQL(
    "insert into {digest} select bucket, count(*), sum(hash), bit_xor(hash) from"
    " (select {place} >> {bits} as bucket, {hash} as hash from {table} as row offset 0) as hashed group by bucket"
)
_READ = sql.SQL(
    "select bucket, sum(count)::bigint, sum(total), bit_xor(mixed)"
    " from (select * from {digest} union all {deltas}) as every group by bucket"
)


class KeptSide(PostgresSide):
    """A table that keeps its digests, in buckets of 2^bits places; what it tells of rows is read from the table."""

    def __init__(
        self, name: str, shape: Shape, connection: AsyncConnection[TupleRow], table: str, *, bits: int
    ) -> None:
        """Compare a table in which `install` has put the triggers."""
        super().__init__(name, shape, connection, sql.Identifier(table))
        self.kept_bits = bits
        self._table = table
        self._bits = bits

    async def digests(self, family: str, *, bits: int, within: Buckets | None = None) -> dict[int, Digest]:
        if within is not None or bits < self._bits or family != (await self.families())[0]:
            return await super().digests(family, bits=bits, within=within)
        named = _names(self._table)
        statement = _READ.format(digest=named["digest"], deltas=_DELTAS.format(deltas=named["delta"]))
        cursor = await self._connection.execute(statement)
        own = {number: Digest(count, int(total), mixed) for number, count, total, mixed in await cursor.fetchall()}
        return coarser({number: each for number, each in own.items() if each != Digest()}, by=bits - self._bits)


async def install(connection: AsyncConnection[TupleRow], shape: Shape, table: str, *, family: str, bits: int) -> None:
    """Make a table keep its digests, in the caller's transaction; writers wait until that ends. It begins empty.

    Call `rebuild` when it has ended. What keeps them stands in the first schema of the search path. `family` is the
    first that a PostgresSide tells.
    """
    parts = {"table": sql.Identifier(table), **_expressions(shape, family, bits), **_names(table)}
    statement = sql.SQL(_INSTALL).format(**parts)
    await connection.execute(statement.as_string(connection).encode())


async def fold(connection: AsyncConnection[TupleRow], table: str) -> None:
    """Gather what was appended, in the caller's transaction; two of them wait for each other, writers for neither."""
    named = _names(table)
    await connection.execute(_ALONE.format(digest=named["digest"]))
    await connection.execute(
        _FOLD.format(delta=named["delta"], digest=named["digest"], deltas=_DELTAS.format(deltas=sql.SQL("taken")))
    )


async def rebuild(connection: AsyncConnection[TupleRow], shape: Shape, table: str, *, family: str, bits: int) -> None:
    """Compute the digests anew from the rows, in a transaction of its own that no writer waits for."""
    named = _names(table)
    parts = {"table": sql.Identifier(table), **_expressions(shape, family, bits)}
    async with connection.transaction():
        # One snapshot, taken after the lock: what is appended later is not deleted and counts on top.
        await connection.execute("set transaction isolation level repeatable read")
        await connection.execute(_ALONE.format(digest=named["digest"]))
        await connection.execute(sql.SQL("delete from {}").format(named["digest"]))
        await connection.execute(sql.SQL("delete from {}").format(named["delta"]))
        await connection.execute(_REBUILD.format(digest=named["digest"], **parts))


def _names(table: str) -> dict[str, sql.Composable]:
    parts = ("digest", "delta", "added", "removed", "moved", "emptied")
    return {part: sql.Identifier(f"{table}_{part}") for part in parts}


def _expressions(shape: Shape, family: str, bits: int) -> dict[str, sql.Composable]:
    return {"place": place(shape, family), "hash": hashed(shape, family), "bits": sql.Literal(bits)}
