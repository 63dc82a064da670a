"""People on both sides edit the same records for a while; each edit costs one write, and in the end both are equal."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import cast
from uuid import UUID

import pytest

from isthmus.kernel.marks import Json
from isthmus.sync.conflicts import Choice
from tests.journeys.agreeing import ACCOUNT, DEAL, PERSON, Agreement, quiet
from tests.journeys.erp_words import OPPORTUNITIES, PARTIES, decimal

EDITS, EACH, WRITES_PER_EDIT_MAX = 40, 3, 1.05
CITIES, STREETS = ("Kiel", "Lyon", "Delft", "Boston"), ("Hafenweg 3", "8 rue du Port", "Kade 12", "5 Pier Street")
STATES = {"qualification": "lead", "needs_analysis": "opportunity"}
Value = Callable[[Random, int], Json]
There = Callable[["Table", int, Json], None]


@dataclass
class Table:
    """The records that are edited, by type: their numbers there."""

    agreement: Agreement
    numbers: dict[str, list[int]]

    def party(self, number: int, **values: Json) -> None:
        self.agreement.change_there(PARTIES, number, **values)

    def sale(self, number: int, **values: Json) -> None:
        self.agreement.change_there(OPPORTUNITIES, number, **values)

    def name(self, number: int, half: int, word: Json) -> None:
        """Change one half of a person's name."""
        halves = str(self.agreement.party(number)["name"]).split(" ")
        halves[half] = str(word)
        self.party(number, name=" ".join(halves))

    def place(self, number: int, **values: Json) -> None:
        """Change the address of a party, or make it."""
        [party] = [self.agreement.login.read(PARTIES, number, "addresses")]
        found = cast("list[Json]", party["addresses"])
        self.party(number, addresses=[["write", found[:1], values] if found else ["create", [values]]])

    def stage(self, number: int, stage: Json) -> None:
        """Press the button of a stage, unless it stands there."""
        if self.agreement.sale(number)["stage"] != stage:
            self.agreement.login.press(OPPORTUNITIES, STATES[str(stage)], number)


def money(dice: Random, _: int) -> Json:
    return {"amount": f"{dice.randrange(1_000, 90_000)}.{dice.randrange(100):02}", "currency": "EUR"}


def digits(value: Json) -> Json:
    return decimal(str(cast("dict[str, Json]", value)["amount"]))


def day(value: Json) -> Json:
    year, month, number = (int(part) for part in str(value).split("-"))
    return {"__class__": "date", "year": year, "month": month, "day": number}


# What is edited: a value, and how people in the ERP write it.
FIELDS: dict[str, dict[str, tuple[Value, There]]] = {
    ACCOUNT: {
        "name": (lambda _, k: f"Mole & Pier {k}", lambda t, n, v: t.party(n, name=v)),
        "website": (
            lambda _, k: f"https://pier-{k}.example",
            lambda t, n, v: t.agreement.contact_there(n, "website", str(v)),
        ),
        "phone": (lambda _, k: f"+49 431 5550{k:03}", lambda t, n, v: t.agreement.contact_there(n, "phone", str(v))),
        "city": (lambda dice, _: dice.choice(CITIES), lambda t, n, v: t.place(n, city=v)),
        "street": (lambda dice, _: dice.choice(STREETS), lambda t, n, v: t.place(n, street_unstructured=v)),
    },
    PERSON: {
        "first_name": (lambda _, k: f"Ida{k}", lambda t, n, v: t.name(n, 0, v)),
        "last_name": (lambda _, k: f"Strand{k}", lambda t, n, v: t.name(n, 1, v)),
        "email": (lambda _, k: f"ida.{k}@pier.example", lambda t, n, v: t.agreement.contact_there(n, "email", str(v))),
        "city": (lambda dice, _: dice.choice(CITIES), lambda t, n, v: t.place(n, city=v)),
    },
    DEAL: {
        "name": (lambda _, k: f"Moorings, lot {k}", lambda t, n, v: t.sale(n, description=v)),
        "amount": (money, lambda t, n, v: t.sale(n, amount=digits(v))),
        "probability": (
            lambda dice, _: dice.randrange(1, 100) / 100,
            lambda t, n, v: t.sale(n, conversion_probability=v),
        ),
        "close_date": (
            lambda dice, _: f"2027-0{dice.randrange(1, 10)}-1{dice.randrange(10)}",
            lambda t, n, v: t.sale(n, end_date=day(v)),
        ),
        "deal_number": (lambda _, k: f"M-{k:04}", lambda t, n, v: t.sale(n, reference=v)),
        "stage": (lambda dice, _: dice.choice(list(STATES)), Table.stage),
    },
}


