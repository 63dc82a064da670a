"""One process of the program: `python -m isthmus.app.role api`, or any of worker, relay, scheduler, rlqs together."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

import uvloop
from valkey.asyncio import Valkey

from isthmus.app.alerting.keeping import keep_alerting, keep_probing
from isthmus.app.arriving import arrivals, arriving
from isthmus.app.engines import RunningEngines, running_engines
from isthmus.app.garbage import settle
from isthmus.app.log import configure_log
from isthmus.app.program import Program, opened
from isthmus.app.reacting import consumers
from isthmus.app.running import LEASH
from isthmus.app.scheduling.keeping import keep_scheduling, keep_working
from isthmus.app.settings import Settings, read_settings
from isthmus.app.signing_keys import keep_keys
from isthmus.app.signing_out import keep_telling_sign_outs
from isthmus.app.ticking import keep_ticking
from isthmus.app.webhook_rights import keep_rights
from isthmus.app.webhooks import keep_landing, keep_telling
from isthmus.gateway import Services
from isthmus.kernel.errors import Unavailable
from isthmus.stream.broker import Broker
from isthmus.stream.consume import run_consumers
from isthmus.stream.relay import Relay

GRACE_S = 10.0
ARRIVALS_POLL_S = 1.0


class EnginesAway(Unavailable):
    """No engines run on the data directory."""

    code, title = "engines-away", "The engines do not run"


def main(roles: Sequence[str]) -> None:
    """Play roles until SIGTERM."""
    settings = read_settings()
    configure_log(settings.log_level)
    _end_with_parent()
    running = running_engines(settings=settings.engines)
    if running is None:
        raise EnginesAway("No engines run on this data directory.", fix="Start them with: isthmus up")
    if "api" in roles:
        from isthmus.app.http.serving import serve

        serve(settings)
        return
    uvloop.run(_background(settings, running, roles))


def _end_with_parent() -> None:
    """End when the other end of stdin is closed, which the kernel does when whoever started us is gone."""
    if LEASH not in os.environ:
        return

    def wait() -> None:
        # Not through sys.stdin, whose lock a waiting thread would hold when the interpreter ends.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


async def _background(settings: Settings, running: RunningEngines, roles: Sequence[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    async with opened(settings, running, connections_max=16) as program:
        tasks = [asyncio.create_task(_until_dead(program, role)) for role in roles]
        settle()
        ended = asyncio.create_task(stop.wait())
        await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        ended.cancel()
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _until_dead(program: Program, role: str) -> None:
    from isthmus.app.rlqs.server import keep_assigning

    match role:
        case "relay":
            broker = Broker(Valkey(**program.valkey.arguments, socket_timeout=None)) if program.valkey else None
            relay = Relay(database=program.database, schema=program.store.schema, broker=broker)
            quotas = [keep_assigning(program)] if program.settings.rlqs_listen else []
            await asyncio.gather(relay.run(), *quotas)
        case "rlqs":
            await keep_assigning(program)
        case "worker":
            await asyncio.gather(
                run_consumers(program.database, consumers(program.store), clock=program.clock),
                run_consumers(
                    program.database, arriving(arrivals(program.store)), clock=program.clock, poll_s=ARRIVALS_POLL_S
                ),
                keep_ticking(program),
                keep_working(program, services=lambda: _services(program)),
                keep_telling(program),
                keep_landing(program),
                keep_rights(program),
                keep_alerting(program),
                keep_probing(program),
            )
        case "scheduler":
            await asyncio.gather(keep_scheduling(program), keep_keys(program), keep_telling_sign_outs(program))
        case _:
            message = f"there is no role {role!r}"
            raise ValueError(message)


def _services(program: Program) -> Services:
    from isthmus.app.http.assembly import services_of

    return services_of(program)


if __name__ == "__main__":
    main(sys.argv[1:])
