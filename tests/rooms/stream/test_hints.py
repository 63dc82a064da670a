"""Whoever commits events wakes the relay; what is not committed wakes nobody, and nothing depends on being heard."""

import asyncio

import pytest

from isthmus.app.engines import Engines
from isthmus.store.database import Database, Scope
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker
from isthmus.stream.hints import Hints
from isthmus.stream.lane import Lane, LaneAddress
from isthmus.stream.relay import Relay
from tests.rooms.stream.stage import OwnValkey, beside, emit, emit_in, log_reaches, until

NEVER_S = 600.0


async def _failed(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        tx.grown.add(scope.workspace)
        raise ZeroDivisionError


async def test_a_hint_wakes_a_relay_that_would_rest_for_minutes(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    valkey.start()
    relay = Relay(database=database, schema=schema, broker=broker, poll_s=NEVER_S)
    hints = Hints(Lane(LaneAddress(socket_path=valkey.socket)))
    async with beside(relay.run()):
        await until(lambda: relay.health.told)
        await emit(database, scope, [1, 2])
        hints.tell(scope.workspace)
        await log_reaches(database, scope.workspace, 2)
    await hints.close()


async def test_hints_that_nobody_hears_fail_nothing_and_later_ones_are_heard(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    hints = Hints(Lane(LaneAddress(socket_path=valkey.socket)))
    relay = Relay(database=database, schema=schema, broker=broker, standby_s=0.05)
    async with beside(relay.run()):
        hints.tell(scope.workspace)
        await emit(database, scope, [1])
        await log_reaches(database, scope.workspace, 1)
        valkey.start()
        await until(lambda: relay.health.told)
        for _ in range(200):
            hints.tell(scope.workspace)
            await asyncio.sleep(0.01)
        await hints.close()
        valkey.kill()
        await until(lambda: not relay.health.told)
        await emit(database, scope, [2])
        await log_reaches(database, scope.workspace, 2)


async def test_a_transaction_tells_of_its_events_once_they_are_committed(engines: Engines, scope: Scope) -> None:
    told: list[int] = []
    database = Database(engines.postgres.app.conninfo, tell=told.append)
    await database.open()
    try:
        with pytest.raises(ZeroDivisionError):
            await _failed(database, scope)
        assert told == []
        async with database.transaction(scope) as tx:
            await emit_in(tx.connection, scope, [1])
            tx.grown.add(scope.workspace)
            assert told == []
        assert told == [scope.workspace]
    finally:
        await database.close()
