"""The fake of HubSpot as a server: the addresses that it answers, who may ask, and how often."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from aiohttp import web

from isthmus.connectors.hubspot.fake import Fake, Record, text_of
from isthmus.connectors.hubspot.fake_rules import Limits, Refused, Row, pipelines, refused
from isthmus.connectors.hubspot.shapes import CONTACTS, SHAPES
from isthmus.kernel.marks import Json

BATCH_MAX, TIES_MAX, LIST_ROWS_MAX = 100, 1_000, 100
TOKEN, APP = "pat-eu1-of-the-fake", {"client_id": "app-1", "client_secret": "app-s3cret", "refresh_token": "refresh-1"}
OWNERS = {"71": ("anna@vendor.example", "Anna", "Ruiz"), "72": ("ben@vendor.example", "Ben", "Koch")}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Site:
    """The server before an account. `asked` are its requests, and `short` the tokens of an app that are still good.

    Limits are by `ticks`, in seconds, or else by the account's own time, which does not pass.
    """

    fake: Fake = field(default_factory=Fake)
    limits: Limits = field(default_factory=lambda: Limits(burst=1_000_000, searches=1_000_000))
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    short: set[str] = field(default_factory=set[str])
    ticks: Callable[[], float] | None = None
    zone: str = "Europe/Berlin"
    url: str = ""

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application(middlewares=[self._guard])
        of = "/crm/v3/objects/{kind}"
        add = app.router.add_route
        add("POST", "/oauth/v1/token", self._token)
        add("GET", "/account-info/v3/details", self._account)
        add("GET", "/crm/v3/owners/", self._owners)
        add("GET", "/crm/v3/properties/{kind}", self._properties)
        add("GET", "/crm/v3/pipelines/{kind}", self._pipelines)
        add("GET", of, self._list)
        add("POST", of, self._make)
        add("POST", f"{of}/search", self._search)
        add("POST", f"{of}/merge", self._merge)
        add("POST", f"{of}/batch/{{what}}", self._batch)
        add("GET", f"{of}/{{id}}", self._one)
        add("PATCH", f"{of}/{{id}}", self._change)
        add("DELETE", f"{of}/{{id}}", self._archive)
        add("POST", "/communication-preferences/v4/statuses/{address}/unsubscribe-all", self._opt_out)
        add("POST", "/crm/v4/associations/{kind}/{to}/batch/{what}", self._ties)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Hold who asks to the key and to the limits; what is refused is said as HubSpot says it."""
        self.asked.append((request.method, request.path))
        try:
            headers: Mapping[str, str] = {}
            if not request.path.startswith("/oauth/"):
                self._proven(request.headers.get("Authorization", ""))
                search = request.path.endswith("/search")
                headers = self.limits.take(search=search, at=self.ticks() if self.ticks else self.fake.ms / 1000)
            if (kind := request.match_info.get("kind")) is not None and kind not in SHAPES:
                raise refused(400, "VALIDATION_ERROR", f"Unable to infer object type from: {kind}")
            answer = await handler(request)
        except Refused as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        answer.headers.update(headers)
        return answer

    def _proven(self, told: str) -> None:
        if told.removeprefix("Bearer ") not in {TOKEN, *self.short}:
            raise refused(
                401,
                "INVALID_AUTHENTICATION",
                "Authentication credentials not found. This API supports OAuth 2.0 authentication.",
            )

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "refresh_token" or any(form.get(name) != value for name, value in APP.items()):
            body: Row = {"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"}
            return web.json_response(body, status=400)
        short = f"short-{len(self.short) + 1}"
        self.short.add(short)
        return web.json_response(
            {
                "token_type": "bearer",
                "refresh_token": APP["refresh_token"],
                "access_token": short,
                "expires_in": 1800,
            }
        )

    async def _account(self, _: web.Request) -> web.Response:
        body: Row = {"portalId": 4711, "accountType": "DEVELOPER_TEST", "timeZone": self.zone}
        return web.json_response(body | {"companyCurrency": "EUR", "uiDomain": "app-eu1.hubspot.com"})

    async def _owners(self, _: web.Request) -> web.Response:
        at = "2026-01-05T09:00:00Z"
        found: list[Json] = [
            {
                "id": of,
                "email": email,
                "type": "PERSON",
                "firstName": first,
                "lastName": last,
                "userId": int(of),
                "createdAt": at,
                "updatedAt": at,
                "archived": False,
            }
            for of, (email, first, last) in OWNERS.items()
        ]
        return web.json_response({"results": found})

    async def _opt_out(self, request: web.Request) -> web.Response:
        if request.query.get("channel") != "EMAIL":
            raise refused(400, "VALIDATION_ERROR", "channel is required")
        record = self.fake.by(CONTACTS, "email", request.match_info["address"])
        if record is not None:
            self.fake.opt_out(record)
        return _many([], [], good=200)

    async def _properties(self, request: web.Request) -> web.Response:
        return web.json_response({"results": self.fake.definitions.of(request.match_info["kind"])})

    async def _pipelines(self, request: web.Request) -> web.Response:
        return web.json_response({"results": pipelines(request.match_info["kind"])})

    async def _list(self, request: web.Request) -> web.Response:
        kind, query = request.match_info["kind"], request.query
        limit, after = int(query.get("limit", "10")), int(query.get("after", "0"))
        if not 0 < limit <= LIST_ROWS_MAX:
            raise refused(400, "VALIDATION_ERROR", f"limit must be between 1 and {LIST_ROWS_MAX}")
        archived = query.get("archived", "").lower() == "true"
        found = self.fake.gone(kind) if archived else self.fake.living(kind)
        later = [each for each in found if each.id > after]
        shown = [_said(each, each.values, _named(query.getall("properties", []))) for each in later[:limit]]
        body: Row = {"results": list[Json](shown)}
        if len(later) > limit:
            link = f"{self.url}{request.path}?after={later[limit - 1].id}"
            body["paging"] = {"next": {"after": str(later[limit - 1].id), "link": link}}
        return web.json_response(body)

    async def _search(self, request: web.Request) -> web.Response:
        asked = cast("Row", await request.json())
        found, total, after = self.fake.search(request.match_info["kind"], asked)
        names = [str(each) for each in cast("list[Json]", asked.get("properties") or [])]
        results: list[Json] = [_said(record, values, names) for record, values in found]
        paging: Row = {"paging": {"next": {"after": after}}} if after else {}
        return web.json_response({"total": total, "results": results, **paging})

    async def _merge(self, request: web.Request) -> web.Response:
        asked = cast("Mapping[str, str]", await request.json())
        ends = int(asked["primaryObjectId"]), int(asked["objectIdToMerge"])
        return web.json_response(_said(record := self.fake.merge(request.match_info["kind"], *ends), record.values, ()))

    async def _make(self, request: web.Request) -> web.Response:
        asked = cast("Row", await request.json())
        record = self._made(request.match_info["kind"], asked)
        return web.json_response(_said(record, record.values, tuple(record.values)), status=201)

    async def _one(self, request: web.Request) -> web.Response:
        record = self._found(request)
        if record is None:
            raise refused(404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.")
        return web.json_response(_said(record, record.values, _named(request.query.getall("properties", []))))

    async def _change(self, request: web.Request) -> web.Response:
        asked = cast("Row", await request.json())
        found = self._found(request)
        record = self.fake.change(request.match_info["kind"], found.id if found else 0, _given(asked))
        return web.json_response(_said(record, record.values, tuple(record.values)))

    async def _archive(self, request: web.Request) -> web.Response:
        self.fake.archive(request.match_info["kind"], _id(request.match_info["id"]))
        return web.Response(status=204)

    def _found(self, request: web.Request) -> Record | None:
        kind, of, by = request.match_info["kind"], request.match_info["id"], request.query.get("idProperty")
        return self.fake.by(kind, by, of) if by else self.fake.alive(kind, _id(of))

    def _made(self, kind: str, asked: Row) -> Record:
        record = self.fake.make(kind, _given(asked))
        for each in cast("list[Row]", asked.get("associations") or []):
            to, types = cast("Row", each["to"]), _types(cast("list[Json]", each["types"]))
            other = next(name for name, tie in SHAPES[kind].ties.items() if {tie.plain, tie.primary} & {*types})
            self.fake.tie(kind, record.id, other, _id(str(to["id"])), types)
        return record

    async def _batch(self, request: web.Request) -> web.Response:
        kind, what = request.match_info["kind"], request.match_info["what"]
        asked = cast("Row", await request.json())
        inputs = cast("list[Row]", asked["inputs"])
        if len(inputs) > BATCH_MAX:
            raise refused(400, "VALIDATION_ERROR", f"The maximum number of inputs is {BATCH_MAX}")
        if what == "archive":
            for each in inputs:
                self.fake.archive(kind, _id(str(each["id"])))
            return web.Response(status=204)
        doing = {"read": self._read, "update": self._update, "create": self._create, "upsert": self._upsert}[what]
        results, faults = doing(kind, asked, inputs)
        return _many(results, faults, good=201 if what == "create" else 200)

    def _read(self, kind: str, asked: Row, inputs: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        by = str(asked.get("idProperty") or "")
        names = [str(each) for each in cast("list[Json]", asked.get("properties") or [])]
        found: dict[int, Record] = {}
        lacking: list[Json] = []
        for each in inputs:
            of = str(each["id"])
            record = self.fake.by(kind, by, of) if by else self.fake.alive(kind, _id(of))
            if record is None:
                lacking.append(of)
            else:
                found[record.id] = record
        return [_said(each, each.values, names) for each in found.values()], _lacking(lacking)

    def _update(self, kind: str, _: Row, inputs: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """Change many: a value that is none refuses all of them, a record that is not there only itself."""
        for each in inputs:
            self.fake.definitions.hold(kind, _given(each))
        done: list[Row] = []
        lacking: list[Json] = []
        for each in inputs:
            if self.fake.alive(kind, _id(str(each["id"]))) is None:
                lacking.append(str(each["id"]))
            else:
                record = self.fake.change(kind, _id(str(each["id"])), _given(each))
                done.append(_said(record, record.values, tuple(record.values)))
        return done, _lacking(lacking)

    def _create(self, kind: str, _: Row, inputs: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """Make many; where each has a word of its own, what is refused refuses only itself."""
        traced = all(each.get("objectWriteTraceId") for each in inputs)
        done: list[Row] = []
        faults: list[Row] = []
        for each in inputs:
            try:
                record = self._made(kind, each)
            except Refused as refusal:
                if not traced:
                    raise
                faults.append(_about(refusal, "objectWriteTraceId", [each["objectWriteTraceId"]]))
            else:
                said = _said(record, record.values, tuple(record.values))
                done.append(said | ({"objectWriteTraceId": each["objectWriteTraceId"]} if traced else {}))
        return done, faults

    def _upsert(self, kind: str, _: Row, inputs: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        done: list[Row] = []
        for each in inputs:
            by, of = str(each["idProperty"]), str(each["id"])
            known = self.fake.by(kind, by, of)
            given = {by: of, **_given(each)}
            record = self.fake.change(kind, known.id, given) if known else self.fake.make(kind, given)
            done.append(_said(record, record.values, tuple(record.values)) | {"new": known is None})
        return done, []

    async def _ties(self, request: web.Request) -> web.Response:
        kind, to, what = (request.match_info[name] for name in ("kind", "to", "what"))
        inputs = cast("list[Row]", cast("Row", await request.json())["inputs"])
        if len(inputs) > TIES_MAX:
            raise refused(400, "VALIDATION_ERROR", f"The maximum number of inputs is {TIES_MAX}")
        if what == "read":
            return _many(*self._tied(kind, to, [_id(str(each["id"])) for each in inputs]), good=200)
        for each in inputs:
            of = _id(str(cast("Row", each["from"])["id"]))
            if what == "create":
                other = _id(str(cast("Row", each["to"])["id"]))
                self.fake.tie(kind, of, to, other, _types(cast("list[Json]", each["types"])))
            else:
                for end in cast("list[Row]", each["to"]):
                    self.fake.untie(kind, of, to, _id(str(end["id"])))
        return _many([], [], good=201) if what == "create" else web.Response(status=204)

    def _tied(self, kind: str, to: str, ids: Sequence[int]) -> tuple[list[Row], list[Row]]:
        results: list[Row] = []
        faults: list[Row] = []
        primary = SHAPES[kind].ties[to].primary
        for of in ids:
            ends: list[Json] = [
                {"toObjectId": other, "associationTypes": [_kind(each, primary) for each in sorted(tied.types)]}
                for other, tied in self.fake.tied(kind, of, to).items()
            ]
            if ends:
                results.append({"from": {"id": str(of)}, "to": ends})
            else:
                message = f"No {to} is associated with {kind} {of}."
                body = refused(404, "OBJECT_NOT_FOUND", message, subCategory="crm.associations.NO_ASSOCIATIONS_FOUND")
                faults.append(_about(body, "fromObjectId", [str(of)]))
        return results, faults


def _kind(number: int, primary: int | None) -> Json:
    return {"category": "HUBSPOT_DEFINED", "typeId": number, "label": "Primary" if number == primary else None}


def _types(given: Sequence[Json]) -> list[int]:
    return [int(cast("int", cast("Row", each)["associationTypeId"])) for each in given]


def _given(asked: Row) -> dict[str, str]:
    found = cast("Row", asked.get("properties") or {})
    return {name: "" if value is None else str(value) for name, value in found.items()}


def _named(given: Iterable[str]) -> list[str]:
    return [name for each in given for name in each.split(",") if name]


def _id(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _said(record: Record, values: Mapping[str, str], names: Sequence[str]) -> Row:
    """Return a record as it is told: the properties that were asked for, of which those that are empty are null."""
    said: Row = {name: values.get(name) for name in names if name in _known()}
    always = ("hs_object_id", "createdate", "lastmodifieddate", "hs_lastmodifieddate")
    said |= {name: values[name] for name in always if name in values}
    said |= {name: values[name] for name in names if name in values}
    body: Row = {
        "id": str(record.id),
        "properties": said,
        "createdAt": text_of(record.made_ms),
        "updatedAt": text_of(record.changed_ms),
        "archived": record.gone_ms is not None,
    }
    return body | ({"archivedAt": text_of(record.gone_ms)} if record.gone_ms else {})


def _known() -> set[str]:
    return {name for shape in SHAPES.values() for name in shape.properties}


def _lacking(ids: Sequence[Json]) -> list[Row]:
    if not ids:
        return []
    message = "Could not get some objects, they may be deleted or not exist. Check that ids are valid."
    return [_about(refused(404, "OBJECT_NOT_FOUND", message), "ids", ids)]


def _about(refusal: Refused, name: str, named: Sequence[Json]) -> Row:
    """Return a refusal of a part of a batch, with what it is about."""
    found = dict(refusal.body)
    found["context"] = {name: list(named)}
    return found


def _many(results: Sequence[Row], faults: Sequence[Row], *, good: int) -> web.Response:
    at = "2026-11-02T09:00:00Z"
    body: Row = {"status": "COMPLETE", "results": list[Json](results), "startedAt": at, "completedAt": at}
    if faults:
        body |= {"numErrors": len(faults), "errors": list[Json](faults)}
    return web.json_response(body, status=207 if faults else good)


@contextmanager
def serving(site: Site) -> Generator[Site]:
    """Run the server in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = web.AppRunner(site.app())

    async def up() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    try:
        site.url = asyncio.run_coroutine_threadsafe(up(), loop).result()
        yield site
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
