"""Two systems and edits made here, in any order, with repeats, reversals and kills: they come to agree, and then rest.

Seeded interleavings instead of one story: each seed is one history, and the same seed is the same history.
"""

from collections.abc import Sequence
from random import Random
from uuid import UUID

import pytest

from isthmus.kernel.marks import Json
from isthmus.sync.conflicts import Choice, cases, resolve
from isthmus.sync.connections import Options, Status
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Killed, Vendor, away

DEALS = 4
STEPS = 40
FIELDS = ("name", "owner_id", "amount")
COMPARED = ("name", "owner_id", "amount", "deal_number")


class History:
    """One history of two vendors and us."""

    def __init__(self, bench: Bench, vendors: Sequence[Vendor], seed: int) -> None:
        """Begin a history; the seed decides everything."""
        self.bench, self.vendors, self.dice = bench, vendors, Random(seed)
        self.there = self.here = self.kills = 0

    def value(self, name: str) -> Json:
        """Return a new value for a field, out of few, so that values meet again."""
        number = self.dice.randrange(4)
        return {"amount": f"{number + 1}00.00", "currency": "EUR"} if name == "amount" else f"{name} {number}"

    async def step(self) -> None:
        """Do one thing that happens."""
        self.bench.tick(self.dice.choice([0.2, 1.0, 30.0]))
        vendor = self.dice.choice(self.vendors)
        match self.dice.choices(["there", "here", "sync", "trouble", "kill"], [5, 3, 6, 1, 1])[0]:
            case "there":
                ids = sorted(vendor.rows["deals"])
                name = self.dice.choice(FIELDS)
                vendor.put("deals", self.dice.choice(ids), **{name: self.value(name)})
                self.there += 1
            case "here":
                records = await self.bench.records("sales.deal")
                if records:
                    name = self.dice.choice(FIELDS)
                    await self.bench.edit("sales.deal", self.dice.choice(records).id, **{name: self.value(name)})
                    self.here += 1
            case "trouble":
                vendor.troubles = [self.dice.choice([None, away()]) for _ in range(3)]
            case "kill":
                vendor.kill_after_write = True
            case _:
                vendor.shuffled = self.dice.random() < 0.5
                try:
                    await self.bench.sync(vendor.name)
                except Killed:
                    self.kills += 1

    async def rest(self) -> None:
        """Let nothing happen any more: decide what waits, and run until nobody has anything to say."""
        for vendor in self.vendors:
            vendor.troubles, vendor.kill_after_write = [], False
        for _ in range(4):
            runs = await self.bench.sync(*(vendor.name for vendor in self.vendors))
            assert [run.status for run in runs] == [Status.HEALTHY] * len(runs)
            self.bench.tick()
            for case in await self.bench.read(lambda tx: cases(tx, self.bench.store, limit=200)):
                choice = self.dice.choice([Choice.KEPT, Choice.CLAIMED])
                await resolve(self.bench.store, self.bench.scope(), case.id, choice)


async def teach_in_a_circle(bench: Bench) -> None:
    """Teach rules of which each winner loses to another: the worst that people can teach."""
    query = (
        "insert into conflict_rule values (current_workspace(), %s, 'sales.deal', %s, %s, %s, %s, '', %s, 'user:ada')"
    )
    circle = [("crm", "erp"), ("erp", "isthmus"), ("isthmus", "crm")]
    async with bench.store.database.transaction(bench.scope()) as tx:
        for number, (name, (winner, loser)) in enumerate((name, pair) for name in FIELDS for pair in circle):
            own = UUID(int=number + 1)
            await tx.connection.execute(query, (own, name, winner, loser, own, tx.scope.now))


@pytest.mark.parametrize(("seed", "taught"), [(0, False), (1, False), (2, False), (3, False), (4, True), (5, True)])
async def test_whatever_the_order_all_sides_come_to_agree_and_then_nothing_is_written(
    bench: Bench, crm: Vendor, erp: Vendor, seed: int, *, taught: bool
) -> None:
    if taught:
        await teach_in_a_circle(bench)
    for vendor in (crm, erp):
        await bench.connect(vendor, Options(create=()))
        for number in range(DEALS):
            vendor.put("deals", name=f"Deal {number}", deal_number=f"D-{number}")
    history = History(bench, (crm, erp), seed)
    for _ in range(STEPS):
        await history.step()
    await history.rest()
    held = {str(record.values["deal_number"]): record.values for record in await bench.records("sales.deal")}
    assert len(held) == DEALS
    for vendor in (crm, erp):
        for row in vendor.rows["deals"].values():
            ours = held[str(row.body["deal_number"])]
            assert {name: row.body.get(name) for name in COMPARED} == {name: ours[name] for name in COMPARED}
    (conflicts, ruled) = (
        await bench.rows("select count(*), count(*) filter (where settled_by like 'rule:%%') from inbox_case")
    )[0]
    assert isinstance(conflicts, int)
    assert bool(ruled) == taught
    written = crm.writes + erp.writes
    assert written <= history.there + 2 * (history.here + conflicts) + history.kills
    for run in await bench.sync("crm", "erp"):
        assert (run.written, run.changed, run.created, run.conflicts) == (0, 0, 0, 0)
    assert crm.writes + erp.writes == written
