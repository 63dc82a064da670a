"""Requests to Stripe: the pinned version, idempotency keys, forms, and Stripe's errors as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import cast
from urllib.parse import urlsplit

from isthmus.connectors.stripe.mapping import CUSTOMERS, REFUNDS
from isthmus.connectors.stripe.wire import form
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import Answer, Calls, Rules
from isthmus.sync.connector import ConnectorError, FeedTrouble, KeyRefused, NotAsDocumented

# The last version in which a charge names its invoice and an invoice its payment intent. Stripe keeps versions alive.
VERSION = "2025-02-24.acacia"
URL = "https://api.stripe.com"
PAGE_ROWS_MAX = 100
# What is told of only when it is asked for, by list.
EXPANDED = {CUSTOMERS: ("tax_ids",), REFUNDS: ("charge",)}
# A conflict is another request on the same object or key that is still under way (https://docs.stripe.com/api/errors).
RULES = Rules(total_s=90.0, silence_s=80.0, again=frozenset({409, 429, 500, 502, 503, 504}))
KEY_FIX = "In Stripe, under Developers, make a restricted key and give it as `key`."
UNAUTHORISED, FORBIDDEN, GONE = 401, 403, 404
Query = Sequence[tuple[str, str]]


class StripeFault(Exception):
    """Stripe's own refusal: its status, type and code, the parameter it is about, and its sentence."""

    def __init__(self, status: int, error: Json) -> None:
        """`error` is what stands under `error` in the answer."""
        self.status = status
        self.kind = text(at_path(error, "type")) or ""
        self.code = text(at_path(error, "code")) or ""
        self.param = text(at_path(error, "param")) or ""
        self.sentence = text(at_path(error, "message")) or f"Stripe answered {status}."
        super().__init__(self.sentence)

    @property
    def missing(self) -> bool:
        """Tell whether the object that was asked for is not there."""
        return self.status == GONE or self.code == "resource_missing"


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: what it says, and when Stripe said it, in seconds of its own clock (0 where it does not tell)."""

    body: dict[str, Json]
    at: int


@dataclass(frozen=True, slots=True)
class Key:
    """A secret or restricted key and whether it moves real money."""

    secret: str
    live: bool

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Key":
        """Return the key; raises ConnectorError where it is none, or not of the mode that the connection is for.

        A key of the test mode on a connection for real money would fill it with invented money, and the other way
        round a trial would move real money; so the mode is told apart from the key, and both must say the same.
        """
        secret, mode = settings.get("key", "").strip(), settings.get("mode", "live").strip()
        if mode not in ("live", "test"):
            raise ConnectorError(f"{mode!r} is no mode of Stripe's.", fix="Set `mode` to live or to test.")
        kind, _, rest = secret.partition("_")
        if kind not in ("sk", "rk") or not rest.isascii() or not rest.isprintable():
            raise ConnectorError("The key is no secret or restricted key of Stripe's.", fix=KEY_FIX)
        live = rest.startswith("live_")
        if live != (mode == "live"):
            what = "live" if live else "test"
            raise ConnectorError(
                f"The key is one of {what} mode, and the connection is for {mode} mode.",
                fix=f"Give a key of {mode} mode, or make a connection with `mode` set to {what}.",
            )
        if live and urlsplit(settings.get("url") or URL).netloc != urlsplit(URL).netloc:
            raise ConnectorError("A live key is only sent to Stripe itself.", fix="Leave `url` out.")
        return cls(secret, live)


class Transport:
    """One conversation with Stripe."""

    def __init__(self, calls: Calls, key: Key) -> None:
        """Everything is said in one version and with one key."""
        self._calls, self.live = calls, key.live
        self._headers = {"Authorization": f"Bearer {key.secret}", "Stripe-Version": VERSION}

    @property
    def base(self) -> str:
        """The address that is spoken with."""
        return self._calls.base

    async def get(self, path: str, query: Query = ()) -> Told:
        """Ask for something; raises StripeFault with Stripe's refusal, and ConnectorError when it cannot be asked."""
        answer = await self._calls.send("GET", path, query=query, headers=self._headers)
        return _told(answer)

    async def post(self, path: str, values: Mapping[str, Json], *, key: str) -> Told:
        """Make or change something; the same key never does it twice. Raises as `get`."""
        headers = {**self._headers, "Idempotency-Key": key}
        answer = await self._calls.send("POST", path, form=form(values), headers=headers, safe=True)
        return _told(answer)

    async def delete(self, path: str, values: Mapping[str, Json] | None = None) -> Told:
        """Delete or cancel something, which done twice is done once. Raises as `get`."""
        query = list(form(values or {}).items())
        answer = await self._calls.send("DELETE", path, query=query, headers=self._headers, safe=True)
        return _told(answer)


def unreadable(fault: StripeFault, *, what: str) -> ConnectorError:
    """Return the error to raise where a list cannot be read."""
    without = "set `follow` to lists" if what == "events" else f"leave {what} out of `feeds`"
    if fault.status == FORBIDDEN:
        fix = f"In Stripe, let the key read {what}, or {without}."
        return FeedTrouble(f"The key may not read {what}: {fault.sentence}", fix=fix)
    if fault.missing:
        return FeedTrouble(f"There are no {what} here: {fault.sentence}", fix=f"Check `url`, or {without}.")
    return NotAsDocumented(
        f"Stripe refuses to list {what}: {fault.sentence}", fix="Report it to the author of the connector."
    )


def _told(answer: Answer) -> Told:
    if answer.status == UNAUTHORISED:
        raise KeyRefused("Stripe refuses the key.", fix=KEY_FIX)
    body = _object(answer)
    if not answer.good:
        raise StripeFault(answer.status, body.get("error"))
    return Told(body, _seconds(answer.headers.get("date", "")))


def _object(answer: Answer) -> dict[str, Json]:
    """Return what an answer says; a refusal by what stands before Stripe need not be JSON."""
    try:
        found = answer.json()
    except NotAsDocumented:
        if answer.good:
            raise
        found = {}
    if not isinstance(found, dict):
        raise NotAsDocumented("What answers is not Stripe.", fix="Check `url`, or leave it out.")
    return cast("dict[str, Json]", found)


def _seconds(date: str) -> int:
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return 0
