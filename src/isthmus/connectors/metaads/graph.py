"""Requests to Meta's Graph API: the pinned version, the proof of the app, lists page by page, and errors in words.

https://developers.facebook.com/docs/graph-api/guides/error-handling and /overview/rate-limiting.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

import msgspec

from isthmus.connectors.metaads.wire import VERSION, Row, rows
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import UNAUTHORISED, Answer, Calls, Rules
from isthmus.sync.connector import ConnectorError, FeedTrouble, KeyRefused, NotAsDocumented, Throttled

# A 500 says in its body whether it is worth trying again, so that it is looked at here.
RULES = Rules(again=frozenset({429, 502, 503, 504}))
TRIES_MAX, PAUSE_S, THROTTLED_S = 4, 0.25, 300.0
_BROKEN = 500
_PASSING, _PARAMETER, _OLD = frozenset({1, 2}), 100, 2635
_TOKEN = frozenset({102, 104, 190})
_SLOWER = frozenset({4, 17, 32, 613, *range(80_000, 80_015)})
_RIGHTS = frozenset({3, 10, *range(200, 300)})
_ABSENT_SUBCODE, _TOO_MUCH_SUBCODE = 33, 1_487_534
_ABSENT = 803


class TooMuch(FeedTrouble):
    """Meta will not put as much into one answer; a report made in the background may hold it."""


class Graph:
    """The Graph API as one token sees it."""

    def __init__(self, calls: Calls, *, token: str, secret: str) -> None:
        """`secret` is the app's, or empty; with it every request proves that it is the app's own."""
        self._calls = calls
        self._proof = {"access_token": token}
        if secret:
            self._proof["appsecret_proof"] = hmac.new(secret.encode(), token.encode(), "sha256").hexdigest()

    @property
    def base(self) -> str:
        """Return the address that is spoken with."""
        return self._calls.base

    async def ask(self, path: str, params: Mapping[str, str], *, make: bool = False) -> tuple[Row, datetime | None]:
        """Return what an answer says and when it was said; `make` posts, what may be done twice.

        Raises KeyRefused, Throttled, TooMuch, FeedTrouble, NotAsDocumented, ConnectorError.
        """
        given = {**self._proof, **params}
        attempt = 1
        while True:
            if make:
                answer = await self._calls.send("POST", f"/{VERSION}/{path}", form=given, safe=True)
            else:
                answer = await self._calls.send("GET", f"/{VERSION}/{path}", query=list(given.items()))
            if answer.good:
                return _row(answer), _when(answer)
            if attempt == TRIES_MAX or not _passing(answer):
                raise _fault(answer)
            await asyncio.sleep(PAUSE_S * 2 ** (attempt - 1))
            attempt += 1

    async def listed(self, path: str, params: Mapping[str, str], *, limit: int) -> AsyncIterator[list[Row]]:
        """Yield a list page by page. `next` tells that there is one; its address holds the token, and is not used."""
        asked = {**params, "limit": str(limit)}
        more = True
        while more:
            body, _ = await self.ask(path, asked)
            if not isinstance(body.get("data"), list):
                raise NotAsDocumented("Meta's answer has no rows.", fix="Check `url`, or leave it out.")
            yield rows(body["data"])
            after = text(at_path(body, "paging", "cursors", "after"))
            more = after is not None and at_path(body, "paging", "next") is not None
            asked = asked | {"after": after or ""}

    async def all(self, path: str, params: Mapping[str, str], *, limit: int) -> list[Row]:
        """Return a list as a whole."""
        return [row async for page in self.listed(path, params, limit=limit) for row in page]


def _row(answer: Answer) -> Row:
    found = answer.json()
    if not isinstance(found, dict):
        raise NotAsDocumented("What answers is not Meta's Graph API.", fix="Check `url`, or leave it out.")
    return found


def _when(answer: Answer) -> datetime | None:
    try:
        return parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None


def _error(answer: Answer) -> Row:
    try:
        found = at_path(msgspec.json.decode(answer.body), "error")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _too_much(error: Row) -> bool:
    # The second form is what Meta answers to lists, with the code of something that passes.
    reduce = "reduce the amount of data" in str(error.get("message"))
    return error.get("error_subcode") == _TOO_MUCH_SUBCODE or (error.get("code") == 1 and reduce)


def _passing(answer: Answer) -> bool:
    """Tell whether trying again soon may help."""
    error = _error(answer)
    if _too_much(error) or error.get("code") in _SLOWER:
        return False
    return answer.status == _BROKEN or error.get("code") in _PASSING or error.get("is_transient") is True


def _fault(answer: Answer) -> ConnectorError:
    """Return an answer that is none of success as what it means."""
    error = _error(answer)
    code, said = error.get("code"), text(error.get("message")) or answer.said
    if code in _SLOWER:
        return Throttled("Meta asks to slow down.", retry_after_s=_wait_s(answer), fix="It is tried again by itself.")
    if denied := _denied(answer, error, said):
        return denied
    if _too_much(error):
        return TooMuch(f"Meta will not tell as much at once: {said}", fix="Lower `page_rows`.")
    if code == _OLD:
        return NotAsDocumented(f"Meta no longer speaks {VERSION}: {said}", fix="Install a newer isthmus.")
    if _passing(answer):
        return ConnectorError(f"Meta has trouble of its own: {said}", fix="It is tried again with the next run.")
    return NotAsDocumented(
        f"Meta answered {answer.status} (code {code}): {said}",
        fix="See what it says; if it cannot be right, report it to the author of the connector.",
    )


def _denied(answer: Answer, error: Row, said: str) -> ConnectorError | None:
    """Return what is wrong with who asks, if anything."""
    code = error.get("code")
    if code in _TOKEN or answer.status == UNAUTHORISED:
        fix = "Make a new token of a system user and give it: isthmus connect set NAME --secret access_token=@token"
        return KeyRefused("Meta refuses the access token.", fix=fix)
    if "appsecret_proof" in said:
        return KeyRefused("Meta refuses the proof of the app.", fix="Give the `app_secret` of the app of the token.")
    if code in _RIGHTS:
        return FeedTrouble(f"Meta does not allow it: {said}", fix="Give the token `ads_read` for the ad account.")
    if code == _ABSENT or (code == _PARAMETER and error.get("error_subcode") == _ABSENT_SUBCODE):
        return ConnectorError(
            f"The ad account is not there, or not for this token: {said}",
            fix="Check `account_id`, and assign the ad account to the system user.",
        )
    return None


def _wait_s(answer: Answer) -> float:
    """Return how long to wait, in seconds, by the longest of what the headers say."""
    waits: list[float] = [answer.retry_after_s or 0.0]
    for each in _told(answer, "x-business-use-case-usage").values():
        waits += [
            60.0 * number for row in rows(each) if (number := _number(row.get("estimated_time_to_regain_access")))
        ]
    waits.append(_number(_told(answer, "x-ad-account-usage").get("reset_time_duration")))
    return max(waits) or THROTTLED_S


def _told(answer: Answer, header: str) -> dict[str, Json]:
    try:
        return msgspec.json.decode(answer.headers.get(header, "{}"), type=dict[str, Json])
    except msgspec.DecodeError:
        return {}


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
