"""Records that are written one by one go several at a time, in order where they have a record in common."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from aiohttp import web

from isthmus.connectors.pipedrive import CONNECTOR
from isthmus.connectors.pipedrive.conformance import TOKEN, FakePipedrive
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, ConnectorError, Outcome, Written
from isthmus.sync.rest.serving import serving

PERSON, ACCOUNT = "sales.person", "sales.account"
MANY = 12
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Slow:
    """A vendor each of whose answers takes a moment; moments that requests spend waiting together count once."""

    fake: FakePipedrive = field(default_factory=FakePipedrive)
    url: str = ""
    waits: int = 0
    most: int = 0
    under_way: int = 0
    log: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def app(self) -> web.Application:
        """Return the server."""
        app = self.fake.app()
        app.middlewares.insert(0, self._moment)
        return app

    @web.middleware
    async def _moment(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.waits += self.under_way == 0
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.log.append((request.method, request.path.rpartition("/")[2]))
        try:
            await asyncio.sleep(0.01)
            return await handler(request)
        finally:
            self.under_way -= 1

    def writes(self) -> list[str]:
        """Return the ids of what was written, in the order in which it came."""
        return [number for method, number in self.log if method == "PATCH"]


@contextmanager
def slow() -> Generator[Slow]:
    """Run such a vendor."""
    vendor = Slow()
    with serving(vendor.app()) as url:
        vendor.url = url
        yield vendor


async def written(vendor: Slow, feed: str, changes: list[Change], *, at_once: str) -> list[Written]:
    """Write changes."""
    defaults = {each.name: each.default or "" for each in CONNECTOR.settings}
    settings = {**defaults, "url": vendor.url, "token": TOKEN, "writes_at_once": at_once}
    async with CONNECTOR.open(settings) as session:
        return await session.write(feed, changes)


def change(
    kind: str, own: int, fields: dict[str, Json], *, of: str | None = None, account: str | None = None
) -> Change:
    """Return a change of a record of its own."""
    links = {"account_id": account} if account else {}
    return Change(record_id=UUID(int=own), type=kind, fields=fields, links=links, external_id=of, key=f"key-{own}")


def people(vendor: Slow, count: int) -> list[str]:
    """Let people enter persons there."""
    return [str(vendor.fake.store("persons", None, {"name": f"Person {n}"})["id"]) for n in range(count)]


async def test_several_at_a_time_wait_less_and_are_answered_each_in_its_place() -> None:
    found: dict[str, tuple[int, int]] = {}
    for at_once in ("1", "4"):
        with slow() as vendor:
            known = people(vendor, MANY)
            changes = [change(PERSON, n, {"title": f"Title {n}"}, of=of) for n, of in enumerate(known)]
            changes[5] = change(PERSON, 5, {"title": "Nobody"}, of="999")
            answers = await written(vendor, "persons", changes, at_once=at_once)
            assert [each.outcome for each in answers] == [
                Outcome.MOVED if n == 5 else Outcome.WRITTEN for n in range(MANY)
            ]
            assert [each.external_id for each in answers] == [each.external_id for each in changes]
            held = [vendor.fake.rows["persons"][int(of)]["job_title"] for n, of in enumerate(known) if n != 5]
            assert held == [f"Title {n}" for n in range(MANY) if n != 5]
            found[at_once] = vendor.waits, vendor.most
    (alone, one), (together, most) = found["1"], found["4"]
    assert (alone, one, most) == (2 * MANY - 1, 1, 4), "a look and a write for each but the one that is not there"
    assert together * 2 <= alone


async def test_what_concerns_one_company_comes_in_its_order() -> None:
    with slow() as vendor:
        company, other = (str(vendor.fake.store("organizations", None, {"name": n})["id"]) for n in ("Quince", "Pear"))
        known = people(vendor, 8)
        changes = [change(PERSON, n, {}, of=of, account=(company, other)[n % 2]) for n, of in enumerate(known)]
        await written(vendor, "persons", changes, at_once="8")
        for half in (0, 1):
            assert [each for each in vendor.writes() if each in known[half::2]] == known[half::2]
        assert vendor.most == 2


async def test_new_records_that_say_the_same_are_made_each_once() -> None:
    with slow() as vendor:
        twins = [change(ACCOUNT, n, {"name": "Quince"}) for n in range(4)]
        answers = await written(vendor, "organizations", twins, at_once="4")
        assert len({each.external_id for each in answers}) == len(vendor.fake.rows["organizations"]) == 4


async def test_each_request_asks_for_leave_and_a_number_that_is_none_is_refused() -> None:
    asked = 0

    async def leave() -> None:
        nonlocal asked
        asked += 1

    with slow() as vendor:
        changes = [change(PERSON, n, {"title": "New"}, of=of) for n, of in enumerate(people(vendor, 6))]
        settings = {each.name: each.default or "" for each in CONNECTOR.settings} | {"url": vendor.url, "token": TOKEN}
        async with CONNECTOR.open(settings, leave=leave) as session:
            await session.write("persons", changes)
        assert asked == len(vendor.log) == 12
        for wrong in ("0", "33", "many"):
            with pytest.raises(ConnectorError, match="writes_at_once"):
                async with CONNECTOR.open(settings | {"writes_at_once": wrong}):
                    pass
