"""Attributes of users and groups as they are published (RFC 7643 §7), and reading values by what is published.

Clients write names in any case and booleans as texts (`"False"`); what is read here has the published names and types.
What of RFC 7643 is not kept here (telephone numbers, addresses, photos …) is left out without a word, because clients
send it whatever a server publishes; a name that no standard knows is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from isthmus.auth.scim.errors import InvalidSyntax, ScimRefused, TooManyAtOnce
from isthmus.kernel.marks import Json

Document: TypeAlias = dict[str, Json]
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ROLE = "urn:isthmus:scim:schemas:extension:role:1.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
TEXT_MAX, VALUES_MAX = 500, 20
MEMBERS_MAX = 10_000
_TRUE, _FALSE = "true", "false"


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute; `parts` are the sub-attributes of a complex one, `canonical` the values that are suggested."""

    name: str
    about: str
    kind: Literal["string", "boolean", "complex", "reference", "dateTime"] = "string"
    multi: bool = False
    required: bool = False
    case_exact: bool = False
    mutability: Literal["readWrite", "readOnly", "immutable"] = "readWrite"
    returned: Literal["default", "always"] = "default"
    uniqueness: Literal["none", "server"] = "none"
    parts: "tuple[Attribute, ...]" = ()
    canonical: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    values_max: int = VALUES_MAX

    @property
    def writable(self) -> bool:
        """Tell whether a client may set it."""
        return self.mutability != "readOnly"

    def part(self, name: str) -> "Attribute | None":
        """Return a sub-attribute by its name in any case."""
        return named(self.parts, name)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A type of resource: its schema, its attributes, and those of its extension."""

    name: str
    endpoint: str
    schema: str
    about: str
    attributes: tuple[Attribute, ...]
    unkept: frozenset[str] = frozenset()
    extension: str = ""
    extended: tuple[Attribute, ...] = ()
    unkept_schemas: frozenset[str] = frozenset()

    def find(self, name: str) -> Attribute | None:
        """Return an attribute by its name in any case; those of the extension are found by their name too."""
        return named((*COMMON, *self.attributes, *self.extended), name)

    def leaves_out(self, name: str) -> bool:
        """Tell whether a name is one of the standard's that is not kept."""
        lowered = name.lower()
        return lowered in self.unkept or any(
            lowered == each.lower() or lowered.startswith(f"{each.lower()}:") for each in self.unkept_schemas
        )

    def local(self, name: str) -> str:
        """Return a name without the schema in front of it."""
        for schema in filter(None, (self.schema, self.extension)):
            if name.lower().startswith(f"{schema.lower()}:"):
                return name[len(schema) + 1 :]
        return name


def named(attributes: Sequence[Attribute], name: str) -> Attribute | None:
    """Return the attribute of a name in any case."""
    lowered = name.lower()
    return next((each for each in attributes if each.name.lower() == lowered), None)


def read_document(given: Mapping[str, Json], kind: Kind) -> Document:
    """Return the writable attributes of what a client sent, by their published names.

    Raises ScimRefused for values that are none, and for names that no standard knows.
    """
    document: Document = {}
    for key, value in given.items():
        if kind.extension and key.lower() == kind.extension.lower():
            document |= read_document(_mapping(value, key), kind)
            continue
        name = kind.local(key)
        if kind.schema.lower() == key.lower():
            document |= read_document(_mapping(value, key), kind)
            continue
        attribute = kind.find(name)
        if attribute is None:
            if not kind.leaves_out(name) and name.lower() not in {"schemas", "meta", "password"}:
                raise InvalidSyntax(f"There is no attribute {name[:100]!r} of a {kind.name}.", fix="See /Schemas.")
            continue
        if attribute.writable and (read := read_attribute(attribute, value)) is not None:
            document[attribute.name] = read
    return document


def read_attribute(attribute: Attribute, value: Json) -> Json:
    """Return a value as the attribute holds it; None for one that says nothing. Raises ScimRefused."""
    if not attribute.multi:
        return read_single(attribute, value)
    values = value if isinstance(value, list) else [] if value is None else [value]
    if len(values) > attribute.values_max:
        raise TooManyAtOnce(
            f"`{attribute.name}` has {len(values)} values.", fix=f"Send at most {attribute.values_max} at once."
        )
    read: list[Json] = [each for each in (read_single(attribute, one) for one in values) if each is not None]
    return read or None


def read_single(attribute: Attribute, value: Json) -> Json:
    """Return one value, of several where the attribute has several; raises ScimRefused."""
    if value is None or value == "":
        return None
    if attribute.kind == "complex":
        return _complex(attribute, value)
    if attribute.kind == "boolean":
        return _boolean(attribute, value)
    if isinstance(value, dict) and isinstance(value.get("value"), str):
        value = value["value"]  # Some clients wrap single texts.
    if not isinstance(value, str) or len(value) > TEXT_MAX or not value.isprintable():
        raise ScimRefused(
            f"`{attribute.name}` is no text of at most {TEXT_MAX} printable characters.", fix="Send such a text."
        )
    return value


