"""What a client learns about the service: what it can do, its types of resources, and their schemas (RFC 7643 §5–7)."""

from collections.abc import Sequence

from isthmus.auth.scim.attributes import Attribute, Document, Kind
from isthmus.kernel.marks import Json

CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"
RESULTS_MAX = 200


def service(base: str) -> Document:
    """Return what the service can do."""
    return {
        "schemas": [CONFIG],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": RESULTS_MAX},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "API key",
                "description": "An API key with the permission gateway:write, as bearer token.",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def resource_type(kind: Kind, *, base: str) -> Document:
    """Return a type of resource."""
    extensions: list[Json] = [{"schema": kind.extension, "required": False}] if kind.extension else []
    return {
        "schemas": [TYPE],
        "id": kind.name,
        "name": kind.name,
        "description": kind.about,
        "endpoint": kind.endpoint,
        "schema": kind.schema,
        **({"schemaExtensions": extensions} if extensions else {}),
        "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{kind.name}"},
    }


def schemas(kinds: Sequence[Kind], *, base: str) -> list[Document]:
    """Return every schema."""
    made: list[Document] = []
    for kind in kinds:
        made.append(_schema(kind.schema, kind.name, kind.about, kind.attributes, base=base))
        if kind.extension:
            about = f"What isthmus adds to a {kind.name}."
            made.append(_schema(kind.extension, f"{kind.name}Role", about, kind.extended, base=base))
    return [*made, *(_schema(own, name, about, parts, base=base) for own, name, about, parts in _OWN)]


def _schema(own: str, name: str, about: str, attributes: Sequence[Attribute], *, base: str) -> Document:
    return {
        "schemas": [SCHEMA],
        "id": own,
        "name": name,
        "description": about,
        "attributes": [_attribute(each) for each in attributes],
        "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{own}"},
    }


def _attribute(attribute: Attribute) -> Document:
    told: Document = {
        "name": attribute.name,
        "type": attribute.kind,
        "multiValued": attribute.multi,
        "description": attribute.about,
        "required": attribute.required,
        "mutability": attribute.mutability,
        "returned": attribute.returned,
        "uniqueness": attribute.uniqueness,
    }
    if attribute.kind in {"string", "reference"}:
        told["caseExact"] = attribute.case_exact or attribute.kind == "reference"
    if attribute.canonical:
        told["canonicalValues"] = list(attribute.canonical)
    if attribute.kind == "reference":
        told["referenceTypes"] = list(attribute.references) or ["uri"]
    if attribute.parts:
        told["subAttributes"] = [_attribute(each) for each in attribute.parts]
    return told


def _read(name: str, about: str, *parts: Attribute, multi: bool = False) -> Attribute:
    kind = "complex" if parts else "string"
    return Attribute(name=name, about=about, kind=kind, mutability="readOnly", multi=multi, parts=parts)


def _yes(name: str, about: str) -> Attribute:
    return Attribute(name=name, about=about, kind="boolean", mutability="readOnly")


_SUPPORTED = _yes("supported", "Whether there is this.")
_OWN = (
    (
        CONFIG,
        "ServiceProviderConfig",
        "What the service can do.",
        (
            _read("patch", "Changing by operations.", _SUPPORTED),
            _read("bulk", "Many requests in one.", _SUPPORTED),
            _read("filter", "Filtering lists.", _SUPPORTED),
            _read("changePassword", "Changing passwords.", _SUPPORTED),
            _read("sort", "Sorting lists.", _SUPPORTED),
            _read("etag", "Versions.", _SUPPORTED),
            _read(
                "authenticationSchemes",
                "How clients prove themselves.",
                _read("type", "The scheme."),
                _read("name", "Its name."),
                _read("description", "What it is."),
                multi=True,
            ),
        ),
    ),
    (
        TYPE,
        "ResourceType",
        "A type of resource.",
        (
            _read("name", "Its name."),
            _read("description", "What it is."),
            _read("endpoint", "Where its resources are."),
            _read("schema", "The schema of its resources."),
            _read(
                "schemaExtensions",
                "What is added to it.",
                _read("schema", "The schema."),
                _yes("required", "Whether it must be there."),
                multi=True,
            ),
        ),
    ),
    (
        SCHEMA,
        "Schema",
        "A schema.",
        (
            _read("name", "Its name."),
            _read("description", "What it is."),
            _read("attributes", "Its attributes.", _read("name", "The name."), _read("type", "The type."), multi=True),
        ),
    ),
)
