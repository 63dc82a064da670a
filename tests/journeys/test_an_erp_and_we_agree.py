"""A real ERP and a workspace are edited on both sides, by people who know nothing of each other, and come to agree."""

from pathlib import Path
from random import Random

import pytest

from isthmus.app.clock import SystemClock
from isthmus.app.counterparts.tryton import tryton
from isthmus.app.counterparts.tryton_world import CUSTOMERS, PEOPLE
from isthmus.app.counterparts.tryton_world import OPPORTUNITIES as SALES
from isthmus.app.discovery import connectors
from isthmus.kernel.marks import Json
from isthmus.store.fold import GONE
from isthmus.sync.conflicts import Case, Choice
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine
from tests.journeys.agreeing import ACCOUNT, DEAL, PERSON, SYSTEM, Agreement, quiet
from tests.journeys.erp_words import OPPORTUNITIES, PARTIES, decimal

NOW_THERE, THIRD = "52000.00", "51000.00"


def euros(digits: str) -> dict[str, Json]:
    """Return an amount as it is held."""
    return {"amount": digits, "currency": "EUR"}


async def test_the_first_pull_brings_everything_and_the_second_run_writes_nothing(
    store: Store, workspace: int, tmp_path: Path
) -> None:
    engine = Engine(store=store, clock=SystemClock(), chance=Random(7), connectors=connectors())
    with tryton(tmp_path) as server:
        both = Agreement(store=store, engine=engine, workspace=workspace, server=server, login=server.login())
        await both.connect()
        first = await both.sync()
        assert (first.created, first.rejected, first.written) == (17, 0, 0)
        companies = {str(each.values["name"]) for each in await both.all(ACCOUNT)}
        assert companies == {row.partition("|")[0] for row in CUSTOMERS.splitlines()}
        assert {str(each.values["email"]) for each in await both.all(PERSON)} == {email for _, email, _ in PEOPLE}
        assert {str(each.values["name"]) for each in await both.all(DEAL)} == {sale[1] for sale in SALES}
        untouched, claims = both.touched(), await both.claims()
        assert quiet(await both.sync())
        assert (both.touched(), await both.claims()) == (untouched, claims)


async def test_edits_of_different_fields_survive_on_both_sides(agreement: Agreement) -> None:
    number = agreement.sale_there("Signal boxes", conversion_probability=0.3)
    await agreement.settle()
    deal = await agreement.of(DEAL, number)
    await agreement.edit(DEAL, deal, name="Signal boxes, 12 sites")
    agreement.change_there(OPPORTUNITIES, number, conversion_probability=0.7)
    run = await agreement.sync()
    assert (run.changed, run.written, run.conflicts) == (1, 1, 0)
    both_edits = {"name": "Signal boxes, 12 sites", "probability": 0.7}
    assert (await agreement.ours(DEAL, deal)).items() >= both_edits.items()
    assert agreement.sale(number).items() >= both_edits.items()
    assert quiet(await agreement.sync())


@pytest.mark.parametrize("last", ["here", "there"])
async def test_of_two_edits_of_one_field_the_last_wins_and_the_loser_stays_in_the_trail(
    agreement: Agreement, last: str
) -> None:
    number = agreement.sale_there("Ferry tickets")
    await agreement.settle()
    deal = await agreement.of(DEAL, number)
    for side in ("there", "here") if last == "here" else ("here", "there"):
        if side == "here":
            await agreement.edit(DEAL, deal, name="Ferry tickets, said here")
        else:
            agreement.change_there(OPPORTUNITIES, number, description="Ferry tickets, said there")
    run = await agreement.sync()
    assert (run.conflicts, run.written) == (0, 1 if last == "here" else 0)
    assert (await agreement.ours(DEAL, deal))["name"] == agreement.sale(number)["name"] == f"Ferry tickets, said {last}"
    trail = await agreement.trail(DEAL, deal, "name")
    told = [(each.place[1], each.value, each.verdict) for each in trail if each.verdict != "agreed"]
    here = ("isthmus", "Ferry tickets, said here")
    there = (SYSTEM, "Ferry tickets, said there")
    loser, winner = (there, here) if last == "here" else (here, there)
    assert told == [(SYSTEM, "Ferry tickets", "first"), (*loser, "moved"), (*winner, "won")]
    assert quiet(await agreement.sync())


async def parted(agreement: Agreement) -> tuple[int, Case]:
    """Have the amount of a deal edited on both sides and other fields beside it; returns its number and the case."""
    number = agreement.sale_there("Lighthouse lamps", amount=decimal("48000.00"), conversion_probability=0.2)
    await agreement.settle()
    deal = await agreement.of(DEAL, number)
    await agreement.edit(DEAL, deal, amount=euros("50000.00"), name="Lighthouse lamps, LED")
    agreement.change_there(OPPORTUNITIES, number, amount=decimal(NOW_THERE), conversion_probability=0.6)
    run = await agreement.sync()
    assert (run.conflicts, run.written) == (1, 1)
    [case] = await agreement.cases(deal)
    return number, case


