"""Reading as described: every way of giving lists is read whole, also when rows go meanwhile or a page is forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from isthmus.kernel.marks import Json
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Connector, ConnectorError, FeedTrouble, KeyRefused, NotAsDocumented, Setting
from isthmus.sync.rest.columns import col
from isthmus.sync.rest.connector import describe
from isthmus.sync.rest.described import ByHeader, ByQuery, Check, Collection, Since, Vendor
from isthmus.sync.rest.paging import ByCursor, ByLink, ByNumber, ByOffset, Paging
from isthmus.sync.rest.serving import serving
from isthmus.sync.rest.ways import Row

BEGAN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
ROWS = 11
KEY = Setting(name="token", about="A key.", secret=True)
HEADER = ByHeader(settings=(KEY,))
PLAIN = Collection(
    name="things",
    path="/{area}/things",
    types={"sales.account": (col("name", "name"),)},
    paging=ByCursor(parameter="cursor", path="next"),
    beside="at",
)


@dataclass
class Things:
    """Lists things in every way that vendors do; `gone` are removed after the first page."""

    rows: list[Row] = field(default_factory=list[Row])
    gone: list[str] = field(default_factory=list[str])
    forgets: bool = False
    status: int = 200
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_get("/me", self._me)
        app.router.add_get("/here/things", self._list)
        return app

    async def _me(self, _: web.Request) -> web.Response:
        return web.json_response({"who": "Tester"})

    async def _list(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        self.asked.append(query | {"version": request.headers.get("X-Version", "")})
        proven = request.headers.get("Authorization") == "Bearer right" or query.get("api_key") == "right"
        if not proven or self.status != 200:
            return web.Response(status=self.status if proven else 401)
        found = sorted(self.rows, key=lambda row: (str(row["at"]), str(row["id"])))
        found = [row for row in found if str(row["at"]) >= query.get("since", "")]
        size, cursor = int(query.get("limit") or query.get("per_page") or 100), query.get("cursor", "")
        if cursor and self.forgets:
            self.forgets = False
            return web.Response(status=410)
        start = int(query.get("offset") or cursor or (int(query.get("page", "1")) - 1) * size)
        page, end = found[start : start + size], start + size
        more = end < len(found)
        if self.gone:
            self.rows = [row for row in self.rows if row["id"] not in self.gone]
            self.gone = []
        url = f"{request.scheme}://somewhere.example/here/things?cursor={end}&limit={size}"
        headers = {"Link": f'<{url}>; rel="prev", <{url}>; rel="next"'} if more else {}
        body: Json = {"data": [*page], "next": str(end) if more else None, "links": {"next": url if more else None}}
        return web.json_response(body, headers=headers)


@pytest.fixture
def things() -> Things:
    return Things([_row(n, at=n // 3) for n in range(ROWS)])


@pytest.fixture
def url(things: Things) -> Iterator[str]:
    with serving(things.app()) as found:
        yield found


def _row(number: int, *, at: int) -> Row:
    stamp = (BEGAN + timedelta(seconds=at)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": f"t{number:02}", "name": f"Thing {number}", "at": stamp}


def _other(row: Row) -> bool:
    return row.get("kind") == "other"


def described(feed: Collection, *, sign_in: ByHeader | ByQuery = HEADER) -> Connector:
    check = Check(path="/me", names=("absent", "who"))
    headers = {"X-Version": "3"}
    vendor = Vendor(name="things", title="Things", sign_in=sign_in, check=check, feeds=(feed,), headers=headers)
    area = Setting(name="area", about="Which part.")
    return describe(vendor, about="Things.", proven="Here.", allowances=(Rate(count=9, seconds=1),), settings=(area,))


async def read(connector: Connector, url: str, cursor: str | None = None, **given: str) -> tuple[list[str], list[str]]:
    """Return the ids of everything after a cursor, and the cursors of all pages."""
    settings = {"url": url, "token": "right", "area": "here", "page_rows": "4", "overlap_s": "0"} | given
    ids: list[str] = []
    cursors: list[str] = []
    async with connector.open(settings) as session:
        async for page in session.read("things", cursor=cursor):
            ids += [row.external_id for row in page.rows]
            cursors.append(page.cursor)
            assert len(page.rows) <= 4
    return ids, cursors


WAYS = [
    ByCursor(parameter="cursor", path="next"),
    ByLink(path="links.next"),
    ByLink(),
    ByOffset(),
    ByNumber(),
]


@pytest.mark.parametrize("way", WAYS, ids=["cursor", "link", "header", "offset", "number"])
async def test_every_way_of_giving_pages_is_read_whole(way: Paging, things: Things, url: str) -> None:
    connector = described(replace(PLAIN, paging=way))
    ids, _ = await read(connector, url)
    assert sorted(set(ids)) == [str(row["id"]) for row in things.rows]
    settings = {"url": url, "token": "right", "area": "here"}
    async with connector.open(settings) as session:
        assert await session.check() == f"Tester at {url}"
        there = [each async for some in session.ids("things") for each in some]
    assert there == [str(row["id"]) for row in things.rows]


@pytest.mark.parametrize("since", [None, Since(parameter="since")])
async def test_rows_that_go_meanwhile_make_no_other_be_passed_over(
    since: Since | None, things: Things, url: str
) -> None:
    things.gone = ["t00", "t01", "t05"]
    feed = replace(PLAIN, paging=ByOffset(), since=since, stamp="at" if since else "")
    ids, _ = await read(described(feed), url)
    assert {f"t{n:02}" for n in range(ROWS)} - {"t05"} == set(ids)


async def test_a_page_that_the_vendor_forgot_is_begun_again_from_the_stamp(things: Things, url: str) -> None:
    connector = described(replace(PLAIN, since=Since(parameter="since"), stamp="at"))
    _, cursors = await read(connector, url)
    things.forgets = True
    ids, _ = await read(connector, url, cursors[0])
    assert len(ids) == ROWS
    things.forgets = True
    with pytest.raises(FeedTrouble, match="410"):
        await read(connector, url)


async def test_the_next_run_goes_back_by_the_overlap_and_never_behind_what_it_reached(things: Things, url: str) -> None:
    connector = described(replace(PLAIN, since=Since(parameter="since"), stamp="at"))
    _, cursors = await read(connector, url)
    things.rows = []
    _, empty = await read(connector, url, cursors[-1], overlap_s="2")
    assert things.asked[-1]["since"] == "2026-11-02T09:00:01Z"
    assert empty[-1] == cursors[-1]


async def test_a_key_in_the_query_goes_along_and_a_wrong_one_is_told(things: Things, url: str) -> None:
    connector = described(PLAIN, sign_in=ByQuery(settings=(KEY,)))
    assert len((await read(connector, url))[0]) == ROWS
    assert {each["version"] for each in things.asked} == {"3"}
    with pytest.raises(KeyRefused) as caught:
        await read(connector, url, token="wrong")
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(("status", "fault"), [(403, FeedTrouble), (418, NotAsDocumented)])
async def test_answers_that_hold_no_rows_are_told_in_words(
    status: int, fault: type[ConnectorError], things: Things, url: str
) -> None:
    things.status = status
    with pytest.raises(fault, match=f"{status} for things"):
        await read(described(PLAIN), url)


async def test_a_list_elsewhere_in_the_answer_is_told(url: str) -> None:
    with pytest.raises(NotAsDocumented, match="no list of things"):
        await read(described(replace(PLAIN, rows="items")), url)


async def test_rows_of_others_are_left_out_and_deleted_ones_are_told(things: Things, url: str) -> None:
    things.rows[0]["kind"], things.rows[1]["removed"] = "other", True
    feed = replace(PLAIN, hidden=_other, deleted=("removed", True))
    settings = {"url": url, "token": "right", "area": "here"}
    async with described(feed).open(settings) as session:
        pages = [page async for page in session.read("things", cursor=None)]
        there = [each async for some in session.ids("things") for each in some]
    told = {row.external_id: row.deleted for page in pages for row in page.rows}
    assert ("t00" in told, told["t01"], told["t02"]) == (False, True, False)
    assert there == [f"t{n:02}" for n in range(2, ROWS)]


@pytest.mark.parametrize("wrong", [{"page_rows": "many"}, {"page_rows": "1"}, {"overlap_s": "-1"}])
async def test_settings_that_cannot_be_are_refused(wrong: dict[str, str], url: str) -> None:
    with pytest.raises(ConnectorError):
        await read(described(PLAIN), url, **wrong)
