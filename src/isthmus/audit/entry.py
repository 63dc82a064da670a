"""One entry of the log, its canonical bytes, and how values are named in it that may not stand there."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import IPv4Address, ip_address, ip_network
from uuid import UUID

from isthmus.audit.canonical import canonical_json
from isthmus.kernel.marks import Json

FORMAT = "isthmus.audit.v1"
_V4_BITS, _V6_BITS = 24, 48
_KEYED_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who did what to what, when, in which call, from where, for what purpose, and by which decision.

    `id` is given by the log. `network` is the class of the caller's address, never the address. `decision` holds
    `status` and `reasons`, the ids of policies and limits that had a say. `digest` is that of what a record was told;
    what it said stands sealed in the record's own trail.
    """

    workspace: int
    at: datetime
    actor: str
    action: str
    resource: str
    request_id: str
    id: int | None = None
    on_behalf_of: str | None = None
    record_id: UUID | None = None
    purpose: str | None = None
    network: str | None = None
    digest: bytes | None = None
    decision: Mapping[str, Json] | None = None
    details: Mapping[str, Json] | None = None


def canonical(entry: Entry) -> bytes:
    """Return the bytes of an entry that a leaf of a Merkle log is made from (RFC 8785; every member is present).

    Raises ValueError for an entry whose details have no canonical form.
    """
    moment = entry.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return canonical_json(
        {
            "format": FORMAT,
            "workspace": entry.workspace,
            "id": entry.id,
            "at": moment,
            "actor": entry.actor,
            "on_behalf_of": entry.on_behalf_of,
            "action": entry.action,
            "resource": entry.resource,
            "record_id": None if entry.record_id is None else str(entry.record_id),
            "request_id": entry.request_id,
            "purpose": entry.purpose,
            "network": entry.network,
            "digest": None if entry.digest is None else entry.digest.hex(),
            "decision": entry.decision,
            "details": entry.details,
        }
    )


def network_of(address: str) -> str | None:
    """Return the network an address belongs to: /24 of IPv4, /48 of IPv6; None for what is no address."""
    try:
        found = ip_address(address)
    except ValueError:
        return None
    if not isinstance(found, IPv4Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    bits = _V4_BITS if isinstance(found, IPv4Address) else _V6_BITS
    return str(ip_network((found, bits), strict=False))


def changes(
    before: Mapping[str, Json], after: Mapping[str, Json], *, personal: frozenset[str] = frozenset(), key: bytes = b""
) -> dict[str, Json]:
    """Return what differs as `{field: {"before": …, "after": …}}`; null stands for absent.

    Values of `personal` fields are named by a keyed hash: equal values are seen to be equal, and nothing else is seen.
    Raises ValueError when there are such fields and no key.
    """
    if personal and not key:
        message = "personal values need a key"
        raise ValueError(message)
    found: dict[str, Json] = {}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old != new:
            hide = name in personal
            found[name] = {"before": _keyed(old, key) if hide else old, "after": _keyed(new, key) if hide else new}
    return found


def _keyed(value: Json, key: bytes) -> Json:
    if value is None:
        return None
    return {"keyed": hmac.digest(key, canonical_json(value), sha256)[:_KEYED_BYTES].hex()}
