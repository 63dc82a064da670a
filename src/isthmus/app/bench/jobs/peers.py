# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportArgumentType=false
# The lines above: asyncpg ships no types; nothing of it leaves this file.
"""The queues that we are measured beside, each started on the same PostgreSQL with the same jobs that do nothing."""

import time

from psycopg.conninfo import conninfo_to_dict

from isthmus.app.engines import PostgresAccess

PEERS = ("pgqueuer", "procrastinate", "asyncpg")
CONNECTIONS, BATCH, SLOTS = 4, 100, 20
ENQUEUED_AT_ONCE = 1_000


async def pgqueuer(postgres: PostgresAccess, count: int) -> float:
    """Return how long pgqueuer takes to drain, in seconds, on its own driver and with a hundred jobs at a time."""
    import asyncpg
    from pgqueuer import QueueManager
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.models import Job
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    login = conninfo_to_dict(postgres.owner.conninfo)
    connection = await asyncpg.connect(
        host=login.get("host"),
        port=login.get("port"),
        user=login.get("user"),
        database=login.get("dbname"),
        password=postgres.owner.password,
    )
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    if not await queries.has_table("pgqueuer"):
        await queries.install()
    queue = QueueManager(queries)
    done = 0

    @queue.entrypoint("nothing")
    async def nothing(_: Job) -> None:
        nonlocal done
        done += 1

    for first in range(0, count, ENQUEUED_AT_ONCE):
        some = min(ENQUEUED_AT_ONCE, count - first)
        await queries.enqueue(["nothing"] * some, [None] * some, [0] * some)
    began = time.perf_counter()
    await queue.run(mode=QueueExecutionMode.drain, batch_size=BATCH)
    took = time.perf_counter() - began
    await connection.close()
    _check("pgqueuer", done, count)
    return took


async def procrastinate(postgres: PostgresAccess, count: int) -> float:
    """Return how long procrastinate takes to drain, in seconds, with twenty jobs at once."""
    from procrastinate import App, PsycopgConnector
    from procrastinate.types import JSONValue

    login = postgres.owner
    connector = PsycopgConnector(
        conninfo=login.conninfo, kwargs={"password": login.password}, min_size=CONNECTIONS, max_size=CONNECTIONS
    )
    app = App(connector=connector)
    done = 0

    @app.task(name="nothing")
    async def nothing() -> None:
        nonlocal done
        done += 1

    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        for first in range(0, count, ENQUEUED_AT_ONCE):
            await nothing.batch_defer_async(
                *[dict[str, JSONValue]() for _ in range(min(ENQUEUED_AT_ONCE, count - first))]
            )
        began = time.perf_counter()
        await app.run_worker_async(wait=False, concurrency=SLOTS, install_signal_handlers=False, listen_notify=False)
        took = time.perf_counter() - began
    _check("procrastinate", done, count)
    return took


def _check(name: str, done: int, count: int) -> None:
    if done != count:
        message = f"{name} did {done} jobs of {count}"
        raise AssertionError(message)
