"""The demo systems show what their truth says: who is who, what differs, what is broken, what caused what."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from isthmus.connectors.demo import CONNECTOR
from isthmus.connectors.demo.making import make_world
from isthmus.connectors.demo.plants import SYSTEMS, make_plants
from isthmus.connectors.demo.rows_marketing import marketing_rows
from isthmus.connectors.demo.truth import Truth, truth
from isthmus.domains import finance, marketing, product, sales, success
from isthmus.kernel.errors import Invalid
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.observation import Observation
from isthmus.sync.connector import Raw
from isthmus.vault import normal_form

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
TYPES: dict[str, RecordType] = {
    record.name: record for domain in (sales, marketing, product, success, finance) for record in domain.DOMAIN.records
}


async def everything(path: Path) -> dict[str, list[Raw]]:
    """Read every feed of every system, all systems at once, as the first sync does."""

    async def read(system: str) -> dict[str, list[Raw]]:
        wanted = {"system": system, "path": str(path), "now": NOW.isoformat()}
        async with CONNECTOR.open(wanted) as session:
            return {
                feed.name: [row async for page in session.read(feed.name, cursor=None) for row in page.rows]
                for feed in CONNECTOR.feeds_of(wanted)
            }

    found = await asyncio.gather(*(read(system) for system in SYSTEMS))
    return {feed: rows for each in found for feed, rows in each.items()}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Raw]]:
    return asyncio.run(everything(tmp_path_factory.mktemp("demo") / "demo.sqlite"))


@pytest.fixture(scope="module")
def known() -> Truth:
    return truth(seed=1, now=NOW)


def canonical(observation: Observation) -> dict[str, Json]:
    """Return the fields as the store compares them: trimmed, handles in their normal form."""
    fields: dict[str, Json] = {}
    for name, value in observation.fields.items():
        declared = TYPES[observation.type].field(name)
        assert declared is not None, f"{observation.type} has no field {name}"
        handle = declared.handle
        text = value.strip() if isinstance(value, str) else value
        fields[name] = normal_form(text, handle.normal) if handle and isinstance(text, str) else text
    return fields


def faults(observation: Observation) -> Iterator[str]:
    declared = TYPES[observation.type]
    for name, value in canonical(observation).items():
        field = declared.field(name)
        assert field is not None
        try:
            msgspec.convert(value, field.annotation)
        except (msgspec.ValidationError, Invalid):
            yield name


Found: TypeAlias = dict[tuple[str, str], Observation]
Said: TypeAlias = dict[tuple[str, str], dict[str, Json]]


@pytest.fixture(scope="module")
def found(rows: dict[str, list[Raw]]) -> Found:
    """All observations by feed and external id."""
    pairs = [(feed, each) for feed, raws in rows.items() for raw in raws for each in CONNECTOR.normalise(feed, raw)]
    return {(feed, each.external_id): each for feed, each in pairs}


@pytest.fixture(scope="module")
def said(found: Found) -> Said:
    """What they say, as the store compares it."""
    return {key: canonical(each) for key, each in found.items()}


def test_the_company_has_the_size_it_promises(rows: dict[str, list[Raw]], known: Truth) -> None:
    counts = {feed: len(each) for feed, each in rows.items()}
    assert counts["marketing.companies"] == known.accounts == 300
    assert known.people == 900
    assert counts["product.events"] == 6000
    assert counts["marketing.campaigns"] == 10
    assert len({str(row.body["channel"]) for row in rows["marketing.campaigns"]}) == 8
    assert 11_000 < counts["marketing.touches"] < 13_000
    assert 330 <= counts["crm.opportunities"] <= 370
    assert 95 <= known.won_deals == counts["billing.orders"] <= 125
    assert len([each for each in known.clusters if each.type == "sales.lead"]) == 1500
    assert {str(row.body["CurrencyIsoCode"]) for row in rows["crm.opportunities"]} == {"EUR", "USD"}


def test_every_row_becomes_a_record_except_those_planted_as_broken(found: Found, known: Truth) -> None:
    at_fault = {(feed, each.external_id, name) for (feed, _), each in found.items() for name in faults(each)}
    assert at_fault == {(each.feed, each.external_id, each.field) for each in known.bad_rows}


def test_a_record_that_no_handle_finds_brings_all_that_its_type_requires(found: Found) -> None:
    for each in found.values():
        declared = TYPES[each.type]
        required = {field.name for field in declared.fields if field.required}
        assert required <= each.fields.keys() or each.external_id.endswith(("80001", "013881demo")), each


def test_references_lead_to_rows_of_the_same_system(found: Found) -> None:
    ids = {(feed.partition(".")[0], each.type, each.external_id) for (feed, _), each in found.items()}
    for (feed, _), each in found.items():
        for name, link in each.links.items():
            field = TYPES[each.type].field(name)
            assert field is not None
            assert (feed.partition(".")[0], field.to, link.external_id) in ids, (feed, each.external_id, name)


def test_systems_differ_exactly_where_it_was_planted(said: Said, known: Truth) -> None:
    different: list[tuple[str, str]] = []
    for cluster in known.clusters:
        values: dict[str, set[str]] = defaultdict(set)
        for member in cluster.members:
            for name, value in said[member].items():
                if value is not None:
                    values[name].add(msgspec.json.encode(value).decode())
        different += [
            (cluster.members[0][1], name)
            for name, each in values.items()
            if len(each) > 1 and (cluster.by_handle or name != "email")
        ]
    assert Counter(different) == Counter((each.key, each.field) for each in known.differences)
    assert Counter(each.critical for each in known.differences) == {False: 40, True: 6}


def test_systems_point_to_the_same_records(found: Found, known: Truth) -> None:
    owner = {
        (member[0].partition(".")[0], cluster.type, member[1]): index
        for index, cluster in enumerate(known.clusters)
        for member in cluster.members
    }
    for cluster in known.clusters:
        targets: dict[str, set[int]] = defaultdict(set)
        for feed, external_id in cluster.members:
            for name, link in found[feed, external_id].links.items():
                field = TYPES[cluster.type].field(name)
                assert field is not None
                if field.to != "marketing.campaign":
                    targets[name].add(owner[feed.partition(".")[0], str(field.to), link.external_id])
        assert all(len(each) == 1 for each in targets.values()), cluster


def test_differences_tell_what_each_system_says(said: Said, known: Truth) -> None:
    clusters = {cluster.members[0][1]: cluster for cluster in known.clusters}
    for difference in known.differences:
        for system, value in difference.values.items():
            members = [each for each in clusters[difference.key].members if each[0].startswith(f"{system}.")]
            assert {msgspec.json.encode(said[each][difference.field]) for each in members} == {
                msgspec.json.encode(value)
            }


def test_records_that_are_one_share_a_handle_unless_the_truth_says_otherwise(said: Said, known: Truth) -> None:
    for cluster in known.clusters:
        names = [field.name for field in TYPES[cluster.type].handles]
        groups = [{(name, said[each][name]) for name in names if said[each].get(name)} for each in cluster.members]
        joined = groups.pop(0)
        while near := next((each for each in groups if each & joined), None):
            groups.remove(near)
            joined = joined | near
        assert (not groups) == cluster.by_handle, cluster


def test_records_that_are_not_one_share_no_handle(said: Said, known: Truth) -> None:
    owners: dict[tuple[str, str, Json], int] = {}
    for index, cluster in enumerate(known.clusters):
        for member in cluster.members:
            for field in TYPES[cluster.type].handles:
                value = said[member].get(field.name)
                if value:
                    key = (cluster.type, field.name, value)
                    assert owners.setdefault(key, index) == index, key


def test_true_shares_sum_to_one_and_direct_visits_cause_nothing(known: Truth) -> None:
    for parts in known.shares.values():
        assert sum(parts.values()) == pytest.approx(1)
        assert parts.get("direct", 0) == 0
        assert parts["event"] > parts["display"]


def test_a_seed_makes_the_same_company_again_and_another_seed_another() -> None:
    first = make_world(seed=5, now=NOW, companies=12)
    make_world.cache_clear()
    assert make_world(seed=5, now=NOW, companies=12) == first
    assert make_world(seed=6, now=NOW, companies=12).companies != first.companies


def test_everybody_is_plainly_invented(found: Found) -> None:
    broken = ("sales(at)", "not given", "broken@")
    for (feed, _), each in found.items():
        email = str(each.fields.get("email") or "x@y.example").strip().lower()
        assert email.endswith(".example") or email.startswith(broken), feed
    assert CONNECTOR.fake
    assert "Fake" in CONNECTOR.about


@pytest.mark.parametrize(("seed", "companies"), [(1, 300), (1, 60), (2, 300)])
def test_what_channels_cost_is_of_the_size_of_what_they_truly_earn(seed: int, companies: int) -> None:
    world = make_world(seed=seed, now=NOW, companies=companies)
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for row in marketing_rows(world, make_plants(world))["marketing.spend"]:
        spent[str(row.body["channel"])] += Decimal(str(row.body["amount"]))
    earned: dict[str, float] = defaultdict(float)
    for sale in world.won:
        for cause, share in sale.causes:
            earned[cause] += share * float(sale.amount)
    returned = {channel: earned[channel] / float(cost) - 1 for channel, cost in spent.items()}
    assert len(returned) == 7
    assert all(-0.8 < each < 9 for each in returned.values()), returned
