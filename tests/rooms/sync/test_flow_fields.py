"""Fields of a system are found in what it sent, with what becomes of each, and beside what it says of them itself."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import pytest

from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.connector import Described, Raw
from isthmus.sync.flow_fields import FoundField, FoundFields, found_fields
from isthmus.sync.flow_versions import activate_flow, in_force
from isthmus.sync.flows import Flow, flowing
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.mapped import ACCOUNT, saved
from tests.rooms.sync.vendor import FEEDS, Vendor, normalise

CUSTOM = {"tier": "detail.Tier__c", "region": "extras.17.value"}


def plainly(feed: str, raw: Raw) -> Iterable[Observation]:
    """Map a row, but for the fields that the vendor made for this customer."""
    known = {name: value for name, value in raw.body.items() if name not in {"detail", "extras"}}
    return normalise(feed, msgspec.structs.replace(raw, body=known))


@pytest.fixture
async def read(bench: Bench, crm: Vendor) -> Bench:
    """A vendor with fields of its own, read by a mapping that takes no notice of them."""
    own: dict[str, Json] = {"detail": {"Tier__c": "gold", "Since__c": None}, "extras": [{"id": 17, "value": "north"}]}
    crm.put("companies", "C1", name="Mills Ltd", city="Ghent", account=None, **own)
    later: dict[str, Json] = {**own, "detail": {"Tier__c": "", "Since__c": 2024}}
    crm.put("companies", "C2", name="Bakery", city="", **later)
    bench.mend("crm", plainly)
    await bench.connect(crm)
    await bench.sync("crm", parts=("pull",))
    return bench


async def found(bench: Bench, described: Mapping[str, Sequence[Described]] | None = None) -> FoundFields:
    """The fields of companies."""
    own = await bench.connection("crm")
    flows = await bench.read(lambda tx: in_force(tx, own.id))
    connector = flowing(bench.engine.connectors["crm"], flows)
    return await bench.read(
        lambda tx: found_fields(
            tx, bench.store, connector, FEEDS[:1], system="crm", type_name=ACCOUNT, described=described or {}
        )
    )


def at(all_of_them: FoundFields, path: str) -> FoundField:
    """The field at a place."""
    return next(each for each in all_of_them.fields if each.path == path)


async def test_fields_are_found_in_what_was_received_with_what_becomes_of_them(read: Bench) -> None:
    fields = await found(read)
    assert fields.looked == 2
    assert (at(fields, "name").filled, at(fields, "name").becomes) == (2, ["name"])
    assert (at(fields, "city").filled, at(fields, "city").becomes) == (1, ["city"])
    assert (at(fields, "detail.Since__c").kinds, at(fields, "detail.Since__c").becomes) == (["null", "number"], [])
    assert (at(fields, "extras.17.value").filled, at(fields, "extras.17.value").becomes) == (2, [])


async def test_a_custom_field_that_was_found_is_taken_by_its_place_and_told_as_taken(read: Bench, crm: Vendor) -> None:
    version = await saved(read, Flow(type=ACCOUNT, custom=CUSTOM))
    await read.read(lambda tx: activate_flow(tx, version))
    crm.put("companies", "C1", city="Bruges")
    await read.sync("crm", parts=("pull",))
    held = {str(each.values["name"]): each.values["custom"] for each in await read.records(ACCOUNT)}
    assert held["Mills Ltd"] == {"tier": "gold", "region": "north"}
    fields = await found(read)
    assert at(fields, "detail.Tier__c").becomes == ["custom.tier"]
    assert at(fields, "extras.17.value").becomes == ["custom.region"]


async def test_what_a_system_says_of_its_fields_stands_beside_them_and_empty_ones_are_known_by_it(read: Bench) -> None:
    described = [
        Described(path="detail.Tier__c", label="Tier", kind="picklist", own=True),
        Described(path="detail.Never__c", label="Never used", kind="string", own=True),
    ]
    fields = await found(read, {"companies": described})
    tier, never = at(fields, "detail.Tier__c"), at(fields, "detail.Never__c")
    assert (tier.label, tier.kind, tier.own, tier.filled) == ("Tier", "picklist", True, 1)
    assert (never.label, never.filled, never.kinds) == ("Never used", 0, [])
