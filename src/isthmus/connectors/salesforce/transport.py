"""Requests to Salesforce: the pinned version, its errors as values, and what is left of the daily allowance.

Errors: https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isthmus.connectors.salesforce.signing import FIX
from isthmus.connectors.salesforce.strict import REPORT, as_map
from isthmus.connectors.salesforce.wire import Row, first, rows
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.calls import SAID_MAX, UNAUTHORISED, Answer, Calls
from isthmus.sync.connector import ConnectorError, KeyRefused, NotAsDocumented, Throttled

VERSION = "v62.0"
ROOT = f"/services/data/{VERSION}"
# The allowance is for any 24 hours, so that within an hour some of it comes back.
QUOTA_RETRY_S = 3600.0
FORBIDDEN, NOT_FOUND = 403, 404
PRECONDITION_FAILED = 412
# Codes that say: not now. All others stand until somebody changes something.
LATER = frozenset(
    {
        *("UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "QUERY_TIMEOUT", "UNKNOWN_EXCEPTION"),
        "REQUEST_RUNNING_TOO_LONG",
    }
)
GONE_CODES = frozenset({"NOT_FOUND", "ENTITY_IS_DELETED"})
_USAGE = re.compile(r"\bapi-usage=(\d+)/(\d+)")
_BROKEN = 500


class SalesforceFault(Exception):
    """Salesforce's own refusal: the status, and the code, sentence and fields of its first error."""

    def __init__(self, status: int, errors: Json) -> None:
        """`errors` is the list that the answer holds; some answers hold one error alone."""
        told = first(rows(errors if isinstance(errors, list) else [errors]))
        self.status = status
        self.code = text(told.get("errorCode")) or text(told.get("statusCode")) or ""
        named = told.get("fields")
        self.fields = tuple(str(each) for each in named) if isinstance(named, list) else ()
        self.sentence = text(told.get("message")) or f"Salesforce answered {status}."
        super().__init__(self.sentence)

    @property
    def later(self) -> bool:
        """Tell whether it may go another time."""
        return self.code in LATER or self.status >= _BROKEN

    @property
    def gone(self) -> bool:
        """Tell whether the record is not there."""
        return self.code in GONE_CODES or self.status == NOT_FOUND


@dataclass(frozen=True, slots=True)
class Found:
    """A part of what a query found; `next_path` leads to the rest."""

    rows: list[Row]
    next_path: str | None


class Transport:
    """One conversation; `reserve` is the share of the day's requests that is left to others, in percent."""

    def __init__(self, calls: Calls, *, reserve: int) -> None:
        """How much of the allowance is used is told with every answer."""
        self._calls, self._reserve = calls, reserve
        self.used, self.allowed = 0, 0

    @property
    def base(self) -> str:
        """The address that is spoken with."""
        return self._calls.base

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] | None = None,
        payload: Json = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Answer:
        """Ask for something below the version, or at a whole path, and return a good answer.

        Raises SalesforceFault with Salesforce's refusal, Throttled at the end of the day's allowance, KeyRefused, and
        ConnectorError when it cannot be asked.
        """
        self._within_quota()
        whole = path if path.startswith("/services/") else f"{ROOT}{path}"
        answer = await self._calls.send(
            method, whole, query=query, payload=payload, body=body, headers=headers, safe=safe
        )
        if found := _USAGE.search(answer.headers.get("sforce-limit-info", "")):
            self.used, self.allowed = int(found[1]), int(found[2])
        if answer.good:
            return answer
        if answer.status == UNAUTHORISED:
            raise KeyRefused("Salesforce ends the session at once.", fix=FIX)
        fault = SalesforceFault(answer.status, _errors(answer))
        if fault.code == "REQUEST_LIMIT_EXCEEDED":
            raise Throttled(fault.sentence, retry_after_s=QUOTA_RETRY_S, fix="It goes on by itself.")
        raise fault

    async def get(self, path: str, *, query: Sequence[tuple[str, str]] | None = None) -> Row:
        """Return what a path says; raises as `send`."""
        return as_map((await self.send("GET", path, query=query)).json())

    async def query(self, soql: str, *, deleted: bool = False) -> Found:
        """Return the first part of what a query finds, with deleted and archived rows if wanted; raises as `send`."""
        return _found(await self.get("/queryAll" if deleted else "/query", query=[("q", soql)]))

    async def more(self, path: str) -> Found:
        """Return the next part; raises as `send`."""
        if not path.startswith(f"{ROOT}/quer"):
            raise NotAsDocumented("Salesforce names another place for the rest of a list.", fix=REPORT)
        return _found(await self.get(path))

    async def all(self, soql: str, *, deleted: bool = False) -> list[Row]:
        """Return all that a query finds, for what is little; raises as `send`."""
        part = await self.query(soql, deleted=deleted)
        found = part.rows
        while part.next_path is not None:
            part = await self.more(part.next_path)
            found += part.rows
        return found

    def _within_quota(self) -> None:
        """Raise Throttled where what is left of the day is not ours."""
        if self.allowed and self.used >= self.allowed * (100 - self._reserve) / 100:
            raise Throttled(
                f"{self.used} of the {self.allowed} requests that Salesforce allows in 24 hours are used.",
                retry_after_s=QUOTA_RETRY_S,
                fix="It goes on by itself; lower `reserve`, or ask Salesforce for more.",
            )


def _found(told: Row) -> Found:
    if not isinstance(told.get("records"), list):
        raise NotAsDocumented("What answers is no list of Salesforce's.", fix="Check `url`.")
    path = text(told.get("nextRecordsUrl")) if told.get("done") is False else None
    return Found(rows(told.get("records")), path)


def _errors(answer: Answer) -> Json:
    try:
        return answer.json()
    except ConnectorError:
        return [{"message": f"Salesforce answered {answer.status}: {answer.body[:SAID_MAX].decode(errors='replace')}"}]
