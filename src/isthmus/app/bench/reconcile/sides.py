"""One comparison of the two tables, by us and by reladiff, timed."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from isthmus.app.bench.reconcile.planting import ONE, OTHER, SHAPE, WATERMARK, Planted
from isthmus.app.engines.access import PostgresLogin
from isthmus.sync.reconciling.comparing import Found, compare, compare_sums
from isthmus.sync.reconciling.kept import KeptSide
from isthmus.sync.reconciling.postgres import PostgresSide

PEERS = ("reladiff", "psycopg2-binary")
THREADS = 2
"""Connections of reladiff to each side: with more it was no faster on two cores."""


class _Algorithms(Protocol):
    """The ways in which reladiff compares."""

    HASHDIFF: object


class _Reladiff(Protocol):
    """What we use of reladiff, which has no types of its own."""

    Algorithm: _Algorithms

    def connect_to_table(
        self, db_info: Mapping[str, object], table_name: str, key_columns: str, thread_count: int
    ) -> object: ...

    def diff_tables(
        self,
        table1: object,
        table2: object,
        *,
        extra_columns: tuple[str, ...],
        algorithm: object,
        max_threadpool_size: int,
        skip_sort_results: bool,
    ) -> Iterable[tuple[str, tuple[str, ...]]]: ...


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a comparison took, in seconds, and how many planted differences it missed or invented."""

    took_s: float
    missed: int
    invented: int


async def opened(login: PostgresLogin) -> AsyncConnection[TupleRow]:
    """Open a connection as the owner of the tables."""
    return await AsyncConnection.connect(login.conninfo, password=login.password)


async def ours(login: PostgresLogin, made: Planted, *, bits: int | None) -> Judged:
    """Compare with digests computed from the rows, or with those that the tables keep in buckets of 2^bits keys."""
    async with await opened(login) as first, await opened(login) as second:
        for connection in (first, second):
            await connection.execute("set transaction isolation level repeatable read")
        if bits is None:
            one = PostgresSide("one", SHAPE, first, sql.Identifier(ONE))
            other = PostgresSide("other", SHAPE, second, sql.Identifier(OTHER))
        else:
            one = KeptSide("one", SHAPE, first, ONE, bits=bits)
            other = KeptSide("other", SHAPE, second, OTHER, bits=bits)
        began = time.perf_counter()
        found = await compare(one, other, shape=SHAPE, watermark=WATERMARK)
        took = time.perf_counter() - began
    return _judged(found, made, took)


async def sums(login: PostgresLogin, made: Planted) -> Judged:
    """Compare the money of both tables by currency and month."""
    async with await opened(login) as first, await opened(login) as second:
        one = PostgresSide("one", SHAPE, first, sql.Identifier(ONE))
        other = PostgresSide("other", SHAPE, second, sql.Identifier(OTHER))
        began = time.perf_counter()
        found = await compare_sums(one, other)
        took = time.perf_counter() - began
    told = {(each.key, each.at_stake[0]) for each in found if each.at_stake}
    planted = {(" ".join(place), abs(amount)) for place, amount in made.money.items() if amount}
    return Judged(took_s=took, missed=len(planted - told), invented=len(told - planted))


def reladiff(login: PostgresLogin, made: Planted) -> Judged:
    """Compare by reladiff, which tells rows and no kinds: the keys of the planted differences are looked for.

    By hashes, as between two servers; its other way, a join within one server, refuses keys that stand there twice.
    Unsorted, because it cannot sort rows in which one side has no value.
    """
    peer = cast("_Reladiff", import_module("reladiff"))
    place = conninfo_to_dict(login.conninfo)
    own = {"host": place.get("host"), "port": place.get("port"), "user": place.get("user")}
    access = {**own, "driver": "postgresql", "database": place.get("dbname"), "password": login.password}
    known = {name: value for name, value in access.items() if value is not None}
    names = tuple(each.name for each in SHAPE.fields)
    # It warns of texts that other servers may encode otherwise, for each column and each round.
    logging.getLogger("hashdiff_tables").setLevel(logging.ERROR)
    began = time.perf_counter()
    one = peer.connect_to_table(known, ONE, "id", THREADS)
    other = peer.connect_to_table(known, OTHER, "id", THREADS)
    found = list(
        peer.diff_tables(
            one,
            other,
            extra_columns=names,
            algorithm=peer.Algorithm.HASHDIFF,
            max_threadpool_size=2 * THREADS,
            skip_sort_results=True,
        )
    )
    took = time.perf_counter() - began
    told, planted = {row[0] for _, row in found}, {key for _, key, _ in made.differences}
    return Judged(took_s=took, missed=len(planted - told), invented=len(told - planted))


def _judged(found: Found, made: Planted, took: float) -> Judged:
    told = Counter((each.kind, each.key, each.field) for each in found.differences)
    missed, invented = made.differences - told, told - made.differences
    return Judged(took_s=took, missed=missed.total(), invented=invented.total() + found.unvisited)
