"""The listener of one worker: it accepts connections, ends those that are slow or rest too long, and ends in order."""

import asyncio
import logging
import socket
import ssl
import time
from email.utils import formatdate
from functools import partial
from typing import cast

from uvicorn.config import Config

from isthmus.app.http.lane import Floor, Lane
from isthmus.app.http.tls import TlsLine
from isthmus.gateway.asgi import Gateway

HEAD_S_MAX, REST_S_MAX, STUCK_S_MAX = 10, 75, 60
_BEAT_S, _POLL_S = 1.0, 0.02


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether the server's library has something to say: that we cancelled a call is nothing."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


class Listener:
    """Serves a gateway on a socket, from `open` to `close`."""

    def __init__(self, gateway: Gateway, *, tls: ssl.SSLContext | None = None) -> None:
        """Without `tls` it speaks plain HTTP."""
        config = Config(
            gateway,
            http=Lane,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self.floor = Floor(gateway, config)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._beating: asyncio.Task[None] | None = None

    async def open(self, listening: socket.socket) -> None:
        """Accept connections from a socket that listens."""
        self._tell_time()
        loop = asyncio.get_running_loop()
        made = partial(Lane, self.floor, loop) if self._tls is None else partial(TlsLine, self._tls, self.floor, loop)
        self._server = await loop.create_server(made, sock=listening)
        self._beating = asyncio.create_task(self._beat())

    async def close(self, *, grace_s: float) -> None:
        """Accept nothing more, let end what is being answered for so long, then end everything."""
        floor = self.floor
        if self._server is not None:
            self._server.close()
        for each in list(floor.connections):
            each.shutdown()
        for transport in list(floor.shaking):
            transport.close()
        over = time.monotonic() + grace_s
        # Calls whose callers have gone end in order too: they may be writing.
        while (floor.connections or floor.state.tasks) and time.monotonic() < over:  # noqa: ASYNC110 - no event tells of the last of many.
            await asyncio.sleep(_POLL_S)
        for each in list(floor.connections):
            each.transport.abort()
        for task in list(floor.state.tasks):
            task.cancel()
        await asyncio.gather(*floor.state.tasks, return_exceptions=True)
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    async def _beat(self) -> None:
        """Each second say what time it is, and end connections that are late."""
        while True:
            await asyncio.sleep(_BEAT_S)
            self.floor.beat += 1
            self._tell_time()
            self._end_late()

    def _tell_time(self) -> None:
        date = formatdate(usegmt=True).encode("ascii")
        self.floor.lines = b"date: " + date + b"\r\n"
        self.floor.state.default_headers = [(b"date", date)]

    def _end_late(self) -> None:
        floor, beat = self.floor, self.floor.beat
        for transport, since in list(floor.shaking.items()):
            if beat - since > HEAD_S_MAX:
                cast("asyncio.Transport", transport).abort()
        for lane in list(floor.connections):
            closing = lane.transport.is_closing()
            if (lane.stuck and beat - lane.stuck_since > STUCK_S_MAX) or (closing and beat - lane.since > REST_S_MAX):
                lane.transport.abort()
            elif (lane.in_head and beat - lane.since > HEAD_S_MAX) or (lane.idle and beat - lane.since > REST_S_MAX):
                lane.shutdown()
