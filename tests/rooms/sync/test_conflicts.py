"""The inbox: what waits for a person is not pushed; a decision travels, and can be taken back."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.store.prepare import Rejected
from isthmus.store.refold import refold
from isthmus.sync.conflicts import Case, CaseSettled, Choice, Filter, ValueNeeded, cases, resolve, resolve_many, undo
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Vendor


def euros(amount: str) -> Json:
    """Return money."""
    return {"amount": amount, "currency": "EUR"}


@pytest.fixture
async def deal(bench: Bench, crm: Vendor) -> str:
    """The vendor's id of a deal on whose amount both sides moved."""
    await bench.connect(crm)
    external_id = crm.put("deals", name="Deal", deal_number="D-1", amount=euros("100.00"))
    await bench.sync("crm")
    await bench.edit("sales.deal", (await bench.only("sales.deal")).id, amount=euros("120.00"))
    bench.tick()
    crm.put("deals", external_id, amount=euros("150.00"), name="Deal renamed")
    await bench.sync("crm")
    return external_id


async def _open(bench: Bench) -> list[Case]:
    return await bench.read(lambda tx: cases(tx, bench.store))


def _there(crm: Vendor, external_id: str) -> Json:
    return crm.rows["deals"][external_id].body["amount"]


async def test_a_contested_amount_is_parked_with_both_values_and_not_pushed(
    bench: Bench, crm: Vendor, deal: str
) -> None:
    (case,) = await _open(bench)
    assert (case.field, case.kept, case.claimed) == ("amount", euros("120.00"), euros("150.00"))
    assert (case.kept_system, case.claimed_system, case.stake) == (
        "isthmus",
        "crm",
        {"amount": "30.00", "currency": "EUR"},
    )
    assert (await bench.only("sales.deal")).values["name"] == "Deal renamed"
    await bench.edit("sales.deal", case.record_id, owner_id="ada")
    await bench.sync("crm")
    assert crm.rows["deals"][deal].body["owner_id"] == "ada"
    assert _there(crm, deal) == euros("150.00")


@pytest.mark.parametrize(
    ("choice", "value", "held", "writes"),
    [
        (Choice.KEPT, None, "120.00", 1),
        (Choice.CLAIMED, None, "150.00", 0),
        (Choice.VALUE, euros("140.00"), "140.00", 1),
    ],
)
async def test_a_decision_travels_and_its_echo_dies(
    bench: Bench, crm: Vendor, deal: str, choice: Choice, value: Json, held: str, writes: int
) -> None:
    (case,) = await _open(bench)
    bench.tick()
    decided = await resolve(bench.store, bench.scope("user:ada"), case.id, choice, value=value, note="As agreed.")
    assert (decided.status, decided.choice, decided.note, decided.settled_by) == (
        "resolved",
        choice,
        "As agreed.",
        "user:ada",
    )
    assert (await bench.only("sales.deal")).values["amount"] == euros(held)
    await bench.sync("crm", "crm")
    assert _there(crm, deal) == euros(held)
    assert crm.writes == writes
    assert await _open(bench) == []
    with pytest.raises(CaseSettled):
        await resolve(bench.store, bench.scope(), case.id, choice, value=value)
    (row,) = await bench.rows("select actor, details from audit where action = 'resolve'")
    assert row == ("user:ada", {"case": str(case.id), "field": "amount", "choice": choice.value})


async def test_a_decision_that_is_taken_back_is_open_again_and_nothing_is_pushed(
    bench: Bench, crm: Vendor, deal: str
) -> None:
    (case,) = await _open(bench)
    bench.tick()
    await resolve(bench.store, bench.scope(), case.id, Choice.CLAIMED)
    bench.tick()
    again = await undo(bench.store, bench.scope(), case.id)
    assert (again.id, again.status, again.kept, again.claimed) == (case.id, "open", euros("120.00"), euros("150.00"))
    assert (await bench.only("sales.deal")).values["amount"] == euros("120.00")
    await bench.sync("crm", "crm")
    assert (crm.writes, _there(crm, deal)) == (0, euros("150.00"))
    bench.tick()
    await resolve(bench.store, bench.scope(), case.id, Choice.KEPT)
    await bench.sync("crm", "crm")
    assert (crm.writes, _there(crm, deal)) == (1, euros("120.00"))


