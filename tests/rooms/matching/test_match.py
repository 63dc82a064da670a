"""Matching: who an observation with a new external id is about."""

from datetime import UTC, datetime
from itertools import permutations

import pytest

from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.store.observation import Observation
from isthmus.store.put import PutResult
from isthmus.store.records import page
from isthmus.sync.ingest import Interval, Store, put

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
AT = datetime(2026, 11, 1, tzinfo=UTC)


def account(system: str, external_id: str = "1", **fields: Json) -> Observation:
    """An account as a system reports it."""
    return Observation(
        type="sales.account", system=system, external_id=external_id, fields={"name": "Engines", **fields}, at=AT
    )


def person(system: str, external_id: str = "1", **fields: Json) -> Observation:
    """A person as a system reports it."""
    return Observation(type="sales.person", system=system, external_id=external_id, fields=fields, at=AT)


async def pull(store: Store, scope: Scope, *observations: Observation) -> PutResult:
    """Put what one system said."""
    (result,) = await put(store, scope, observations, interval=Interval(since=None, until=NOW))
    return result


async def held(store: Store, scope: Scope, type_name: str = "sales.account") -> list[dict[str, Json]]:
    """The values of all living records of a type."""
    async with store.database.transaction(scope) as tx:
        return [each.values for each in await page(tx, store.vault, store.schema[type_name], limit=100)]


async def test_a_weaker_handle_decides_where_the_stronger_one_is_unknown(store: Store, scope: Scope) -> None:
    await pull(store, scope, account("crm", domain="engines.example"))
    result = await pull(store, scope, account("erp", tax_id="DE1", domain="https://www.engines.example/"))
    assert result.created == 0
    ((found),) = await held(store, scope)
    assert (found["tax_id"], found["domain"]) == ("DE1", "engines.example")


async def test_another_value_of_a_stronger_handle_is_somebody_else(store: Store, scope: Scope) -> None:
    await pull(store, scope, account("crm", tax_id="DE1", domain="engines.example"))
    result = await pull(store, scope, account("erp", tax_id="DE2", domain="engines.example"))
    assert result.created == 1
    third = await pull(store, scope, account("mail", tax_id="DE2"))
    assert third.created == 0
    assert sorted(str(each["tax_id"]) for each in await held(store, scope)) == ["DE1", "DE2"]


async def test_somebody_else_does_not_hide_the_record_that_agrees(store: Store, scope: Scope) -> None:
    await pull(store, scope, person("crm", "1", phone="+49 30 1", email="ada@engines.example"))
    await pull(store, scope, person("crm", "2", phone="+49 30 1", email="bo@engines.example"))
    await pull(store, scope, person("crm", "3", phone="+49 30 2"))
    again = await pull(
        store,
        scope,
        person("mail", "4", phone="+49 30 1", email="cy@engines.example"),
        person("mail", "5", phone="+49 30 2", email="di@engines.example"),
    )
    assert again.created == 1
    assert len(await held(store, scope, "sales.person")) == 4


async def test_what_a_row_adds_to_a_record_counts_for_the_next_row_of_its_batch(store: Store, scope: Scope) -> None:
    await pull(store, scope, account("crm", domain="engines.example"))
    result = await pull(
        store,
        scope,
        account("erp", "1", domain="engines.example", tax_id="DE1"),
        account("erp", "2", domain="engines.example", tax_id="DE2"),
        account("erp", "3", tax_id="DE1"),
    )
    assert result.created == 1
    assert len(await held(store, scope)) == 2


async def test_one_external_id_at_two_times_in_one_batch_is_one_record(store: Store, scope: Scope) -> None:
    later = Observation(type="sales.account", system="crm", external_id="1", fields={"name": "Engines 2"}, at=NOW)
    result = await pull(store, scope, account("crm"), later)
    assert result.created == 1
    assert [each["name"] for each in await held(store, scope)] == ["Engines 2"]


PULLS: dict[str, tuple[int, list[Observation]]] = {
    "tax id and domain": (
        1,
        [account("crm", domain="a.example"), account("erp", tax_id="1", domain="a.example")],
    ),
    "two tax ids, one domain": (
        2,
        [account("crm", tax_id="1", domain="a.example"), account("erp", tax_id="2", domain="a.example")],
    ),
    "nothing in common": (2, [account("crm", tax_id="1"), account("erp", domain="a.example")]),
    "the strongest, the others differ": (
        1,
        [account("crm", tax_id="1", domain="a.example"), account("erp", tax_id="1", domain="b.example")],
    ),
    "three systems": (
        2,
        [
            account("crm", domain="a.example"),
            account("erp", tax_id="1", domain="a.example"),
            account("mail", tax_id="2", domain="a.example"),
        ],
    ),
}


@pytest.mark.parametrize("name", PULLS)
@pytest.mark.parametrize("together", [False, True])
async def test_the_order_of_pulls_does_not_change_how_many_records_there_are(
    store: Store, scope: Scope, name: str, *, together: bool
) -> None:
    expected, systems = PULLS[name]
    for number, order in enumerate(permutations(systems)):
        own = Scope(workspace=scope.workspace + 1_000 * (number + 1), actor=scope.actor, cause=scope.cause, now=NOW)
        for batch in [order] if together else [[each] for each in order]:
            await pull(store, own, *batch)
        assert len(await held(store, own)) == expected
