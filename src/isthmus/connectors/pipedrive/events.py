"""What Pipedrive's calls tell (webhooks v2): a record was made, changed or deleted.

Their rows are shorter than those of the interface, so a record that changed is asked for.
https://pipedrive.readme.io/docs/guide-for-webhooks-v2
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from isthmus.stream.webhooks.verifying import BasicAuth
from isthmus.sync.connector import Inbound, Raw
from isthmus.sync.rest.ways import instant

FEEDS = {"organization": "organizations", "person": "persons", "deal": "deals", "activity": "activities"}


class Meta(Struct, frozen=True):
    """What a call says of itself."""

    action: str
    entity: str
    entity_id: str | int
    timestamp: str = ""


class Told(Struct, frozen=True):
    """A call."""

    meta: Meta


def read(body: bytes) -> Iterable[tuple[str, Raw | str]]:
    """Yield the record that a call tells of; nothing for one of what is not read. Raises for what is no call."""
    meta = msgspec.json.decode(body, type=Told).meta
    feed, own = FEEDS.get(meta.entity), str(meta.entity_id)
    if feed is not None:
        gone = Raw(external_id=own, body={}, at=instant(meta.timestamp), deleted=True)
        yield feed, gone if meta.action == "delete" else own


PROOF = "webhook_secret"
INBOUND = Inbound(verifier=BasicAuth(id_at=("meta", "id")), secret=PROOF, read=read)
"""Calls show a name and a password; an event that comes again has the same id."""
