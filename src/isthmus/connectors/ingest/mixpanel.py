"""The words of Mixpanel's libraries: events, profiles and groups in forms, and imports as lists."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from isthmus.connectors.ingest.formats import Format, Path
from isthmus.connectors.ingest.said import COMPANY_KEYS, PAGE, Batch, NotUnderstood, Said, company_in, named
from isthmus.connectors.ingest.values import first_of, happened, identifier, mapping, moment, own_id
from isthmus.connectors.ingest.wire import basic, fields_of, in_form, lines, unpacked
from isthmus.kernel.errors import IsthmusError, Malformed, TooLarge
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.connector import Opened, Sent, Told

BATCH_BYTES_MAX = 10 << 20
BATCH_EVENTS_MAX = 2_000
IMPORT = "import"
_PLACES = ("track", "engage", "groups", IMPORT)
PATHS = (
    *(Path(path=f"{each}{slash}", kind=each, bytes_max=BATCH_BYTES_MAX) for each in _PLACES for slash in ("", "/")),
    Path(path="track", method="GET", kind="track"),
    Path(path="engage", method="GET", kind="engage"),
)
_DEVICE = "$device:"
_OWN_NAMES = {"$mp_web_page_view": PAGE}
_ABOUT_SOMEBODY = frozenset({"$identify", "$create_alias", "$merge"})


def _body(path: Path, sent: Sent) -> tuple[list[Json], dict[str, str]]:
    """Return the events of a call, and the fields of its form and query."""
    plain = unpacked(sent, bytes_max=path.bytes_max)
    fields = fields_of(sent.query)
    if plain.lstrip()[:1] in {b"{", b"["}:
        found = lines(plain)
    else:
        fields |= fields_of(plain)
        if "data" not in fields:
            raise Malformed("The form has no `data`.", fix="Send what the program library sends, unaltered.")
        found = in_form(fields["data"])
    events: list[Json] = found if isinstance(found, list) else [found]
    if len(events) > BATCH_EVENTS_MAX:
        raise TooLarge(f"A call holds at most {BATCH_EVENTS_MAX:,} events.", fix="Send less at once.")
    return events, fields


def opened(path: Path, sent: Sent) -> Opened:
    """Return the keys of a call: tokens beside the events, `api_key`, and what stands in Authorization."""
    events, fields = _body(path, sent)
    firsts = [mapping(each) for each in events[:1]]
    tokens = [text(each.get("$token")) or text(mapping(each.get("properties")).get("token")) for each in firsts]
    shown = (*basic(sent), fields.get("token", ""), fields.get("api_key", ""), *(each or "" for each in tokens))
    return Opened(keys=shown, told=_told(path, fields, len(events)))


def _told(path: Path, fields: Mapping[str, str], count: int) -> Told:
    if fields.get("verbose") == "1":
        return Told(body=b'{"status":1,"error":null}')
    if path.kind == IMPORT:
        return Told(body=msgspec.json.encode({"code": 200, "num_records_imported": count, "status": "OK"}))
    return Told(body=b"1", media="text/plain")


def batch(path: Path, sent: Sent) -> Batch:
    """Return the events of a call."""
    return Batch(events=_body(path, sent)[0])


def said(event: Mapping[str, Json], sent: datetime | None, received: datetime) -> Said:
    """Return what an event says of somebody, or a profile; raises NotUnderstood."""
    del sent
    if "$distinct_id" in event or "$group_key" in event:
        return _profile(event, received)
    name = named(event.get("event"))
    properties = mapping(event.get("properties"))
    user, device = identifier(properties.get("$user_id")), identifier(properties.get("$device_id"))
    person = user or identifier(properties.get("distinct_id"))
    told = Said(
        id=identifier(properties.get("$insert_id")) or own_id(dict(event)),
        at=happened(moment(properties.get("time")), sent=None, received=received),
        person=person,
        anonymous=f"{_DEVICE}{device}" if user and device else None,
        account=company_in({kind: properties[kind] for kind in COMPANY_KEYS if kind in properties}, identifier),
        session=identifier(properties.get("$session_id")),
        duration_s=_duration(properties.get("$duration")),
    )
    if name in _ABOUT_SOMEBODY:
        return _one_with(told, properties)
    if person is None:
        raise NotUnderstood("The event says of nobody.", fix="Send it with a distinct_id.")
    return msgspec.structs.replace(told, event=_OWN_NAMES.get(name, name), properties=properties)


def _one_with(told: Said, properties: Mapping[str, Json]) -> Said:
    both = properties.get("$distinct_ids")
    if isinstance(both, list):
        first, *others = [identifier(each) for each in both] or [None]
        return msgspec.structs.replace(told, person=first, anonymous=others[0] if others else None, account=None)
    alias = identifier(properties.get("alias"))
    if alias is not None:
        return msgspec.structs.replace(told, person=alias, anonymous=told.person, account=None)
    known = first_of((properties.get("$identified_id"), properties.get("distinct_id")), identifier)
    anonymous = first_of((properties.get("$anon_distinct_id"), properties.get("$anon_id")), identifier)
    return msgspec.structs.replace(told, person=known, anonymous=anonymous or told.anonymous, account=None)


def _profile(event: Mapping[str, Json], received: datetime) -> Said:
    removed = event.get("$unset")
    traits: dict[str, Json] = {**mapping(event.get("$set_once")), **mapping(event.get("$set"))}
    traits |= {each: None for each in removed if isinstance(each, str)} if isinstance(removed, list) else {}
    at = happened(moment(event.get("$time")), sent=None, received=received)
    if "$group_key" in event:
        account = identifier(event.get("$group_id"))
        return Said(id=own_id(dict(event)), at=at, account=account, account_traits=traits)
    person = identifier(event.get("$distinct_id"))
    if person is None:
        raise NotUnderstood("The profile is nobody's.", fix="Send it with a $distinct_id.")
    return Said(id=own_id(dict(event)), at=at, person=person, traits=traits)


def _duration(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def refusal(error: IsthmusError) -> Told:
    """Return an error in the words of Mixpanel."""
    body = {"status": 0, "code": error.status, "error": str(error)}
    return Told(status=error.status, body=msgspec.json.encode(body))


FORMAT = Format(name="mixpanel", title="Mixpanel", paths=PATHS, opened=opened, batch=batch, said=said, refusal=refusal)
