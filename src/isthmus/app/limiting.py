"""The limits of one worker put together: the store of the buckets, the leases, the counts that outlive the worker."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

from isthmus.app.engines import ValkeyAccess
from isthmus.app.program import Program, lane_address
from isthmus.gateway.limits import Limits
from isthmus.store.database import Database
from isthmus.stream.lane import Lane
from isthmus.stream.limits import Authority, Leases
from isthmus.stream.limits.ledger import Ledger
from isthmus.stream.limits.postgres import PostgresAuthority
from isthmus.stream.limits.tally import Tally
from isthmus.stream.limits.valkey import ValkeyAuthority
from isthmus.vault import entropy

_SPARE_PARTS = 14
"""Parts of the counts beyond two for each worker: killed workers leave theirs until somebody wrote it down."""


@asynccontextmanager
async def opened_authority(valkey: ValkeyAccess | None, database: Database) -> AsyncGenerator[Authority]:
    """Open the store of the buckets: Valkey, or where there is none PostgreSQL."""
    if valkey is None:
        yield PostgresAuthority(database)
        return
    lane = Lane(lane_address(valkey))
    await lane.open()
    try:
        yield ValkeyAuthority(lane)
    finally:
        await lane.close()


def tally_file(program: Program) -> Path:
    """Return the file in which the workers of this machine count what was used."""
    return program.settings.data_dir / "http" / f"use-{program.settings.port}"


@asynccontextmanager
async def opened_leases(program: Program) -> AsyncGenerator[Leases]:
    """Open leases for what this program asks of others, and keep them until the end of the block."""
    async with opened_authority(program.valkey, program.database) as authority:
        leases = Leases(authority, node=str(UUID(bytes=entropy(16))), ticks=time.monotonic)
        keeping = asyncio.create_task(leases.run())
        try:
            yield leases
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await leases.close()


@asynccontextmanager
async def opened_limits(program: Program) -> AsyncGenerator[Limits]:
    """Open the limits of one worker, and keep them until the end of the block."""
    holder = UUID(bytes=entropy(16))
    async with AsyncExitStack() as stack:
        authority = await stack.enter_async_context(opened_authority(program.valkey, program.database))
        leases = Leases(authority, node=str(holder), ticks=time.monotonic)
        tally = Tally(tally_file(program), holder=holder, parts=2 * program.settings.workers + _SPARE_PARTS)
        ledger = Ledger(program.database, tally, program.clock)
        limits = Limits(program.database, leases, ledger, clock=program.clock, ticks=time.monotonic)
        keeping = asyncio.create_task(limits.run())
        try:
            yield limits
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await limits.close()
