"""What a vendor's row says of our records, and how rows in JSON are read; what mappings of connectors share. Pure."""

from msgspec import Struct

from isthmus.kernel.marks import Json


class Word(Struct, frozen=True, kw_only=True):
    """What a row says of one of our records; `links` names, by field, other rows of the same system."""

    type: str
    fields: dict[str, Json]
    links: dict[str, str] = {}


def text(value: Json) -> str | None:
    """Return a text; nothing for an empty one, which vendors do not tell from none."""
    return value.strip() or None if isinstance(value, str) else None


def at_path(body: Json, *path: str) -> Json:
    """Return what stands at the end of a path through what is expanded; null where it breaks off."""
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body
