"""The words of Snowplow's trackers: the tracker protocol, in a body of many events or in the query of a picture."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from isthmus.connectors.ingest.formats import Format, Path
from isthmus.connectors.ingest.said import PAGE, Batch, NotUnderstood, Said, named
from isthmus.connectors.ingest.values import first_of, happened, identifier, mapping, moment, own_id
from isthmus.connectors.ingest.wire import fields_of, from_base64, parsed, unpacked
from isthmus.kernel.errors import IsthmusError, Malformed
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.connector import Opened, Sent, Told

SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/"
PIXEL = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")
PATHS = (
    Path(path="{write_key}/com.snowplowanalytics.snowplow/tp2"),
    Path(path="{write_key}/i", method="GET", kind="picture"),
)
_PAGE_PING, _STRUCTURED, _DESCRIBED, _SALE, _SOLD = "pp", "se", "ue", "tr", "ti"
_NAMES = {"pv": PAGE, _PAGE_PING: "page_ping", _SALE: "transaction", _SOLD: "transaction_item"}
_STRUCTURE = {"se_ca": "category", "se_la": "label", "se_pr": "property", "se_va": "value"}
_PAGE = {"url": "url", "page": "title", "refr": "referrer", "p": "platform", "aid": "app"}
_SCHEMA_PARTS = 4


def _events(path: Path, sent: Sent) -> list[Json]:
    if path.kind:
        return [dict(fields_of(sent.query))]
    body = mapping(parsed(unpacked(sent, bytes_max=path.bytes_max)))
    events = body.get("data")
    if not isinstance(events, list) or not (text(body.get("schema")) or "").startswith(SCHEMA):
        raise Malformed("The body is no payload_data.", fix="Send what the tracker sends, unaltered.")
    return events


def opened(path: Path, sent: Sent) -> Opened:
    """Return no key, because it stands in the path, and the answer: a picture of one pixel, or a word."""
    _events(path, sent)
    return Opened(
        keys=(), told=Told(body=PIXEL, media="image/gif") if path.kind else Told(body=b"ok", media="text/plain")
    )


def batch(path: Path, sent: Sent) -> Batch:
    """Return the events of a call; each says itself when it was sent."""
    return Batch(events=_events(path, sent))


def said(event: Mapping[str, Json], sent: datetime | None, received: datetime) -> Said:
    """Return what an event says; raises NotUnderstood."""
    kind = text(event.get("e"))
    true = moment(event.get("ttm"))
    created = moment(event.get("dtm"))
    sent = None if true is not None or created is None else moment(event.get("stm")) or sent
    person = identifier(event.get("uid"))
    anonymous = first_of((event.get("duid"), event.get("nuid"), event.get("tnuid")), identifier)
    told = Said(
        id=identifier(event.get("eid")) or own_id(dict(event)),
        at=happened(true or created, sent=sent, received=received),
        person=person,
        anonymous=anonymous,
        session=identifier(event.get("sid")),
    )
    page: dict[str, Json] = {ours: event[theirs] for theirs, ours in _PAGE.items() if theirs in event}
    if kind == _STRUCTURED:
        structure: dict[str, Json] = {ours: event[theirs] for theirs, ours in _STRUCTURE.items() if theirs in event}
        return msgspec.structs.replace(told, event=named(event.get("se_ac"), what="se_ac"), properties=page | structure)
    if kind == _DESCRIBED:
        name, properties = _described(event)
        return msgspec.structs.replace(told, event=name, properties=page | properties)
    if kind not in _NAMES:
        raise NotUnderstood(f"There is no kind of event {str(kind)[:40]!r}.", fix="Send what the tracker sends.")
    sale = {name: value for name, value in event.items() if kind in {_SALE, _SOLD} and name.startswith(f"{kind}_")}
    return msgspec.structs.replace(told, event=_NAMES[kind], properties=page | sale)


def _described(event: Mapping[str, Json]) -> tuple[str, dict[str, Json]]:
    """Return the name and the content of a self-describing event, which is named by its schema."""
    packed, plain = text(event.get("ue_px")), text(event.get("ue_pr"))
    outer = mapping(parsed(from_base64(packed) if packed else (plain or "").encode()))
    inner = mapping(outer.get("data"))
    parts = (text(inner.get("schema")) or "").removeprefix("iglu:").split("/")
    if len(parts) != _SCHEMA_PARTS:
        raise NotUnderstood(
            "The event does not name its schema.", fix="Describe it as iglu:vendor/name/format/version."
        )
    return parts[1], mapping(inner.get("data"))


def refusal(error: IsthmusError) -> Told:
    """Return an error in words; trackers look at the status alone."""
    return Told(status=error.status, body=str(error).encode(), media="text/plain")


FORMAT = Format(name="snowplow", title="Snowplow", paths=PATHS, opened=opened, batch=batch, said=said, refusal=refusal)
