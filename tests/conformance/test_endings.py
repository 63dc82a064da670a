"""How a run ends while the other side misbehaves for longer than it is asked again: a word, and why, in words.

A real localstripe behind the proxy: what could be read is here, nothing is lost, and the run after it is well.
"""

import dataclasses
import re
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec
import pytest

from isthmus.app.bench.faults.proxy import Fault, Front, Script, proxy
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.observation import Observation
from isthmus.sync.connections import connection_of
from isthmus.sync.connector import Raw
from isthmus.sync.drift import kind_of
from isthmus.sync.ingest import Store
from isthmus.sync.mending import Cause, rejects_by_cause
from isthmus.sync.running import retry
from isthmus.sync.runs import Retry
from tests.conformance.conftest import SYSTEM, Bench, Side

ENDS = {
    Fault.TOO_MANY: (Status.RETRYING, "asks to slow down"),
    Fault.SERVER_ERROR: (Status.NEEDS_ATTENTION, "cannot be reached: it answered 50"),
    Fault.RESET: (Status.NEEDS_ATTENTION, "cannot be reached: "),
    Fault.TRUNCATED: (Status.NEEDS_ATTENTION, "cannot be reached: "),
    Fault.CLIPPED: (Status.NEEDS_ATTENTION, "its answers break off"),
    Fault.GARBAGE: (Status.NEEDS_ATTENTION, "is not JSON"),
    Fault.EXPIRED: (Status.NEEDS_ATTENTION, "refuses the key"),
}


@dataclasses.dataclass
class Room:
    """The bench, and the proxy before the server; connected, with what is there."""

    bench: Bench
    front: Front
    old: str
    old_text: str

    async def causes(self) -> list[Cause]:
        """Return what is kept aside, by cause."""
        async with self.bench.store.database.transaction(self.bench.scope()) as tx:
            return await rejects_by_cause(tx, system=SYSTEM)

    async def said(self) -> str:
        """Return what the connection says of itself."""
        async with self.bench.store.database.transaction(self.bench.scope()) as tx:
            return (await connection_of(tx, SYSTEM)).reason

    async def holds(self, of: str, text: str) -> bool:
        """Tell whether a record is here, once, and says that."""
        texts = [each.values[self.bench.side.counterpart.fields[0]] for each in await self.bench.records()]
        return await self.bench.held(of) == text and texts.count(text) == 1


@pytest.fixture
async def room(begun: dict[str, Side], store: Store, workspace: int) -> AsyncIterator[Room]:
    """A workspace that is connected with a real localstripe through the proxy."""
    counted = Bench(begun["stripe"], store, workspace)
    old, text = counted.side.make("Old")
    async with proxy(counted.side.counterpart.settings["url"]) as front:
        counted.settings, counted.retry = {"url": front.url}, Retry(tries_max=1)
        run = await counted.begin()
        assert run.status is Status.HEALTHY, run.error
        yield Room(counted, front, old, text)


@pytest.mark.parametrize("fault", ENDS, ids=lambda fault: fault.name.lower())
async def test_what_lasts_is_told_loses_nothing_and_is_over_when_it_is_over(room: Room, fault: Fault) -> None:
    new, text = room.bench.side.make("New")
    status, words = ENDS[fault]
    room.front.script = Script.always(fault)
    run = await room.bench.sync()
    assert (run.status, words in (run.error or "")) == (status, True), run.error
    assert words in await room.said()
    assert await room.holds(room.old, room.old_text)
    assert await room.bench.held(new) is None
    room.front.script = None
    run = await room.bench.sync()
    assert (run.status, run.error, await room.said()) == (Status.HEALTHY, None, "")
    assert await room.holds(room.old, room.old_text)
    assert await room.holds(new, text)


