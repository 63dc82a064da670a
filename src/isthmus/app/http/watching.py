"""What a worker of the server does beside answering: gauges each second, its sums of traffic each minute."""

import asyncio
from contextlib import suppress

import structlog

from isthmus.audit.queue import AuditQueue
from isthmus.gateway import Services
from isthmus.gateway.metrics import Traffic
from isthmus.gateway.monitoring.minutes import Minutes, write
from isthmus.kernel.errors import Unavailable
from isthmus.vault import entropy

GAUGES_S = 1.0
_INSTANCE_BYTES = 6
_log = structlog.get_logger("isthmus.watching")


async def keep_watch(services: Services) -> None:
    """Say how this worker stands, and write down each minute that is over, until cancelled; then write the rest."""
    instance = entropy(_INSTANCE_BYTES).hex()
    minutes = services.of(Minutes)
    minute = -1
    try:
        while True:
            _gauges(services)
            now = services.clock.now()
            if now.minute != minute:
                minute = now.minute
                services.of(Traffic).rank()
                try:
                    await write(services.database, minutes, now=now, instance=instance)
                except Unavailable as error:
                    _log.warning("minutes not written", code=error.code)
            await asyncio.sleep(GAUGES_S)
    finally:
        with suppress(Unavailable):
            await write(services.database, minutes, now=services.clock.now(), instance=instance, whole=True)


def _gauges(services: Services) -> None:
    traffic, trail = services.of(Traffic), services.of(AuditQueue)
    in_use, waiting = services.database.load()
    traffic.gauge("audit_waiting", trail.depth)
    traffic.gauge("audit_dropped", trail.dropped)
    traffic.gauge("audit_written", trail.written)
    traffic.gauge("database_in_use", in_use)
    traffic.gauge("database_waiting", waiting)
