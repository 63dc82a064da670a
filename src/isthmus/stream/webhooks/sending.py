"""Calling an endpoint: guarded, without redirects, with an end to its time and to what is read of its answer."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import aiohttp

from isthmus.stream.outbound import AddressRefused, Outbound, OutboundRefused

SECONDS_MAX = 15.0
CONNECT_S_MAX = 5.0
ANSWER_BYTES_MAX = 2_048
CALLS_PER_HOST = 16
USER_AGENT = "isthmus-webhooks/1"
_OK, _REDIRECTS, _ERRORS = 200, 300, 400


@dataclass(frozen=True, kw_only=True)
class Answered:
    """How a call went: the status and first bytes of an answer, or without a status why there is none.

    What was not even `called` says nothing of the endpoint.
    """

    status: int | None
    took_ms: int
    answer: bytes = b""
    retry_after: str | None = None
    failure: str = ""
    called: bool = True

    @property
    def taken(self) -> bool:
        """Tell whether the receiver took it."""
        return not self.failure


class Sender:
    """Calls endpoints and keeps connections; one for each program."""

    def __init__(self, outbound: Outbound, *, ticks: Callable[[], int], seconds_max: float = SECONDS_MAX) -> None:
        """`ticks` counts nanoseconds; a call takes at most `seconds_max`."""
        self._outbound, self._ticks, self._seconds_max = outbound, ticks, seconds_max
        self._opened: aiohttp.ClientSession | None = None

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """POST a body; what goes wrong is told in the answer, nothing is raised."""
        began = self._ticks()
        try:
            self._outbound.check(url)
        except OutboundRefused as error:
            return Answered(status=None, took_ms=0, failure=f"{error.code}: {error.detail}")
        try:
            try:
                answered = await self._once(url, body, headers)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
                # A connection that was kept may have been closed by the other side just now; a new one tells.
                answered = await self._once(url, body, headers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            answered = Answered(status=None, took_ms=0, failure=_said(error))
        return replace(answered, took_ms=(self._ticks() - began) // 1_000_000)

    async def _once(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        async with self._session().post(url, data=body, headers=headers, allow_redirects=False) as got:
            return Answered(
                status=got.status,
                took_ms=0,
                answer=await _first_bytes(got),
                retry_after=got.headers.get("retry-after"),
                failure=_failure(got.status),
            )

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=self._outbound.connector(own_only=False, per_host=CALLS_PER_HOST),
                timeout=aiohttp.ClientTimeout(total=self._seconds_max, sock_connect=CONNECT_S_MAX),
                headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._opened


async def _first_bytes(got: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of an answer; what goes on after it is not waited for."""
    read = b""
    try:
        while len(read) < ANSWER_BYTES_MAX and (part := await got.content.read(ANSWER_BYTES_MAX - len(read))):
            read += part
    except (aiohttp.ClientError, TimeoutError, OSError):
        # The status has been told; an answer that breaks off after it changes nothing.
        got.close()
        return read
    if not got.content.at_eof():
        got.close()
    return read


def _failure(status: int) -> str:
    if _OK <= status < _REDIRECTS:
        return ""
    if _REDIRECTS <= status < _ERRORS:
        return f"It answered {status}, and redirects are not followed."
    return f"It answered {status}."


def _said(error: BaseException) -> str:
    """Say why there is no answer, without what a machine beyond may have put into the words of it."""
    within: BaseException | None = error
    while within is not None:
        inner = getattr(within, "os_error", None)
        if isinstance(within, AddressRefused) or isinstance(inner, AddressRefused):
            return "outbound-refused: The name leads to an address that may not be called."
        within = within.__cause__
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "It did not answer in time."
    return f"It cannot be called ({type(error).__name__})."
