"""The words of Amplitude's libraries: HTTP V2, and batches."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from isthmus.connectors.ingest.formats import Format, Path
from isthmus.connectors.ingest.said import Batch, NotUnderstood, Said, company_in, named
from isthmus.connectors.ingest.values import happened, identifier, mapping, moment, own_id
from isthmus.connectors.ingest.wire import parsed, unpacked
from isthmus.kernel.errors import IsthmusError, Malformed, TooLarge, Unauthenticated
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.connector import Opened, Sent, Told

BATCH_BYTES_MAX = 20 << 20
BATCH_EVENTS_MAX = 2_000
SKEW_S_MIN = 60
PATHS = (Path(path="2/httpapi"), Path(path="batch", bytes_max=BATCH_BYTES_MAX))
_SETTING = ("$setOnce", "$set")
_ALSO = ("revenue", "price", "quantity", "productId", "revenueType", "platform", "os_name", "app_version", "country")


def _body(path: Path, sent: Sent) -> dict[str, Json]:
    body = parsed(unpacked(sent, bytes_max=path.bytes_max))
    events = mapping(body).get("events")
    if not isinstance(body, dict) or not isinstance(events, list):
        raise Malformed("The body has no list `events`.", fix="Send what the program library sends, unaltered.")
    if len(events) > BATCH_EVENTS_MAX:
        raise TooLarge(f"A call holds at most {BATCH_EVENTS_MAX:,} events.", fix="Send less at once.")
    return body


def opened(path: Path, sent: Sent) -> Opened:
    """Return the key of a call, and how many events were taken."""
    body = _body(path, sent)
    events = body["events"]
    told = {
        "code": 200,
        "events_ingested": len(events) if isinstance(events, list) else 0,
        "payload_size_bytes": len(sent.body),
        "server_upload_time": int(sent.at.timestamp() * 1_000),
    }
    return Opened(keys=(text(body.get("api_key")) or "",), told=Told(body=msgspec.json.encode(told)))


def batch(path: Path, sent: Sent) -> Batch:
    """Return the events of a call; a clock that is off by less than a minute is left as it is."""
    body = _body(path, sent)
    events = body["events"]
    assert isinstance(events, list)
    uploaded = moment(body.get("client_upload_time"))
    skewed = uploaded is not None and abs((sent.at - uploaded).total_seconds()) > SKEW_S_MIN
    return Batch(events=events, sent=uploaded if skewed else None)


def said(event: Mapping[str, Json], sent: datetime | None, received: datetime) -> Said:
    """Return what an event says; raises NotUnderstood."""
    name = named(event.get("event_type"), what="event_type")
    user, device = identifier(event.get("user_id")), identifier(event.get("device_id"))
    account = company_in(mapping(event.get("groups")), identifier)
    session = identifier(event.get("session_id"))
    told = Said(
        id=identifier(event.get("insert_id")) or own_id(dict(event)),
        at=happened(moment(event.get("time")), sent=sent, received=received),
        person=user,
        anonymous=device,
        account=account,
        session=session if session != "-1" else None,
    )
    if name == "$groupidentify":
        traits = _set(mapping(event.get("group_properties")))
        return msgspec.structs.replace(told, person=None, anonymous=None, account_traits=traits)
    if user is None and device is None:
        raise NotUnderstood("The event says of nobody.", fix="Send it with a user_id or a device_id.")
    traits = _set(mapping(event.get("user_properties")))
    if name == "$identify":
        return msgspec.structs.replace(told, traits=traits)
    properties = {each: event[each] for each in _ALSO if each in event} | mapping(event.get("event_properties"))
    return msgspec.structs.replace(told, event=name, traits=traits or None, properties=properties)


def _set(properties: Mapping[str, Json]) -> dict[str, Json]:
    """Return what properties are set to, by operations or plainly."""
    plain: dict[str, Json] = {name: value for name, value in properties.items() if not name.startswith("$")}
    for operation in _SETTING:
        plain |= mapping(properties.get(operation))
    return plain | dict.fromkeys(mapping(properties.get("$unset")))


def refusal(error: IsthmusError) -> Told:
    """Return an error in the words of Amplitude: a wrong key is a bad request there."""
    if isinstance(error, Unauthenticated):
        # Amplitude's libraries know a key that is refused by these words, and do not send again.
        return Told(status=400, body=msgspec.json.encode({"code": 400, "error": f"Invalid API key: {error}"}))
    told: dict[str, Json] = {"code": error.status, "error": str(error)}
    return Told(status=error.status, body=msgspec.json.encode(told))


FORMAT = Format(
    name="amplitude", title="Amplitude", paths=PATHS, opened=opened, batch=batch, said=said, refusal=refusal
)
