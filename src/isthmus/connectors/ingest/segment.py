"""The words of Segment's and RudderStack's libraries: the Segment Spec, one message or a batch of them."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from isthmus.connectors.ingest.formats import Format, Path
from isthmus.connectors.ingest.said import PAGE, SCREEN, Batch, NotUnderstood, Said, named
from isthmus.connectors.ingest.values import first_of, happened, identifier, mapping, moment, own_id
from isthmus.connectors.ingest.wire import basic, fields_of, parsed, unpacked
from isthmus.kernel.errors import IsthmusError, Malformed
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.connector import Opened, Sent, Told

BATCH_BYTES_MAX = 4_000 << 10
_KINDS = ("track", "identify", "page", "screen", "group", "alias")
_SHORT = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
_BATCHES = ("v1/batch", "v1/b", "v1/import", "beacon/v1/batch")
PATHS = (
    *(Path(path=path, bytes_max=BATCH_BYTES_MAX) for path in _BATCHES),
    *(Path(path=f"v1/{kind}", kind=kind) for kind in _KINDS),
    *(Path(path=f"v1/{short}", kind=kind) for short, kind in _SHORT.items()),
)


def _body(path: Path, sent: Sent) -> dict[str, Json]:
    body = parsed(unpacked(sent, bytes_max=path.bytes_max))
    if not isinstance(body, dict) or (not path.kind and not isinstance(body.get("batch"), list)):
        raise Malformed("The body has no messages.", fix="Send an object, at the batch path with a list `batch`.")
    return body


def opened(path: Path, sent: Sent) -> Opened:
    """Return the keys of a call: of Authorization, of the query, and of the body."""
    body = _body(path, sent)
    shown = (*basic(sent), fields_of(sent.query).get("writeKey", ""), text(body.get("writeKey")) or "")
    return Opened(keys=shown, told=Told(body=b'{"success":true}'))


def batch(path: Path, sent: Sent) -> Batch:
    """Return the messages of a call, each with what all of them share."""
    body = _body(path, sent)
    if path.kind:
        return Batch(events=[{**body, "type": path.kind}], sent=moment(body.get("sentAt")))
    events = body["batch"]
    assert isinstance(events, list)
    shared = body.get("context")
    if isinstance(shared, dict):
        events = [
            {**each, "context": {**shared, **mapping(each.get("context"))}} if isinstance(each, dict) else each
            for each in events
        ]
    return Batch(events=events, sent=moment(body.get("sentAt")))


def said(event: Mapping[str, Json], sent: datetime | None, received: datetime) -> Said:
    """Return what a message says; raises NotUnderstood."""
    kind = event.get("type")
    context = mapping(event.get("context"))
    at = first_of((event.get("originalTimestamp"), event.get("timestamp")), text)
    sent = moment(event.get("sentAt")) or sent
    person, anonymous = identifier(event.get("userId")), identifier(event.get("anonymousId"))
    told = Said(
        id=identifier(event.get("messageId")) or own_id(dict(event)),
        at=happened(moment(at), sent=sent, received=received),
        person=person,
        anonymous=anonymous,
        account=identifier(context.get("groupId")),
        session=identifier(context.get("sessionId")),
    )
    if kind == "alias":
        return msgspec.structs.replace(told, anonymous=identifier(event.get("previousId")))
    if person is None and anonymous is None:
        raise NotUnderstood("The message says of nobody.", fix="Send it with a userId or an anonymousId.")
    properties = mapping(event.get("properties"))
    if kind == "track":
        return msgspec.structs.replace(told, event=named(event.get("event")), properties=properties)
    if kind in {PAGE, SCREEN}:
        shown = {"name": event.get("name"), "category": event.get("category"), **_page(context), **properties}
        return msgspec.structs.replace(told, event=kind, properties=shown)
    traits = mapping(event.get("traits")) or mapping(context.get("traits"))
    if kind == "identify":
        company = identifier(at_path(traits, "company", "id"))
        return msgspec.structs.replace(told, traits=traits, account=company or told.account)
    if kind == "group":
        account = identifier(event.get("groupId"))
        if account is None:
            raise NotUnderstood("The message names no group.", fix="Send it with a groupId.")
        return msgspec.structs.replace(told, account=account, account_traits=mapping(event.get("traits")))
    raise NotUnderstood(f"There is no type {str(kind)[:40]!r}.", fix=f"Send one of {', '.join(_KINDS)}.")


def _page(context: Mapping[str, Json]) -> dict[str, Json]:
    page, campaign = mapping(context.get("page")), mapping(context.get("campaign"))
    told = {name: page.get(name) for name in ("url", "path", "title", "referrer")}
    return told | {f"utm_{name}": value for name, value in campaign.items()}


def refusal(error: IsthmusError) -> Told:
    """Return an error in the words of Segment."""
    body = {"success": False, "code": error.code, "message": str(error)}
    return Told(status=error.status, body=msgspec.json.encode(body))


FORMAT = Format(
    name="segment", title="Segment and RudderStack", paths=PATHS, opened=opened, batch=batch, said=said, refusal=refusal
)
