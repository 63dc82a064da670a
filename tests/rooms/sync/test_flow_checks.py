"""What a mapping cannot ask for is refused, each fault by its place."""

import pytest

from isthmus.kernel.errors import Fault
from isthmus.sync.flow_checks import checked
from isthmus.sync.flows import FieldFlow, Flow, FlowUnfit, Winner, flowing
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import FEEDS, Vendor

ACCOUNT, CONSENT = "sales.account", "marketing.consent"


@pytest.mark.parametrize(
    ("fields", "custom", "pointer", "code"),
    [
        ({"nothing": FieldFlow()}, {}, "/fields/nothing", "unknown-field"),
        ({"name": FieldFlow(direction="never")}, {}, "/fields/name/direction", "required"),
        ({"street": FieldFlow(direction="out")}, {}, "/fields/street/direction", "not-writable"),
        ({"city": FieldFlow(transforms=("shout",))}, {}, "/fields/city/transforms/0", "unknown-transform"),
        ({"employee_count": FieldFlow(transforms=("upper",))}, {}, "/fields/employee_count/transforms/0", None),
        ({"city": FieldFlow(winner="union")}, {}, "/fields/city/winner", "no-list"),
        ({"city": FieldFlow(winner="advance_only")}, {}, "/fields/city/order", "no-order"),
        ({"city": FieldFlow(winner="latest", order=("a",))}, {}, "/fields/city/order", "order-unused"),
        ({"kind": FieldFlow(winner="advance_only", order=("odd",))}, {}, "/fields/kind/order/0", "invalid-value"),
        ({"kind": FieldFlow(values={"C": "odd"})}, {}, "/fields/kind/values/C", "invalid-value"),
        ({"city": FieldFlow(values={"a": "x", "b": "x"})}, {}, "/fields/city/values", "not-one-to-one"),
        ({"city": FieldFlow(path="town.name")}, {}, "/fields/city/path", "path-comes-in"),
        ({"city": FieldFlow(path="town.", direction="in")}, {}, "/fields/city/path", "no-path"),
        ({"parent_id": FieldFlow(path="p", direction="in")}, {}, "/fields/parent_id/path", "path-of-link"),
        ({"city": FieldFlow(out_transforms=("shout",))}, {}, "/fields/city/out_transforms/0", "unknown-transform"),
        ({"city": FieldFlow(out_transforms=("whole",))}, {}, "/fields/city/out_transforms/0", "transform-unfit"),
        ({"city": FieldFlow(out_transforms=("trim",), direction="in")}, {}, "/fields/city/out_transforms", None),
        ({"city": FieldFlow(direction="out", winner="prefer_unless_blank")}, {}, "/fields/city/winner", None),
        ({}, {"Tier": "tier"}, "/custom/Tier", "invalid-name"),
        ({}, {"tier": "a..b"}, "/custom/tier", "no-path"),
    ],
)
def test_what_does_not_fit_is_named(
    crm: Vendor, bench: Bench, fields: dict[str, FieldFlow], custom: dict[str, str], pointer: str, code: str | None
) -> None:
    flow = Flow(type=ACCOUNT, fields=fields, custom=custom)
    with pytest.raises(FlowUnfit) as caught:
        checked(flow, bench.store.schema[ACCOUNT], crm.connector(), FEEDS)
    found: tuple[Fault, ...] = caught.value.faults
    assert [each.pointer for each in found] == [pointer]
    assert code in (None, found[0].code)


def test_a_connection_that_does_not_bring_the_type_and_one_without_mappings(crm: Vendor, bench: Bench) -> None:
    with pytest.raises(FlowUnfit, match=r"brings no finance\.invoice"):
        checked(Flow(type="finance.invoice"), bench.store.schema["finance.invoice"], crm.connector(), FEEDS)
    connector = crm.connector()
    assert flowing(connector, {}) is connector


def test_the_order_of_values_is_the_declared_one_where_there_is_one(crm: Vendor, bench: Bench) -> None:
    person = bench.store.schema["sales.person"]
    flow = Flow(type=person.name, fields={"lifecycle": FieldFlow(winner="advance_only")})
    declared = person.field("lifecycle")
    assert declared is not None
    assert checked(flow, person, crm.connector(), FEEDS).fields["lifecycle"].order == declared.rule.order != ()


@pytest.mark.parametrize("winner", ["latest", "source_of_record", "never", "prefer_unless_blank"])
def test_what_a_person_withdrew_is_loosened_by_no_mapping(crm: Vendor, bench: Bench, winner: Winner) -> None:
    consent = bench.store.schema[CONSENT]
    flow = Flow(type=CONSENT, fields={"state": FieldFlow(winner=winner)})
    with pytest.raises(FlowUnfit) as caught:
        checked(flow, consent, crm.connector(), FEEDS)
    assert {each.code for each in caught.value.faults} == {"unknown-type", "loosens"}
