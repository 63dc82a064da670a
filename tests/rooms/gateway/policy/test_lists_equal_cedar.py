"""Lists that policies filter in SQL hold exactly the rows that Cedar would let through, asked row by row."""

import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID

import cedarpy
import pytest

from isthmus.app.discovery import schema
from isthmus.app.http.assembly import all_routes
from isthmus.auth.principal import Principal
from isthmus.gateway.policy.book import Book, sight
from isthmus.gateway.policy.evaluate import Facts
from isthmus.gateway.policy.facts import Situation, facts_of
from isthmus.gateway.policy.language import PolicyUnreadable, PolicyUnsupported, read_policy
from isthmus.gateway.policy.vocabulary import Vocabulary, action_of, groups_of
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Scope
from isthmus.store.observation import Observation
from isthmus.store.records import Stored, page
from isthmus.sync.ingest import Interval, Store, put
from isthmus.sync.merges import merge
from tests.conftest import NOW

ROUNDS = int(os.environ.get("POLICY_LIST_ROUNDS", "250"))
"""Each round compares one random policy on all rows; 25,000 rounds make a million comparisons."""
ROWS = 40
DEAL, PERSON, CONSENT = (schema()[each] for each in ("sales.deal", "sales.person", "marketing.consent"))
AT = NOW + timedelta(hours=1)
VOCABULARY = Vocabulary(all_routes(schema()), schema().types)
ROUTE = VOCABULARY.by_name["GET /api/v1/deals"]
PEOPLE = 12
PURPOSES, WAYS, STATES = (
    ("marketing", "sales"),
    ("email", "phone", "any"),
    ("granted", "granted", "unknown", "withdrawn"),
)
SAID = ("marketing", "sales", "marketing/email", "marketing/phone", "sales/email", "sales/any", "service")
WORDS = ("ann", "bob", "north", "north%east", "a_b", "")
CURRENCIES = ("EUR", "USD", "JPY")
AMOUNTS = ("0", "10.5", "99.99", "100", "250000")


def fields_of(chance: random.Random, number: int, people: list[str]) -> dict[str, Json]:
    fields: dict[str, Json] = {"name": f"Deal {number}"}
    if chance.random() < 0.8:
        fields["person_id"] = chance.choice(people)
    for name in ("owner_id", "pipeline", "lost_reason"):
        if chance.random() < 0.7:
            fields[name] = chance.choice(WORDS[:-1])
    if chance.random() < 0.7:
        fields["amount"] = {"amount": chance.choice(AMOUNTS), "currency": chance.choice(CURRENCIES)}
    if chance.random() < 0.6:
        fields["won"] = chance.random() < 0.5
    return fields


def leaf(chance: random.Random, ids: list[str]) -> str:
    word, amount = chance.choice(WORDS), chance.choice(AMOUNTS)
    places = f"{Decimal(amount):.2f}"
    text = chance.choice(["owner_id", "pipeline", "lost_reason", "name", "amount_currency"])
    own = chance.choice(ids)
    return chance.choice(
        [
            f'resource.{text} == "{word}"',
            f'resource.{text} != "{chance.choice(CURRENCIES)}"',
            f'["{word}", "north", "EUR"].contains(resource.{text})',
            f'resource.{text} like "{chance.choice(["n*", "*th", "a_b", "*%*", "", "*"])}"',
            f"resource.{text} == principal.name",
            "resource.owner_id == resource.pipeline",
            f"resource has {chance.choice(['owner_id', 'amount', 'won', 'pipeline'])}",
            f'resource.amount.{chance.choice(["lessThan", "greaterThanOrEqual"])}(decimal("{places}"))',
            f'resource.amount == decimal("{places}")',
            f'decimal("{places}").greaterThan(resource.amount)',
            f'resource.consents.contains("{chance.choice(SAID)}")',
            f'resource.consents.{chance.choice(["containsAll", "containsAny"])}(["{chance.choice(SAID)}", "sales"])',
            "resource.consents.contains(context.purpose)",
            "resource.won",
            f"resource.won == {chance.choice(['true', 'false'])}",
            f'resource.id == "{own}"',
            f'resource == sales::deal::"{own}"',
            f'["{own}", "{chance.choice(ids)}", "deal_x"].contains(resource.id)',
            f'resource.campaign_id == "{own}"',
            f"context.hour < {chance.choice([6, 12])}",
            "principal.narrowed",
            'context has amount && context.amount.greaterThan(decimal("1.0"))',
            f'principal in Role::"sales.{chance.choice(["viewer", "admin"])}"',
        ]
    )


