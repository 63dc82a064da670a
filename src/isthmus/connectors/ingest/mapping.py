"""What events say in our words: usage events without personal fields, traits of people, and traits of accounts. Pure.

Events are stored in clear, so what names or finds a human in their properties stays in the sealed payload.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from isthmus.connectors.ingest.said import Said
from isthmus.connectors.ingest.values import identifier, mapping
from isthmus.kernel.marks import LINE_MAX, Json
from isthmus.kernel.words import Word, text

EVENT, PERSON, ACCOUNT = "product.event", "sales.person", "sales.account"
CUSTOM_MAX = 200
_DEPTH_MAX = 5
_EMAIL = re.compile(r"[^@\s/]+@[^@\s/]+\.[^@\s/]{2,}")
_PERSONAL = frozenset(
    (
        *("email", "mail", "emailaddress", "phone", "phonenumber", "mobile", "ip", "ipaddress", "useragent"),
        *("firstname", "lastname", "fullname", "surname", "givenname", "familyname", "username", "avatar"),
        *("address", "street", "birthday", "birthdate", "dateofbirth", "dob", "gender", "ssn", "password", "token"),
        *("apikey", "secret", "creditcard", "cardnumber", "iban"),
    )
)
_LEFT = frozenset(
    (
        *("distinct_id", "time", "mp_lib", "$insert_id", "$device_id", "$user_id", "$session_id", "$groups", "$set"),
        *("$set_once", "$lib", "$lib_version", "$python_version", "$python_runtime", "$process_person_profile"),
        *("$lib_rate_limiting_remaining_tokens", "$window_id", "$is_server", "$duration", "$geoip_disable"),
    )
)
_NAMES: Mapping[str, tuple[str, ...]] = {
    "email": ("email", "$email"),
    "phone": ("phone", "$phone", "phoneNumber", "phone_number"),
    "first_name": ("firstName", "first_name", "$first_name", "firstname"),
    "last_name": ("lastName", "last_name", "$last_name", "lastname"),
    "title": ("title", "$title", "jobTitle", "job_title"),
    "city": ("city", "$city"),
    "region": ("region", "$region", "state"),
    "country": ("country", "$country_code", "countryCode", "country_code"),
    "language": ("language", "locale"),
    "street": ("street",),
    "postal_code": ("postalCode", "postal_code", "zip"),
}
_ACCOUNT_NAMES: Mapping[str, tuple[str, ...]] = {
    "name": ("name", "$name", "company_name"),
    "domain": ("domain",),
    "website": ("website", "url"),
    "industry": ("industry",),
    "phone": ("phone", "$phone"),
    "city": ("city", "$city"),
    "country": ("country", "$country_code"),
}
_HEADCOUNT = ("employees", "employee_count", "employeeCount")
_WHOLE_NAME = ("name", "$name", "full_name")


def event_word(said: Said) -> Word:
    """Return what somebody did; it points to the person and the account by their ids in the product."""
    person = said.person or said.anonymous
    links = {"person_id": person, "account_id": said.account}
    fields: dict[str, Json] = {
        "name": said.event,
        "at": said.at.isoformat(),
        "session": said.session,
        "duration_s": said.duration_s,
        "custom": custom(said.properties),
    }
    return Word(
        type=EVENT,
        fields={name: value for name, value in fields.items() if value not in (None, {})},
        links={name: target for name, target in links.items() if target},
    )


def person_word(traits: Mapping[str, Json], *, account: str | None) -> Word:
    """Return what traits say of a person; a trait that is null is cleared, one that nobody knows is kept as its own."""
    flat = {**traits, **mapping(traits.get("address"))}
    fields = _known(flat, _NAMES)
    whole = next((found for each in _WHOLE_NAME if (found := text(flat.get(each)))), None)
    if whole and not fields.keys() & {"first_name", "last_name"}:
        first, _, last = whole.partition(" ")
        fields |= {"first_name": first} | ({"last_name": last.strip()} if last.strip() else {})
    used = {each for names in _NAMES.values() for each in names} | {*_WHOLE_NAME, "address", "company", "createdAt"}
    own = custom({name: value for name, value in traits.items() if name not in used and value is not None})
    if own:
        fields["custom"] = own
    return Word(type=PERSON, fields=fields, links={"account_id": account} if account else {})


def account_word(traits: Mapping[str, Json]) -> Word:
    """Return what traits say of an account."""
    flat = {**traits, **mapping(traits.get("address"))}
    fields = _known(flat, _ACCOUNT_NAMES)
    count = next((flat[each] for each in _HEADCOUNT if isinstance(flat.get(each), int)), None)
    if count is not None:
        fields["employee_count"] = count
    used = {each for names in _ACCOUNT_NAMES.values() for each in names} | {*_HEADCOUNT, "address"}
    own = custom({name: value for name, value in traits.items() if name not in used and value is not None})
    if own:
        fields["custom"] = own
    return Word(type=ACCOUNT, fields=fields)


def custom(properties: Mapping[str, Json]) -> dict[str, Json]:
    """Return properties flattened, at most 200, without what is personal; addresses of pages lose their queries."""
    found: dict[str, Json] = {}
    for name, value in _flat(properties, depth=0):
        if len(found) == CUSTOM_MAX:
            break
        found[name] = value
    return found


def _known(traits: Mapping[str, Json], names: Mapping[str, tuple[str, ...]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for ours, theirs in names.items():
        given = [traits[each] for each in theirs if each in traits]
        if given:
            value = next((each for each in given if each is not None), None)
            found[ours] = value if value is None else identifier(value)
    return found


def _flat(properties: Mapping[str, Json], *, depth: int, before: str = "") -> Iterator[tuple[str, Json]]:
    for name, value in properties.items():
        if (name in _LEFT and not before) or _plain(name) in _PERSONAL or value is None:
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
