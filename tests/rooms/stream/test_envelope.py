"""The outside form of events is CloudEvents 1.0, and shows no values."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from isthmus.store.schema import Schema
from isthmus.stream.envelope import envelope_json
from isthmus.stream.event import Event

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def event(record_type: str, account: UUID | None) -> Event:
    kind = f"isthmus.{record_type}.changed.v1"
    return Event(12, 40, kind, record_type, UUID(int=1), account, 5, ("stage", "amount"), "sync:crm", "run:9", AT)


def test_an_event_is_a_cloud_event(schema: Schema) -> None:
    told = msgspec.json.decode(envelope_json(event("sales.deal", UUID(int=2)), workspace=3, schema=schema))
    assert told == {
        "specversion": "1.0",
        "id": "3-40",
        "source": "/workspaces/3",
        "type": "isthmus.sales.deal.changed.v1",
        "subject": "deal_00000000000000000000000001",
        "time": "2026-11-02T09:30:00Z",
        "datacontenttype": "application/json",
        "sequence": "12",
        "partitionkey": f"{schema['sales.account'].prefix}_00000000000000000000000002",
        "data": {"record_type": "sales.deal", "changed": ["stage", "amount"], "actor": "sync:crm", "cause": "run:9"},
    }


def test_an_account_and_what_belongs_to_it_share_a_partition(schema: Schema) -> None:
    own = msgspec.json.decode(envelope_json(event("sales.account", None), workspace=3, schema=schema))
    its = msgspec.json.decode(envelope_json(event("sales.deal", UUID(int=1)), workspace=3, schema=schema))
    assert own["partitionkey"] == own["subject"] == its["partitionkey"]


def test_what_belongs_to_no_account_is_its_own_partition(schema: Schema) -> None:
    told = msgspec.json.decode(envelope_json(event("sales.deal", None), workspace=3, schema=schema))
    assert told["partitionkey"] == told["subject"]


def test_the_account_of_whoever_sat_at_the_terminal_is_not_told(schema: Schema) -> None:
    named = msgspec.structs.replace(event("sales.deal", None), actor="cli:ada")
    told = msgspec.json.decode(envelope_json(named, workspace=3, schema=schema))
    assert told["data"]["actor"] == "cli"


def test_an_event_of_a_type_that_is_declared_no_more_is_told_by_its_bare_id(schema: Schema) -> None:
    told = msgspec.json.decode(envelope_json(event("sales.abacus", UUID(int=2)), workspace=3, schema=schema))
    assert told["subject"] == told["partitionkey"] == str(UUID(int=1))
