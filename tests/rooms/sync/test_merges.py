"""Merging and splitting: what a link brought together comes apart again exactly, with the claims made since."""

from typing import cast
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.store.records import find
from isthmus.sync.discrepancies import accuracy, agreements, discrepancies
from isthmus.sync.ingest import Interval, put
from isthmus.sync.intake import Reference, resolve
from isthmus.sync.merges import MergeUndone, NotMergeable, merge, merges, undo_merge
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Vendor


async def _matched(bench: Bench, crm: Vendor, erp: Vendor) -> tuple[str, str]:
    """Return the ids of one human that both vendors know, by one address."""
    await bench.connect(crm)
    await bench.connect(erp)
    ours = crm.put("contacts", email="ada@ada.example", first_name="Ada", title="Miller")
    bench.tick()
    theirs = erp.put("contacts", email="ada@ada.example", first_name="Ada", last_name="Low")
    await bench.sync("crm", "erp", parts=("pull",))
    return ours, theirs


async def test_a_link_is_explained_and_undone_exactly(bench: Bench, crm: Vendor, erp: Vendor) -> None:
    ours, theirs = await _matched(bench, crm, erp)
    person = await bench.only("sales.person")
    assert (person.values["title"], person.values["last_name"]) == ("Miller", "Low")
    (link,) = await bench.read(lambda tx: merges(tx, record_id=person.id))
    assert (link.winner, link.refs, link.evidence) == (person.id, [("erp", theirs)], "same email")
    bench.tick()
    await undo_merge(bench.store, bench.scope(), link.id)
    one, other = await bench.records("sales.person")
    assert (one.id, one.values["title"], one.values["last_name"]) == (person.id, "Miller", None)
    assert (other.id, other.values["title"], other.values["last_name"]) == (link.loser, None, "Low")
    await bench.sync("crm", "erp", "crm", "erp")
    assert (crm.writes, erp.writes) == (0, 0)
    erp.put("contacts", theirs, last_name="Lowe")
    crm.put("contacts", ours, title="Baker")
    await bench.sync("crm", "erp")
    values = {record.id: record.values for record in await bench.records("sales.person")}
    assert (values[person.id]["title"], values[link.loser]["last_name"]) == ("Baker", "Lowe")
    with pytest.raises(MergeUndone):
        await undo_merge(bench.store, bench.scope(), link.id)


async def test_two_records_are_merged_by_hand_told_to_both_systems_and_split_again(
    bench: Bench, crm: Vendor, erp: Vendor
) -> None:
    await bench.connect(crm)
    await bench.connect(erp)
    ours = crm.put("companies", name="Ada & Co", city="Ghent")
    theirs = erp.put("companies", name="Ada & Co", industry="Mills")
    await bench.sync("crm", "erp")
    winner, loser = await bench.records("sales.account")
    await bench.edit("sales.account", loser.id, employee_count=12)
    bench.tick()
    merge_id = await merge(bench.store, bench.scope(), "sales.account", winner=winner.id, loser=loser.id)
    account = await bench.only("sales.account")
    assert account.id == winner.id
    assert (account.values["city"], account.values["industry"], account.values["employee_count"]) == (
        "Ghent",
        "Mills",
        12,
    )
    record_type = bench.store.schema["sales.account"]
    found = await bench.read(lambda tx: find(tx, bench.store.vault, record_type, [loser.id]))
    assert found[loser.id].merged_into == winner.id
    await bench.sync("crm", "erp")
    assert crm.rows["companies"][ours].body == erp.rows["companies"][theirs].body
    with pytest.raises(NotMergeable):
        await merge(bench.store, bench.scope(), "sales.account", winner=winner.id, loser=loser.id)
    bench.tick()
    await undo_merge(bench.store, bench.scope(), merge_id)
    names = {record.id: record.values for record in await bench.records("sales.account")}
    assert names.keys() == {winner.id, loser.id}
    assert names[loser.id]["employee_count"] == 12


