"""What writes, carries and reads events in the bench, each in a process of its own."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, LiteralString, Protocol, TypeAlias, cast
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from valkey.asyncio import Valkey

from isthmus.app.discovery import schema
from isthmus.app.engines.access import PostgresLogin, ValkeyAccess
from isthmus.app.program import lane_address
from isthmus.kernel.ids import mint
from isthmus.store.database import Database
from isthmus.stream.broker import Broker
from isthmus.stream.envelope import envelope_json
from isthmus.stream.event import Event
from isthmus.stream.hints import Hints
from isthmus.stream.lane import Lane
from isthmus.stream.relay import Relay

Side: TypeAlias = Literal["floor", "isthmus"]
CONNECTIONS = 8
TYPE, RECORD = "isthmus.sales.lead.changed.v1", "sales.lead"
STREAM, KEPT_MAX = "bench", 100_000
PAYLOAD = "x" * 250
TABLE: LiteralString = (
    "create table bench_row (id bigint generated always as identity primary key, record_id uuid not null,"
    " body text not null)"
)
_ROW: LiteralString = "insert into bench_row (record_id, body) select record, %s from unnest(%s::uuid[]) as t(record)"
_ROWS_AND_EVENTS: LiteralString = """
with scoped as materialized (select set_config('isthmus.workspace', %s, true)::integer as workspace),
given as (select scoped.workspace, t.record, t.place
          from scoped, unnest(%s::uuid[]) with ordinality as t(record, place)),
kept as (insert into bench_row (record_id, body) select record, %s from given)
insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
select workspace, %s, %s, array_agg(record order by place), array_agg(null::uuid), array_agg(1), '{title}', 'bench', %s,
       now()
from given group by workspace, place / 128
"""
_ROW_AND_EVENT: LiteralString = """
with scoped as materialized (select set_config('isthmus.workspace', %s, true)::integer as workspace),
given as (select scoped.workspace, t.record from scoped, unnest(%s::uuid[]) as t(record)),
kept as (insert into bench_row (record_id, body) select record, %s from given)
insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
select workspace, %s, %s, array[record], array[null::uuid], array[1], '{title}', 'bench', %s, now() from given
"""


@dataclass(frozen=True, kw_only=True)
class Ways:
    """The ways to the engines, and the workspace whose log is written."""

    login: PostgresLogin
    valkey: ValkeyAccess
    workspace: int


@dataclass(frozen=True, kw_only=True)
class Pace:
    """So many events in each transaction; with `per_s` so many events a second for so long, else as fast as it goes."""

    together: int
    seconds: float
    per_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Wrote:
    """What a writer did: how many events, and when it began and ended on the machine's monotonic clock."""

    events: int
    began: float
    ended: float


def write(side: Side, ways: Ways, pace: Pace) -> Wrote:
    """Write at a pace."""
    return asyncio.run(_write(side, ways, pace))


async def _write(side: Side, ways: Ways, pace: Pace) -> Wrote:
    client = Valkey(**ways.valkey.arguments)
    connections = [await _connected(ways.login) for _ in range(CONNECTIONS)]
    hints = Hints(Lane(lane_address(ways.valkey)))
    turn = _by_hand(client) if side == "floor" else _with_events(ways.workspace, hints)
    began = time.monotonic() + 0.1
    turns = iter(_moments(pace, began))
    done = await asyncio.gather(*(_writer(turn, each, turns, pace) for each in connections))
    ended = time.monotonic()
    for each in connections:
        await each.close()
    await hints.close()
    await client.aclose()
    return Wrote(events=sum(done) * pace.together, began=began, ended=ended)


class _Pipeline(Protocol):
    def execute_command(self, *args: str | int | bytes) -> object: ...

    def execute(self) -> Awaitable[object]: ...


_Turn: TypeAlias = Callable[[AsyncConnection[TupleRow], Sequence[UUID], int], Awaitable[None]]


async def _writer(turn: _Turn, connection: AsyncConnection[TupleRow], due: Iterator[float], pace: Pace) -> int:
    done = 0
    for moment in due:
        if (ahead := moment - time.monotonic()) > 0:
            await asyncio.sleep(ahead)
        await turn(connection, _records(pace.together), round(moment * 1e9))
        done += 1
    return done


def _moments(pace: Pace, began: float) -> Iterator[float]:
    """Yield when transactions are due; without a rate each is due when somebody is free."""
    if pace.per_s is None:
        while (now := time.monotonic()) < began + pace.seconds:
            yield max(now, began)
        return
    every = pace.together / pace.per_s
    for number in range(round(pace.seconds / every)):
        yield began + number * every


_numbers = itertools.count(time.monotonic_ns())


def _records(count: int) -> list[UUID]:
    return [mint(unix_ms=1, entropy=next(_numbers).to_bytes(10)) for _ in range(count)]


def _by_hand(client: Valkey) -> _Turn:
    """Commit rows, then add an entry for each: what people write who have no outbox."""

    async def turn(connection: AsyncConnection[TupleRow], records: Sequence[UUID], due: int) -> None:
        await connection.execute(_ROW, (PAYLOAD, list(records)), prepare=True)
        pipe = cast("_Pipeline", client.pipeline(transaction=False))
        for each in records:
            pipe.execute_command("XADD", STREAM, "MAXLEN", "~", KEPT_MAX, "*", "type", TYPE, "event", _body(each, due))
        await pipe.execute()

    return turn


def _body(record: UUID, due: int) -> bytes:
    """Return the outside form of an event, as long as ours is."""
    now = datetime.now(UTC)
    event = Event(1, 1, TYPE, RECORD, record, None, 1, ("title",), "bench", f"due:{due}", now)
    return envelope_json(event, workspace=1, schema=_SCHEMA)


_SCHEMA = schema()


def _with_events(workspace: int, hints: Hints) -> _Turn:
    """Commit rows and their events together, in the statement's form that the store writes events in, and hint."""

    async def turn(connection: AsyncConnection[TupleRow], records: Sequence[UUID], due: int) -> None:
        given = (str(workspace), list(records), PAYLOAD, TYPE, RECORD, f"due:{due}")
        await connection.execute(_ROW_AND_EVENT if len(records) == 1 else _ROWS_AND_EVENTS, given, prepare=True)
        hints.tell(workspace)

    return turn


async def _connected(login: PostgresLogin) -> AsyncConnection[TupleRow]:
    return await psycopg.AsyncConnection.connect(login.conninfo, password=login.password, autocommit=True)


def carry(ways: Ways) -> None:
    """Be the relay, until killed."""

    async def inside() -> None:
        database = Database(ways.login.conninfo, password=ways.login.password, connections_max=4)
        await database.open()
        broker = Broker(Valkey(**ways.valkey.arguments, socket_timeout=None))
        await Relay(database=database, schema=_SCHEMA, broker=broker).run()

    asyncio.run(inside())
