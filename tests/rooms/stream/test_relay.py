"""Numbers without gaps in the order of commits, one leader, and a tail that may be lost."""

import asyncio

from isthmus.app.engines import Engines
from isthmus.store.database import Database, Scope
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker
from isthmus.stream.event import within
from isthmus.stream.publish import Publisher
from isthmus.stream.relay import Relay, stamp, stamped
from tests.rooms.stream.stage import OwnValkey, beside, connected, emit, emit_in, log, log_reaches, tail_becomes, until


async def stamp_all(database: Database, workspace: int) -> int:
    async with database.plain() as connection:
        count = 0
        while True:
            async with within(connection, workspace):
                more = await stamp(connection, limit=3)
            if not more:
                return count
            count += more


async def test_numbers_follow_the_order_of_ids_without_gaps(database: Database, scope: Scope) -> None:
    await emit(database, scope, range(1, 8))
    assert await stamp_all(database, scope.workspace) == 7
    events = await log(database, scope.workspace)
    assert [each.seq for each in events] == list(range(1, 8))
    assert [each.record_id.int for each in events] == list(range(1, 8))


async def test_an_event_that_commits_late_comes_after_those_that_did_not_wait(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as slow:
        await emit_in(slow.connection, scope, [1])
        await emit(database, scope, [2])
        assert await stamp_all(database, scope.workspace) == 1
    await stamp_all(database, scope.workspace)
    events = await log(database, scope.workspace)
    assert [(each.seq, each.record_id.int) for each in events] == [(1, 2), (2, 1)]
    assert events[1].id < events[0].id


async def test_two_that_stamp_at_once_leave_no_gap_and_no_double(database: Database, scope: Scope) -> None:
    await emit(database, scope, range(1, 40))
    counts = await asyncio.gather(*(stamp_all(database, scope.workspace) for _ in range(3)))
    assert sum(counts) == 39
    assert [each.seq for each in await log(database, scope.workspace)] == list(range(1, 40))


async def test_the_relay_numbers_every_workspace_from_one(
    database: Database, scope: Scope, schema: Schema, second: Scope
) -> None:
    relay = Relay(database=database, schema=schema, broker=None)
    async with beside(relay.run()):
        await emit(database, scope, [1, 2])
        await emit(database, second, [3])
        await log_reaches(database, scope.workspace, 2)
        await log_reaches(database, second.workspace, 1)
    assert relay.health.stamped >= 3
    assert [each.seq for each in await log(database, scope.workspace)] == [1, 2]
    assert [each.seq for each in await log(database, second.workspace)] == [1]


async def test_one_relay_leads_and_the_next_takes_over(engines: Engines, scope: Scope, schema: Schema) -> None:
    login = engines.postgres.app.conninfo
    async with connected(login) as first, connected(login) as second:
        leading = Relay(database=first, schema=schema, broker=None)
        waiting = Relay(database=second, schema=schema, broker=None, standby_s=0.05)
        async with beside(waiting.run()):
            async with beside(leading.run()):
                await until(lambda: leading.health.stamps != waiting.health.stamps)
                await emit(first, scope, [1])
                await log_reaches(first, scope.workspace, 1)
                assert leading.health.stamps != waiting.health.stamps
            await until(lambda: waiting.health.stamps)
            await emit(first, scope, [2])
            await log_reaches(first, scope.workspace, 2)


async def test_a_leader_whose_connection_is_cut_leads_again(database: Database, scope: Scope, schema: Schema) -> None:
    relay = Relay(database=database, schema=schema, broker=None, standby_s=0.05)
    async with beside(relay.run()):
        await until(lambda: relay.health.stamps)
        async with database.plain() as connection:
            cut = await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where query like '%waiting_workspaces%'"
                " and pid <> pg_backend_pid()"
            )
            assert (True,) in await cut.fetchall()
        await until(lambda: not relay.health.stamps)
        await emit(database, scope, [1, 2])
        await log_reaches(database, scope.workspace, 2)


