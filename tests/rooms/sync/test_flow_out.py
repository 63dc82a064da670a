"""What a mapping makes of what goes out: changed on the way, known again when it comes back, and shown before."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.connector import Raw
from isthmus.sync.flow_out import Rehearsal, ToldPlan
from isthmus.sync.flow_versions import activate_flow
from isthmus.sync.flows import FieldFlow, Flow, flowing
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.mapped import ACCOUNT, activated, saved
from tests.rooms.sync.vendor import Killed, Vendor

DEAL = "sales.deal"
LOUD = FieldFlow(out_transforms=("upper",))


@pytest.fixture
async def one(bench: Bench, crm: Vendor) -> Bench:
    """A system that knows two companies and a deal, read."""
    crm.put("companies", "C1", name="Mills Ltd", city="Ghent", industry="m")
    crm.put("companies", "C2", name="Bakery", city="Liege", industry="b")
    crm.put("deals", "D1", name="Engine", stage="proposal")
    await bench.connect(crm)
    await bench.sync("crm")
    return bench


async def edited(bench: Bench, **fields: Json) -> None:
    """Edit the first company here."""
    record = next(each for each in await bench.records(ACCOUNT) if each.values["name"] == "Mills Ltd")
    await bench.edit(ACCOUNT, record.id, **fields)


async def held(bench: Bench, name: str) -> dict[str, Json]:
    """The values of a field by the names of their companies."""
    return {str(each.values["name"]): each.values[name] for each in await bench.records(ACCOUNT)}


async def test_what_goes_out_is_changed_on_the_way_and_is_no_change_when_it_comes_back(one: Bench, crm: Vendor) -> None:
    await activated(one, city=LOUD)
    await edited(one, city="Bruges")
    await one.sync("crm")
    assert crm.rows["companies"]["C1"].body["city"] == "BRUGES"
    writes = crm.writes
    crm.put("companies", "C1", industry="mm")
    await one.sync("crm", "crm")
    assert (await held(one, "city"), crm.writes) == ({"Mills Ltd": "Bruges", "Bakery": "Liege"}, writes)
    crm.put("companies", "C1", city="Namur")
    await one.sync("crm", "crm")
    assert (await held(one, "city"), crm.writes) == ({"Mills Ltd": "Namur", "Bakery": "Liege"}, writes)


async def test_a_write_without_an_answer_is_known_again_in_the_form_in_which_it_was_told(
    one: Bench, crm: Vendor
) -> None:
    await activated(one, city=LOUD)
    await edited(one, city="Bruges")
    crm.kill_after_write = True
    with pytest.raises(Killed):
        await one.sync("crm")
    await one.sync("crm", "crm")
    assert ((await held(one, "city"))["Mills Ltd"], crm.writes) == ("Bruges", 1)


async def test_values_of_theirs_are_ours_when_they_come_in_and_theirs_when_they_go_out(one: Bench, crm: Vendor) -> None:
    await activated(one, industry=FieldFlow(values={"m": "milling", "b": "baking"}))
    crm.put("companies", "C1", city="Ghent again")
    await one.sync("crm")
    told = await held(one, "industry")
    assert told == {"Mills Ltd": "milling", "Bakery": "b"}, "what is not read again stays until it is replayed"
    await edited(one, industry="baking")
    await one.sync("crm", "crm")
    assert crm.rows["companies"]["C1"].body["industry"] == "b"
    assert (await held(one, "industry"))["Mills Ltd"] == "baking"


def said_of(flow: Flow, vendor: Vendor, **body: Json) -> dict[str, Json]:
    """What a row says under a mapping."""
    raw = Raw(external_id="C1", body=body)
    found: list[Observation] = list(flowing(vendor.connector(), {ACCOUNT: flow}).normalise("companies", raw))
    return found[0].fields


def test_a_field_is_taken_from_another_place_where_nothing_null_and_blank_are_three_things(crm: Vendor) -> None:
    flow = Flow(type=ACCOUNT, fields={"city": FieldFlow(path="town.name", direction="in")})
    assert said_of(flow, crm, name="Mills", city="Ghent", town={"name": "Gent"})["city"] == "Gent"
    assert said_of(flow, crm, name="Mills", city="Ghent", town={"name": ""})["city"] == ""
    assert said_of(flow, crm, name="Mills", city="Ghent", town={"name": None})["city"] is None
    assert "city" not in said_of(flow, crm, name="Mills", city="Ghent", town={})
    assert "city" not in said_of(flow, crm, name="Mills", city="Ghent", town=None)


async def planned(bench: Bench, flow: Flow) -> ToldPlan:
    """What a version, kept and not in force, would change on what is told."""
    version = await saved(bench, flow)
    own = await bench.connection("crm")
    connector = bench.engine.connectors["crm"]
    rehearsal = Rehearsal.of(bench.store, own, connector, own.settings, version=version, now={})
    return await bench.read(rehearsal.plan)


async def test_a_plan_tells_what_a_system_would_be_told_and_what_is_written_at_once(one: Bench, crm: Vendor) -> None:
    await edited(one, city="Bruges")
    flow = Flow(type=ACCOUNT, fields={"city": LOUD, "name": FieldFlow(direction="in")})
    plan = await planned(one, flow)
    assert (plan.looked, plan.changed, plan.writes, plan.unfit) == (2, 2, 1, 0)
    assert plan.fields == {"city": 2, "name": 2}
    first, second = plan.told[:2]
    assert (first.field, first.there, first.before, first.after) == ("city", "Ghent", "Bruges", "BRUGES")
    assert (second.field, second.before, second.after) == ("name", "Mills Ltd", None)
    assert [each.writes for each in plan.told] == [True, False, False, False]
    assert crm.writes == 0
    version = await saved(one, flow)
    await one.read(lambda tx: activate_flow(tx, version))
    await one.sync("crm")
    assert (crm.writes, crm.rows["companies"]["C1"].body["city"]) == (1, "BRUGES"), "the plan is what happens"


async def test_a_plan_tells_of_values_that_do_not_fit_their_field_any_more(one: Bench) -> None:
    plan = await planned(one, Flow(type=DEAL, fields={"stage": LOUD}))
    assert (plan.looked, plan.changed, plan.unfit) == (1, 1, 1)
    assert "/stage" in plan.reason
