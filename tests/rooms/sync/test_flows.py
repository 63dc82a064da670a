"""What flows between a connection and records: fields held back, transformed, tried before, taken back and replayed."""

from collections.abc import Mapping

import pytest

from isthmus.sync.flow_versions import (
    NotInForce,
    Trial,
    activate_flow,
    flow_of,
    in_force,
    roll_back_flow,
)
from isthmus.sync.flows import FieldFlow, Flow
from isthmus.sync.running import map_again
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.mapped import ACCOUNT, activated, saved
from tests.rooms.sync.vendor import Vendor


@pytest.fixture
async def two(bench: Bench, crm: Vendor, erp: Vendor) -> Bench:
    """Two systems that know one company, both read and written."""
    crm.put("companies", "C1", name="Mills Ltd", tax_id="BE1", city="Ghent", owner_id="ann")
    erp.put("companies", "E1", name="Mills Ltd", tax_id="BE1", city="Ghent", owner_id="ann")
    for vendor in (crm, erp):
        await bench.connect(vendor)
    return bench


async def test_a_field_that_only_comes_in_is_not_written_and_one_that_only_goes_out_is_not_heard(
    two: Bench, crm: Vendor, erp: Vendor
) -> None:
    await two.sync("crm", "erp", "crm")
    await activated(two, of="erp", city=FieldFlow(direction="out"), industry=FieldFlow(direction="in"))
    account = await two.only(ACCOUNT)
    await two.edit(ACCOUNT, account.id, city="Bruges", industry="milling")
    await two.sync("crm", "erp")
    assert erp.rows["companies"]["E1"].body["city"] == "Bruges"
    assert "industry" not in erp.rows["companies"]["E1"].body
    assert crm.rows["companies"]["C1"].body["industry"] == "milling"
    erp.put("companies", "E1", city="Liege", industry="baking")
    await two.sync("erp")
    told = (await two.only(ACCOUNT)).values
    assert (told["city"], told["industry"]) == ("Bruges", "baking")
    writes = erp.writes
    await two.sync("erp", "crm", "erp")
    assert erp.writes == writes, "what does not come back is not written again and again"


async def test_what_comes_in_is_transformed_and_further_values_are_taken_as_custom(two: Bench, crm: Vendor) -> None:
    crm.put("companies", "C1", name="  Mills   Ltd ", custom={"kept": 1}, industry="milling", employee_count=0)
    upper = FieldFlow(transforms=("collapse", "upper"))
    flow = Flow(
        type=ACCOUNT, fields={"name": upper}, custom={"kind": "industry", "staff": "employee_count", "none": "x.y"}
    )
    version = await saved(two, flow)
    await two.read(lambda tx: activate_flow(tx, version))
    await two.sync("crm", parts=("pull",))
    told = (await two.only(ACCOUNT)).values
    assert (told["name"], told["custom"]) == ("MILLS LTD", {"kept": 1, "kind": "milling", "staff": 0})
    writes = crm.writes
    await two.sync("crm")
    assert crm.writes == writes, "what was transformed is not written back"


async def test_a_blank_of_one_system_overwrites_nothing_where_it_is_said_so(two: Bench, crm: Vendor) -> None:
    await activated(two, city=FieldFlow(winner="prefer_unless_blank"))
    await two.sync("crm", "erp")
    crm.put("companies", "C1", city=None)
    await two.sync("crm")
    assert (await two.only(ACCOUNT)).values["city"] == "Ghent"
    crm.put("companies", "C1", city="Namur")
    await two.sync("crm")
    assert (await two.only(ACCOUNT)).values["city"] == "Namur"


async def test_a_conflict_is_decided_for_the_source_of_record_and_stays_undone_when_undone(
    two: Bench, crm: Vendor, erp: Vendor
) -> None:
    await activated(two, owner_id=FieldFlow(winner="source_of_record"))
    await two.sync("crm", "erp")
    crm.put("companies", "C1", owner_id="bea")
    erp.put("companies", "E1", owner_id="cem")
    await two.sync("erp", parts=("pull",))
    await two.sync("crm", "erp")
    assert (await two.only(ACCOUNT)).values["owner_id"] == "bea"
    assert erp.rows["companies"]["E1"].body["owner_id"] == "bea"
    settled = await two.rows("select status, settled_by from inbox_case")
    assert settled == [("resolved", "mapping:crm")]


async def test_a_plan_tells_what_would_change_and_a_replay_changes_just_that(two: Bench, crm: Vendor) -> None:
    crm.put("companies", "C1", name="Mills   Ltd")
    crm.put("companies", "C2", name="Bakery", city="Ghent")
    await two.sync("crm", parts=("pull",))
    changed = {"city": FieldFlow(transforms=("upper",)), "name": FieldFlow(transforms=("collapse",))}
    version = await saved(two, Flow(type=ACCOUNT, fields=changed))
    connection = await two.connection("crm")
    trial = Trial.of(two.store, two.engine.connectors["crm"], connection.settings, version=version, now={})
    plan = await two.read(trial.plan)
    assert (plan.looked, plan.changed, plan.fields, plan.rejected) == (2, 2, {"city": 2, "name": 1}, 0)
    first = plan.moved[0]
    assert (first.external_id, first.field, first.before, first.after) == ("C1", "city", "Ghent", "GHENT")
    assert {str(each.values["city"]) for each in await two.records(ACCOUNT)} == {"Ghent"}
    await two.read(lambda tx: activate_flow(tx, version))
    reads = crm.reads
    two.tick()
    run = await map_again(two.engine, workspace=two.workspace, connection="crm", type_name=ACCOUNT)
    assert (run.read, run.changed, crm.reads) == (2, 2, reads)
    assert {str(each.values["city"]) for each in await two.records(ACCOUNT)} == {"GHENT"}
    assert sorted(str(each.values["name"]) for each in await two.records(ACCOUNT)) == ["Bakery", "Mills Ltd"]
    two.tick()
    again = await map_again(two.engine, workspace=two.workspace, connection="crm", type_name=ACCOUNT)
    assert (again.read, again.changed) == (2, 0)


async def test_versions_are_numbered_and_what_was_in_force_before_comes_back(two: Bench) -> None:
    connection = await two.connection("crm")

    async def now() -> Mapping[str, Flow]:
        return await two.read(lambda tx: in_force(tx, connection.id))

    one = await activated(two, city=FieldFlow(direction="in"))
    two.tick()
    other = await activated(two, city=FieldFlow(direction="never"))
    assert (one.number, other.number, other.in_force) == (1, 2, True)
    with pytest.raises(NotInForce):
        await two.read(lambda tx: roll_back_flow(tx, one))
    assert (await now())[ACCOUNT].fields["city"].direction == "never"
    assert not (await two.read(lambda tx: roll_back_flow(tx, other))).in_force
    assert (await now())[ACCOUNT].fields["city"].direction == "in"
    assert (await two.read(lambda tx: flow_of(tx, one.id))).in_force
    await two.read(lambda tx: roll_back_flow(tx, one))
    assert await now() == {}
    log = await two.rows("select action from audit where resource = 'mapping' order by id")
    assert [action for (action,) in log] == ["save", "activate", "save", "activate", "roll-back", "roll-back"]