async def test_the_tail_holds_what_the_log_holds(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    valkey.start()
    relay = Relay(database=database, schema=schema, broker=broker)
    async with beside(relay.run()):
        await emit(database, scope, [1, 2, 3])
        await tail_becomes(broker, scope.workspace, [1, 2, 3])
    entries = await broker.read(scope.workspace, after=1, limit=1, wait_s=0.1)
    assert [(each.seq, each.type) for each in entries] == [(2, "isthmus.sales.deal.changed.v1")]


async def test_stamping_goes_on_without_valkey_and_the_tail_catches_up(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    relay = Relay(database=database, schema=schema, broker=broker)
    async with beside(relay.run()):
        await emit(database, scope, [1, 2])
        await log_reaches(database, scope.workspace, 2)
        assert not relay.health.tail
        valkey.start()
        await tail_becomes(broker, scope.workspace, [1, 2])
        valkey.kill()
        await emit(database, scope, [3])
        await log_reaches(database, scope.workspace, 3)
        await until(lambda: not relay.health.tail)
        valkey.start()
        await emit(database, scope, [4])
        await tail_becomes(broker, scope.workspace, [1, 2, 3, 4])


async def test_sending_again_and_from_two_sides_doubles_nothing(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    valkey.start()
    await emit(database, scope, range(1, 30))
    await stamp_all(database, scope.workspace)
    publishers = [Publisher(database=database, schema=schema, broker=broker) for _ in range(3)]
    async with beside(*(each.run() for each in publishers)):
        await until(lambda: all(each.reached for each in publishers))
    entries = await broker.read(scope.workspace, after=0, limit=100, wait_s=0.1)
    assert [each.seq for each in entries] == list(range(1, 30))


async def test_a_flushed_tail_and_a_tail_of_another_log_are_mended(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    valkey.start()
    await emit(database, scope, [1, 2, 3])
    await stamp_all(database, scope.workspace)
    await valkey.command("XADD", f"isthmus:{{{scope.workspace}}}", "900-0", "types", "t", "events", "e")
    publisher = Publisher(database=database, schema=schema, broker=broker)
    async with beside(publisher.run()):
        await tail_becomes(broker, scope.workspace, [1, 2, 3])
        await valkey.flush()
        await emit(database, scope, [4])
        await stamp_all(database, scope.workspace)
        publisher.moved(scope.workspace)
        await tail_becomes(broker, scope.workspace, [1, 2, 3, 4])


async def test_what_was_just_stamped_is_sent_without_being_read_and_what_does_not_follow_is_read(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    valkey.start()
    await emit(database, scope, [1])
    await stamp_all(database, scope.workspace)
    publisher = Publisher(database=database, schema=schema, broker=broker)
    async with beside(publisher.run()):
        await tail_becomes(broker, scope.workspace, [1])
        await emit(database, scope, [2, 3])
        async with database.plain() as connection:
            events = await stamped(connection, scope.workspace)
            # Nobody else can read these numbers in the log before this block ends.
            publisher.moved(scope.workspace, events)
            await tail_becomes(broker, scope.workspace, [1, 2, 3])
        await emit(database, scope, [4, 5])
        async with database.plain() as connection:
            events = await stamped(connection, scope.workspace)
        publisher.moved(scope.workspace, events[1:])
        await tail_becomes(broker, scope.workspace, [1, 2, 3, 4, 5])


async def test_a_tail_far_behind_goes_on_near_the_head(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey
) -> None:
    valkey.start()
    short = Broker(valkey.client(), events_max=5)
    await emit(database, scope, range(1, 51))
    await stamp_all(database, scope.workspace)
    publisher = Publisher(database=database, schema=schema, broker=short)
    async with beside(publisher.run()):
        await until(lambda: publisher.reached)
    entries = await short.read(scope.workspace, after=0, limit=100, wait_s=0.1)
    assert [each.seq for each in entries] == [46, 47, 48, 49, 50]
    await short.close()


async def test_a_publisher_ends_whenever_it_is_cancelled(
    database: Database, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    valkey.start()
    publisher = Publisher(database=database, schema=schema, broker=broker)
    for moments in range(200):
        running = asyncio.create_task(publisher.run())
        for _ in range(moments):
            await asyncio.sleep(0)
        running.cancel()
        ended, _ = await asyncio.wait([running], timeout=5)
        assert ended, f"it went on after {moments} moments"
    async with beside(publisher.run()):
        await until(lambda: publisher.reached)