@pytest.mark.parametrize("choice", [Choice.KEPT, Choice.CLAIMED])
async def test_a_case_that_is_open_again_lives_on_and_ends_when_both_sides_agree(
    bench: Bench, crm: Vendor, deal: str, choice: Choice
) -> None:
    (case,) = await _open(bench)
    bench.tick()
    await resolve(bench.store, bench.scope(), case.id, choice)
    bench.tick()
    await undo(bench.store, bench.scope(), case.id)
    preparer = bench.store.preparer("sales.deal", bench.scope().workspace)
    record_type = bench.store.schema["sales.deal"]
    bench.tick()
    await bench.read(lambda tx: refold(tx, bench.store.vault, record_type, preparer, [case.record_id]))
    crm.put("deals", deal, amount=euros("155.00"))
    await bench.sync("crm", parts=("pull",))
    assert [(each.id, each.kept, each.claimed) for each in await _open(bench)] == [
        (case.id, euros("120.00"), euros("155.00"))
    ]
    crm.put("deals", deal, amount=euros("120.00"))
    await bench.sync("crm", parts=("pull",))
    assert await _open(bench) == []
    assert (await bench.only("sales.deal")).values["amount"] == euros("120.00")


async def test_a_decision_on_a_field_that_moved_since_cannot_be_taken_back(bench: Bench, deal: str) -> None:
    del deal
    (case,) = await _open(bench)
    bench.tick()
    await resolve(bench.store, bench.scope(), case.id, Choice.KEPT)
    await bench.edit("sales.deal", case.record_id, amount=euros("90.00"))
    with pytest.raises(CaseSettled, match="has moved since"):
        await undo(bench.store, bench.scope(), case.id)


async def test_a_value_that_does_not_fit_is_refused_and_the_case_stays_open(bench: Bench, deal: str) -> None:
    del deal
    (case,) = await _open(bench)
    with pytest.raises(Rejected, match="not a decimal"):
        await resolve(bench.store, bench.scope(), case.id, Choice.VALUE, value=euros("much"))
    with pytest.raises(ValueNeeded):
        await resolve(bench.store, bench.scope(), case.id, Choice.KEPT, value=euros("1.00"))
    assert [each.id for each in await _open(bench)] == [case.id]


async def test_many_cases_are_decided_by_filter_after_a_dry_run(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    ids = [crm.put("deals", name=f"Deal {number}", amount=euros("100.00"), owner_id="ada") for number in range(5)]
    await bench.sync("crm")
    for record in await bench.records("sales.deal"):
        await bench.edit("sales.deal", record.id, amount=euros("120.00"), owner_id="bob")
    bench.tick()
    for external_id in ids:
        crm.put("deals", external_id, amount=euros("150.00"), owner_id="cyd")
    await bench.sync("crm")
    assert len(await _open(bench)) == 10
    amounts = Filter(field="amount", system="crm")
    dry = await resolve_many(bench.store, bench.scope(), amounts, Choice.KEPT, dry_run=True)
    assert (len(dry), len(await _open(bench))) == (5, 10)
    bench.tick()
    done = await resolve_many(bench.store, bench.scope(), amounts, Choice.KEPT)
    assert [each.id for each in done] == [each.id for each in dry]
    assert {each.field for each in await _open(bench)} == {"owner_id"}
    await bench.sync("crm")
    assert [_there(crm, each) for each in ids] == [euros("120.00")] * 5
    first = await bench.read(lambda tx: cases(tx, bench.store, limit=2))
    rest = await bench.read(lambda tx: cases(tx, bench.store, after=first[-1].id))
    assert (len(first), len(rest)) == (2, 3)


@pytest.mark.parametrize("choice", [Choice.KEPT, Choice.CLAIMED])
async def test_a_decision_on_a_deletion_can_be_taken_back(bench: Bench, crm: Vendor, choice: Choice) -> None:
    await bench.connect(crm)
    external_id = crm.put("companies", name="Ada & Co")
    await bench.sync("crm")
    account = await bench.only("sales.account")
    crm.delete("companies", external_id)
    await bench.edit("sales.account", account.id, name="Ada & Sons")
    await bench.sync("crm")
    (case,) = await _open(bench)
    assert case.field == "~deleted"
    bench.tick()
    await resolve(bench.store, bench.scope(), case.id, choice)
    assert len(await bench.records("sales.account")) == (choice == Choice.KEPT)
    bench.tick()
    await undo(bench.store, bench.scope(), case.id)
    assert (await bench.only("sales.account")).values["name"] == "Ada & Sons"
    assert [each.id for each in await _open(bench)] == [case.id]