@pytest.mark.parametrize("fault", [Fault.DOUBLED, Fault.REORDERED], ids=lambda fault: fault.name.lower())
async def test_pages_that_come_twice_or_turned_round_are_taken_once(room: Room, fault: Fault) -> None:
    made = [room.bench.side.make("Several") for _ in range(4)]
    room.front.script = Script.always(fault)
    run = await room.bench.sync()
    assert run.status is Status.HEALTHY, run.error
    assert room.front.met[fault]
    assert all([await room.holds(*each) for each in made])


def retyped(body: dict[str, Json]) -> dict[str, Json]:
    """Return a row whose texts are lists, and whose lists and maps are texts."""
    return {name: ["of another kind"] if kind_of(value) == "text" else "text" for name, value in body.items()}


def renamed(body: dict[str, Json]) -> dict[str, Json]:
    """Return a row in which what was `name` is called otherwise, of another kind."""
    return {**body, "name": {"full": body.get("name")}}


@pytest.mark.parametrize("bend", [retyped, renamed])
async def test_a_row_of_another_form_is_kept_aside_with_its_cause_until_it_is_mended(
    room: Room, bend: Callable[[dict[str, Json]], dict[str, Json]]
) -> None:
    bad, text = room.bench.side.make("Bad")
    good, good_text = room.bench.side.make("Good")
    bends = room.bench.bends
    bends.rows = lambda raw: msgspec.structs.replace(raw, body=bend(raw.body)) if raw.external_id == bad else raw
    run = await room.bench.sync("pull")
    assert (run.status, run.rejected) == (Status.DEGRADED, 1), run.error
    [cause] = await room.causes()
    assert (cause.code, cause.rows) == ("drift", 1)
    assert re.search("`.+` of customers is now (list|map); text.* was expected", cause.example), cause.example
    assert await room.said() == "1 rejected; see why, mend it and retry."
    assert await room.holds(good, good_text)
    assert await room.bench.held(bad) is None
    bends.rows = None
    room.bench.side.counterpart.put(bad, {room.bench.side.counterpart.fields[0]: text})
    assert (await room.bench.sync()).status is Status.HEALTHY
    assert await room.holds(bad, text)
    assert await room.causes() == []


async def test_a_record_that_always_fails_is_kept_aside_and_is_here_once_the_connector_is_mended(room: Room) -> None:
    bad, text = room.bench.side.make("Bad")
    good, good_text = room.bench.side.make("Good")
    mended = room.bench.side

    def poisoned(feed: str, raw: Raw) -> Iterable[Observation]:
        if raw.external_id == bad:
            message = "no such thing"
            raise ValueError(message)
        return mended.connector.normalise(feed, raw)

    room.bench.side = dataclasses.replace(mended, connector=dataclasses.replace(mended.connector, normalise=poisoned))
    for ended in (Status.DEGRADED, Status.HEALTHY):
        run = await room.bench.sync()
        assert run.status is ended, "the next run meets it no more, and the connection tells of it still"
        [cause] = await room.causes()
        assert (cause.code, cause.rows) == ("mapping", 1)
        assert "ValueError" in cause.example
        assert await room.said() == "1 rejected; see why, mend it and retry."
    assert await room.holds(good, good_text)
    room.bench.side = mended
    done = await retry(room.bench.engine, workspace=room.bench.workspace, connection=SYSTEM)
    assert (done.stored, done.left) == (1, 0)
    assert await room.holds(bad, text)
    assert (await room.bench.sync()).status is Status.HEALTHY


async def test_a_list_of_ids_without_what_is_there_is_not_believed(room: Room) -> None:
    listed: list[list[str]] = []

    def short(found: list[str]) -> list[str]:
        listed.append(found)
        return found[1:] if len(listed) == 1 else found

    room.bench.bends.ids = short
    run = await room.bench.sync("sweep")
    assert run.status is Status.NEEDS_ATTENTION
    assert "is there. Nothing was deleted." in (run.error or "")
    assert len(listed) == 2
    assert len(await room.bench.records()) == len(listed[1])
    assert (await room.bench.sync("sweep")).status is Status.HEALTHY
