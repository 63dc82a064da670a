"""Some records of a system are drawn by lot and asked for by id, so that what was lost is found between readings."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from isthmus.kernel.marks import Json
from isthmus.sync.connector import Leave, Raw
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import Difference, DifferenceStatus, Which, decide, differences, exactness, results
from isthmus.sync.reconciling.running import probe, reconcile
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Desk, Vendor

COMPANIES = 40


class Window(Desk):
    """A session that can be asked by id."""

    asked: list[str]

    async def fetch(self, feed: str, external_ids: Sequence[str]) -> Sequence[Raw]:
        """Return records by id."""
        self.vendor.trouble()
        self.asked.extend(external_ids)
        there = self.vendor.rows[feed]
        return [self.vendor.raw(feed, each) for each in external_ids if each in there and not there[each].deleted]


@pytest.fixture
async def asked() -> list[str]:
    """The ids that are asked for."""
    return []


@pytest.fixture
async def held(bench: Bench, crm: Vendor, asked: list[str]) -> Bench:
    """The bench with a system that can be asked by id, has forty companies and a person, and has been read."""

    @asynccontextmanager
    async def begin(settings: dict[str, str], leave: Leave) -> AsyncGenerator[Window]:
        del settings
        window = Window(crm, leave)
        object.__setattr__(window, "asked", asked)
        yield window

    crm.page_rows = COMPANIES
    for n in range(COMPANIES):
        crm.put("companies", f"C{n}", name=f"Company {n}", city="Ghent")
    crm.put("contacts", "P1", email="ann@example.com", first_name="Ann", account="C1")
    bench.engine = replace(
        bench.engine, connectors=dict(bench.engine.connectors) | {"crm": replace(crm.connector(), begin=begin)}
    )
    await bench.connect(crm)
    await bench.sync("crm")
    bench.tick(60)
    return bench


async def probed(bench: Bench, most: int = 100) -> None:
    bench.tick()
    await probe(bench.engine, workspace=bench.workspace, connection="crm", probed_max=most)


async def listed(bench: Bench, status: DifferenceStatus | None = "open") -> list[Difference]:
    return await bench.read(lambda tx: differences(tx, bench.store, which=Which(status=status)))


def lose(crm: Vendor, external_id: str, **body: Json) -> None:
    """Have a company there that no increment ever told of."""
    crm.put("companies", external_id, **body)
    crm.rows["companies"][external_id].change = 0
    crm.rows["companies"][external_id].at = crm.rows["companies"]["C0"].at


async def test_what_increments_lost_is_found_by_a_probe(held: Bench, crm: Vendor) -> None:
    lose(crm, "lost", name="Never told", city="Bruges")
    crm.rows["companies"]["C7"].body["city"] = "Antwerp"
    await held.sync("crm", parts=("pull",))
    assert await held.read(results) == []
    await probed(held)
    found = {(each.kind, each.external_id, each.field): (each.there, each.here) for each in await listed(held)}
    assert found == {
        (DifferenceKind.MISSING, "lost", ""): (None, None),
        (DifferenceKind.FIELD, "C7", "city"): ("Antwerp", "Ghent"),
    }


async def test_a_probe_of_what_agrees_finds_nothing_and_asks_for_no_more_than_it_may(
    held: Bench, asked: list[str]
) -> None:
    await probed(held, most=8)
    assert await listed(held, None) == []
    assert len([each for each in asked if each.startswith("C")]) == len(set(asked)) - 1 == 8
    newest = {each.type: each for each in await held.read(results)}
    assert {name: each.probed for name, each in newest.items()} == {"sales.account": 8, "sales.person": 1}
    exact = await held.read(exactness)
    assert (exact.share, exact.compared) == (1.0, 8 * 2 + 3)


async def test_records_that_are_not_held_are_drawn_first_and_others_still_are(
    held: Bench, crm: Vendor, asked: list[str]
) -> None:
    for n in range(30):
        lose(crm, f"lost-{n}", name=f"Lost {n}")
    await probed(held, most=10)
    drawn = [each for each in asked if each != "P1"]
    assert sum(each.startswith("lost") for each in drawn) == 5
    assert len(drawn) == 10
    assert {each.external_id for each in await listed(held)} == {each for each in drawn if each.startswith("lost")}


async def test_every_record_has_the_same_chance_to_be_drawn(held: Bench, asked: list[str]) -> None:
    held.engine = replace(held.engine, chance=Random(99))
    rounds = 60
    for _ in range(rounds):
        await probed(held, most=10)
    counts = [asked.count(f"C{n}") for n in range(COMPANIES)]
    expected, spread = rounds * 10 / COMPANIES, (rounds * 0.25 * 0.75) ** 0.5
    assert sum(counts) == rounds * 10
    assert all(abs(each - expected) < 4.5 * spread for each in counts)
    assert len({tuple(asked[n * 11 : n * 11 + 10]) for n in range(rounds)}) > rounds / 2


async def test_a_probe_mends_only_what_it_looked_at_and_overrules_no_whole_reading(held: Bench, crm: Vendor) -> None:
    crm.rows["companies"]["C7"].body["city"] = "Antwerp"
    held.tick()
    await reconcile(held.engine, workspace=held.workspace, connection="crm")
    whole = await held.read(exactness)
    (open_one,) = await listed(held)
    await held.read(lambda tx: decide(tx, [open_one.id], "accepted", reason="The branch moved."))
    held.engine = replace(held.engine, chance=Random(3))
    await probed(held, most=1)
    (still,) = await listed(held, "accepted")
    assert still.id == open_one.id
    assert (await held.read(exactness)).compared == whole.compared
    crm.rows["companies"]["C7"].body["city"] = "Ghent"
    await probed(held)
    assert [each.id for each in await listed(held, "gone")] == [open_one.id]


async def test_an_accepted_record_that_is_missing_counts_with_all_its_fields(held: Bench, crm: Vendor) -> None:
    lose(crm, "lost", name="Never told", city="Bruges")
    await probed(held)
    before = await held.read(exactness)
    assert before.differing == 2
    (missing,) = await listed(held)
    await held.read(lambda tx: decide(tx, [missing.id], "accepted", reason="It is a test company."))
    after = await held.read(exactness)
    assert (after.differing, after.share) == (0, 1.0)
    log = await held.rows("select details ->> 'reason' from audit where resource = 'reconciliation'")
    assert log == [("It is a test company.",)]


async def test_a_system_that_cannot_be_asked_by_id_is_not_probed(bench: Bench, crm: Vendor) -> None:
    crm.put("companies", "C1", name="Company")
    await bench.connect(crm)
    await bench.sync("crm")
    assert await probe(bench.engine, workspace=bench.workspace, connection="crm") == []
    assert await bench.read(results) == []
