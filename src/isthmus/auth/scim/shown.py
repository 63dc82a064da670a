"""Resources as they are answered: which attributes, which version, which list."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import cast

import msgspec

from isthmus.auth.scim.attributes import Document, Kind
from isthmus.auth.scim.evaluating import listed
from isthmus.auth.scim.filters import split
from isthmus.kernel.marks import Json

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_ALWAYS = frozenset({"id", "schemas"})


@dataclass(frozen=True)
class Shown:
    """A resource as it is answered whole; `version` is its weak entity tag."""

    document: Document
    version: str

    @property
    def location(self) -> str:
        """Where it is."""
        return str(cast("Document", self.document["meta"])["location"])


@dataclass(frozen=True)
class Found:
    """One page of resources, and how many there are."""

    resources: tuple[Shown, ...]
    total: int


def shown(kind: Kind, document: Document, *, own_id: str, base: str, made: datetime, changed: datetime) -> Shown:
    """Return a resource with all that is told of it; `base` is the address of the SCIM service."""
    extended = {each.name for each in kind.extended} & document.keys()
    whole: Document = {"schemas": [kind.schema, *([kind.extension] if extended else [])], "id": own_id}
    whole |= {name: value for name, value in document.items() if name not in extended}
    if extended:
        whole[kind.extension] = {name: document[name] for name in sorted(extended)}
    raw = blake2b(msgspec.json.encode(whole, order="deterministic"), digest_size=12).digest()
    version = f'W/"{urlsafe_b64encode(raw).decode()}"'
    whole["meta"] = {
        "resourceType": kind.name,
        "created": _moment(made),
        "lastModified": _moment(changed),
        "location": f"{base}{kind.endpoint}/{own_id}",
        "version": version,
    }
    return Shown(whole, version)


def projected(document: Document, kind: Kind, *, only: Sequence[str], without: Sequence[str]) -> Document:
    """Return what a client asked for (RFC 7644 §3.9): `only` these attributes, or all `without` those."""
    if only:
        kept = {name: value for name, value in document.items() if name in _ALWAYS}
        for path in only:
            key, part = _place(kind, path)
            if key in document:
                own = document[key] if not part else _parts(document[key], part)
                kept[key] = own
        return kept
    left = dict(document)
    for path in without:
        key, part = _place(kind, path)
        if key in left and key not in _ALWAYS:
            if part:
                left[key] = _parts(left[key], part, drop=True)
            else:
                del left[key]
    return left


def answered(found: Found, kind: Kind, *, start: int, only: Sequence[str], without: Sequence[str]) -> Document:
    """Return a list as it is answered (RFC 7644 §3.4.2)."""
    resources = [projected(each.document, kind, only=only, without=without) for each in found.resources]
    return listing(resources, total=found.total, start=start)


def listing(resources: Sequence[Document], *, total: int, start: int) -> Document:
    """Return a list of resources that are shown as they shall be."""
    return {
        "schemas": [LIST],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(resources),
        "Resources": [*resources],
    }


def _place(kind: Kind, path: str) -> tuple[str, str]:
    """Return the key of a resource that a name stands for, and the part of it."""
    lowered = path.strip().lower()
    if kind.extension and lowered == kind.extension.lower():
        return kind.extension, ""
    name, part = split(kind.local(path.strip()))
    if any(each.name.lower() == name.lower() for each in kind.extended):
        return kind.extension, name
    attribute = kind.find(name)
    if attribute is None:
        return name, ""
    own = attribute.part(part) if part else None
    return attribute.name, own.name if own is not None else ""


def _parts(value: Json, part: str, *, drop: bool = False) -> Json:
    def one(each: Json) -> Json:
        if not isinstance(each, dict):
            return each
        return {name: own for name, own in each.items() if (name == part) != drop}

    return [one(each) for each in listed(value)] if isinstance(value, list) else one(value)


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
