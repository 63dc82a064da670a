"""A vendor of deals that are known by their numbers; its clock, its schema and its lists go wrong as it is told.

Rows come by stamp and number, page by page behind a place; more of them share a stamp than a page holds. Stamps count
ticks of ten seconds since the beginning. What was told of a row follows from its number and its version.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import islice
from random import Random

import msgspec
from aiohttp import web
from msgspec import Struct

from isthmus.kernel.marks import Json

BEGAN = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
TICK = timedelta(seconds=10)
PER_TICK = 1_700
DAYS_OFF = timedelta(days=2) // TICK
LISTED = {"empty": 0.0, "part": 0.7, "most": 0.9}
Place = tuple[int, int]


class Step(Struct, frozen=True, kw_only=True):
    """What happens there at once: so many rows change, are made, are marked as deleted, vanish, and come late.

    `ahead` is how many ticks the clock is ahead of the right time.
    """

    changed: int
    made: int
    deleted: int
    vanished: int
    late: int
    ahead: int = 0


class Truth(Struct, frozen=True, kw_only=True):
    """How everything stands there: the first `rows` numbers but for those that are gone, at version 1 but for some.

    `said` is what was written there last, by number; `writes` counts those that changed something, `again` those that
    said what stood there already, and `unasked` those that make or delete.
    """

    rows: int
    versions: dict[int, int]
    gone: frozenset[int]
    said: dict[int, str]
    writes: int
    again: int
    unasked: int


def title(number: int, version: int) -> str:
    """Return what a row is called at a version."""
    return f"Deal {number} v{version}"


def id_of(number: int) -> str:
    """Return the id of a row."""
    return f"d{number:08}"


class Source:
    """The vendor. `listing` is a word of LISTED, `other` for ids that nobody knows, or "" for the truth.

    With `retyped` titles are no text; with `silent` no row is told.
    """

    def __init__(self, rows: int) -> None:
        """Begin with so many rows that nobody changed."""
        self.rows, self.tick = rows, rows // PER_TICK + 1
        self.listing, self.retyped, self.silent = "", False, False
        self._versions: dict[int, int] = {}
        self._ticks: dict[int, int] = {}
        self._said: dict[int, str] = {}
        self._news: list[Place] = []
        self._deleted: set[int] = set()
        self._vanished: set[int] = set()
        self._late: set[int] = set()
        self.writes = self.again = self.unasked = 0
        self._ahead = 0

    def advance(self, step: Step, seed: int) -> None:
        """Let a step happen, to rows that the seed chooses; what was late before is told from now on."""
        dice = Random(seed)
        self.tick, self._ahead = self.tick + 1, step.ahead
        self._late.clear()
        fresh = range(self.rows, self.rows + step.made)
        self.rows += step.made
        chosen = iter(dice.sample(range(fresh.start), 2 * (step.changed + step.deleted + step.vanished + step.late)))
        living = (each for each in chosen if each not in self._deleted and each not in self._vanished)
        late = list(islice(living, step.late))
        for number in (*late, *islice(living, step.changed)):
            self._versions[number] = self._versions.get(number, 1) + 1
            self._move(number)
        for number in fresh:
            self._move(number)
        self._late.update(late)
        for number in list(islice(living, step.deleted)):
            self._deleted.add(number)
            self._move(number)
        self._vanished.update(islice(living, step.vanished))

    def settle(self) -> None:
        """Tell from now on what was late."""
        self._late.clear()

    def truth(self) -> Truth:
        """Return how everything stands."""
        return Truth(
            rows=self.rows,
            versions=dict(self._versions),
            gone=frozenset(self._deleted | self._vanished),
            said=dict(self._said),
            writes=self.writes,
            again=self.again,
            unasked=self.unasked,
        )

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_get("/deals", self._list)
        app.router.add_get("/ids", self._ids)
        app.router.add_get("/deals/{id}", self._one)
        app.router.add_patch("/deals/{id}", self._write)
        app.router.add_post("/deals", self._never)
        app.router.add_delete("/deals/{id}", self._never)
        return app

    def _move(self, number: int) -> None:
        self._ticks[number] = self.tick + self._ahead
        insort(self._news, (self._ticks[number], number))

    async def _list(self, request: web.Request) -> web.Response:
        if self.silent:
            return _answer([], "")
        place, limit = request.query.get("place", ""), int(request.query["limit"])
        since = (datetime.fromisoformat(request.query["since"]) - BEGAN) // TICK
        first = _place(place) if place else (since, -1)
        found = list(islice(merge(self._unmoved(first), self._moved(first)), limit + 1))
        more = len(found) > limit
        rows = [self._row(number) for _, number in found[:limit]]
        return _answer(rows, "{}.{}".format(*found[limit - 1]) if more else "")

    async def _ids(self, request: web.Request) -> web.Response:
        first, limit = int(request.query.get("place") or 0), int(request.query["limit"])
        end = int(self.rows * LISTED.get(self.listing, 1.0))
        numbers = range(first, min(first + limit, end))
        known = [each for each in numbers if each not in self._vanished and each not in self._deleted]
        mark = "o" if self.listing == "other" else ""
        rows: list[dict[str, Json]] = [{"id": f"{mark}{id_of(each)}"} for each in known]
        return _answer(rows, str(first + limit) if first + limit < end else "")

    async def _one(self, request: web.Request) -> web.Response:
        number = self._asked(request)
        if number is None:
            return web.Response(status=404)
        return web.Response(body=msgspec.json.encode({"data": self._row(number)}), content_type="application/json")

    async def _write(self, request: web.Request) -> web.Response:
        number = self._asked(request)
        if number is None:
            return web.Response(status=404)
        sent = msgspec.json.decode(await request.read(), type=dict[str, str])
        self.unasked += set(sent) != {"next_step"}
        if self._said.get(number) == sent.get("next_step"):
            self.again += 1
        else:
            self.writes += 1
            self._said[number] = sent.get("next_step", "")
            self._move(number)
        return web.Response(body=msgspec.json.encode({"data": self._row(number)}), content_type="application/json")

    async def _never(self, _: web.Request) -> web.Response:
        self.unasked += 1
        return web.Response(status=422, text="Nobody asked for this.")

    def _asked(self, request: web.Request) -> int | None:
        number = int(request.match_info["id"].lstrip("od") or 0)
        there = number < self.rows and number not in self._vanished and number not in self._deleted
        return number if there else None

    def _unmoved(self, after: Place) -> Iterator[Place]:
        """Yield the rows that nobody touched since the beginning, behind a place."""
        tick, number = after
        start = 0 if tick < 0 else min(max(tick * PER_TICK, number + 1), (tick + 1) * PER_TICK)
        for each in range(start, self.rows):
            if each not in self._ticks and each not in self._vanished:
                yield each // PER_TICK, each

    def _moved(self, after: Place) -> Iterator[Place]:
        """Yield the rows that were touched, behind a place."""
        for at in range(bisect_right(self._news, after), len(self._news)):
            tick, number = self._news[at]
            if self._ticks[number] == tick and number not in self._vanished and number not in self._late:
                yield tick, number

    def _row(self, number: int) -> dict[str, Json]:
        tick = self._ticks.get(number, number // PER_TICK)
        told = title(number, self._versions.get(number, 1))
        return {
            "id": id_of(number),
            "title": [told] if self.retyped else told,
            "next_step": self._said.get(number),
            "changed_at": (BEGAN + tick * TICK).isoformat(),
            "deleted": number in self._deleted,
        }


def _place(text: str) -> Place:
    tick, _, number = text.partition(".")
    return int(tick), int(number)


def _answer(rows: Sequence[dict[str, Json]], following: str) -> web.Response:
    body = msgspec.json.encode({"data": rows, "next": following or None})
    return web.Response(body=body, content_type="application/json")
