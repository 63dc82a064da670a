"""Withdrawing consent in HubSpot: a contact that takes no e-mail of marketing any more opts out of all of it.

Only that way: HubSpot has a consent from the person who gave it, by a form or a page of preferences, and a program that
gave one for them would not show who did.
"""

from collections.abc import Mapping
from urllib.parse import quote

from isthmus.connectors.hubspot.transport import HubSpotFault, Transport
from isthmus.connectors.hubspot.wire import Row, properties, rows
from isthmus.kernel.words import text
from isthmus.sync.connector import Change

_CHANNELS = ("email", "any")
_PATH = "/communication-preferences/v4/statuses/{}/unsubscribe-all"


def contact_of(change: Change) -> str | None:
    """Return the contact whose consent a change is about; nothing where that is not known in HubSpot."""
    return change.external_id or change.links.get("person_id")


def unfit(change: Change, found: Mapping[str, Row]) -> str | None:
    """Return why a change cannot be said in HubSpot; nothing for one that can. `found` are contacts by their ids."""
    if change.deleted:
        return "A consent is part of its contact in HubSpot, and is not deleted there."
    if change.fields.get("state") != "withdrawn":
        return "HubSpot takes a consent from the person alone: ask them by a form or a page of preferences there."
    named = change.external_id is None
    if named and (change.fields.get("purpose") != "marketing" or change.fields.get("channel") not in _CHANNELS):
        return "HubSpot knows only whether somebody takes e-mail of marketing."
    row = found.get(contact_of(change) or "")
    if row is None:
        return "The person whose consent it is is no contact in HubSpot."
    if text(properties(row).get("email")) is None:
        return "The contact has no e-mail address in HubSpot, and gets no e-mail."
    return None


async def opt_out(transport: Transport, row: Row) -> None:
    """Opt a contact out of all e-mail of marketing, unless it is already; raises HubSpotFault, and as requests do."""
    said = properties(row)
    if said.get("hs_email_optout") == "true":
        return
    address = quote(str(said.get("email")), safe="")
    told = await transport.post(_PATH.format(address), {}, query=[("channel", "EMAIL")])
    if faults := rows(told, "errors"):
        raise HubSpotFault(400, faults[0])