async def test_what_was_merged_twice_points_to_where_it_is_now_and_back_again(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    for name in "ABCD":
        crm.put("companies", name=name)
    await bench.sync("crm")
    ids = {str(each.values["name"]): each.id for each in await bench.records("sales.account")}
    record_type = bench.store.schema["sales.account"]

    async def pointing() -> dict[str, str | None]:
        found = await bench.read(lambda tx: find(tx, bench.store.vault, record_type, list(ids.values())))
        names: dict[UUID | None, str] = {own: name for name, own in ids.items()}
        return {name: names.get(found[own].merged_into) for name, own in ids.items()}

    async def into(winner: str, loser: str) -> UUID:
        bench.tick()
        return await merge(bench.store, bench.scope(), "sales.account", winner=ids[winner], loser=ids[loser])

    await into("B", "A")
    second = await into("C", "B")
    third = await into("D", "C")
    assert await pointing() == {"A": "D", "B": "D", "C": "D", "D": None}
    text = text_of(record_type.prefix, ids["A"])
    meant = [Reference("", "sales.account", text)]
    resolved = await bench.read(lambda tx: resolve(tx, bench.store.schema, meant))
    assert resolved == {("sales.account", text): ids["D"]}
    bench.tick()
    await undo_merge(bench.store, bench.scope(), third)
    assert await pointing() == {"A": "C", "B": "C", "C": None, "D": None}
    bench.tick()
    await undo_merge(bench.store, bench.scope(), second)
    assert await pointing() == {"A": "B", "B": None, "C": None, "D": None}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6), st.integers(0, 6))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_chain_of_merges_resolves_fully_and_is_undone_to_what_it_was(
    bench: Bench, wishes: list[tuple[int, int]], undone: int
) -> None:
    record_type = bench.store.schema["sales.account"]
    names = [f"{uuid4()}" for _ in range(5)]
    words = [Observation(type="sales.account", system="crm", external_id=each, fields={"name": each}) for each in names]
    now = bench.scope().now
    await put(bench.store, bench.scope(), words, interval=Interval(since=None, until=now))
    query = "select record_id from ref where external_id = %s"
    ids = [cast("UUID", (await bench.rows(query, each))[0][0]) for each in names]

    async def standing() -> list[tuple[UUID | None, Json]]:
        found = await bench.read(lambda tx: find(tx, bench.store.vault, record_type, ids))
        return [(found[own].merged_into, found[own].values.get("name")) for own in ids]

    parent: dict[UUID, UUID] = {}
    made: list[tuple[UUID, UUID, list[tuple[UUID | None, Json]]]] = []
    for winner, loser in wishes:
        if winner == loser or ids[winner] in parent or ids[loser] in parent:
            continue
        bench.tick()
        before = await standing()
        done = await merge(bench.store, bench.scope(), "sales.account", winner=ids[winner], loser=ids[loser])
        parent[ids[loser]] = ids[winner]
        made.append((done, ids[loser], before))
        assert [own for own, _ in await standing()] == [_root(parent, each) for each in ids]
    for done, loser, before in list(reversed(made))[:undone]:
        bench.tick()
        await undo_merge(bench.store, bench.scope(), done)
        del parent[loser]
        assert await standing() == before


def _root(parent: dict[UUID, UUID], own: UUID) -> UUID | None:
    """Where a record ends up; None where it stands by itself."""
    at = own
    while at in parent:
        at = parent[at]
    return None if at == own else at


async def test_two_claims_that_differ_are_listed_and_counted_per_pair_of_systems(
    bench: Bench, crm: Vendor, erp: Vendor
) -> None:
    ours, _ = await _matched(bench, crm, erp)
    crm.put("contacts", ours, title="Baker", first_name="Adah")
    erp.put("contacts", next(iter(erp.rows["contacts"])), owner_id="bob")
    crm.put("contacts", ours, owner_id="cyd")
    await bench.sync("crm", "erp", parts=("pull",))
    counted = await bench.read(lambda tx: agreements(tx, bench.store, "sales.person"))
    assert [(each.one, each.other, each.field, each.differing, each.compared) for each in counted] == [
        ("crm", "erp", "owner_id", 1, 1)
    ]
    assert accuracy(counted) == 0
    found, more = await bench.read(lambda tx: discrepancies(tx, bench.store, "sales.person"))
    assert more is None
    assert [(each.field, each.one_value, each.other_value) for each in found] == [
        ("first_name", "Adah", "Ada"),
        ("owner_id", "cyd", "bob"),
    ]