def _complex(attribute: Attribute, value: Json) -> Json:
    if isinstance(value, str) and attribute.part("value") is not None:
        value = {"value": value}
    read: Document = {}
    for key, each in _mapping(value, attribute.name).items():
        part = attribute.part(key)
        if part is not None and part.writable and (own := read_single(part, each)) is not None:
            read[part.name] = own
    missing = [part.name for part in attribute.parts if part.required and part.name not in read]
    if missing and read:
        raise ScimRefused(f"`{attribute.name}` lacks `{missing[0]}`.", fix="Send it.")
    return read or None


def _boolean(attribute: Attribute, value: Json) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {_TRUE, _FALSE}:
        return value.lower() == _TRUE
    raise ScimRefused(f"`{attribute.name}` is neither true nor false.", fix="Send true or false.")


def _mapping(value: Json, name: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise InvalidSyntax(f"`{name[:100]}` is no JSON object.", fix="Send an object.")
    return cast("Mapping[str, Json]", value)


_META = Attribute(
    name="meta",
    about="When it was made and changed, and where it is.",
    kind="complex",
    mutability="readOnly",
    parts=(
        Attribute(name="resourceType", about="Which type it is of.", mutability="readOnly", case_exact=True),
        Attribute(name="created", about="When it was made.", kind="dateTime", mutability="readOnly"),
        Attribute(name="lastModified", about="When it was changed.", kind="dateTime", mutability="readOnly"),
        Attribute(name="location", about="Where it is.", kind="reference", mutability="readOnly", case_exact=True),
        Attribute(name="version", about="Its version.", mutability="readOnly", case_exact=True),
    ),
)
COMMON = (
    Attribute(
        name="id", about="The id here.", case_exact=True, mutability="readOnly", returned="always", uniqueness="server"
    ),
    Attribute(name="externalId", about="The id at the client.", case_exact=True),
    _META,
)
_NAME = Attribute(
    name="name",
    about="The parts of the name.",
    kind="complex",
    parts=(
        Attribute(name="formatted", about="The whole name."),
        Attribute(name="familyName", about="The family name."),
        Attribute(name="givenName", about="The given name."),
        Attribute(name="middleName", about="Names between."),
    ),
)
_EMAILS = Attribute(
    name="emails",
    about="Addresses; one signs in with the primary one.",
    kind="complex",
    multi=True,
    required=True,
    parts=(
        Attribute(name="value", about="The address.", required=True),
        Attribute(name="type", about="What it is for.", canonical=("work", "home", "other")),
        Attribute(name="primary", about="Whether one signs in with it.", kind="boolean"),
    ),
)
_GROUPS = Attribute(
    name="groups",
    about="Groups; they are changed at the group.",
    kind="complex",
    multi=True,
    mutability="readOnly",
    parts=(
        Attribute(name="value", about="The group's id.", mutability="readOnly", case_exact=True),
        Attribute(name="$ref", about="Where it is.", kind="reference", mutability="readOnly", references=("Group",)),
        Attribute(name="display", about="Its name.", mutability="readOnly"),
    ),
)
USERS = Kind(
    name="User",
    endpoint="/Users",
    schema=USER,
    about="Somebody who may sign in.",
    attributes=(
        Attribute(name="userName", about="The name at the client.", required=True, uniqueness="server"),
        _NAME,
        Attribute(name="displayName", about="The name as it is shown."),
        Attribute(name="title", about="The title in the company."),
        Attribute(name="preferredLanguage", about="The language, as of RFC 9110."),
        Attribute(name="locale", about="The locale, as of RFC 5646."),
        Attribute(name="timezone", about="The time zone, of the IANA database."),
        Attribute(name="active", about="Whether they may sign in.", kind="boolean", required=True),
        _EMAILS,
        _GROUPS,
    ),
    unkept=frozenset(
        each.lower()
        for each in (
            *("nickName", "profileUrl", "userType", "phoneNumbers", "ims", "photos", "addresses"),
            *("entitlements", "roles", "x509Certificates"),
        )
    ),
    unkept_schemas=frozenset({ENTERPRISE}),
)
_MEMBERS = Attribute(
    name="members",
    about="The users in it.",
    kind="complex",
    multi=True,
    values_max=MEMBERS_MAX,
    parts=(
        Attribute(name="value", about="The user's id.", mutability="immutable", case_exact=True),
        Attribute(name="$ref", about="Where it is.", kind="reference", mutability="immutable", references=("User",)),
        Attribute(name="type", about="Its type.", mutability="immutable", canonical=("User",)),
    ),
)


def groups(roles: Sequence[str]) -> Kind:
    """Return the type of groups in a workspace that has these roles."""
    return Kind(
        name="Group",
        endpoint="/Groups",
        schema=GROUP,
        about="Users who hold a role together.",
        attributes=(
            Attribute(name="displayName", about="Its name.", required=True, uniqueness="server"),
            _MEMBERS,
        ),
        extension=ROLE,
        extended=(
            Attribute(
                name="role",
                about="The role that members hold; a group that is named like a role begins with that one.",
                case_exact=True,
                canonical=tuple(roles),
            ),
        ),
    )
