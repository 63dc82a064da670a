"""The nine rules by which a mapping lets its system win, lose, or ask a person."""

from dataclasses import dataclass

import pytest

from isthmus.kernel.marks import Json
from isthmus.sync.flows import FieldFlow
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.mapped import ACCOUNT, activated
from tests.rooms.sync.vendor import Vendor


@dataclass
class Pair:
    """Two systems that know one company and agree on it."""

    bench: Bench
    crm: Vendor
    erp: Vendor

    async def move(self, name: str, *, crm: Json, erp: Json, apart_s: float = 0) -> Json:
        """Let both change a field, the ERP that much later, read both, and return what is held then."""
        self.crm.put("companies", "C1", **{name: crm})
        await self.bench.sync("crm", parts=("pull",))
        self.bench.tick(apart_s)
        self.erp.put("companies", "E1", **{name: erp})
        await self.bench.sync("erp", parts=("pull",))
        return await self.held(name)

    async def one(self, vendor: Vendor, name: str, value: Json) -> Json:
        """Let one system change a field, read it, and return what is held then."""
        vendor.put("companies", "C1" if vendor is self.crm else "E1", **{name: value})
        await self.bench.sync(vendor.name, parts=("pull",))
        return await self.held(name)

    async def held(self, name: str) -> Json:
        """What is held here."""
        return (await self.bench.only(ACCOUNT)).values.get(name)

    async def there(self, name: str) -> list[Json]:
        """What both systems say once everything has been told."""
        await self.bench.sync("crm", "erp", "crm")
        return [self.crm.rows["companies"]["C1"].body.get(name), self.erp.rows["companies"]["E1"].body.get(name)]

    async def cases(self) -> list[tuple[object, ...]]:
        """The cases there are: field, status and who settled it."""
        return await self.bench.rows("select field, status, settled_by from inbox_case order by id")


@pytest.fixture
async def pair(bench: Bench, crm: Vendor, erp: Vendor) -> Pair:
    """The pair, read and agreed."""
    said: dict[str, Json] = {"tax_id": "BE1", "city": "Ghent", "industry": "milling", "owner_id": "ann", "tags": ["a"]}
    for vendor, own in ((crm, "C1"), (erp, "E1")):
        vendor.put("companies", own, name="Mills Ltd", **said)
        await bench.connect(vendor)
    await bench.sync("crm", "erp", "crm")
    return Pair(bench, crm, erp)


async def test_the_source_of_record_wins_whichever_spoke_last(pair: Pair) -> None:
    await activated(pair.bench, city=FieldFlow(winner="source_of_record"))
    assert await pair.move("city", crm="Bruges", erp="Liege") == "Bruges"
    assert await pair.there("city") == ["Bruges", "Bruges"]
    assert await pair.one(pair.erp, "city", "Namur") == "Namur", "what only one side moved is no conflict"
    assert await pair.cases() == []


async def test_two_sources_of_record_leave_it_to_a_person(pair: Pair) -> None:
    for name in ("crm", "erp"):
        await activated(pair.bench, of=name, city=FieldFlow(winner="source_of_record"))
    assert await pair.move("city", crm="Bruges", erp="Liege") == "Bruges"
    assert await pair.cases() == [("city", "open", None)]


async def test_the_preferred_system_wins_unless_it_is_blank(pair: Pair) -> None:
    await activated(pair.bench, city=FieldFlow(winner="prefer_unless_blank"))
    assert await pair.move("city", crm="Bruges", erp="Liege") == "Bruges"
    assert await pair.there("city") == ["Bruges", "Bruges"]
    assert await pair.move("city", crm="", erp="Namur") == "Namur"
    assert await pair.one(pair.crm, "city", None) == "Namur", "a blank overwrites nothing"
    assert await pair.there("city") == ["Namur", "Namur"]


async def test_by_the_latest_word_even_lists_are_not_united(pair: Pair) -> None:
    for name in ("crm", "erp"):
        await activated(pair.bench, of=name, tags=FieldFlow(winner="latest"))
    assert await pair.move("tags", crm=["a", "b"], erp=["a", "c"]) == ["a", "c"]


