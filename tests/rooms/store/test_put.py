"""Putting: what is new is stored once with its claim, event and audit row; what is known changes nothing."""

import itertools
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.store.observation import Link, Observation
from isthmus.store.put import PutResult
from isthmus.store.records import find, history, page
from isthmus.store.rejected import open_rejects
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Interval, Store, put

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
AT = datetime(2026, 11, 1, tzinfo=UTC)
ALWAYS = Interval(since=None, until=NOW)


def lead(external_id: str = "1", *, system: str = "crm", at: datetime = AT, **fields: Json) -> Observation:
    """A lead as a system reports it."""
    said: dict[str, Json] = {"email": "ada@lovelace.example", "first_name": "Ada", "company": "Engines", **fields}
    return Observation(type="sales.lead", system=system, external_id=external_id, fields=said, at=at)


async def one(store: Store, scope: Scope, *observations: Observation, interval: Interval = ALWAYS) -> PutResult:
    """Put observations of one type and return what it did."""
    results = await put(store, scope, observations, interval=interval)
    assert len(results) == 1
    return results[0]


async def rows(store: Store, scope: Scope, table: str) -> int:
    """How many rows of the workspace a table holds."""
    async with store.database.transaction(scope) as tx:
        return await _count(tx, table)


async def _count(tx: Transaction, table: str) -> int:
    queries: dict[str, LiteralString] = {
        "claim": "select count(*) from claim",
        "event": "select count(*) from event",
        "audit": "select count(*) from audit",
        "ref": "select count(*) from ref",
        "sales_lead": "select count(*) from sales_lead",
        "inbox_case": "select count(*) from inbox_case where status = 'open'",
    }
    row = await (await tx.connection.execute(queries[table])).fetchone()
    return int(row[0]) if row else 0


async def values(store: Store, scope: Scope, type_name: str = "sales.lead") -> list[dict[str, Json]]:
    """The values of all records of a type."""
    async with store.database.transaction(scope) as tx:
        return [each.values for each in await page(tx, store.vault, store.schema[type_name], limit=100)]


async def test_a_new_record_comes_with_its_claim_event_and_audit_row(store: Store, scope: Scope) -> None:
    result = await one(store, scope, lead(expected_value={"amount": "1200.5", "currency": "EUR"}))
    assert (result.created, result.changed, result.unchanged) == (1, 0, 0)
    assert [await rows(store, scope, each) for each in ("sales_lead", "claim", "event", "audit", "ref")] == [1] * 5
    (held,) = await values(store, scope)
    assert held["email"] == "ada@lovelace.example"
    assert held["expected_value"] == {"amount": "1200.50", "currency": "EUR"}


async def test_putting_twice_is_putting_once(store: Store, scope: Scope) -> None:
    await one(store, scope, lead())
    again = await one(store, scope, lead(), lead())
    assert (again.created, again.changed, again.unchanged) == (0, 0, 2)
    assert [await rows(store, scope, each) for each in ("claim", "event", "audit")] == [1] * 3


async def test_a_repeated_word_at_a_later_time_writes_no_claim(store: Store, scope: Scope) -> None:
    await one(store, scope, lead())
    again = await one(store, scope, lead(at=AT + timedelta(hours=1)))
    assert again.unchanged == 1
    assert await rows(store, scope, "claim") == 1


async def test_a_changed_word_changes_the_record_and_tells_which_fields(store: Store, scope: Scope) -> None:
    await one(store, scope, lead())
    result = await one(store, scope, lead(at=AT + timedelta(hours=1), country="DE"))
    assert result.changed == 1
    async with store.database.transaction(scope) as tx:
        cursor = await tx.connection.execute("select type, changed from event order by id desc limit 1")
        assert await cursor.fetchone() == ("isthmus.sales.lead.changed.v1", ["country"])


