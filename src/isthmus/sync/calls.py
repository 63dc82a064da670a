"""Calls to a vendor over HTTP: guarded, within the vendor's allowance, tried again where that is safe, errors in words.

Connectors call their vendor through here, so that each of them is small. Redirects are never followed.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random
from typing import TypeAlias
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from isthmus.kernel.marks import Json
from isthmus.stream.outbound import AddressRefused, Outbound, OutboundRefused
from isthmus.sync.connector import (
    Authorise,
    ConnectorError,
    Holding,
    KeyRefused,
    Leave,
    NotAsDocumented,
    Throttled,
    freely,
)

HOUSE = Outbound(house=True)
CONNECTIONS_MAX = 100
UNAUTHORISED, TOO_MANY = 401, 429
_FIRST_GOOD, _FIRST_OTHER = 200, 300
_TRY_AGAIN = frozenset({TOO_MANY, 500, 502, 503, 504})
# The server turned these away before it did anything, so that even a creation may be sent again.
_UNTOUCHED = frozenset({TOO_MANY, 503})
_SAFE = frozenset({"GET", "HEAD"})
SAID_MAX = 200


class Exchange(Struct, frozen=True, kw_only=True):
    """One request as it went: `status` 0 when there was no answer, `attempt` counts from 1."""

    method: str
    path: str
    status: int
    attempt: int


Watch: TypeAlias = Callable[[Exchange], object]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How often and how long a request is tried, and what is too much; times are in seconds.

    `again` are the statuses after which a safe request is tried again. `wait_header` is in small letters, and names the
    seconds to wait in a 429 of a vendor that does not say `Retry-After`.
    """

    attempts: int = 4
    backoff_s: float = 0.25
    backoff_s_max: float = 8.0
    retry_after_s_max: float = 30.0
    body_bytes_max: int = 64 * 2**20
    total_s: float = 180.0
    connect_s: float = 10.0
    silence_s: float = 90.0
    again: frozenset[int] = _TRY_AGAIN
    wait_header: str = ""


RULES = Rules()


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that was read to its end; names of headers are in small letters."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def good(self) -> bool:
        """Tell whether the status is one of success."""
        return _FIRST_GOOD <= self.status < _FIRST_OTHER

    @property
    def retry_after_s(self) -> float | None:
        """Return the seconds to wait: the header says seconds, or a time, compared with the server's own clock."""
        value = self.headers.get("retry-after", "").strip()
        if not value:
            return None
        if value.isdecimal():
            return float(value)
        try:
            told = parsedate_to_datetime(value) - parsedate_to_datetime(self.headers.get("date") or value)
        except ValueError:
            return None
        return max(0.0, told.total_seconds())

    @property
    def said(self) -> str:
        """Return the beginning of the body as text, for sentences about it."""
        return self.body[:SAID_MAX].decode(errors="replace")

    def json(self) -> Json:
        """Return what the body says; raises NotAsDocumented when that is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except ValueError as error:
            raise NotAsDocumented(
                f"The answer is not JSON: {self.said!r}.", fix="Check that the address leads to the vendor's interface."
            ) from error


def permitted(url: str, *, example: str = "https://vendor.example") -> str:
    """Return the base address to speak with, or raise ConnectorError; everything that goes out passes here.

    The host is the one that the person who connected gave; a system in the same house is the rule, so loopback and
    private addresses are as good as any, and only there may TLS be missing. Where a cloud tells machines their
    credentials, nothing is sent.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConnectorError(f"{url!r} is not a web address.", fix=f"Give `url` such as {example}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConnectorError(
            "The address holds more than a host.", fix="Give `url` without credentials, query or fragment."
        )
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    try:
        HOUSE.check(base, plain_names=True)
    except OutboundRefused as error:
        raise ConnectorError(error.detail, fix=error.fix) from error
    return base


class Exact(str):
    """A path with its query, encoded, that goes out letter by letter: for where it is signed."""

    __slots__ = ()


