"""Webhooks as this program serves them: with its clock, its ways out, and chance for the retries."""

import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from isthmus.app.alerting.keeping import outbound_of
from isthmus.app.program import Program
from isthmus.app.topics import topics
from isthmus.stream.outbound import Outbound
from isthmus.stream.webhooks.running import Serving, Webhooks
from isthmus.stream.webhooks.sending import Sender
from isthmus.vault import entropy


@asynccontextmanager
async def opened_sender(outbound: Outbound) -> AsyncGenerator[Sender]:
    """Open what calls endpoints, for a moment."""
    sender = Sender(outbound, ticks=time.perf_counter_ns)
    try:
        yield sender
    finally:
        await sender.close()


def webhooks_of(program: Program) -> Webhooks:
    """Return what serves the endpoints of all workspaces."""
    return Webhooks(
        Serving(
            database=program.database,
            vault=program.vault,
            schema=program.store.schema,
            topics=topics(),
            sender=Sender(outbound_of(program.settings), ticks=time.perf_counter_ns),
            clock=program.clock,
            chance=random.Random(int.from_bytes(entropy(8))),
        )
    )


async def keep_telling(program: Program) -> None:
    """Tell endpoints what happens, until cancelled. Several programs may do so at once."""
    await webhooks_of(program).run()
