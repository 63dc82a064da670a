"""The outside form of an event: CloudEvents 1.0 in JSON, without values and so without personal data."""

from datetime import datetime

import msgspec
from msgspec import Struct

from isthmus.kernel.ids import text_of
from isthmus.store.schema import Schema
from isthmus.stream.event import Event

MEDIA_TYPE = "application/cloudevents+json"
_TERMINAL = "cli"
_ENCODER = msgspec.json.Encoder()


class Told(Struct, frozen=True):
    """What an event says of its record: the fields that changed (not their values), who did it, and why."""

    record_type: str
    changed: tuple[str, ...]
    actor: str
    cause: str


class CloudEvent(Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0 with the extensions `sequence` and `partitionkey`; order holds within a partition key."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str = "application/json"
    sequence: str
    partitionkey: str
    data: Told


def envelope(event: Event, *, workspace: int, schema: Schema) -> CloudEvent:
    """Return the outside form: the subject is the record's id text, the partition key the account it belongs to.

    Where no domain declares the type any more, the subject is the bare id: what happened before is still told.
    """
    record_type = schema.types.get(event.record_type)
    subject = key = str(event.record_id) if record_type is None else text_of(record_type.prefix, event.record_id)
    if event.account_id is not None and record_type is not None:
        account = record_type.field("account_id")
        if account is not None and account.to is not None:
            key = text_of(schema[account.to].prefix, event.account_id)
    return CloudEvent(
        id=message_id_of(event, workspace=workspace),
        source=f"/workspaces/{workspace}",
        type=event.type,
        subject=subject,
        time=event.at,
        sequence=str(event.seq),
        partitionkey=key,
        data=Told(event.record_type, event.changed, _actor(event.actor), event.cause),
    )


def _actor(actor: str) -> str:
    """Return who acted as it is told outside: the account of a person on this machine is a name, and stays inside."""
    return _TERMINAL if actor.startswith(f"{_TERMINAL}:") else actor


def message_id_of(event: Event, *, workspace: int) -> str:
    """Return what tells the event from all others, whichever way it is told and however often."""
    return f"{workspace}-{event.id}"


def envelope_json(event: Event, *, workspace: int, schema: Schema) -> bytes:
    """Return the outside form as JSON in UTF-8, on one line."""
    return _ENCODER.encode(envelope(event, workspace=workspace, schema=schema))
