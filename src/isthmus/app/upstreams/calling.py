"""Calls passed on to upstreams: bodies both ways as they come, within time, again where that is safe, or refused."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from isthmus.app.upstreams.register import NewUpstream
from isthmus.app.upstreams.ways import Way
from isthmus.gateway.routes import Response
from isthmus.gateway.upstreams.headers import answer_headers
from isthmus.gateway.upstreams.inflow import CallerGone, Inflow
from isthmus.kernel.errors import Unavailable
from isthmus.stream.outbound import AddressRefused, Outbound, OutboundRefused

CONNECTIONS_MAX = 200
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_AGAIN = frozenset({502, 503, 504})
_NO_BODY = frozenset({204, 304})
_FAILURE, _BACKOFF_S = 500, 0.025
_LINE_MAX, _HEADERS_MAX = 16_384, 32_768
_UNNAMED = "application/octet-stream"
_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class UpstreamAway(Unavailable):
    """The upstream failed too often, or says itself that it is ill; it is left alone for a while."""

    code, title = "upstream-away", "The service is left alone for a while"


class UpstreamFailed(Unavailable):
    """The upstream did not answer as HTTP demands."""

    status, code, title = 502, "upstream-failed", "The service does not answer"


class UpstreamLate(Unavailable):
    """The upstream did not answer in time."""

    status, code, title = 504, "upstream-late", "The service does not answer in time"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One call on its way: `target` is path and query below the upstream's address, as they were sent."""

    way: Way
    method: str
    target: str
    headers: list[tuple[str, str]] = field(repr=False)
    inflow: Inflow = field(repr=False)

    @property
    def url(self) -> URL:
        """Where it goes; nothing in it is escaped or unescaped again."""
        return URL(self.way.upstream.url.rstrip("/") + self.target, encoded=True)


