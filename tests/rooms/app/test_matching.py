"""Probable matches of a workspace: merged or asked, refused for good, taken apart exactly, never across workspaces."""

from random import Random
from uuid import UUID

import pytest

from isthmus.app.bench.match.people import Mishaps, generate
from isthmus.app.matching import AUTOMATIC_ROWS_MIN, match_type
from isthmus.app.matching_near import RecordMissing, likely, meet_new
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.kernel.marks import Json
from isthmus.matching.near import Probes
from isthmus.matching.probable.people import PEOPLE
from isthmus.store.database import Scope
from isthmus.store.observation import Observation
from isthmus.store.records import page
from isthmus.store.trail import claims_of
from isthmus.sync.ingest import Store
from isthmus.sync.merges import merges
from tests.rooms.domains.desk import Desk

PAIRS, MERGES = "/api/v1/match-candidates", "/api/v1/merges"
PERSON = "sales.person"
SYSTEMS = {1: "crm", 2: "billing", 4: "desk"}


def observed(records: int) -> list[Observation]:
    """People of three systems, as those report them."""
    people = generate(Random(11), records=records, mishaps=Mishaps(mail_typo=0.0))
    rows: list[Observation] = []
    for n in range(len(people.truth)):
        fields: dict[str, Json] = {
            name: str(people.columns[name][n])
            for name in ("first_name", "last_name", "email", "phone", "city")
            if people.columns[name][n] is not None
        }
        system = SYSTEMS[int(str(people.columns["sources"][n]))]
        rows.append(Observation(type=PERSON, system=system, external_id=f"P{n}", fields=fields))
    return rows


async def state(store: Store, scope: Scope) -> dict[str, object]:
    """All that is held of people, claims and all."""
    async with store.database.transaction(scope) as tx:
        held = await page(tx, store.vault, store.schema[PERSON], limit=1_000)
        trails = await claims_of(tx, store.vault, [each.id for each in held])
    return {str(each.id): (each.values, repr(trails[each.id])) for each in held}


@pytest.fixture
async def desk(store: Store, scope: Scope) -> Desk:
    """Somebody who calls, where few people are held by three systems."""
    desk = Desk.of(store, scope)
    await desk.put(*observed(150))
    return desk


async def test_of_few_records_none_is_merged_unasked(desk: Desk) -> None:
    done = await match_type(desk.store, desk.now, PERSON)
    assert done.records < AUTOMATIC_ROWS_MIN
    assert (done.merged, done.proposed > 0) == (0, True)
    pairs = (await desk.get(f"{PAIRS}?type={PERSON}")).rows("data")
    assert len(pairs) == min(done.proposed, 50)
    assert {str(each["status"]) for each in pairs} == {"open"}
    assert all(each["reasons"] for each in pairs)


async def test_a_pair_is_merged_and_taken_apart_and_all_is_as_before(desk: Desk) -> None:
    await match_type(desk.store, desk.now, PERSON)
    before = await state(desk.store, desk.now)
    pair = (await desk.get(PAIRS)).rows("data")[0]
    desk.later(seconds=1)
    done = await desk.post(f"{PAIRS}/{pair['id']}:accept")
    assert (done.status, done.at("status")) == (200, "merged"), done.body
    assert len(await state(desk.store, desk.now)) == len(before) - 1
    (merged,) = [
        each for each in (await desk.get(f"{MERGES}?limit=100")).rows("data") if each["id"] == done.at("merge")
    ]
    assert str(merged["evidence"]).startswith("probable (")
    assert (merged["kept"], merged["merged"]) == (pair["one"], pair["other"])
    assert (await desk.post(f"{PAIRS}/{pair['id']}:accept")).status == 409
    desk.later(seconds=1)
    assert (await desk.post(f"{MERGES}/{merged['id']}:undo")).status == 200
    assert await state(desk.store, desk.now) == before
    again = await match_type(desk.store, desk.now, PERSON)
    assert again.merged == 0
    assert pair["id"] not in [each["id"] for each in (await desk.get(PAIRS)).rows("data")]


async def test_a_refused_pair_is_not_asked_again(desk: Desk) -> None:
    await match_type(desk.store, desk.now, PERSON)
    pair = (await desk.get(PAIRS)).rows("data")[0]
    assert (await desk.post(f"{PAIRS}/{pair['id']}:refuse")).at("status") == "refused"
    desk.later(hours=24)
    assert (await match_type(desk.store, desk.now, PERSON)).proposed == 0
    assert pair["id"] not in [each["id"] for each in (await desk.get(PAIRS)).rows("data")]
    (kept,) = (await desk.get(f"{PAIRS}?status=refused")).rows("data")
    assert (kept["id"], kept["merge"]) == (pair["id"], None)
    assert (await desk.post(f"{PAIRS}/{pair['id']}:accept")).status == 409


