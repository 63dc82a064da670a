"""Bulk API 2.0: jobs that query everything, and jobs that write many records, with files of comma-separated values.

https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/bulk_api_2_0.htm
"""

import asyncio
import csv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO

from isthmus.connectors.salesforce.strict import REPORT, as_map
from isthmus.connectors.salesforce.transport import NOT_FOUND, SalesforceFault, Transport
from isthmus.connectors.salesforce.wire import Row
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.connector import ConnectorError, FeedTrouble, NotAsDocumented

QUERY_JOBS, INGEST_JOBS = "/jobs/query", "/jobs/ingest"
# How long is waited between two looks at a job: each look is one of the day's requests.
LOOK_S, LOOK_S_MAX, LOOKS_MAX = 0.25, 20.0, 400
# A file has at most 100 MB before it is encoded; rows of ours are below 10 kB.
ROWS_MAX = 10_000
# What is wanted null is said so: an empty cell leaves the field as it is.
NULL = "#N/A"
_CSV = {"Content-Type": "text/csv; charset=UTF-8"}
_FAILED, _UNPROCESSED = "failedResults", "unprocessedrecords"
_RESULTS = ("successfulResults", _FAILED, _UNPROCESSED)
_ENDED = ("JobComplete", "Failed", "Aborted")
_NO_LOCATOR = ("", "null")
_NOT_REACHED = "Salesforce did not come to it."


class BulkUnavailable(Exception):
    """No bulk job can be made now: the day's jobs are used up, or the table or our user may not be used so."""


class JobGone(Exception):
    """The job is no longer there: Salesforce keeps its results for seven days."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what a job found, as a file, and where the next one is; empty after the last."""

    content: str
    locator: str


@dataclass(frozen=True, slots=True)
class Ingested:
    """How one record of a job that writes ended: its id, or Salesforce's `CODE:sentence:fields --`.

    `later` tells that the job did not come to it, so that it may go another time.
    """

    id: str
    error: str = ""
    later: bool = False


class BulkJobs:
    """The jobs of one conversation."""

    def __init__(self, transport: Transport) -> None:
        """Looks at jobs come at growing distances."""
        self._transport = transport

    async def query(self, soql: str) -> str:
        """Begin a job that queries, with deleted and archived rows; returns its id. Raises BulkUnavailable."""
        made = await self._begun(QUERY_JOBS, {"operation": "queryAll", "query": soql})
        if why := await self._ended(QUERY_JOBS, made):
            raise FeedTrouble(f"A bulk job ended without a result: {why}", fix="Set `bulk_rows` to 0.")
        return made

    async def part(self, job: str, locator: str, *, rows_max: int) -> Part:
        """Return a part of what a job found; raises JobGone, and ConnectorError when it cannot be asked."""
        asked = [("maxRecords", str(rows_max))] + ([("locator", locator)] if locator else [])
        try:
            answer = await self._transport.send("GET", f"{QUERY_JOBS}/{job}/results", query=asked)
        except SalesforceFault as fault:
            if fault.status == NOT_FOUND or "locator" in fault.sentence.lower():
                raise JobGone from fault
            raise
        following = answer.headers.get("sforce-locator", "")
        return Part(answer.body.decode(), "" if following in _NO_LOCATOR else following)

    async def ingest(
        self, table: str, operation: str, records: Sequence[Row], *, key_field: str = ""
    ) -> list[Ingested]:
        """Write records; returns how each ended, in their order. Raises BulkUnavailable before anything is written.

        `operation` is insert, update, upsert or delete. Results name no number: records are known again by their id or
        their key, new ones without a key by all that was sent. A job that failed or was too slow has written some all
        the same: what became of each is asked for however it ended.
        """
        names = list(dict.fromkeys(name for each in records for name in each))
        asked: Row = {"object": table, "operation": operation, "contentType": "CSV", "lineEnding": "LF"}
        job = await self._begun(INGEST_JOBS, asked | ({"externalIdFieldName": key_field} if key_field else {}))
        content = _file(names, records).encode()
        await self._transport.send("PUT", f"{INGEST_JOBS}/{job}/batches", body=content, headers=_CSV)
        await self._transport.send("PATCH", f"{INGEST_JOBS}/{job}", payload={"state": "UploadComplete"}, safe=True)
        why = await self._ended(INGEST_JOBS, job)
        known_by = [key_field] if key_field else ["Id"] if "Id" in names else names
        told: dict[tuple[str, ...], list[Ingested]] = {}
        for kind in _RESULTS:
            answer = await self._transport.send("GET", f"{INGEST_JOBS}/{job}/{kind}")
            for row in csv.DictReader(StringIO(answer.body.decode(), newline="")):
                said = tuple(row.get(name) or "" for name in known_by)
                told.setdefault(said, []).append(_ingested(kind, row, why))
        return [_of(told, each, known_by) for each in records]

    async def _begun(self, kind: str, asked: Row) -> str:
        try:
            made = as_map((await self._transport.send("POST", kind, payload=asked)).json())
        except SalesforceFault as fault:
            raise BulkUnavailable(fault.sentence) from fault
        job = text(made.get("id"))
        if job is None:
            raise NotAsDocumented("A bulk job has no id.", fix=REPORT)
        return job

    async def _ended(self, kind: str, job: str) -> str:
        """Wait until a job has ended; returns why it is not complete, if it is not. What takes too long is stopped."""
        wait = LOOK_S
        for _ in range(LOOKS_MAX):
            told = await self._transport.get(f"{kind}/{job}")
            state = text(told.get("state"))
            if state in _ENDED:
                return "" if state == "JobComplete" else text(told.get("errorMessage")) or f"it is {state}."
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, LOOK_S_MAX)
        with suppress(SalesforceFault, ConnectorError):
            await self._transport.send("PATCH", f"{kind}/{job}", payload={"state": "Aborted"}, safe=True)
        return "it did not end in time."


def _file(names: Sequence[str], records: Sequence[Row]) -> str:
    content = StringIO(newline="")
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(each[name]) if name in each else "" for name in names] for each in records)
    return content.getvalue()


def _cell(value: Json) -> str:
    if value is None or value == "":
        return NULL
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _ingested(kind: str, row: dict[str, str], why: str) -> Ingested:
    if kind == _UNPROCESSED:
        return _passed_over(why)
    error = (row.get("sf__Error") or "UNKNOWN_EXCEPTION:Salesforce does not say why.:--") if kind == _FAILED else ""
    return Ingested(row.get("sf__Id") or "", error)


def _passed_over(why: str) -> Ingested:
    return Ingested("", f"NOT_PROCESSED:{f'A bulk job ended early: {why}' if why else _NOT_REACHED}:--", later=True)


def _of(told: dict[tuple[str, ...], list[Ingested]], record: Row, known_by: Sequence[str]) -> Ingested:
    """Return how a record ended; several of which the same was said take the answers one by one."""
    found = told.get(tuple(_cell(record[name]) if name in record else "" for name in known_by))
    return found.pop(0) if found else _passed_over("")
