"""Records written one by one to a server that takes two milliseconds for each, within an allowance."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from random import Random
from uuid import UUID

from isthmus.app.engines import PostgresAccess
from isthmus.kernel.marks import Json
from isthmus.store.database import Database
from isthmus.stream.limits import Leases, OutgoingLimit, Rate
from isthmus.stream.limits.postgres import PostgresAuthority
from isthmus.sync.abreast import abreast
from isthmus.sync.calls import calling
from isthmus.sync.connector import Change, Outcome, Written

PER_S = 5_000
"""More than either side reaches, so that what is measured is the writing, with the limiter asked for each record."""


def records(count: int) -> list[dict[str, Json]]:
    """Return what is written."""
    return [{"email": f"user{n}@company.example", "first_name": f"First{n}", "status": "new"} for n in range(count)]


async def ours(postgres: PostgresAccess, url: str, given: Sequence[Mapping[str, Json]]) -> float:
    """Write records as a connector does, by leave of leases that all workers share; return the time, in seconds."""
    database = Database(postgres.app.conninfo, password=postgres.app.password)
    await database.open()
    leases = Leases(PostgresAuthority(database), node="bench", ticks=time.monotonic)
    keeping = asyncio.create_task(leases.run())
    limit = OutgoingLimit(leases, connection="bench", rates=[Rate(count=PER_S, seconds=1)])
    changes = [Change(record_id=UUID(int=n), type="sales.lead", fields=dict(each)) for n, each in enumerate(given)]
    try:
        async with calling(url, title="Bench", dice=Random(7), leave=limit.enter) as calls:

            async def write(change: Change) -> Written:
                answer = await calls.ask("POST", "/leads", payload=change.fields)
                assert isinstance(answer, dict)
                return Written(outcome=Outcome.WRITTEN, external_id=str(answer["id"]))

            began = time.perf_counter()
            answers = await abreast(changes, write)
            took = time.perf_counter() - began
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await database.close()
    if len({each.external_id for each in answers}) != len(changes):
        message = "not every record was written once"
        raise AssertionError(message)
    return took
