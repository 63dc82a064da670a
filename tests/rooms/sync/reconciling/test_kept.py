"""Digests that are kept while rows are written equal those computed from the rows, whoever writes what at once."""

import asyncio
from collections.abc import Iterator
from random import Random

import psycopg
import pytest
from psycopg import sql

from isthmus.app.engines import Engines
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.store.observation import Observation
from isthmus.sync.ingest import Interval, Store, put
from isthmus.sync.reconciling import kept
from isthmus.sync.reconciling.comparing import compare, differing_keys
from isthmus.sync.reconciling.held import HeldSide, SpokenSide, fold, rebuild
from isthmus.sync.reconciling.kept import KeptSide
from isthmus.sync.reconciling.postgres import PostgresSide
from isthmus.sync.reconciling.shape import Field, Kind, Shape
from tests.conftest import NOW
from tests.rooms.sync.reconciling.test_comparing import connected

SHAPE = Shape(key=Field(name="id", kind=Kind.INTEGER), fields=(Field(name="name"), Field(name="at", kind=Kind.MOMENT)))
BITS = 4
TYPE, SYSTEM = "sales.lead", "crm"
_WORDS = """
select external_id, digest from ref
where workspace = current_workspace() and type = %s and system = %s and not deleted and digest is not null
"""


async def write(engines: Engines, table: str, chance: Random) -> None:
    """Write, take back and die, as writers do."""
    statements = (
        "insert into {} select n, 'a' || n, now() from generate_series({}, {}) n",
        "update {} set name = name || 'x' where id between {} and {}",
        "update {} set id = id + 1000 where id between {} and {}",
        "delete from {} where id between {} and {}",
    )
    async with connected(engines) as connection:
        await connection.execute("set timezone = 'Asia/Tokyo'")
        for _ in range(30):
            first = chance.randrange(500)
            text = chance.choice(statements).format(table, first, first + chance.randrange(60))
            await connection.execute(text.encode())
            if chance.random() < 0.3:
                await connection.rollback()
            else:
                await connection.commit()
            await asyncio.sleep(0)


async def gather(engines: Engines, table: str, family: str) -> None:
    """Fold and rebuild amid the writers."""
    for _ in range(6):
        async with connected(engines) as connection:
            await kept.fold(connection, table)
        async with connected(engines) as connection:
            await kept.rebuild(connection, SHAPE, table, family=family, bits=BITS)


@pytest.fixture
def table(engines: Engines) -> Iterator[str]:
    """The name of a table that is not there, and of which nothing stays."""
    name = "kept_at_once"
    yield name
    owner = engines.postgres.owner
    with psycopg.connect(owner.conninfo, password=owner.password) as connection:
        for each in (name, f"{name}_digest", f"{name}_delta"):
            connection.execute(f"drop table if exists {each} cascade".encode())
        for each in ("added", "removed", "moved", "emptied"):
            connection.execute(f"drop function if exists {name}_{each}".encode())


async def test_a_table_keeps_its_digests_under_writers_at_once(engines: Engines, table: str) -> None:
    async with connected(engines) as connection:
        await connection.execute(f"create table {table} (id bigint, name text, at timestamptz)".encode())
        await connection.execute(f"create index on {table} (id)".encode())
        await connection.execute(sql.SQL("insert into {} values (7, 'before', now())").format(sql.Identifier(table)))
        plain = PostgresSide("plain", SHAPE, connection, sql.Identifier(table))
        family = (await plain.families())[0]
        await kept.install(connection, SHAPE, table, family=family, bits=BITS)
        await connection.commit()
        await kept.rebuild(connection, SHAPE, table, family=family, bits=BITS)
        await connection.commit()
        writers = [write(engines, table, Random(seed)) for seed in range(4)]
        await asyncio.gather(*writers, gather(engines, table, family))
        side = KeptSide("kept", SHAPE, connection, table, bits=BITS)
        before = await side.digests(family, bits=BITS)
        assert before == await plain.digests(family, bits=BITS)
        await kept.fold(connection, table)
        assert await side.digests(family, bits=BITS) == before
        assert await side.digests(family, bits=BITS + 3) == await plain.digests(family, bits=BITS + 3)
        assert sum(each.count for each in before.values()) > 100
        async with connected(engines) as another:
            assert (
                await compare(side, PostgresSide("plain", SHAPE, another, sql.Identifier(table)), shape=SHAPE)
            ).agree
        await connection.execute(f"truncate {table}".encode())
        assert await side.digests(family, bits=BITS) == {}


def observation(number: int, fields: dict[str, Json], *, deleted: bool = False) -> Observation:
    return Observation(type=TYPE, system=SYSTEM, external_id=f"L{number}", fields=fields, deleted=deleted)


async def words(tx: Transaction) -> dict[str, bytes]:
    cursor = await tx.connection.execute(_WORDS, (TYPE, SYSTEM))
    return {key: bytes(digest) for key, digest in await cursor.fetchall()}


async def agrees(tx: Transaction) -> bool:
    found = await differing_keys(HeldSide(tx, type_name=TYPE, system=SYSTEM), SpokenSide("words", await words(tx)))
    return not found.keys and not found.unvisited and found.rows_one == found.rows_other


async def speak(store: Store, scope: Scope, chance: Random) -> None:
    for _ in range(5):
        numbers = sorted(chance.sample(range(60), 20))
        said = [observation(n, {"company": f"C{chance.randrange(4)}"}, deleted=chance.random() < 0.1) for n in numbers]
        await put(store, scope, said, interval=Interval(since=None, until=NOW))


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_is_held_of_a_system_keeps_its_digests_under_puts_at_once(
    store: Store, scope: Scope, seed: int
) -> None:
    async def gather_now() -> None:
        for turn in range(6):
            async with store.database.transaction(scope) as tx:
                await (rebuild if turn % 2 else fold)(tx)

    first = [observation(n, {"company": "A"}) for n in range(60)]
    await put(store, scope, first, interval=Interval(since=None, until=NOW))
    await asyncio.gather(*(speak(store, scope, Random(seed + n)) for n in range(3)), gather_now())
    async with store.database.transaction(scope) as tx:
        assert await agrees(tx)
        await fold(tx)
        assert await agrees(tx)
        assert len(await words(tx)) > 20


async def test_what_the_system_says_otherwise_is_told_by_its_external_id(store: Store, scope: Scope) -> None:
    said = [observation(n, {"company": "A"}) for n in range(50)]
    await put(store, scope, said, interval=Interval(since=None, until=NOW))
    async with store.database.transaction(scope) as tx:
        told = await words(tx)
        told["L3"] = b"other" + told["L3"][5:]
        told["new"] = told.pop("L4")
        held = HeldSide(tx, type_name=TYPE, system=SYSTEM)
        found = await differing_keys(SpokenSide("crm", told), held)
        assert found.keys == ("L3", "L4", "new")
        assert sorted(row.key for row in await held.rows(["L3", "L4", "new"])) == ["L3", "L4"]
