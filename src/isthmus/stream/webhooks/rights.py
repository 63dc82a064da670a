"""Endpoints are withheld while whoever chose what they are told may not read that any more, and go on after."""

from collections.abc import Mapping
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


def needed(endpoint: Endpoint, topics: Topics) -> frozenset[str]:
    """Return the areas that must be readable for everything an endpoint is told."""
    told = topics.chosen(endpoint.chosen, areas=endpoint.areas)
    return frozenset(topics.types[each].area for each in told)


async def hold_to_rights(tx: Transaction, topics: Topics, readable: Mapping[str, frozenset[str] | None]) -> int:
    """Withhold endpoints, and let them go on, by the areas that actors may read now; None may read all.

    An actor that is not named leaves its endpoints as they are. Returns how many were changed.
    """
    changed = 0
    for each in await endpoints(tx):
        areas = readable.get(each.answerable, None)
        known = each.answerable in readable
        lost = needed(each, topics) - areas if areas is not None else frozenset[str]()
        if not known or (not lost and each.withheld_at is None):
            continue
        reason = f"{each.answerable} may no longer read {', '.join(sorted(lost))}." if lost else ""
        if reason == each.withheld:
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
