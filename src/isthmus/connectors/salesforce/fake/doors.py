"""The addresses of the fake: what is asked is read, done by `Rest` and `Jobs`, and answered in Salesforce's form."""

from typing import Protocol, cast

import msgspec
from aiohttp import web

from isthmus.connectors.salesforce.fake.faults import Refused
from isthmus.connectors.salesforce.fake.jobs import QUERIES, WRITES, Jobs
from isthmus.connectors.salesforce.fake.records import Records
from isthmus.connectors.salesforce.fake.rest import ROOT, Rest
from isthmus.connectors.salesforce.wire import Row
from isthmus.kernel.marks import Json

BY = web.RequestKey("by", str)


class Allowance(Protocol):
    """How many requests are allowed in a day, and how many were made."""

    allowed: int
    used: int


def said(told: Json, *, status: int = 200) -> web.Response:
    """Return an answer in JSON."""
    return web.Response(status=status, body=msgspec.json.encode(told), content_type="application/json")


def _by(request: web.Request) -> str:
    return request[BY]


def _kind(request: web.Request) -> str:
    return request.match_info["kind"]


async def _sent(request: web.Request) -> Row:
    try:
        told = cast("Json", msgspec.json.decode(await request.read()))
    except msgspec.DecodeError as error:
        raise Refused(400, "JSON_PARSER_ERROR", "Unexpected character") from error
    if not isinstance(told, dict):
        raise Refused(400, "JSON_PARSER_ERROR", "Expected a record.")
    return told


class RestDoors:
    """The addresses of records, queries and limits."""

    def __init__(self, rest: Rest, jobs: Jobs, allowance: Allowance) -> None:
        """Everything is done by `rest`."""
        self.rest, self.jobs, self.allowance = rest, jobs, allowance

    def stand(self, router: web.UrlDispatcher) -> None:
        """Add the addresses."""
        for kind in ("query", "queryAll"):
            router.add_get(f"{ROOT}/{kind}", self.query)
            router.add_get(f"{ROOT}/{kind}/", self.query)
        router.add_get(ROOT + "/{kind:query|queryAll}/{locator}", self.more)
        router.add_get(f"{ROOT}/limits", self.limits)
        router.add_get(f"{ROOT}/limits/", self.limits)
        router.add_get(f"{ROOT}/sobjects", self.describe_all)
        at = f"{ROOT}/sobjects/{{table}}"
        router.add_post(at, self.create)
        router.add_post(f"{at}/", self.create)
        router.add_get(f"{at}/describe", self.describe)
        router.add_get(f"{at}/{{kind:deleted|updated}}/", self.span)
        router.add_get(f"{at}/{{kind:deleted|updated}}", self.span)
        router.add_get(f"{at}/{{of}}", self.get)
        router.add_patch(f"{at}/{{of}}", self.change)
        router.add_delete(f"{at}/{{of}}", self.delete)
        router.add_patch(f"{at}/{{key}}/{{value}}", self.upsert)
        many = f"{ROOT}/composite/sobjects"
        router.add_post(many, self.collection)
        router.add_patch(many, self.collection)
        router.add_delete(many, self.delete_all)
        router.add_patch(f"{many}/{{table}}/{{key}}", self.collection)

    async def query(self, request: web.Request) -> web.Response:
        return said(self.rest.query(request.query.get("q", ""), deleted="queryAll" in request.path))

    async def more(self, request: web.Request) -> web.Response:
        return said(self.rest.more(request.match_info["locator"], request.match_info["kind"]))

    async def describe_all(self, _: web.Request) -> web.Response:
        return said(self.rest.described())

    async def create(self, request: web.Request) -> web.Response:
        made = self.rest.create(request.match_info["table"], await _sent(request), by=_by(request))
        return said(made, status=201)

    async def describe(self, request: web.Request) -> web.Response:
        return said(self.rest.describe(request.match_info["table"]))

    async def span(self, request: web.Request) -> web.Response:
        told = self.rest.gone if request.path.rstrip("/").endswith("deleted") else self.rest.moved
        return said(told(request.match_info["table"], request.query.get("start", ""), request.query.get("end", "")))

    async def get(self, request: web.Request) -> web.Response:
        return said(self.rest.get(request.match_info["table"], request.match_info["of"]))

    async def change(self, request: web.Request) -> web.Response:
        table, of = request.match_info["table"], request.match_info["of"]
        since = request.headers.get("If-Unmodified-Since")
        self.rest.change(table, of, await _sent(request), by=_by(request), unmodified_since=since)
        return web.Response(status=204)

    async def delete(self, request: web.Request) -> web.Response:
        self.rest.delete(request.match_info["table"], request.match_info["of"], by=_by(request))
        return web.Response(status=204)

    async def upsert(self, request: web.Request) -> web.Response:
        place = request.match_info
        told = self.rest.upsert(place["table"], place["key"], place["value"], await _sent(request), by=_by(request))
        return said(told, status=201 if told["created"] else 200)

    async def collection(self, request: web.Request) -> web.Response:
        table, key = request.match_info.get("table", ""), request.match_info.get("key", "")
        told: Json = list(
            self.rest.collection(request.method, await _sent(request), by=_by(request), table=table, key=key)
        )
        return said(told)

    async def delete_all(self, request: web.Request) -> web.Response:
        told: Json = list(self.rest.delete_all(request.query.get("ids", "").split(","), by=_by(request)))
        return said(told)

    async def limits(self, _: web.Request) -> web.Response:
        left: Row = {"Max": self.allowance.allowed, "Remaining": max(0, self.allowance.allowed - self.allowance.used)}
        jobs: Row = {"Max": 10_000, "Remaining": self.jobs.left}
        return said({"DailyApiRequests": left, "DailyBulkV2QueryJobs": jobs})


