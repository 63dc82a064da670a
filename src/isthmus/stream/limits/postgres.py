"""Buckets in PostgreSQL, where there is no Valkey: the asks of a moment in one statement, the time of the server."""

import asyncio
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database
from isthmus.stream.limits.bucket import Ask, Grant, LimitsAway, grants

NODE_LIVES_S = 3
_DRAW: LiteralString = """
select given, given_ahead, wait_us, full_us, epoch, free from draw_limits(
    %s::text[], %s::float8[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::float8[], %s::bool[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) order by place
"""
_SWEEP: LiteralString = "select sweep_limits()"
_SWEEP_BEATS = 60
_NODES: LiteralString = "select count_limit_nodes(%s, %s)"


@dataclass(frozen=True)
class _Asked:
    ask: Ask
    answer: "asyncio.Future[Grant]"


class PostgresAuthority:
    """Buckets in a table without log: a crash of the server empties it, and the nodes bring back what they know."""

    def __init__(self, database: Database) -> None:
        """`database` is that of the program."""
        self._database = database
        self._asked: list[_Asked] = []
        self._asking: asyncio.Task[None] | None = None
        self.statements = 0
        self.generation = 0
        self._beats = 0

    async def draw(self, ask: Ask) -> Grant:
        """Take from a bucket; raises LimitsAway."""
        mine = _Asked(ask, asyncio.get_running_loop().create_future())
        self._asked.append(mine)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await mine.answer

    async def nodes(self, node: str) -> int:
        """Say that a node lives, and return how many do; raises LimitsAway."""
        self._beats += 1
        try:
            async with self._database.plain() as connection:
                row = await (await connection.execute(_NODES, (node, NODE_LIVES_S))).fetchone()
                if self._beats % _SWEEP_BEATS == 0:
                    await connection.execute(_SWEEP)
        except (Unavailable, psycopg.Error) as error:
            raise _away() from error
        return int(row[0]) if row else 1

    async def _ask_all(self) -> None:
        """Send what was asked meanwhile, one statement after the other."""
        while self._asked:
            batch, self._asked = self._asked, []
            try:
                answers = await self._statement([each.ask for each in batch])
            except (Unavailable, psycopg.Error):
                self.generation += 1
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(_away())
                continue
            for each, answer in zip(batch, answers, strict=True):
                if not each.answer.done():
                    each.answer.set_result(answer)
        self._asking = None

    async def _statement(self, asks: list[Ask]) -> list[Grant]:
        self.statements += 1
        columns = (
            [each.key for each in asks],
            [each.rate.emission_us for each in asks],
            [each.rate.room for each in asks],
            [each.rate.life_us for each in asks],
            [each.need for each in asks],
            [each.unit for each in asks],
            [each.ahead for each in asks],
            [each.back for each in asks],
            [each.back_epoch for each in asks],
            [each.seen_us for each in asks],
            [each.lost for each in asks],
            [each.old_epoch for each in asks],
            [each.old_gone for each in asks],
            [each.new_epoch for each in asks],
            [each.new_gone for each in asks],
            [each.debt for each in asks],
        )
        async with self._database.plain() as connection:
            rows = await (await connection.execute(_DRAW, columns, prepare=True)).fetchall()
        return [grants([float(cell) for cell in row]) for row in rows]


def _away() -> LimitsAway:
    return LimitsAway("The store of the limits does not answer.", fix="Run: isthmus doctor")