async def test_the_same_human_from_two_systems_is_one_record(store: Store, scope: Scope) -> None:
    await one(store, scope, lead())
    result = await one(store, scope, lead("77", system="mail", email=" ADA@Lovelace.example", at=AT))
    assert result.created == 0
    assert await rows(store, scope, "sales_lead") == 1
    assert await rows(store, scope, "ref") == 2


async def test_two_new_ids_with_one_handle_in_one_batch_are_one_record(store: Store, scope: Scope) -> None:
    result = await one(store, scope, lead("1"), lead("2", country="DE"))
    assert result.created == 1
    assert await rows(store, scope, "sales_lead") == 1
    assert (await values(store, scope))[0]["country"] == "DE"


async def test_critical_fields_that_differ_open_a_case_with_the_money_at_stake(store: Store, scope: Scope) -> None:
    def deal(system: str, amount: str) -> Observation:
        fields: dict[str, Json] = {
            "name": "Big",
            "deal_number": "D-1",
            "stage": "proposal",
            "amount": {"amount": amount, "currency": "EUR"},
        }
        return Observation(type="sales.deal", system=system, external_id="1", fields=fields, at=AT)

    await one(store, scope, deal("crm", "100"))
    result = await one(store, scope, deal("erp", "175.50"))
    assert result.opened_cases == 1
    async with store.database.transaction(scope) as tx:
        cursor = await tx.connection.execute("select record_id, field, stake, stake_currency from inbox_case")
        found = await cursor.fetchone()
    assert found is not None
    assert (found[1], str(found[2]), found[3]) == ("amount", "75.5000", "EUR")
    await edit(
        store, scope, "sales.deal", found[0], {"amount": {"amount": "175.50", "currency": "EUR"}}, settles=("amount",)
    )
    assert await rows(store, scope, "inbox_case") == 0
    assert (await values(store, scope, "sales.deal"))[0]["amount"] == {"amount": "175.50", "currency": "EUR"}


async def test_what_cannot_be_stored_is_kept_with_its_reason_and_the_rest_is_stored(store: Store, scope: Scope) -> None:
    bad = lead("2", email="not an address", company=7)
    result = await one(store, scope, lead(), bad)
    assert result.created == 1
    faults = {(each.pointer, each.code) for each in result.rejects[0].faults}
    assert ("/email", "invalid-email") in faults
    assert ("/company", "invalid-value") in faults
    async with store.database.transaction(scope) as tx:
        (kept,) = await open_rejects(tx, store.vault)
    assert kept.observation == bad
    assert "/email" in kept.reason


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("surprise", 1, "unknown-field"),
        ("expected_value", {"amount": "NaN", "currency": "EUR"}, "not-a-number"),
        ("expected_value", {"amount": "1", "currency": "euro"}, "invalid-money"),
        ("captured_at", "2026-01-01T00:00:00", "no-time-zone"),
        ("captured_at", "yesterday", "invalid-time"),
        ("company_size", "many", "invalid-value"),
        ("company", "a\0b", "nul"),
    ],
)
async def test_each_wrong_value_has_its_own_reason(
    store: Store, scope: Scope, field: str, value: Json, code: str
) -> None:
    wrong = lead()
    wrong.fields[field] = value
    result = await one(store, scope, wrong)
    assert result.created == 0
    assert code in {each.code for each in result.rejects[0].faults}


async def test_links_name_records_by_their_ids_in_the_system(store: Store, scope: Scope) -> None:
    account = Observation(type="sales.account", system="crm", external_id="A", fields={"name": "Engines"}, at=AT)
    person = Observation(
        type="sales.person",
        system="crm",
        external_id="P",
        fields={"first_name": "Ada"},
        at=AT,
        links={"account_id": Link(external_id="A")},
    )
    await put(store, scope, [account, person], interval=ALWAYS)
    (held,) = await values(store, scope, "sales.person")
    assert isinstance(held["account_id"], str)
    stranger = Observation(
        type="sales.person",
        system="crm",
        external_id="Q",
        fields={"first_name": "Bo"},
        at=AT,
        links={"account_id": Link(external_id="B")},
    )
    result = await one(store, scope, stranger)
    assert result.rejects[0].faults[0].code == "unknown-link"


