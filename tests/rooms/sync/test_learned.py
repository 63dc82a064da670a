"""Rules that people taught: the same conflict decides itself, and what was taken back stays with them."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.sync.conflicts import Case, Choice, Filter, Side, cases, resolve_in, resolve_many, undo, weight, weightiest
from isthmus.sync.learned import LearnedRule, NothingToLearn, forget, learn, rules
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Vendor


def euros(amount: str) -> Json:
    """Return money."""
    return {"amount": amount, "currency": "EUR"}


async def contest(bench: Bench, crm: Vendor, number: int, *, ours: str = "120.00", theirs: str = "150.00") -> str:
    """Have both sides move the amount of a deal; returns the vendor's id of it."""
    external_id = crm.put("deals", name=f"Deal {number}", deal_number=f"D-{number}", amount=euros("100.00"))
    await bench.sync("crm")
    deal = next(each for each in await bench.records("sales.deal") if each.values["deal_number"] == f"D-{number}")
    await bench.edit("sales.deal", deal.id, amount=euros(ours))
    bench.tick()
    crm.put("deals", external_id, amount=euros(theirs))
    await bench.sync("crm", parts=("pull",))
    return external_id


async def open_cases(bench: Bench) -> list[Case]:
    """Return what waits for a person."""
    return await bench.read(lambda tx: cases(tx, bench.store))


async def taught(bench: Bench, choice: Choice | Side) -> LearnedRule:
    """Decide the one open case, and have that learned."""
    (case,) = await open_cases(bench)
    bench.tick()
    async with bench.store.database.transaction(bench.scope("user:ada")) as tx:
        decided = await resolve_in(tx, bench.store, case.id, choice)
        assert decided.choice is not None
        return await learn(tx, bench.store, case, Choice(decided.choice), note="The CRM has the contract.")


async def test_what_was_learned_decides_the_same_conflict_and_travels(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    await contest(bench, crm, 1)
    rule = await taught(bench, Side(system="crm"))
    assert (rule.winner, rule.loser, rule.field, rule.created_by) == ("crm", "isthmus", "amount", "user:ada")
    second = await contest(bench, crm, 2, theirs="170.00")
    assert await open_cases(bench) == []
    held = {each.values["deal_number"]: each.values["amount"] for each in await bench.records("sales.deal")}
    assert held == {"D-1": euros("150.00"), "D-2": euros("170.00")}
    await bench.sync("crm", "crm")
    assert (crm.rows["deals"][second].body["amount"], crm.writes) == (euros("170.00"), 0)
    (decided,) = await bench.read(lambda tx: cases(tx, bench.store, where=Filter(status="resolved"), limit=1))
    assert decided.settled_by == "user:ada"
    (told,) = await bench.rows("select settled_by, note from inbox_case where settled_by like 'rule:crul_%%'")
    assert told[1] == "By a rule: crm wins over isthmus."


async def test_who_is_here_can_win_and_then_the_system_is_told(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    await contest(bench, crm, 1)
    assert (await taught(bench, Choice.KEPT)).winner == "isthmus"
    second = await contest(bench, crm, 2)
    await bench.sync("crm")
    assert crm.rows["deals"][second].body["amount"] == euros("120.00")


async def test_a_decision_of_a_rule_that_is_taken_back_waits_for_a_person(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    await contest(bench, crm, 1)
    await taught(bench, Side(system="crm"))
    await contest(bench, crm, 2)
    decided = await bench.read(lambda tx: cases(tx, bench.store, where=Filter(status="resolved")))
    own = next(each.id for each in decided if str(each.settled_by).startswith("rule:"))
    bench.tick()
    await undo(bench.store, bench.scope(), own)
    await bench.sync("crm", "crm")
    (case,) = await open_cases(bench)
    assert (case.id, case.kept) == (own, euros("120.00"))


async def test_a_rule_that_is_forgotten_decides_nothing_more_and_one_pair_has_one_rule(
    bench: Bench, crm: Vendor
) -> None:
    await bench.connect(crm)
    await contest(bench, crm, 1)
    first = await taught(bench, Side(system="crm"))
    async with bench.store.database.transaction(bench.scope()) as tx:
        (case,) = await cases(tx, bench.store, where=Filter(status="resolved"))
        again = await learn(tx, bench.store, case, Choice.KEPT)
    assert (again.id, again.winner) == (first.id, "isthmus")
    async with bench.store.database.transaction(bench.scope()) as tx:
        await forget(tx, again.id)
        assert await rules(tx) == []
    await contest(bench, crm, 2)
    assert [each.field for each in await open_cases(bench)] == ["amount"]


async def test_what_names_no_winner_or_needs_a_person_each_time_is_not_learned(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    external_id = await contest(bench, crm, 1)
    (case,) = await open_cases(bench)
    crm.delete("deals", external_id)
    await bench.sync("crm")
    gone = next(each for each in await open_cases(bench) if each.field == "~deleted")
    async with bench.store.database.transaction(bench.scope()) as tx:
        for found, choice in ((case, Choice.VALUE), (gone, Choice.CLAIMED)):
            with pytest.raises(NothingToLearn):
                await learn(tx, bench.store, found, choice)


async def test_the_most_at_stake_comes_first_page_by_page_and_the_least_can_be_left_out(
    bench: Bench, crm: Vendor
) -> None:
    await bench.connect(crm)
    for number, theirs in enumerate(("130.00", "400.00", "150.00")):
        await contest(bench, crm, number, theirs=theirs)
    first = await bench.read(lambda tx: weightiest(tx, bench.store, limit=2))
    rest = await bench.read(lambda tx: weightiest(tx, bench.store, after=weight(first[-1])))
    assert [each.stake["amount"] for each in [*first, *rest] if each.stake] == ["280.00", "30.00", "10.00"]
    large = Filter(stake_min=weight(first[0])[0])
    assert await bench.read(lambda tx: weightiest(tx, bench.store, where=large)) == first[:1]
    nobody = await resolve_many(bench.store, bench.scope(), Filter(), Side(system="erp"), dry_run=True)
    theirs_all = await resolve_many(bench.store, bench.scope(), Filter(), Side(system="crm"), dry_run=True)
    assert (nobody, len(theirs_all)) == ([], 3)