def laid(agreement: Agreement) -> Table:
    """Make the records that are edited."""
    companies = [
        agreement.company_there(f"Quay {k}", website=f"https://quay-{k}.example", phone=f"+49 431 55501{k}")
        for k in range(EACH)
    ]
    people = [agreement.person_there(f"Per Holm{k}", email=f"per.{k}@quay.example") for k in range(EACH)]
    sales = [
        agreement.sale_there(f"Dredging {k}", party=companies[k], amount=decimal(f"{k + 1}000.00")) for k in range(EACH)
    ]
    return Table(agreement, {ACCOUNT: companies, PERSON: people, DEAL: sales})


async def edited(table: Table, dice: Random, k: int) -> None:
    """Edit one field of one record on one side."""
    kind = dice.choice(list(FIELDS))
    number, name = dice.choice(table.numbers[kind]), dice.choice(list(FIELDS[kind]))
    value, there = FIELDS[kind][name]
    new = value(dice, k)
    if dice.random() < 0.5:
        there(table, number, new)
    else:
        await table.agreement.edit(kind, await table.agreement.of(kind, number), **{name: new})


async def decided(agreement: Agreement, records: list[UUID], dice: Random) -> int:
    """Decide every open case one way or the other; returns how many there were."""
    found = [case for record in records for case in await agreement.cases(record)]
    for case in found:
        await agreement.resolve(case, dice.choice([Choice.KEPT, Choice.CLAIMED]))
    return len(found)


async def said_here(agreement: Agreement, kind: str, number: int) -> dict[str, Json]:
    """Return what we hold, in the words in which the ERP is read."""
    ours = await agreement.ours(kind, await agreement.of(kind, number))
    if kind == DEAL:
        account = UUID(str(ours["account_id"]))
        shown = ("name", "deal_number", "amount", "probability", "stage", "close_date", "lost_reason", "owner_id")
        return {name: ours[name] for name in shown} | {"party": (await agreement.numbers(account))[0]}
    shown = ("phone", "street", "postal_code", "city", "country")
    if kind == PERSON:
        return {name: ours[name] for name in (*shown, "email", "language")} | {
            "name": f"{ours['first_name']} {ours['last_name']}"
        }
    return {name: ours[name] for name in (*shown, "name", "website", "tax_id")}


@pytest.mark.parametrize("seed", [20, 105])
async def test_each_edit_costs_one_write_and_both_sides_end_equal(agreement: Agreement, seed: int) -> None:
    dice = Random(seed)
    table = laid(agreement)
    await agreement.settle()
    records = [await agreement.of(kind, number) for kind, numbers in table.numbers.items() for number in numbers]
    done = writes = decisions = 0
    while done < EDITS:
        for _ in range(dice.randint(1, 3)):
            await edited(table, dice, done)
            done += 1
        run = await agreement.sync()
        writes += run.written + run.changed
        decisions += await decided(agreement, records, dice)
    while not quiet(run := await agreement.sync()):
        writes += run.written + run.changed
        assert await decided(agreement, records, dice) == 0
    assert 0.5 * done < writes <= WRITES_PER_EDIT_MAX * (done + decisions)
    for kind, numbers in table.numbers.items():
        for number in numbers:
            there = agreement.sale(number) if kind == DEAL else agreement.party(number)
            here = await said_here(agreement, kind, number)
            assert here == {name: there[name] for name in here}
