"""Endpoints are withheld while whoever chose what they are told may not read that any more, and go on after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import LiteralString

from isthmus.audit.trace import trace
from isthmus.store.database import Transaction
from isthmus.stream.topics import Topics
from isthmus.stream.webhooks.endpoints import Endpoint, endpoint_text, endpoints

_WITHHOLD: LiteralString = """
update webhook_health set withheld_at = coalesce(withheld_at, %s), withheld = %s
where workspace = current_workspace() and endpoint_id = %s
"""
_GIVE_BACK: LiteralString = """
update webhook_health set withheld_at = null, withheld = '' where workspace = current_workspace() and endpoint_id = %s
"""


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What somebody may read now: areas, of which single types of records may be closed, each for a reason."""

    areas: frozenset[str]
    closed: Mapping[str, str] = field(default_factory=dict[str, str])


def lost(endpoint: Endpoint, topics: Topics, rights: Rights) -> str:
    """Return why an endpoint may not be told all that it was to be told, or nothing."""
    told = [topics.types[each] for each in topics.chosen(endpoint.chosen, areas=endpoint.areas)]
    areas = {each.area for each in told} - rights.areas
    if areas:
        return f"{endpoint.answerable} may no longer read {', '.join(sorted(areas))}."
    closed = sorted({each.record for each in told} & rights.closed.keys())
    if closed:
        return f"{endpoint.answerable} may no longer read {', '.join(closed)}: {rights.closed[closed[0]]}"
    return ""


async def hold_to_rights(tx: Transaction, topics: Topics, rights: Mapping[str, Rights | None]) -> int:
    """Withhold endpoints, and let them go on, by what actors may read now; None may read all.

    An actor that is not named leaves its endpoints as they are. Returns how many were changed.
    """
    changed = 0
    for each in await endpoints(tx):
        if each.answerable not in rights:
            continue
        own = rights[each.answerable]
        reason = "" if own is None else lost(each, topics, own)
        if reason == each.withheld and bool(reason) == (each.withheld_at is not None):
            continue
        await _turn(tx, each, reason)
        changed += 1
    return changed


async def _turn(tx: Transaction, endpoint: Endpoint, reason: str) -> None:
    if reason:
        await tx.connection.execute(_WITHHOLD, (tx.scope.now, reason, endpoint.id))
    else:
        await tx.connection.execute(_GIVE_BACK, (endpoint.id,))
    action = "webhook.withheld" if reason else "webhook.given_back"
    resource = f"webhook:{endpoint_text(endpoint.id)}"
    await trace(tx, action=action, resource=resource, record_id=endpoint.id, details={"reason": reason})