async def test_personal_values_are_not_in_the_tables(store: Store, scope: Scope) -> None:
    await one(store, scope, lead(phone="+49 30 1234567", last_name="Lovelace"))
    async with store.database.transaction(scope) as tx:
        queries: tuple[LiteralString, ...] = (
            "select l::text from sales_lead l",
            "select c::text from claim c",
            "select e::text from event e",
        )
        for query in queries:
            text = str(await (await tx.connection.execute(query)).fetchall())
            assert "lovelace" not in text.lower()
            assert "1234567" not in text


async def test_an_erased_subject_cannot_be_read_or_written_again(store: Store, scope: Scope) -> None:
    result = await one(store, scope, lead())
    store.vault.erase(workspace=scope.workspace, subject=result.records[0])
    (held,) = await values(store, scope)
    assert held["email"] is None
    again = await one(store, scope, lead(at=AT + timedelta(days=1), country="DE"))
    assert again.rejects[0].faults[0].code == "erased"


async def test_another_workspace_sees_nothing(store: Store, scope: Scope) -> None:
    await one(store, scope, lead())
    other = Scope(workspace=scope.workspace + 1_000_000, actor="user:other", cause="test", now=NOW)
    assert await rows(store, other, "sales_lead") == 0
    assert await rows(store, other, "claim") == 0


async def test_the_history_names_value_system_and_rule(store: Store, scope: Scope) -> None:
    result = await one(store, scope, lead())
    await one(store, scope, lead(at=AT + timedelta(hours=1), country="DE"))
    async with store.database.transaction(scope) as tx:
        trail = await history(tx, store.vault, store.schema["sales.lead"], result.records[0])
    country = [each for each in trail if each.field == "country"]
    assert [(each.value, each.place[1], each.verdict) for each in country] == [("DE", "crm", "first")]


async def test_different_words_of_one_time_are_all_kept_whichever_came_first(store: Store, workspace: int) -> None:
    words = [lead(country=country) for country in ("FR", "DE", "AT")]
    held: list[tuple[list[dict[str, Json]], int]] = []
    for order in itertools.permutations(words):
        scope = await _fresh_workspace(store, workspace)
        for each in (*order, *order):
            await one(store, scope, each)
        assert (await rows(store, scope, "claim"), await rows(store, scope, "ref")) == (3, 1)
        # What the system says next is compared with the last of them, whichever of them came last.
        await one(store, scope, lead(at=AT + timedelta(hours=1), country="DE"))
        held.append((await values(store, scope), await rows(store, scope, "claim")))
    assert all(each == held[0] for each in held)
    assert held[0][0][0]["country"] == "DE"


async def test_different_words_of_one_time_in_one_batch_are_all_kept(store: Store, scope: Scope) -> None:
    await one(store, scope, lead(country="FR"), lead(country="DE"), lead(country="FR"))
    assert (await rows(store, scope, "claim"), await rows(store, scope, "sales_lead")) == (2, 1)


async def test_a_word_repeated_twice_in_one_batch_is_taken_note_of_once(store: Store, scope: Scope) -> None:
    await one(store, scope, lead())
    later = [lead(at=AT + timedelta(hours=hours)) for hours in (1, 2)]
    assert (await one(store, scope, *later)).unchanged == 2
    assert await rows(store, scope, "claim") == 1


async def test_a_word_that_is_taken_up_again_within_one_batch_counts(store: Store, scope: Scope) -> None:
    await one(store, scope, lead(country="DE"))
    between = [lead(country=country, at=AT + timedelta(hours=hour)) for hour, country in ((1, "FR"), (2, "DE"))]
    await one(store, scope, *between)
    assert (await values(store, scope))[0]["country"] == "DE"
    assert await rows(store, scope, "claim") == 3


