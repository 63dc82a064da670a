"""The words of PostHog's libraries: events one by one or in a batch, and questions about feature flags."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from isthmus.connectors.ingest.formats import Format, Path
from isthmus.connectors.ingest.said import PAGE, SCREEN, Batch, NotUnderstood, Said, company_in, named
from isthmus.connectors.ingest.values import first_of, happened, identifier, mapping, moment, own_id
from isthmus.connectors.ingest.wire import fields_of, in_form, parsed, unpacked
from isthmus.kernel.errors import IsthmusError, Malformed
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.connector import Opened, Sent, Told

BATCH_BYTES_MAX = 20 << 20
FLAGS = "flags"
_EVENTS = ("batch", "capture", "e", "i/v0/e")
_QUESTIONS = ("decide", "flags")
PATHS = (
    *(Path(path=f"{each}{slash}", bytes_max=BATCH_BYTES_MAX) for each in _EVENTS[1:] for slash in ("/", "")),
    Path(path="batch/", bytes_max=BATCH_BYTES_MAX),
    *(Path(path=f"{each}{slash}", kind=FLAGS, kept=False) for each in _QUESTIONS for slash in ("/", "")),
)
_NO_FLAGS: dict[str, Json] = {
    "config": {"enable_collected_everything": True},
    "supportedCompression": ["gzip", "gzip-js"],
    "isAuthenticated": False,
    "toolbarParams": {},
    "sessionRecording": False,
    "errorsWhileComputingFlags": False,
    "featureFlags": {},
    "featureFlagPayloads": {},
    "flags": {},
}
_OWN_NAMES = {"$pageview": PAGE, "$screen": SCREEN}
_ABOUT_SOMEBODY = frozenset({"$identify", "$set", "$create_alias", "$alias", "$merge_dangerously"})


def _body(path: Path, sent: Sent) -> Json:
    plain = unpacked(sent, bytes_max=path.bytes_max)
    if plain.lstrip()[:1] in {b"{", b"["}:
        return parsed(plain)
    return in_form(fields_of(plain).get("data", "") or plain.decode("latin-1"))


def _events(body: Json) -> list[Json]:
    if isinstance(body, dict) and isinstance(body.get("batch"), list):
        found = body["batch"]
        assert isinstance(found, list)
        return found
    if isinstance(body, list):
        return body
    if isinstance(body, dict) and "event" in body:
        return [body]
    raise Malformed("The body has no events.", fix="Send an event, a list of events, or an object with a `batch`.")


def opened(path: Path, sent: Sent) -> Opened:
    """Return the keys of a call, in the body or beside an event, and the answer; flags are none."""
    body = _body(path, sent)
    events = [] if path.kind == FLAGS else _events(body)
    places = [mapping(body), *(mapping(each) for each in events[:1])]
    places += [mapping(each.get("properties")) for each in places]
    found = [text(place.get(name)) for place in places for name in ("api_key", "token")]
    if path.kind == FLAGS:
        return Opened(keys=tuple(each for each in found if each), told=Told(body=msgspec.json.encode(_NO_FLAGS)))
    return Opened(keys=tuple(each for each in found if each), told=Told(body=b'{"status":1}'))


def batch(path: Path, sent: Sent) -> Batch:
    """Return the events of a call."""
    body = _body(path, sent)
    said_at = mapping(body).get("sent_at") or fields_of(sent.query).get("_")
    return Batch(events=_events(body), sent=moment(said_at))


def said(event: Mapping[str, Json], sent: datetime | None, received: datetime) -> Said:
    """Return what an event says; raises NotUnderstood."""
    name = named(event.get("event"))
    properties = mapping(event.get("properties"))
    person = first_of((event.get("distinct_id"), properties.get("distinct_id")), identifier)
    if person is None:
        raise NotUnderstood("The event says of nobody.", fix="Send it with a distinct_id.")
    traits = {
        **mapping(event.get("$set_once")),
        **mapping(properties.get("$set_once")),
        **mapping(event.get("$set")),
        **mapping(properties.get("$set")),
    }
    told = Said(
        id=first_of((event.get("uuid"), properties.get("$insert_id")), identifier) or own_id(dict(event)),
        at=_at(event, sent=sent, received=received),
        person=person,
        traits=traits or None,
        account=company_in(mapping(properties.get("$groups")), identifier),
        session=identifier(properties.get("$session_id")),
    )
    if name == "$groupidentify":
        account = identifier(properties.get("$group_key"))
        return msgspec.structs.replace(
            told, person=None, account=account, account_traits=mapping(properties.get("$group_set"))
        )
    if name in _ABOUT_SOMEBODY:
        return _of_somebody(told, properties)
    return msgspec.structs.replace(told, event=_OWN_NAMES.get(name, name), properties=properties)


def _of_somebody(told: Said, properties: Mapping[str, Json]) -> Said:
    alias = identifier(properties.get("alias"))
    if alias is not None:
        return msgspec.structs.replace(told, person=alias, anonymous=told.person)
    return msgspec.structs.replace(told, anonymous=identifier(properties.get("$anon_distinct_id")))


def _at(event: Mapping[str, Json], *, sent: datetime | None, received: datetime) -> datetime:
    offset = event.get("offset")
    stamp = moment(event.get("timestamp"))
    if stamp is None and isinstance(offset, int | float):
        return happened(received - timedelta(milliseconds=min(abs(offset), 1e12)), sent=None, received=received)
    return happened(stamp, sent=sent if stamp is not None else None, received=received)


def refusal(error: IsthmusError) -> Told:
    """Return an error in the words of PostHog."""
    kind = "authentication_error" if error.status == 401 else "validation_error"  # noqa: PLR2004 - the status of HTTP.
    body = {"type": kind, "code": error.code, "detail": str(error), "attr": None}
    return Told(status=error.status, body=msgspec.json.encode(body))


FORMAT = Format(name="posthog", title="PostHog", paths=PATHS, opened=opened, batch=batch, said=said, refusal=refusal)