class Calls:
    """One conversation with a vendor. `dice` spreads the retries of many conversations over time."""

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession,
        base: str,
        title: str,
        dice: Random,
        leave: Leave = freely,
        authorise: Authorise | None = None,
        rules: Rules = RULES,
        watch: Watch | None = None,
    ) -> None:
        """`base` is a permitted address; `title` is the vendor's name in sentences; `leave` is asked before each."""
        self.base, self.title, self.rules = base, title, rules
        self._http, self._dice, self._leave, self._authorise, self._watch = http, dice, leave, authorise, watch
        self._hold = leave.hold if isinstance(leave, Holding) else None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] | None = None,
        payload: Json = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Json:
        """Send a request and return the JSON of a good answer; raises KeyRefused, NotAsDocumented, ConnectorError."""
        answer = await self.send(method, path, query=query, payload=payload, headers=headers, safe=safe)
        if answer.status == UNAUTHORISED:
            raise KeyRefused(
                f"{self.title} refuses the key.", fix="Make a new key there and give it to the connection."
            )
        if not answer.good:
            raise NotAsDocumented(
                f"{self.title} answered {answer.status} to {method} {path}: {answer.said}",
                fix="See what it says; if it cannot be right, report it to the author of the connector.",
            )
        return answer.json() if answer.body else None

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] | None = None,
        payload: Json = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Answer:
        """Send a request and return its answer, whatever its status, again with full jitter while that is safe.

        Of `payload` (JSON), `form` and `body` (a file, whose kind stands in `headers`) one is sent. `path` begins with
        a slash, or is a whole address on the same host. `safe` tells that sending it twice does no harm (GET and HEAD
        by themselves; others with an idempotency key): else it is sent again only when it is certain that nothing was
        done. A refused key is renewed once. Raises ConnectorError, when it stays in vain, and Throttled.
        """
        safe = method in _SAFE if safe is None else safe
        content = form if body is None else body
        exact = isinstance(path, Exact)
        request = _Request(method, self._address(path), query, payload, content, headers or {}, exact=exact)
        answer = await self._tried(request, safe=safe, fresh=False)
        if answer.status == UNAUTHORISED and self._authorise is not None:
            answer = await self._tried(request, safe=safe, fresh=True)
        return answer

    async def _tried(self, request: "_Request", *, safe: bool, fresh: bool) -> Answer:
        last, rules = "it did not answer", self.rules
        proof = dict(await self._authorise(fresh)) if self._authorise is not None else {}
        for attempt in range(1, rules.attempts + 1):
            asked: float | None = None
            await self._leave()
            try:
                answer = await self._once(request, proof)
            except aiohttp.ClientConnectorError as error:
                self._told(request, 0, attempt)
                if isinstance(error.os_error, AddressRefused):
                    raise ConnectorError(
                        f"{self.base} leads to an address that may not be called.",
                        fix="Use https, or a server on this machine or in a private network.",
                    ) from error
                last = str(error)
            except (aiohttp.ClientError, TimeoutError) as error:
                self._told(request, 0, attempt)
                last = str(error) or type(error).__name__
                if not safe:
                    raise ConnectorError(
                        f"The connection was lost: {last}.", fix="Read again before trying."
                    ) from error
            else:
                self._told(request, answer.status, attempt)
                broken = safe and _broken(answer)
                if not broken and answer.status not in (rules.again if safe else _UNTOUCHED):
                    return answer
                last = "its answers break off" if broken else f"it answered {answer.status}"
                asked = answer.retry_after_s
                await self._held_back(answer, attempt)
                if attempt == rules.attempts or (asked or 0) > rules.retry_after_s_max:
                    self._give_up(answer)
            if attempt < rules.attempts:
                wait = min(rules.backoff_s * 2 ** (attempt - 1), rules.backoff_s_max)
                await asyncio.sleep(max(self._dice.uniform(0, wait), asked or 0))
        raise ConnectorError(
            f"{self.base} cannot be reached: {last}.", fix="Check that the server runs and `url` is right."
        )

    async def _once(self, request: "_Request", proof: Mapping[str, str]) -> Answer:
        rules = self.rules
        async with self._http.request(
            request.method,
            URL(request.url, encoded=True) if request.exact else request.url,
            json=request.payload,
            data=request.form,
            params=request.query,
            headers={**proof, **request.headers},
            timeout=aiohttp.ClientTimeout(total=rules.total_s, connect=rules.connect_s, sock_read=rules.silence_s),
            allow_redirects=False,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(2**16):
                body += chunk
                if len(body) > rules.body_bytes_max:
                    over = f"{self.title}'s answer is over {rules.body_bytes_max >> 20} MiB."
                    raise ConnectorError(over, fix="Lower `page_rows`.")
            named = {name.lower(): value for name, value in response.headers.items()}
            if response.status == TOO_MANY and rules.wait_header in named:
                named.setdefault("retry-after", named[rules.wait_header])
            return Answer(response.status, bytes(body), named)

    def _address(self, path: str) -> str:
        if path.startswith("/"):
            return f"{self.base}{path}"
        parts, own = urlsplit(path), urlsplit(self.base)
        if (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
            raise NotAsDocumented(
                f"{self.title} names an address on another host.", fix="Report it to the author of the connector."
            )
        return path

    async def _held_back(self, answer: Answer, attempt: int) -> None:
        """Have everybody wait who asks for leave on this connection, when the vendor asks to slow down."""
        if answer.status == TOO_MANY and self._hold is not None:
            own = min(self.rules.backoff_s * 2 ** (attempt - 1), self.rules.backoff_s_max)
            await self._hold(own if answer.retry_after_s is None else answer.retry_after_s)

    def _give_up(self, answer: Answer) -> None:
        """Raise Throttled when the vendor asks to slow down."""
        if answer.status == TOO_MANY or answer.retry_after_s is not None:
            after = answer.retry_after_s if answer.retry_after_s is not None else self.rules.backoff_s_max
            raise Throttled(f"{self.base} asks to slow down.", retry_after_s=after, fix="It is tried again by itself.")

    def _told(self, request: "_Request", status: int, attempt: int) -> None:
        if self._watch is not None:
            path = request.url.removeprefix(self.base)
            self._watch(Exchange(method=request.method, path=path, status=status, attempt=attempt))


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    query: Sequence[tuple[str, str]] | None
    payload: Json
    form: Mapping[str, str] | bytes | None
    headers: Mapping[str, str]
    exact: bool = False


def _broken(answer: Answer) -> bool:
    """Tell whether a good answer that says it is JSON broke off."""
    if not answer.good or not answer.body or "json" not in answer.headers.get("content-type", ""):
        return False
    try:
        msgspec.json.decode(answer.body, type=msgspec.Raw)
    except ValueError:
        return True
    return False


@asynccontextmanager
async def calling(
    url: str,
    *,
    title: str,
    dice: Random,
    leave: Leave = freely,
    authorise: Authorise | None = None,
    rules: Rules = RULES,
    watch: Watch | None = None,
) -> AsyncGenerator[Calls]:
    """Open a conversation with a vendor at an address that a person gave; raises ConnectorError when it cannot be."""
    base = permitted(url)
    connector = HOUSE.connector(own_only=base.startswith("http:"), per_host=CONNECTIONS_MAX)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as http:
        yield Calls(
            http=http, base=base, title=title, dice=dice, leave=leave, authorise=authorise, rules=rules, watch=watch
        )