async def test_what_came_late_is_news_when_the_system_says_it_next(store: Store, scope: Scope) -> None:
    for hour, country, held in ((0, "DE", "DE"), (2, "DE", "DE"), (1, "FR", "DE"), (3, "FR", "FR")):
        await one(store, scope, lead(country=country, at=AT + timedelta(hours=hour)))
        assert (await values(store, scope))[0]["country"] == held


async def test_a_repetition_and_another_word_of_one_time_end_alike_whichever_came_first(
    store: Store, workspace: int
) -> None:
    again, other = (lead(country=country, at=AT + timedelta(hours=1)) for country in ("DE", "FR"))
    held: list[str] = []
    for later in ([again, other], [other, again]):
        scope = await _fresh_workspace(store, workspace)
        for each in (lead(country="DE"), *later):
            await one(store, scope, each)
        held.append(str((await values(store, scope))[0]["country"]))
        assert await rows(store, scope, "claim") == 3
    assert held[0] == held[1]


WORDS = st.builds(
    lead,
    st.sampled_from(["1", "2"]),
    system=st.sampled_from(["crm", "mail"]),
    at=st.integers(0, 4).map(lambda hour: AT + timedelta(hours=hour)),
    country=st.sampled_from(["DE", "FR", None, ""]),
    owner_id=st.sampled_from(["u1", "u2"]),
    last_name=st.sampled_from(["Lovelace", "Byron"]),
)


# Two words of one time, and one that takes up the first of them later.
@example(
    [
        lead("1", system="crm", country="DE", owner_id="u1", last_name="Lovelace"),
        lead("2", system="mail", country="DE", owner_id="u1", last_name="Lovelace"),
        lead("2", system="mail", country="DE", owner_id="u2", last_name="Lovelace"),
        lead("2", system="mail", at=AT + timedelta(hours=1), country="DE", owner_id="u1", last_name="Lovelace"),
    ],
    1,
)
@given(st.lists(WORDS, min_size=1, max_size=7), st.integers(0, 2**32))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_order_and_any_batches_lead_to_the_same_record(
    store: Store, workspace: int, words: list[Observation], seed: int
) -> None:
    outcomes: list[object] = []
    for order in (sorted(words, key=lambda each: str(each.at)), _shuffled(words, seed)):
        scope = await _fresh_workspace(store, workspace)
        generator = random.Random(seed)
        for batch in _batches(order, generator):
            await put(store, scope, [*batch, generator.choice(batch)], interval=ALWAYS)
        outcomes.append(await _state(store, scope))
    assert outcomes[0] == outcomes[1]


def _shuffled(words: Sequence[Observation], seed: int) -> list[Observation]:
    shuffled = list(words)
    random.Random(seed).shuffle(shuffled)
    return shuffled


def _batches(words: Sequence[Observation], generator: random.Random) -> Iterable[Sequence[Observation]]:
    rest = list(words)
    while rest:
        size = generator.randint(1, len(rest))
        yield rest[:size]
        rest = rest[size:]


async def _fresh_workspace(store: Store, near: int) -> Scope:
    async with store.database.plain() as connection:
        cursor = await connection.execute(
            "insert into workspace (slug, name, created_at) values (gen_random_uuid()::text, %s, now()) returning id",
            (f"near {near}",),
        )
        row = await cursor.fetchone()
    assert row is not None
    return Scope(workspace=int(row[0]), actor="user:tester", cause="test", now=NOW)


async def _state(store: Store, scope: Scope) -> object:
    """All that may not depend on the order: the values held, and which fields wait for a person."""
    async with store.database.transaction(scope) as tx:
        records = await page(tx, store.vault, store.schema["sales.lead"], limit=100)
        cursor = await tx.connection.execute("select field from inbox_case where status = 'open' order by field")
        return [each.values for each in records], await cursor.fetchall()


async def test_a_record_is_found_by_its_id(store: Store, scope: Scope) -> None:
    result = await one(store, scope, lead())
    async with store.database.transaction(scope) as tx:
        found = await find(tx, store.vault, store.schema["sales.lead"], [*result.records, UUID(int=1)])
    assert list(found) == result.records