def expression(chance: random.Random, ids: list[str], depth: int) -> str:
    if depth == 0 or chance.random() < 0.2:
        return leaf(chance, ids)
    a, b = (f"({expression(chance, ids, depth - 1)})" for _ in range(2))
    c = f"({expression(chance, ids, depth - 1)})"
    return chance.choice([f"{a} && {b}", f"{a} || {b}", f"!{a}", f"if {a} then {b} else {c}", f"{a} && !{b}"])


def agreed(people: set[str], consents: list[Stored]) -> list[str]:
    """Return what one human agreed to who has all these ids, worked out one way and purpose after the other."""
    said: dict[tuple[str, str], set[str]] = {}
    for each in consents:
        if str(each.values["person_id"]) in people:
            state, until = str(each.values["state"]), each.values.get("expires_at")
            over = until is not None and datetime.fromisoformat(str(until)) <= AT
            place = str(each.values["purpose"]), str(each.values["channel"])
            said.setdefault(place, set()).add("over" if state == "granted" and over else state)
    found: list[str] = []
    for purpose in PURPOSES:
        own = {way: said.get((purpose, way), set()) for way in WAYS}
        if any("granted" in each for each in own.values()) and "withdrawn" not in own["any"]:
            found.append(purpose)
        for way, each in own.items():
            both = each | own["any"]
            if "granted" in both and "withdrawn" not in both:
                found.append(f"{purpose}/{way}")
    return found


def entity_of(stored: Stored, same: Mapping[str, set[str]], consents: list[Stored]) -> dict[str, object]:
    """Return a row as Cedar sees it: what is null is absent, but for consents, of which there are none."""
    person = str(stored.values.get("person_id"))
    attributes: dict[str, object] = {"id": text_of("deal", stored.id)}
    attributes["consents"] = agreed(same.get(person, {person}), consents)
    for name in ("name", "owner_id", "pipeline", "lost_reason", "won"):
        if stored.values.get(name) is not None:
            attributes[name] = stored.values[name]
    money = stored.values.get("amount")
    if isinstance(money, dict):
        amount = f"{Decimal(str(money['amount'])):.4f}"
        attributes |= {"amount": {"__extn": {"fn": "decimal", "arg": amount}}, "amount_currency": money["currency"]}
    return {"uid": {"type": "sales::deal", "id": attributes["id"]}, "attrs": attributes, "parents": []}


def cedars_rows(text: str, rows: Mapping[str, dict[str, object]], facts: Facts) -> set[str]:
    """Return the ids of rows on which the policy neither applies nor errs."""
    caller = facts.principal
    given = [
        {
            "uid": {"type": "Caller", "id": caller.entity.id},
            "attrs": {"name": caller.attributes["name"], "narrowed": caller.attributes["narrowed"]},
            "parents": [{"type": each.type, "id": each.id} for each in caller.above],
        },
        {
            "uid": {"type": "Action", "id": action_of(ROUTE).id},
            "attrs": {},
            "parents": [{"type": each.type, "id": each.id} for each in groups_of(ROUTE)],
        },
        *rows.values(),
    ]
    requests = [
        {
            "principal": {"type": "Caller", "id": caller.entity.id},
            "action": {"type": "Action", "id": action_of(ROUTE).id},
            "resource": each["uid"],
            "context": {"hour": facts.context["hour"], "purpose": facts.context["purpose"]},
        }
        for each in rows.values()
    ]
    answers = cedarpy.is_authorized_batch(requests, text, given)  # pyright: ignore[reportUnknownMemberType]  # Cedar types its arguments loosely.
    pairs = zip(rows, answers, strict=True)
    return {row for row, one in pairs if not one.diagnostics.reasons and not one.diagnostics.errors}


def situation(chance: random.Random) -> Situation:
    roles = chance.choice([("sales.viewer",), ("sales.admin", "sales.viewer"), ()])
    principal = Principal(
        workspace=1,
        kind="key",
        id=UUID(int=chance.randrange(1 << 100)),
        name=chance.choice(WORDS),
        permissions=frozenset({"sales:read"}),
        roles=roles,
    )
    now = datetime(2026, 11, 2, chance.randrange(24), tzinfo=UTC)
    return Situation(principal=principal, route=ROUTE, now=now, purpose=chance.choice(("", *SAID)))