async def test_the_latest_word_wins_where_it_was_clearly_the_later_one(pair: Pair) -> None:
    for name in ("crm", "erp"):
        await activated(pair.bench, of=name, city=FieldFlow(winner="latest_if_separated"))
    await pair.bench.sync("crm", "erp")
    pair.crm.put("companies", "C1", city="Bruges")
    await pair.bench.sync("crm", parts=("pull",))
    pair.bench.tick(60)
    await pair.bench.sync("erp", parts=("pull",))
    assert await pair.one(pair.erp, "city", "Liege") == "Liege"
    assert await pair.cases() == []


async def test_a_person_decides_where_nobody_can_tell_which_word_was_later(pair: Pair) -> None:
    for name in ("crm", "erp"):
        await activated(pair.bench, of=name, city=FieldFlow(winner="latest_if_separated"))
    await pair.bench.sync("crm", "erp")
    assert await pair.move("city", crm="Bruges", erp="Liege", apart_s=60) == "Bruges", "both looked away meanwhile"
    assert await pair.cases() == [("city", "open", None)]
    assert await pair.there("city") == ["Bruges", "Liege"], "what waits for a person is written nowhere"


async def test_the_most_restrictive_value_wins(pair: Pair) -> None:
    rule = FieldFlow(winner="most_restrictive", order=("open", "guarded", "closed"))
    await activated(pair.bench, industry=rule)
    assert await pair.move("industry", crm="closed", erp="open") == "closed"
    assert await pair.there("industry") == ["closed", "closed"]


async def test_a_value_that_may_only_advance_does_not_go_back(pair: Pair) -> None:
    rule = FieldFlow(winner="advance_only", order=("milling", "baking", "dining"))
    await activated(pair.bench, industry=rule)
    assert await pair.one(pair.crm, "industry", "baking") == "baking"
    assert await pair.one(pair.crm, "industry", "milling") == "baking"
    assert await pair.one(pair.crm, "industry", "dining") == "dining"
    assert await pair.there("industry") == ["dining", "dining"]


async def test_lists_are_united_and_the_stricter_of_two_rules_counts(pair: Pair) -> None:
    await activated(pair.bench, tags=FieldFlow(winner="union"))
    await activated(pair.bench, of="erp", tags=FieldFlow(winner="latest"))
    assert await pair.move("tags", crm=["a", "b"], erp=["a", "c"]) == ["a", "b", "c"]


async def test_a_person_decides_a_field_that_is_left_to_people(pair: Pair) -> None:
    await activated(pair.bench, city=FieldFlow(winner="manual"))
    assert await pair.move("city", crm="Bruges", erp="Liege") == "Bruges"
    assert await pair.there("city") == ["Bruges", "Liege"]
    assert await pair.cases() == [("city", "open", None)]


async def test_a_system_that_never_wins_fills_what_is_blank_and_is_told_what_is_held(pair: Pair) -> None:
    await activated(pair.bench, of="erp", city=FieldFlow(winner="never"), description=FieldFlow(winner="never"))
    assert await pair.one(pair.erp, "city", "Liege") == "Ghent"
    assert await pair.there("city") == ["Ghent", "Ghent"]
    assert await pair.one(pair.erp, "description", "Flour.") == "Flour."
    assert await pair.cases() == []


async def test_on_a_critical_field_the_rule_decides_the_case_as_a_person_would(pair: Pair) -> None:
    for name in ("crm", "erp"):
        await activated(pair.bench, of=name, owner_id=FieldFlow(winner="latest"))
    assert await pair.move("owner_id", crm="bea", erp="cem") == "cem"
    assert await pair.there("owner_id") == ["cem", "cem"]
    assert await pair.cases() == [("owner_id", "resolved", "mapping:erp")]


async def test_on_a_critical_field_what_cannot_be_told_apart_stays_with_a_person(pair: Pair) -> None:
    await activated(pair.bench, owner_id=FieldFlow(winner="latest_if_separated"))
    assert await pair.move("owner_id", crm="bea", erp="cem") == "bea"
    assert await pair.there("owner_id") == ["bea", "cem"]
    assert await pair.cases() == [("owner_id", "open", None)]


async def test_a_rule_of_the_other_system_that_asks_a_person_counts_on_a_critical_field_too(pair: Pair) -> None:
    await activated(pair.bench, owner_id=FieldFlow(winner="manual"))
    await activated(pair.bench, of="erp", owner_id=FieldFlow(winner="source_of_record"))
    assert await pair.move("owner_id", crm="bea", erp="cem") == "bea"
    assert await pair.there("owner_id") == ["bea", "cem"]
    assert await pair.cases() == [("owner_id", "open", None)]
