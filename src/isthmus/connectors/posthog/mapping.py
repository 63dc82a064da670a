"""PostHog's persons and events in our words. Pure; nothing is written to PostHog.

Events are stored in clear, so what names or finds a human in their properties stays in the sealed payload.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from isthmus.connectors.posthog.wire import EVENTS, PERSONS, Row, moment
from isthmus.kernel.marks import LINE_MAX, Json
from isthmus.kernel.words import Word, text

PERSON, EVENT = "sales.person", "product.event"
CUSTOM_MAX = 200
_DEPTH_MAX = 5
_EMAIL = re.compile(r"[^@\s/]+@[^@\s/]+\.[^@\s/]{2,}")
_PERSONAL = frozenset(
    (
        *("email", "mail", "emailaddress", "phone", "phonenumber", "mobile", "ip", "ipaddress", "useragent"),
        *("rawuseragent", "firstname", "lastname", "fullname", "name", "surname", "givenname", "familyname"),
        *("username", "avatar", "address", "street", "birthday", "birthdate", "dateofbirth", "dob", "gender", "ssn"),
        *("password", "token", "apikey", "secret", "creditcard", "cardnumber", "iban"),
    )
)
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "email": ("email", "$email"),
    "phone": ("phone", "phone_number", "phoneNumber"),
    "first_name": ("first_name", "firstName", "firstname"),
    "last_name": ("last_name", "lastName", "lastname"),
    "title": ("title", "job_title", "jobTitle"),
    "city": ("city", "$geoip_city_name"),
    "region": ("region", "$geoip_subdivision_1_name"),
    "country": ("country", "country_code", "$geoip_country_code"),
    "language": ("language", "locale", "$browser_language"),
}
_WHOLE_NAME = ("name", "full_name", "fullName")
_OWN_NAMES = {"$pageview": "page", "$screen": "screen"}
# Of these events PostHog makes persons and groups; they are nothing that somebody did.
_ABOUT_SOMEBODY = frozenset(
    ("$identify", "$set", "$create_alias", "$alias", "$merge_dangerously", "$groupidentify", "$pageleave")
)
_LEFT = (
    "$set",
    "$unset",
    "$lib",
    "$device_id",
    "$user_id",
    "$anon_distinct_id",
    "$session_id",
    "$window_id",
    "$sent_at",
)
_LEFT_BEGIN = ("$feature", "$active_feature_flags", "$geoip", "$initial", "$python", "$process", "$creator_event")


def words(feed: str, body: Row) -> Iterable[Word]:
    """Return what a row of a feed says; of events about somebody nothing."""
    if feed == PERSONS:
        yield _person(body)
    elif feed == EVENTS and body["event"] not in _ABOUT_SOMEBODY:
        yield _event(body)


def _person(body: Row) -> Word:
    properties = _map(body["properties"])
    fields: Row = {}
    for ours, theirs in _FIELDS.items():
        given = [properties[each] for each in theirs if each in properties]
        if given:
            fields[ours] = next((_line(each) for each in given if each is not None), None)
    whole = next((found for each in _WHOLE_NAME if (found := _line(properties.get(each)))), None)
    if whole and not fields.keys() & {"first_name", "last_name"}:
        first, _, last = whole.partition(" ")
        fields |= {"first_name": first} | ({"last_name": last.strip()} if last.strip() else {})
    used = {each for names in _FIELDS.values() for each in names} | {*_WHOLE_NAME}
    own = _custom({name: value for name, value in properties.items() if name not in used})
    if own:
        fields["custom"] = own
    return Word(type=PERSON, fields=fields)


def _event(body: Row) -> Word:
    properties, name, at = _map(body["properties"]), str(body["event"]), moment(body["timestamp"])
    fields: Row = {
        "name": _OWN_NAMES.get(name, name)[:LINE_MAX],
        "at": at.isoformat() if at else None,
        "session": _line(properties.get("$session_id")),
        "custom": _custom(properties),
    }
    person = text(body.get("person_id"))
    return Word(
        type=EVENT,
        fields={name: value for name, value in fields.items() if value not in (None, {})},
        links={"person_id": person} if person else {},
    )


def _custom(properties: Mapping[str, Json]) -> Row:
    """Return properties flattened, at most 200, without what is personal or PostHog's own bookkeeping."""
    found: Row = {}
    for name, value in _flat(properties, depth=0):
        if len(found) == CUSTOM_MAX:
            break
        found[name] = value
    return found


def _flat(properties: Mapping[str, Json], *, depth: int, before: str = "") -> Iterator[tuple[str, Json]]:
    for name, value in properties.items():
        if value is None or _plain(name) in _PERSONAL or (not before and name.startswith((*_LEFT, *_LEFT_BEGIN))):
            continue
        if isinstance(value, dict) and depth < _DEPTH_MAX:
            yield from _flat(value, depth=depth + 1, before=f"{before}{name}.")
        elif (tidy := _tidy(value)) is not None:
            yield f"{before}{name}"[:LINE_MAX], tidy


def _tidy(value: Json) -> Json:
    if isinstance(value, list | dict):
        value = msgspec.json.encode(value).decode()
    if not isinstance(value, str):
        return value
    value = value.replace("\0", "")
    if value.startswith(("http://", "https://")):
        value = value.partition("?")[0].partition("#")[0]
    return None if _EMAIL.search(value) else value


def _plain(name: str) -> str:
    return name.lower().replace("$", "").replace("_", "").replace("-", "").replace(" ", "")


def _line(value: Json) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).replace("\0", "").strip()[:LINE_MAX] or None


def _map(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
