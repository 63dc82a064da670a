"""Bulk API 2.0 of the fake: jobs that query and jobs that write, whose work is done when they are looked at."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import cast

from isthmus.connectors.salesforce.fake.answers import answered
from isthmus.connectors.salesforce.fake.faults import Refused, missing
from isthmus.connectors.salesforce.fake.fields import Schema
from isthmus.connectors.salesforce.fake.records import Records
from isthmus.connectors.salesforce.fake.soql import Query, parse
from isthmus.connectors.salesforce.fake.values import STAMP_FORM
from isthmus.connectors.salesforce.wire import Row
from isthmus.kernel.marks import Json

QUERIES, WRITES = "query", "ingest"
_OPERATIONS = {QUERIES: ("query", "queryAll"), WRITES: ("insert", "update", "upsert", "delete", "hardDelete")}
_NUMBERS = ("double", "currency", "percent", "int")


@dataclass
class Job:
    """A job; `looks` is how often it was looked at: at the second look it is done."""

    told: Row
    kind: str
    by: str
    query: Query | None = None
    found: list[Row] = field(default_factory=list[Row])
    content: str = ""
    looks: int = 0
    good: list[tuple[str, bool, dict[str, str]]] = field(default_factory=list[tuple[str, bool, dict[str, str]]])
    bad: list[tuple[str, str, dict[str, str]]] = field(default_factory=list[tuple[str, str, dict[str, str]]])
    left: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    @property
    def state(self) -> str:
        """Its state."""
        return str(self.told["state"])


class Jobs:
    """All jobs; `left` is how many more may be made today, `fails_after` at which row those that write fail.

    No order of results is promised: with `backwards` the newest record comes first.
    """

    def __init__(self, records: Records) -> None:
        """Begin without jobs."""
        self._records = records
        self.left = 10_000
        self.fails_after: int | None = None
        self.backwards = False
        self._jobs: dict[str, Job] = {}

    def make(self, kind: str, given: Mapping[str, Json], *, by: str) -> Row:
        """Make a job; raises Refused."""
        operation = given.get("operation")
        if operation not in _OPERATIONS[kind]:
            raise Refused(400, "INVALIDJOB", f"InvalidJob : Unsupported operation: {operation}")
        if self.left <= 0:
            raise Refused(400, "LIMIT_EXCEEDED", "ExceededQuota : Daily bulk job limit exceeded")
        query = parse(str(given.get("query"))) if kind == QUERIES else None
        if query is not None and (not query.fields or query.offset):
            raise Refused(400, "INVALIDJOB", "InvalidJob : Query with COUNT or OFFSET not supported by the Bulk API")
        table = self._records.schema(query.table if query is not None else str(given.get("object"))).name
        if operation == "upsert" and not given.get("externalIdFieldName"):
            raise Refused(400, "INVALIDJOB", "InvalidJob : External ID was blank for an upsert operation")
        self.left -= 1
        now = self._records.now.strftime(STAMP_FORM)
        number = f"750gL{10_000 - self.left:010}UAA"
        told: Row = {
            "id": number,
            "operation": operation,
            "object": table,
            "createdById": by,
            "createdDate": now,
            "systemModstamp": now,
            "state": "UploadComplete" if kind == QUERIES else "Open",
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": 62.0,
            "lineEnding": given.get("lineEnding") or "LF",
            "columnDelimiter": given.get("columnDelimiter") or "COMMA",
        }
        if kind == WRITES:
            told |= {"contentUrl": f"services/data/v62.0/jobs/ingest/{number}/batches"}
            told |= {"externalIdFieldName": given.get("externalIdFieldName")} if operation == "upsert" else {}
        self._jobs[number] = Job(told, kind, by, query)
        return told

    def all(self, kind: str) -> list[Job]:
        """Return the jobs of a kind that are still known, oldest first."""
        return [each for each in self._jobs.values() if each.kind == kind]

    def job(self, kind: str, number: str) -> Job:
        """Return a job; raises Refused."""
        found = self._jobs.get(number)
        if found is None or found.kind != kind:
            raise missing()
        return found

    def look(self, kind: str, number: str) -> Row:
        """Return how a job stands; its work is done at the second look."""
        job = self.job(kind, number)
        if job.state in ("UploadComplete", "InProgress"):
            job.looks += 1
            done = job.looks > 1
            job.told["state"] = "JobComplete" if done else "InProgress"
            if done:
                self._work(job)
                if job.left:
                    job.told |= {"state": "Failed", "errorMessage": "InternalServerError : Unable to process the job"}
        counts: Row = {"numberRecordsProcessed": len(job.found) or len(job.good) + len(job.bad)}
        return job.told | counts | ({"numberRecordsFailed": len(job.bad)} if kind == WRITES else {})

    def move(self, kind: str, number: str, state: Json) -> Row:
        """Say that what was sent is whole, or that a job is not wanted any more; raises Refused."""
        job = self.job(kind, number)
        if state not in ("UploadComplete", "Aborted") or job.state in ("JobComplete", "Failed", "Aborted"):
            raise Refused(400, "INVALIDJOBSTATE", f"InvalidJobState : Job is in state {job.state}")
        job.told["state"] = state
        return job.told

    def upload(self, number: str, content: str) -> None:
        """Take the file of a job; raises Refused."""
        job = self.job(WRITES, number)
        if job.state != "Open" or job.content:
            raise Refused(400, "INVALIDJOBSTATE", f"InvalidJobState : Job is in state {job.state}")
        job.content = content

    def drop(self, kind: str, number: str) -> None:
        """Forget a job."""
        self.job(kind, number)
        self._jobs.pop(number)

    def forget(self) -> None:
        """Forget all jobs, as happens after a week."""
        self._jobs.clear()

    def results(self, number: str, *, locator: str, rows_max: int) -> tuple[str, str, int]:
        """Return a part of what a query found as a file, where the next one is, and how many rows; raises Refused."""
        job = self.job(QUERIES, number)
        if job.state != "JobComplete" or job.query is None:
            raise Refused(400, "INVALIDJOBSTATE", "InvalidJobState : The job has not completed")
        if locator and not locator.isdecimal():
            raise Refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        at = int(locator or 0)
        some = job.found[at : at + rows_max]
        following = str(at + rows_max) if at + rows_max < len(job.found) else "null"
        return _file(list(job.query.fields), [_flat(job.query.fields, row) for row in some]), following, len(some)

    def ended(self, number: str, kind: str) -> str:
        """Return how the records of a job that writes ended, as a file; raises Refused."""
        job = self.job(WRITES, number)
        names = _header(job.content)
        if kind == "successfulResults":
            head = ["sf__Id", "sf__Created", *names]
            lines = [{"sf__Id": of, "sf__Created": str(made).lower(), **said} for of, made, said in job.good]
            lines.sort(key=lambda line: line["sf__Id"], reverse=self.backwards)
        elif kind == "failedResults":
            head = ["sf__Id", "sf__Error", *names]
            lines = [{"sf__Id": of, "sf__Error": error, **said} for of, error, said in job.bad]
        else:
            head, lines = names, job.left
        return _file(head, lines)

    def _work(self, job: Job) -> None:
        if job.query is not None:
            job.found = answered(self._records, job.query, deleted=job.told["operation"] == "queryAll")
            return
        for number, said in enumerate(csv.DictReader(StringIO(job.content, newline=""))):
            line = {str(name): value or "" for name, value in said.items()}
            if self.fails_after is not None and number >= self.fails_after:
                job.left.append(line)
                continue
            try:
                of, made = self._one(job, line)
                job.good.append((of, made, line))
            except Refused as refused:
                job.bad.append((line.get("Id", ""), refused.line(), line))

    def _one(self, job: Job, line: Mapping[str, str]) -> tuple[str, bool]:
        schema = self._records.schema(str(job.told["object"]))
        values = {name: _read(schema, name, value) for name, value in line.items() if value and name != "Id"}
        operation, of = job.told["operation"], line.get("Id", "")
        if operation == "insert":
            return self._records.create(schema.name, values, by=job.by), True
        if operation == "upsert":
            key = str(job.told["externalIdFieldName"])
            known = self._records.by_key(schema.name, key, line.get(key, ""))
            if known is None:
                return self._records.create(schema.name, values, by=job.by), True
            values.pop(key)
            self._records.change(schema.name, known, values, by=job.by)
            return known, False
        if operation == "update":
            self._records.change(schema.name, of, values, by=job.by)
        else:
            self._records.delete(schema.name, of, by=job.by)
            if operation == "hardDelete":
                self._records.purge(schema.name, of)
        return of, False


def _read(schema: Schema, name: str, value: str) -> Json:
    """Return the value of a cell; what is to be emptied is said so, as an empty cell leaves the field alone."""
    if value == "#N/A":
        return None
    known = schema.fields.get(name)
    if known is not None and known.kind == "boolean":
        return value == "true"
    if known is not None and known.kind in _NUMBERS and value.replace(".", "", 1).lstrip("-").isdecimal():
        return float(value)
    return value


def _header(content: str) -> list[str]:
    return next(csv.reader(StringIO(content, newline="")), [""])


def _flat(names: tuple[str, ...], row: Row) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        relation, _, inner = name.partition(".")
        value = cast("Row", row.get(relation) or {}).get(inner) if inner else row.get(name)
        found[name] = _cell(value)
    return found


def _cell(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.replace("+0000", "Z") if isinstance(value, str) and value.endswith(".000+0000") else str(value)


def _file(head: list[str], lines: list[dict[str, str]]) -> str:
    content = StringIO(newline="")
    writer = csv.DictWriter(content, head, lineterminator="\n", quoting=csv.QUOTE_ALL, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(lines)
    return content.getvalue()