async def test_a_critical_conflict_is_parked_and_not_pushed_while_other_fields_flow(agreement: Agreement) -> None:
    number, case = await parted(agreement)
    assert (case.type, case.field, case.status) == (DEAL, "amount", "open")
    assert (case.kept, case.kept_system) == (euros("50000.00"), "isthmus")
    assert (case.claimed, case.claimed_system, case.claimed_external_id) == (euros(NOW_THERE), SYSTEM, str(number))
    assert case.stake == euros("2000.00")
    flowed: dict[str, Json] = {"name": "Lighthouse lamps, LED", "probability": 0.6}
    assert (await agreement.ours(DEAL, case.record_id)).items() >= {**flowed, "amount": euros("50000.00")}.items()
    assert agreement.sale(number).items() >= {**flowed, "amount": euros(NOW_THERE)}.items()
    assert quiet(await agreement.sync())
    assert agreement.sale(number)["amount"] == euros(NOW_THERE)


@pytest.mark.parametrize(
    ("choice", "value", "decided", "writes"),
    [
        (Choice.KEPT, None, "50000.00", 1),
        (Choice.CLAIMED, None, NOW_THERE, 0),
        (Choice.VALUE, euros(THIRD), THIRD, 1),
    ],
)
async def test_a_decision_is_pushed_its_echo_changes_nothing_and_it_can_be_undone(
    agreement: Agreement, choice: Choice, value: Json, decided: str, writes: int
) -> None:
    number, case = await parted(agreement)
    settled = await agreement.resolve(case, choice, value)
    assert (settled.status, settled.settled_by) == ("resolved", "user:tester")
    assert (await agreement.sync()).written == writes
    assert agreement.sale(number)["amount"] == (await agreement.ours(DEAL, case.record_id))["amount"] == euros(decided)
    untouched = agreement.touched()
    assert quiet(await agreement.sync())
    assert agreement.touched() == untouched
    assert await agreement.cases(case.record_id) == []
    again = await agreement.undo(settled)
    assert (again.status, again.kept, again.claimed) == ("open", euros("50000.00"), euros(NOW_THERE))
    assert quiet(await agreement.sync())
    assert (await agreement.ours(DEAL, case.record_id))["amount"] == euros("50000.00")
    assert agreement.sale(number)["amount"] == euros(decided)
    await agreement.resolve(again, Choice.CLAIMED)
    await agreement.sync()
    assert agreement.sale(number)["amount"] == (await agreement.ours(DEAL, case.record_id))["amount"]
    assert agreement.sale(number)["amount"] == euros(NOW_THERE)


async def test_a_deletion_there_becomes_a_tombstone_here(agreement: Agreement) -> None:
    number = agreement.sale_there("Short-lived")
    await agreement.settle()
    deal = await agreement.of(DEAL, number)
    agreement.delete_there(OPPORTUNITIES, number)
    assert (await agreement.sync()).conflicts == 0
    assert (await agreement.stored(DEAL, deal)).deleted_at is not None
    assert deal not in {each.id for each in await agreement.all(DEAL)}
    assert quiet(await agreement.sync())


@pytest.mark.parametrize("sweep", [True, False], ids=["found by the sweep", "met by the write"])
@pytest.mark.parametrize("decided", [Choice.KEPT, Choice.CLAIMED])
async def test_a_deletion_there_against_an_edit_here_waits_for_a_person(
    agreement: Agreement, decided: Choice, *, sweep: bool
) -> None:
    number = agreement.sale_there("Wanted and unwanted")
    await agreement.settle()
    deal = await agreement.of(DEAL, number)
    agreement.delete_there(OPPORTUNITIES, number)
    await agreement.edit(DEAL, deal, name="Very much wanted")
    run = await agreement.sync(sweep=sweep)
    assert (run.conflicts, run.written) == (1, 0)
    [case] = await agreement.cases(deal)
    assert (case.field, case.kept, case.kept_system) == (GONE, False, "isthmus")
    assert (case.claimed, case.claimed_system) == (True, SYSTEM)
    assert (await agreement.stored(DEAL, deal)).deleted_at is None
    await agreement.resolve(case, decided)
    run = await agreement.sync()
    if decided == Choice.KEPT:
        [new] = await agreement.numbers(deal)
        agreement.made.append((OPPORTUNITIES, new))
        assert (run.written, agreement.sale(new)["name"]) == (1, "Very much wanted")
    else:
        assert (run.written, await agreement.numbers(deal)) == (0, [])
        assert (await agreement.stored(DEAL, deal)).deleted_at is not None
    assert quiet(await agreement.sync())