async def test_pairs_are_shown_and_decided_only_by_who_may(desk: Desk) -> None:
    await match_type(desk.store, desk.now, PERSON)
    pair = (await desk.get(PAIRS)).rows("data")[0]
    assert (await desk.get(PAIRS, roles=("sales.viewer",))).status == 200
    assert (await desk.post(f"{PAIRS}/{pair['id']}:accept", roles=("sales.viewer",))).status == 403
    assert (await desk.get(PAIRS, roles=("finance.admin",))).status == 403
    assert (await desk.post(f"{PAIRS}/mtch_nothing:refuse")).status == 404
    assert (await desk.post(f"{PAIRS}/mtch_01KAX3V9Q2M4T8Z5N7P6R1S0WD:refuse")).status == 404


async def test_of_many_records_the_sure_ones_are_merged_each_with_its_evidence(store: Store, scope: Scope) -> None:
    desk = Desk.of(store, scope)
    await desk.put(*observed(AUTOMATIC_ROWS_MIN * 2))
    done = await match_type(store, desk.now, PERSON)
    assert done.records > AUTOMATIC_ROWS_MIN
    assert done.merged > done.records // 20
    async with store.database.transaction(desk.now) as tx:
        made = [each for each in await merges(tx, limit=10_000) if each.evidence.startswith("probable")]
    assert len(made) == done.merged
    desk.later(hours=1)
    known, fields = await known_person(desk)
    await desk.put(Observation(type=PERSON, system="form", external_id="N1", fields=fields))
    async with store.database.transaction(desk.now) as tx:
        fresh = uuid_of("pers", await desk.id_of(PERSON, "N1", system="form"))
        found = await likely(tx, store, Probes(PEOPLE), PERSON, fresh)
    assert found[0].other == known
    assert [each.says for each in found[0].reasons if each.field == "last_name"] == ["same last name"]


async def test_who_is_new_is_put_before_people_all_at_once_and_never_twice(desk: Desk) -> None:
    store, probes = desk.store, Probes(PEOPLE)
    desk.later(minutes=20)
    await match_type(store, desk.now, PERSON)
    person, fields = await known_person(desk)
    before = {str(each["id"]) for each in (await desk.get(f"{PAIRS}?limit=100")).rows("data")}
    desk.later(minutes=20)
    other: dict[str, Json] = {"email": "nobody@else.example"}
    new = [
        Observation(type=PERSON, system="form", external_id=own, fields=said)
        for own, said in (("F", fields), ("G", other))
    ]
    fresh, stranger = await desk.put(*new)
    async with store.database.transaction(desk.now) as tx:
        looked, proposed = await meet_new(tx, store, probes, PERSON)
    assert looked == 2
    assert proposed >= 1
    pairs = (await desk.get(f"{PAIRS}?limit=100")).rows("data")
    assert before < {str(each["id"]) for each in pairs}, "what the run over all found still waits"
    (pair,) = [each for each in pairs if {str(each["one"]), str(each["other"])} == {text_of("pers", person), fresh}]
    assert stranger not in {str(each[side]) for each in pairs for side in ("one", "other")}
    told = (await desk.get(f"/api/v1/likely-matches/{fresh}", roles=("sales.viewer",))).rows("data")
    assert (told[0]["record"], bool(told[0]["reasons"])) == (text_of("pers", person), True)
    assert (await desk.get(f"/api/v1/likely-matches/{stranger}")).rows("data") == []
    assert (await desk.get("/api/v1/likely-matches/acct_01KAX3V9Q2M4T8Z5N7P6R1S0WD")).at("code") == "record-missing"
    assert (await desk.post(f"{PAIRS}/{pair['id']}:refuse")).at("status") == "refused"
    async with store.database.transaction(desk.now) as tx:
        assert (await meet_new(tx, store, probes, PERSON))[1] == 0


async def known_person(desk: Desk) -> tuple[UUID, dict[str, Json]]:
    """Somebody, and what a form says of the same human with other handles."""
    async with desk.store.database.transaction(desk.now) as tx:
        for each in await page(tx, desk.store.vault, desk.store.schema[PERSON], limit=1_000):
            names = [each.values.get(name) for name in ("first_name", "last_name", "email")]
            first, last, email = (one if isinstance(one, str) else "" for one in names)
            if len(first) > 3 and len(last) > 9 and email and first.lower() in email:
                domain = email.partition("@")[2]
                return each.id, {"first_name": first, "last_name": last, "email": f"{last.lower()}@{domain}"}
    raise AssertionError


async def test_before_the_first_run_nobody_is_likely(desk: Desk) -> None:
    async with desk.store.database.transaction(desk.now) as tx:
        one = (await page(tx, desk.store.vault, desk.store.schema[PERSON], limit=1))[0].id
        assert await likely(tx, desk.store, Probes(PEOPLE), PERSON, one) == []
        with pytest.raises(RecordMissing):
            await likely(tx, desk.store, Probes(PEOPLE), PERSON, UUID(int=1))
