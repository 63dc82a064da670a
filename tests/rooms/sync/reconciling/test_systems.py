"""A connection is reconciled: what differs is told with both values, mended, accepted or ignored."""

from decimal import Decimal

import pytest

from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import (
    Difference,
    DifferenceMissing,
    DifferenceStatus,
    ReasonMissing,
    Which,
    accuracy,
    decide,
    differences,
)
from isthmus.sync.reconciling.held import rebuild
from isthmus.sync.reconciling.running import reconcile, repair
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Vendor

EUR: dict[str, Json] = {"amount": "100.00", "currency": "EUR"}


async def listed(bench: Bench, status: DifferenceStatus | None = "open") -> list[Difference]:
    return await bench.read(lambda tx: differences(tx, bench.store, which=Which(status=status)))


async def exactness(bench: Bench) -> float | None:
    return await bench.read(accuracy)


async def compared(bench: Bench) -> None:
    bench.tick()
    await reconcile(bench.engine, workspace=bench.workspace, connection="crm")


def change(crm: Vendor, feed: str, external_id: str, **fields: Json) -> None:
    """Change a record there without that its stamp or its place in the order of changes moves, as formulas do."""
    crm.rows[feed][external_id].body.update(fields)


@pytest.fixture
async def held(bench: Bench, crm: Vendor) -> Bench:
    """The bench with a system of some records that has been read."""
    for n in range(4):
        crm.put("companies", f"C{n}", name=f"Company {n}", city="Ghent")
    crm.put("contacts", "P1", email="ann@example.com", first_name="Ann", last_name="Lee", account="C1")
    crm.put("deals", "D1", name="One", amount=EUR, account="C2")
    await bench.connect(crm)
    await bench.sync("crm")
    return bench


async def test_what_agrees_is_read_once_and_nothing_is_found(held: Bench, crm: Vendor) -> None:
    reads = crm.reads
    await compared(held)
    once = crm.reads - reads
    await held.read(rebuild)
    await compared(held)
    assert await listed(held, None) == []
    assert crm.reads - reads == 2 * once
    assert await exactness(held) == 1.0


async def test_every_kind_is_told_with_both_values_and_the_money_at_stake(held: Bench, crm: Vendor) -> None:
    change(crm, "companies", "C0", city=None)
    change(crm, "contacts", "P1", first_name="Anna", account="C3")
    change(crm, "deals", "D1", amount={"amount": "99.99", "currency": "EUR"})
    crm.rows["companies"]["C9"] = crm.rows["companies"].pop("C1")
    held.tick()
    crm.put("companies", "C2", city="Bruges")
    await compared(held)
    found = {(each.kind, each.external_id, each.field): each for each in await listed(held)}
    assert set(found) == {
        (DifferenceKind.FIELD, "C0", "city"),
        (DifferenceKind.FIELD, "P1", "first_name"),
        (DifferenceKind.FIELD, "P1", "account_id"),
        (DifferenceKind.FIELD, "D1", "amount"),
        (DifferenceKind.EXTRA, "C1", ""),
        (DifferenceKind.MISSING, "C9", ""),
        (DifferenceKind.LATE, "C2", ""),
    }
    city = found[DifferenceKind.FIELD, "C0", "city"]
    assert (city.there, city.here) == (None, "Ghent")
    name = found[DifferenceKind.FIELD, "P1", "first_name"]
    assert (name.there, name.here) == ("Anna", "Ann")
    money = found[DifferenceKind.FIELD, "D1", "amount"]
    assert (money.stake, money.currency) == (Decimal("0.01"), "EUR")
    exact = await exactness(held)
    assert exact is not None
    assert 0 < exact < 1


async def test_values_of_persons_stand_sealed(held: Bench, crm: Vendor) -> None:
    change(crm, "contacts", "P1", first_name="Annabelle")
    await compared(held)
    ((told, sealed),) = await held.rows("select d::text, sealed from reconciliation_difference d")
    assert "Annabelle" not in str(told)
    assert isinstance(sealed, bytes)
    assert b"Annabelle" not in sealed
    (person,) = await held.records("sales.person")
    held.store.vault.erase(workspace=held.workspace, subject=person.id)
    (left,) = await listed(held)
    assert (left.there, left.here) == (None, None)


async def test_a_repair_makes_both_sides_equal(held: Bench, crm: Vendor) -> None:
    change(crm, "companies", "C0", city="Antwerp")
    del crm.rows["companies"]["C3"]
    await compared(held)
    assert len(await listed(held)) == 2
    held.tick()
    await repair(held.engine, workspace=held.workspace, connection="crm", actor="user:tester", confirmed=True)
    assert await listed(held) == []
    assert len(await listed(held, "repaired")) == 2
    assert await exactness(held) == 1.0
    names = sorted(str(each.values["name"]) for each in await held.records("sales.account"))
    assert names == ["Company 0", "Company 1", "Company 2"]
    log = await held.rows("select action from audit where resource = 'reconciliation'")
    assert log == [("repair",)]


async def test_a_decision_stands_while_both_values_stay(held: Bench, crm: Vendor) -> None:
    change(crm, "companies", "C0", city="Antwerp")
    change(crm, "companies", "C1", city="Liege")
    await compared(held)
    one, other = await listed(held)
    await held.read(lambda tx: decide(tx, [one.id], "accepted", reason="The branch moved."))
    await held.read(lambda tx: decide(tx, [other.id], "ignored", reason="Looked at next week."))
    await compared(held)
    assert await listed(held) == []
    (accepted,) = await listed(held, "accepted")
    assert (accepted.id, accepted.reason) == (one.id, "The branch moved.")
    exact = await exactness(held)
    change(crm, "companies", one.external_id, city="Namur")
    await compared(held)
    (again,) = await listed(held)
    assert (again.id, again.there) == (one.id, "Namur")
    now = await exactness(held)
    assert exact is not None
    assert now is not None
    assert now < exact
    log = await held.rows("select action from audit where resource = 'reconciliation' order by id")
    assert log == [("accepted",), ("ignored",)]


async def test_what_has_become_equal_by_itself_is_gone(held: Bench, crm: Vendor) -> None:
    change(crm, "companies", "C0", city="Antwerp")
    await compared(held)
    change(crm, "companies", "C0", city="Ghent")
    await compared(held)
    assert await listed(held) == []
    (gone,) = await listed(held, "gone")
    with pytest.raises(DifferenceMissing):
        await held.read(lambda tx: decide(tx, [gone.id], "accepted", reason="Too late."))


async def test_a_decision_needs_a_reason(held: Bench, crm: Vendor) -> None:
    change(crm, "companies", "C0", city="Antwerp")
    await compared(held)
    (one,) = await listed(held)
    with pytest.raises(ReasonMissing):
        await held.read(lambda tx: decide(tx, [one.id], "ignored", reason=" "))


async def test_a_system_that_cannot_be_read_finds_nothing(held: Bench, crm: Vendor) -> None:
    change(crm, "companies", "C0", city="Antwerp")
    crm.troubles = [ConnectorError("It is away.")] * 50
    with pytest.raises(ConnectorError):
        await compared(held)
    assert await listed(held, None) == []
    assert await exactness(held) is None