async def test_a_lost_deal_is_opened_again_with_other_words_and_ended_with_a_reason(agreement: Agreement) -> None:
    number = agreement.sale_there("Jetty", amount=decimal("100.00"))
    agreement.login.press(OPPORTUNITIES, "lost", number)
    await agreement.settle()
    deal = await agreement.of(DEAL, number)
    opened: dict[str, Json] = {"stage": "needs_analysis", "name": "Jetty and crane", "amount": euros("250.00")}
    await agreement.edit(DEAL, deal, **opened)
    await agreement.settle()
    assert agreement.sale(number).items() >= opened.items()
    ended: dict[str, Json] = {"stage": "closed_lost", "name": "Jetty", "lost_reason": "built elsewhere"}
    await agreement.edit(DEAL, deal, **ended)
    await agreement.settle()
    assert agreement.sale(number).items() >= ended.items()
    assert (await agreement.ours(DEAL, deal))["won"] is False


async def test_what_is_made_here_appears_there_once(agreement: Agreement) -> None:
    account = await agreement.create(ACCOUNT, "a-1", name="Breakwater Optics", domain="breakwater.example", city="Kiel")
    person = await agreement.create(
        PERSON, "p-1", first_name="Ana María", last_name="Quill", email="ana@breakwater.example"
    )
    deal = await agreement.create(DEAL, "d-1", name="Buoys", amount=euros("7000.00"), account_id=str(account))
    run = await agreement.sync()
    assert (run.written, run.rejected) == (3, 0)
    [company] = await agreement.numbers(account)
    [human] = await agreement.numbers(person)
    [sale] = await agreement.numbers(deal)
    agreement.made += [(PARTIES, company), (PARTIES, human), (OPPORTUNITIES, sale)]
    made: dict[str, Json] = {"name": "Breakwater Optics", "website": "https://breakwater.example", "city": "Kiel"}
    assert agreement.party(company).items() >= made.items()
    assert agreement.party(human).items() >= {"name": "Ana María Quill", "email": "ana@breakwater.example"}.items()
    assert agreement.sale(sale).items() >= {"name": "Buoys", "amount": euros("7000.00"), "party": company}.items()
    untouched = agreement.touched()
    for _ in range(2):
        assert quiet(await agreement.sync())
    assert agreement.touched() == untouched
    assert len(agreement.login.find(PARTIES, ["name", "=", "Breakwater Optics"])) == 1


async def test_a_first_name_of_two_words_survives_a_system_that_knows_one_name(agreement: Agreement) -> None:
    person = await agreement.create(PERSON, "p-2", first_name="Ana María", last_name="Quill", email="amq@reef.example")
    await agreement.settle()
    [human] = await agreement.numbers(person)
    agreement.made.append((PARTIES, human))
    await agreement.edit(PERSON, person, last_name="Quill Osterloh")
    await agreement.settle()
    assert agreement.party(human)["name"] == "Ana María Quill Osterloh"
    agreement.contact_there(human, "email", "ana.maria@reef.example")
    await agreement.settle()
    halves = {"first_name": "Ana María", "last_name": "Quill Osterloh", "email": "ana.maria@reef.example"}
    assert (await agreement.ours(PERSON, person)).items() >= halves.items()
    agreement.change_there(PARTIES, human, name="Ana María Osterloh")
    await agreement.settle()
    ours = await agreement.ours(PERSON, person)
    assert f"{ours['first_name']} {ours['last_name']}" == agreement.party(human)["name"] == "Ana María Osterloh"


@pytest.mark.parametrize("button", ["lead", "opportunity", "lost", "cancel"])
async def test_a_record_deleted_here_goes_there_too(agreement: Agreement, button: str) -> None:
    number = agreement.sale_there("Given up here")
    if button != "lead":
        agreement.login.press(OPPORTUNITIES, button, number)
    await agreement.settle()
    deal = await agreement.of(DEAL, number)
    await agreement.delete(DEAL, deal)
    assert (await agreement.sync()).written == 1
    assert agreement.login.find(OPPORTUNITIES, ["id", "=", number]) == []
    assert quiet(await agreement.sync())


async def test_an_edit_there_between_our_pull_and_push_is_merged_and_not_overwritten(agreement: Agreement) -> None:
    number = agreement.sale_there("Night trains", conversion_probability=0.1, amount=decimal("900.00"))
    await agreement.settle()
    deal = await agreement.of(DEAL, number)
    await agreement.edit(DEAL, deal, name="Night trains, twelve coaches", amount=euros("950.00"))
    await agreement.sync("pull")
    agreement.change_there(OPPORTUNITIES, number, conversion_probability=0.9, amount=decimal("990.00"))
    run = await agreement.sync("push")
    assert (run.written, run.conflicts) == (1, 1)
    merged: dict[str, Json] = {"name": "Night trains, twelve coaches", "probability": 0.9}
    assert agreement.sale(number).items() >= {**merged, "amount": euros("990.00")}.items()
    assert (await agreement.ours(DEAL, deal)).items() >= {**merged, "amount": euros("950.00")}.items()
    [case] = await agreement.cases(deal)
    assert (case.field, case.kept, case.claimed) == ("amount", euros("950.00"), euros("990.00"))
    assert quiet(await agreement.sync())
