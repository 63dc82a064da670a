"""The outside form of an event: CloudEvents 1.0 in JSON, without values and so without personal data."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.ids import text_of
from isthmus.store.schema import Schema
from isthmus.stream.event import Event

MEDIA_TYPE = "application/cloudevents+json"
_TERMINAL = "cli"
_ENCODER = msgspec.json.Encoder()
_MARK, _MARK_JSON = "\x1f", "\\u001f"


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
    prefix, accounts = _prefixes(event.record_type, schema)
    subject = _text_of(prefix, event.record_id)
    key = subject if event.account_id is None or not accounts else text_of(accounts, event.account_id)
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


def _prefixes(record_type: str, schema: Schema) -> tuple[str, str]:
    """Return the prefixes of ids of such records and of their accounts, empty for what is not declared."""
    declared = schema.types.get(record_type)
    if declared is None:
        return "", ""
    account = declared.field("account_id")
    return declared.prefix, schema[account.to].prefix if account is not None and account.to is not None else ""


def _text_of(prefix: str, own: UUID) -> str:
    return text_of(prefix, own) if prefix else str(own)


def _actor(actor: str) -> str:
    """Return who acted as it is told outside: the account of a person on this machine is a name, and stays inside."""
    return _TERMINAL if actor.startswith(f"{_TERMINAL}:") else actor


def message_id_of(event: Event, *, workspace: int) -> str:
    """Return what tells the event from all others, whichever way it is told and however often."""
    return f"{workspace}-{event.id}"


def envelope_json(event: Event, *, workspace: int, schema: Schema) -> bytes:
    """Return the outside form as JSON in UTF-8, on one line."""
    return _ENCODER.encode(envelope(event, workspace=workspace, schema=schema))


def envelopes_json(events: Iterable[Event], *, workspace: int, schema: Schema) -> list[bytes]:
    """Return the outside forms of events in their order, as `envelope_json` does.

    For those of one bundle it costs a fraction: what they have in common is written once.
    """
    bodies: list[bytes] = []
    common: object = None
    before = source = middle = sequence = after = prefix = accounts = ""
    for each in events:
        own = (each.type, each.record_type, each.changed, each.actor, each.cause, each.at)
        if own != common:
            common = own
            prefix, accounts = _prefixes(each.record_type, schema)
            before, source, middle, sequence, after = _around(each, workspace)
        subject = _text_of(prefix, each.record_id)
        key = subject if each.account_id is None or not accounts else text_of(accounts, each.account_id)
        bodies.append(f"{before}{each.id}{source}{subject}{middle}{each.seq}{sequence}{key}{after}".encode())
    return bodies


def _around(event: Event, workspace: int) -> list[str]:
    """Return what stands before, between and after the id, subject, sequence and partition key of its outside form."""
    told = CloudEvent(
        id=f"{workspace}-{_MARK}",
        source=f"/workspaces/{workspace}",
        type=event.type,
        subject=_MARK,
        time=event.at,
        sequence=_MARK,
        partitionkey=_MARK,
        data=Told(event.record_type, event.changed, _actor(event.actor), event.cause),
    )
    # What people may write stands behind the fourth mark.
    return _ENCODER.encode(told).decode().split(_MARK_JSON, 4)
