"""Requests to HubSpot: who we are, its errors as values, and its limits.

An app within the account has a token that stays; an app that people connect has a refresh token, which is exchanged for
one of half an hour. Searches have a limit of their own, of which no header tells: once it was met, they are spread.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from isthmus.connectors.hubspot.wire import Row, rows
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import TOO_MANY, UNAUTHORISED, Answer, Calls, Exchange, Rules
from isthmus.sync.connector import ConnectorError, FeedTrouble, KeyRefused, NotAsDocumented

URL = "https://api.hubapi.com"
# 423 is an account that is locked for seconds; 52x comes from what stands before HubSpot
# (https://developers.hubspot.com/docs/api-reference/error-handling).
RULES = Rules(
    attempts=6,
    backoff_s=0.5,
    total_s=60.0,
    silence_s=50.0,
    again=frozenset({423, 429, 500, 502, 503, 504, 521, 522, 523, 524}),
)
KEY_FIX = "In HubSpot, under Settings, Integrations, Private Apps, make an app and give its access token as `token`."
OAUTH_FIX = "Connect the app anew, and give its `client_id`, `client_secret` and `refresh_token`."
FORBIDDEN, MISSING, CONFLICT, BROKEN = 403, 404, 409, 500
# Searches are held to five in a second.
SEARCH_APART_S = 0.2
Query = Sequence[tuple[str, str]]


class HubSpotFault(Exception):
    """HubSpot's own refusal: its status, category and sentence."""

    def __init__(self, status: int, said: Json) -> None:
        """`said` is the body of the answer."""
        self.status, self.said = status, said
        self.category = text(at_path(said, "category")) or text(at_path(said, "errorType")) or ""
        self.sentence = (text(at_path(said, "message")) or f"HubSpot answered {status}.")[:500]
        super().__init__(self.sentence)


@dataclass(frozen=True, slots=True)
class Batch:
    """The answer to a batch: what was done, and what was refused."""

    results: list[Row]
    faults: list[Row]


class Access:
    """Proves who we are; the short token is kept for the session."""

    def __init__(self, settings: Mapping[str, str], *, tokens: Calls) -> None:
        """`tokens` calls without proof, for the exchange; raises ConnectorError when the settings have no key."""
        self._token = settings.get("token", "").strip()
        self._app = {name: settings.get(name, "").strip() for name in ("client_id", "client_secret", "refresh_token")}
        self._tokens, self._short = tokens, ""
        if not self._token and not all(self._app.values()):
            raise ConnectorError("The connection has no key of HubSpot's.", fix=f"{KEY_FIX} Else: {OAUTH_FIX}")
        if not all(each.isascii() and each.isprintable() for each in (self._token, *self._app.values())):
            raise ConnectorError("The key is none of HubSpot's.", fix=KEY_FIX)

    async def authorise(self, fresh: bool) -> dict[str, str]:  # noqa: FBT001 - as Calls asks it.
        """Return the header that proves who we are; raises KeyRefused."""
        if self._token:
            return {"Authorization": f"Bearer {self._token}"}
        if fresh or not self._short:
            form = {"grant_type": "refresh_token", **self._app}
            answer = await self._tokens.send("POST", "/oauth/v1/token", form=form, safe=True)
            found = text(at_path(answer.json(), "access_token")) if answer.good else None
            if found is None:
                raise KeyRefused("HubSpot gives no token for the refresh token.", fix=OAUTH_FIX)
            self._short = found
        return {"Authorization": f"Bearer {self._short}"}


class Transport:
    """One conversation with HubSpot."""

    def __init__(self, calls: Calls) -> None:
        """`calls` proves who we are by itself."""
        self._calls = calls
        self._apart_s = 0.0

    @property
    def base(self) -> str:
        """The address that is spoken with."""
        return self._calls.base

    def watch(self, exchange: Exchange) -> None:
        """Spread searches from the first that was refused for there being too many."""
        if exchange.status == TOO_MANY and exchange.path.endswith("/search"):
            self._apart_s = SEARCH_APART_S

    async def get(self, path: str, query: Query = ()) -> Row:
        """Ask for something; raises HubSpotFault with HubSpot's refusal, and ConnectorError when it cannot be asked."""
        return _told(await self._calls.send("GET", path, query=query))

    async def post(self, path: str, payload: Row, *, query: Query = (), safe: bool = True) -> Row:
        """Send something that done twice is done once, unless it is not `safe`. Raises as `get`."""
        return _told(await self._calls.send("POST", path, query=query, payload=payload, safe=safe))

    async def search(self, path: str, payload: Row) -> Row:
        """Search, at a distance from other searches once there were too many. Raises as `get`."""
        if self._apart_s:
            await asyncio.sleep(self._apart_s)
        return await self.post(path, payload)

    async def patch(self, path: str, payload: Row) -> Row:
        """Change something. Raises as `get`."""
        return _told(await self._calls.send("PATCH", path, payload=payload, safe=True))

    async def batch(
        self, path: str, inputs: Sequence[Json], more: Mapping[str, Json] | None = None, *, safe: bool = True
    ) -> Batch:
        """Send many at once, of which some may be refused. Raises as `get` where all are."""
        said = await self.post(path, {"inputs": list(inputs), **(more or {})}, safe=safe)
        return Batch(rows(said, "results"), rows(said, "errors"))


def unreadable(fault: HubSpotFault, *, what: str) -> ConnectorError:
    """Return the error to raise where something cannot be read."""
    if fault.status == FORBIDDEN:
        return FeedTrouble(
            f"The key may not read {what}: {fault.sentence}",
            fix=f"In HubSpot, give the app the scope for {what}, or leave {what} out of `feeds`.",
        )
    return NotAsDocumented(
        f"HubSpot refuses to tell of {what}: {fault.sentence}", fix="Report it to the author of the connector."
    )


def _told(answer: Answer) -> Row:
    if answer.status == UNAUTHORISED:
        raise KeyRefused("HubSpot refuses the key.", fix=KEY_FIX)
    if answer.good and not answer.body:
        return {}
    try:
        said = answer.json()
    except NotAsDocumented:
        if answer.good:
            raise
        said = None
    if not answer.good:
        raise HubSpotFault(answer.status, said)
    if not isinstance(said, dict):
        raise NotAsDocumented("What answers is not HubSpot.", fix="Check `url`, or leave it out.")
    return cast("Row", said)