class Calling:
    """The client of one worker; it keeps connections."""

    def __init__(self, outbound: Outbound) -> None:
        """`outbound` says which addresses may be called; those of one's own also without TLS."""
        self._outbound = outbound
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close connections."""
        for each in self._sessions.values():
            await each.close()
        self._sessions.clear()

    async def pass_on(self, job: Job) -> Response:
        """Return the upstream's answer; raises UpstreamAway, UpstreamFailed, UpstreamLate and OutboundRefused."""
        way = job.way
        if way.health == "ill" or not way.breaker.admit(time.monotonic()):
            raise UpstreamAway("The service failed too often.", fix="Try again later, as Retry-After says.")
        way.budget.called()
        for turn in range(way.upstream.retries + 1):
            more = turn < way.upstream.retries
            answer = await self._tried(job, more=more)
            if answer is not None:
                return _answer(job, answer)
            await asyncio.sleep(_BACKOFF_S * 2**turn)
        raise AssertionError

    async def check(self, upstream: NewUpstream) -> tuple[int, float]:
        """Ask an upstream whether it is well; returns status and seconds. Raises as `pass_on`."""
        inflow = Inflow(_nobody, empty=True)
        job = Job(way=Way(upstream), method="GET", target=upstream.health_path or "/", headers=[], inflow=inflow)
        began = time.monotonic()
        try:
            answer = await self._sent(job)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failure(error) from error
        answer.close()
        return answer.status, time.monotonic() - began

    async def _tried(self, job: Job, *, more: bool) -> aiohttp.ClientResponse | None:
        """Return the answer, or None when the call shall be repeated."""
        breaker = job.way.breaker
        try:
            answer = await self._watched(job)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if job.inflow.gone:
                breaker.abandoned()
                raise CallerGone("The caller went away.") from error
            breaker.failed(time.monotonic())
            unsent = isinstance(error, aiohttp.ClientConnectorError)
            if more and _repeatable(job, unsent=unsent) and job.way.budget.take() and breaker.admit(time.monotonic()):
                return None
            raise _failure(error) from error
        except BaseException:
            breaker.abandoned()
            raise
        if answer.status < _FAILURE:
            breaker.succeeded(time.monotonic())
            return answer
        breaker.failed(time.monotonic())
        again = more and answer.status in _AGAIN and _repeatable(job, unsent=False)
        if again and job.way.budget.take() and breaker.admit(time.monotonic()):
            answer.close()
            return None
        return answer

    async def _watched(self, job: Job) -> aiohttp.ClientResponse:
        """Wait for the head of the answer, and for no longer than the caller does."""
        sending = asyncio.ensure_future(self._sent(job))
        gone = asyncio.ensure_future(job.inflow.wait())
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise CallerGone("The caller went away.")
            return await sending
        finally:
            gone.cancel()
            if not sending.done():
                sending.cancel()
            with suppress(asyncio.CancelledError):
                await gone

    async def _sent(self, job: Job) -> aiohttp.ClientResponse:
        upstream, loop = job.way.upstream, asyncio.get_running_loop()
        connect_s, first_s, idle_s = (
            each / 1000 for each in (upstream.connect_ms, upstream.first_byte_ms, upstream.idle_ms)
        )
        self._outbound.check(upstream.url, plain_names=True)
        session = self._session(upstream)
        body = None if job.inflow.empty else job.inflow.pieces()
        async with asyncio.timeout(connect_s + (first_s if job.inflow.ended else idle_s)) as waiting:

            def heard(last: bool) -> None:  # noqa: FBT001 - the inflow calls it so.
                waiting.reschedule(loop.time() + (first_s if last else idle_s))

            job.inflow.heard = heard
            try:
                return await session.request(
                    job.method,
                    job.url,
                    headers=job.headers,
                    data=body,
                    allow_redirects=False,
                    skip_auto_headers=_ADDED,
                    timeout=aiohttp.ClientTimeout(total=None, connect=connect_s),
                )
            finally:
                job.inflow.heard = lambda _: None

    def _session(self, upstream: NewUpstream) -> aiohttp.ClientSession:
        plain = urlsplit(upstream.url).scheme == "http"
        found = self._sessions.get(plain)
        if found is None:
            found = self._sessions[plain] = aiohttp.ClientSession(
                connector=self._outbound.connector(own_only=plain, per_host=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_line_size=_LINE_MAX,
                max_field_size=_HEADERS_MAX,
            )
        return found


def _repeatable(job: Job, *, unsent: bool) -> bool:
    """Tell whether the call may be sent again: nothing of its body is spent, and twice does the same as once."""
    return not job.inflow.begun and (unsent or job.method in IDEMPOTENT)


def _answer(job: Job, answer: aiohttp.ClientResponse) -> Response:
    headers = answer_headers(answer.headers.items())
    media = answer.headers.get("content-type", _UNNAMED)
    if answer.status in _NO_BODY:
        answer.release()
        kept = tuple(each for each in headers if each[0] != "content-length")
        return Response(body=b"", status=answer.status, media=media, headers=kept)
    if job.method == "HEAD":
        answer.release()
        return Response(body=_nothing(), status=answer.status, media=media, headers=tuple(headers))
    return Response(body=_pieces(job, answer), status=answer.status, media=media, headers=tuple(headers))


async def _pieces(job: Job, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    idle_s = job.way.upstream.idle_ms / 1000
    try:
        while True:
            async with asyncio.timeout(idle_s):
                piece = await answer.content.readany()
            if not piece:
                return
            yield piece
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        if job.inflow.gone:
            raise CallerGone("The caller went away.") from error
        job.way.breaker.failed(time.monotonic())
        raise _failure(error) from error
    finally:
        answer.close() if not answer.content.at_eof() else answer.release()


async def _nothing() -> AsyncIterator[bytes]:
    """Yield no bytes, for an answer whose length stands in its headers."""
    for piece in ():
        yield piece


async def _nobody() -> dict[str, object]:
    """Receive for a request that nobody sent."""
    return await asyncio.get_running_loop().create_future()


def _failure(error: Exception) -> Unavailable | OutboundRefused:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressRefused):
        return OutboundRefused(
            "The name leads to an address that may not be called.", fix="Allow its network by upstream_allow."
        )
    if isinstance(error, TimeoutError):
        return UpstreamLate("The service did not answer in time.", fix="Try again, or give it more time.")
    return UpstreamFailed(f"The service broke off: {type(error).__name__}.", fix="Is it running?")
