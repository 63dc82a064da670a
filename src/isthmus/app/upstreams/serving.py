"""The upstreams of one worker put together: who may use which, the call itself, and the look at their health."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from isthmus.app.upstreams.calling import Calling, Job
from isthmus.app.upstreams.identity import Identities
from isthmus.app.upstreams.register import NewUpstream, Register
from isthmus.app.upstreams.tracing import Passage
from isthmus.app.upstreams.ways import Way, Ways
from isthmus.audit.queue import AuditQueue
from isthmus.auth.principal import Principal
from isthmus.gateway import Call, Response
from isthmus.gateway.decide import GrantMissing
from isthmus.gateway.upstreams.headers import check_framing, check_path, request_headers
from isthmus.gateway.upstreams.inflow import Passing
from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import IsthmusError, Unavailable

PREFIX = "/up/"
EVERY_S = 0.5
_GOOD_BELOW = 400


@dataclass(frozen=True, kw_only=True)
class Upstreams:
    """What handlers need to pass calls on."""

    register: Register
    identities: Identities
    calling: Calling
    ways: Ways
    trail: AuditQueue

    async def opened(self, principal: Principal, name: str, *, now: datetime) -> NewUpstream:
        """Return an upstream that the caller may use; raises UpstreamMissing and GrantMissing."""
        found = await self.register.find(principal.workspace, name, now=now)
        if not principal.may(found.permission):
            raise GrantMissing(principal, found.permission)
        return found

    async def pass_on(self, call: Call) -> Response:
        """Answer a call below `/up/<name>`."""
        passing, now = call.passing, call.scope.now
        if not isinstance(passing, Passing):
            message = f"{call.route.path} does not accept a stream"
            raise TypeError(message)
        request = passing.request
        check_framing(request.headers)
        name = call.path["upstream"]
        target = target_of(request.path)
        check_path(target)
        upstream = await self.opened(call.principal, name, now=now)
        identity = await self.identities.text(call.principal, audience=name, now=now)
        passage = Passage(scope=call.scope, upstream=name, method=request.method, target=target)
        await passage.tell(self.trail)
        query = request.query.decode("latin-1")
        job = Job(
            way=self.ways.to(call.principal.workspace, upstream),
            method=request.method,
            target=f"{target}?{query}" if query else target,
            headers=request_headers(request, identity=identity),
            inflow=passing.inflow,
        )
        try:
            answer = await self.calling.pass_on(job)
        except IsthmusError as error:
            passage.failed(self.trail, status=error.status)
            raise
        if answer.status is not None and answer.status >= _GOOD_BELOW:
            passage.failed(self.trail, status=answer.status)
        return answer

    async def keep_looking(self, clock: Clock) -> None:
        """Ask those that say how whether they are well, until cancelled."""
        asking: set[asyncio.Task[None]] = set()
        try:
            while True:
                with suppress(Unavailable):
                    known = await self.register.all(now=clock.now())
                    self.ways.keep(known)
                    for (workspace, _), upstream in known.items():
                        way = self.ways.to(workspace, upstream)
                        if _due(way, time.monotonic()):
                            way.checked_at = time.monotonic()
                            task = asyncio.create_task(self._look(way))
                            asking.add(task)
                            task.add_done_callback(asking.discard)
                await asyncio.sleep(EVERY_S)
        finally:
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _look(self, way: Way) -> None:
        try:
            status, _ = await self.calling.check(way.upstream)
        except IsthmusError:
            way.checked(good=False)
        else:
            way.checked(good=status < _GOOD_BELOW)


def _due(way: Way, now: float) -> bool:
    upstream = way.upstream
    return bool(upstream.health_path) and (way.checked_at is None or now >= way.checked_at + upstream.health_s)


def target_of(path: str) -> str:
    """Return what follows `/up/<name>` in a path as it was sent; nothing is `/`."""
    return "/" + path.removeprefix(PREFIX).partition("/")[2]