async def stored_as(store: Store, scope: Scope, kind: RecordType, many: list[dict[str, Json]]) -> list[Stored]:
    found = [
        Observation(type=kind.name, system="crm", external_id=str(n), fields=fields, at=NOW)
        for n, fields in enumerate(many)
    ]
    await put(store, scope, found, interval=Interval(since=None, until=NOW))
    async with store.database.transaction(scope) as tx:
        return await page(tx, store.vault, kind, limit=len(many))


async def stocked(store: Store, scope: Scope, chance: random.Random) -> dict[str, dict[str, object]]:
    """Return deals as Cedar sees them, of people of whom some were merged, with consents of each of them."""
    humans = await stored_as(store, scope, PERSON, [{"country": "DE"} for _ in range(PEOPLE)])
    people = [str(each.id) for each in humans]
    deals = await stored_as(store, scope, DEAL, [fields_of(chance, n, people) for n in range(ROWS)])
    consents: list[dict[str, Json]] = []
    for whose in people[: PEOPLE - 2]:
        for purpose, way in chance.sample([(one, two) for one in PURPOSES for two in WAYS], 3):
            fields: dict[str, Json] = {"purpose": purpose, "channel": way, "person_id": whose}
            fields["state"] = chance.choice(STATES)
            if chance.random() < 0.3:
                fields["expires_at"] = (AT + timedelta(days=chance.choice((-1, 0, 1)))).isoformat()
            consents.append(fields)
    said = await stored_as(store, scope, CONSENT, consents)
    same = {each: {each} for each in people}
    for winner, loser in ((0, 1), (2, 0), (3, 4)):
        await merge(store, scope, PERSON.name, winner=humans[winner].id, loser=humans[loser].id)
        same[people[winner]] |= same[people[loser]]
        same |= dict.fromkeys(same[people[winner]], same[people[winner]])
    return {text_of("deal", each.id): entity_of(each, same, said) for each in deals}


async def test_a_filtered_list_holds_the_rows_that_cedar_lets_through(store: Store, scope: Scope) -> None:
    chance = random.Random(11)
    rows = await stocked(store, scope, chance)
    ids = list(rows)
    assert len({str(cast("dict[str, object]", each["attrs"])["consents"]) for each in rows.values()}) > 4
    some = compared = 0
    async with store.database.transaction(scope) as tx:
        for _ in range(ROUNDS):
            body = expression(chance, ids, 3)
            text = f'@id("fuzzed") @reason("r") forbid (principal, action, resource is sales::deal) when {{ {body} }};'
            policy = read_policy(text)
            VOCABULARY.check(policy)
            facts = facts_of(situation(chance))
            condition = sight(Book.of([policy], VOCABULARY).on(ROUTE), facts, schema(), DEAL, now=AT)
            shown = await page(tx, store.vault, DEAL, limit=ROWS, seen=condition)
            mine = {text_of("deal", each.id) for each in shown}
            assert mine == cedars_rows(text, rows, facts), (text, condition)
            some += 0 < len(mine) < ROWS
            compared += 1
    assert some > compared // 5, "most policies hide all rows or none, which compares little"


@pytest.mark.parametrize(
    "body",
    [
        'resource.owner_id.contains("x")',
        "[resource.owner_id].contains(principal.name)",
        '(if resource.won then "a" else "b") == "a"',
        'resource.id like "deal_*"',
        "resource.campaign_id == resource.pipeline",
        "(resource.won == true) == (context.hour < 6)",
        "resource.consents.isEmpty()",
        "resource.consents == principal.methods",
        "resource.consents.contains(resource.pipeline)",
        "principal.methods.containsAll(resource.consents)",
    ],
)
def test_what_no_list_can_be_filtered_by_is_refused_when_it_is_written(body: str) -> None:
    text = f'@id("unfit") @reason("r") forbid (principal, action, resource is sales::deal) when {{ {body} }};'
    with pytest.raises((PolicyUnsupported, PolicyUnreadable)):
        VOCABULARY.check(read_policy(text))