class JobDoors:
    """The addresses of bulk jobs."""

    def __init__(self, jobs: Jobs, records: Records) -> None:
        """Everything is done by `jobs`."""
        self.jobs, self.records = jobs, records

    def stand(self, router: web.UrlDispatcher) -> None:
        """Add the addresses."""
        at = f"{ROOT}/jobs/{{kind:{QUERIES}|{WRITES}}}"
        router.add_post(at, self.make)
        router.add_get(f"{at}/{{job}}", self.look)
        router.add_patch(f"{at}/{{job}}", self.move)
        router.add_delete(f"{at}/{{job}}", self.drop)
        router.add_put(f"{ROOT}/jobs/{WRITES}/{{job}}/batches", self.upload)
        router.add_get(f"{ROOT}/jobs/{QUERIES}/{{job}}/results", self.results)
        parts = "successfulResults|failedResults|unprocessedrecords|unprocessedRecords"
        router.add_get(f"{ROOT}/jobs/{WRITES}/{{job}}/{{part:{parts}}}", self.ended)

    async def make(self, request: web.Request) -> web.Response:
        with self.records.lock:
            return said(self.jobs.make(_kind(request), await _sent(request), by=_by(request)))

    async def look(self, request: web.Request) -> web.Response:
        return said(self.jobs.look(_kind(request), request.match_info["job"]))

    async def move(self, request: web.Request) -> web.Response:
        state = (await _sent(request)).get("state")
        return said(self.jobs.move(_kind(request), request.match_info["job"], state))

    async def drop(self, request: web.Request) -> web.Response:
        self.jobs.drop(_kind(request), request.match_info["job"])
        return web.Response(status=204)

    async def upload(self, request: web.Request) -> web.Response:
        if not request.headers.get("Content-Type", "").startswith("text/csv"):
            raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", "Content type must be text/csv")
        self.jobs.upload(request.match_info["job"], await request.text())
        return web.Response(status=201)

    async def results(self, request: web.Request) -> web.Response:
        rows_max, locator = int(request.query.get("maxRecords", "50000")), request.query.get("locator", "")
        content, following, count = self.jobs.results(request.match_info["job"], locator=locator, rows_max=rows_max)
        headers = {"Sforce-Locator": following, "Sforce-NumberOfRecords": str(count)}
        return web.Response(text=content, content_type="text/csv", charset="utf-8", headers=headers)

    async def ended(self, request: web.Request) -> web.Response:
        content = self.jobs.ended(request.match_info["job"], request.match_info["part"])
        return web.Response(text=content, content_type="text/csv", charset="utf-8")
