"""What Zendesk's calls tell: something happened to an organization, a user or a ticket, which is then asked for.

A webhook that subscribes to events names its subject, such as `zen:ticket:35436`; one that a trigger calls sends what
an administrator wrote, of which `ticket_id`, `user_id` and `organization_id` are understood.
https://developer.zendesk.com/api-reference/webhooks/event-types/webhook-event-types/
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from isthmus.stream.webhooks.verifying import HmacHeader
from isthmus.sync.connector import Inbound, Raw
from isthmus.sync.rest.ways import instant

FEEDS = {"organization": "organizations", "user": "users", "ticket": "tickets"}
_GONE = ("deleted", "soft_deleted", "permanently_deleted")


class Told(Struct, frozen=True):
    """A call."""

    type: str = ""
    subject: str = ""
    time: str = ""
    organization_id: str | int = ""
    user_id: str | int = ""
    ticket_id: str | int = ""


def read(body: bytes) -> Iterable[tuple[str, Raw | str]]:
    """Yield the records that a call tells of; nothing for one of what is not read. Raises for what is no call."""
    told = msgspec.json.decode(body, type=Told)
    kind, _, own = told.subject.removeprefix("zen:").partition(":")
    if kind in FEEDS and own.isdecimal():
        gone = Raw(external_id=own, body={}, at=instant(told.time), deleted=True)
        yield FEEDS[kind], gone if told.type.rpartition(".")[2] in _GONE else own
    for kind, named in (("organization", told.organization_id), ("user", told.user_id), ("ticket", told.ticket_id)):
        if str(named).isdecimal():
            yield FEEDS[kind], str(named)


PROOF = "webhook_secret"
INBOUND = Inbound(
    verifier=HmacHeader(
        header="x-zendesk-webhook-signature",
        encoding="base64",
        id_header="x-zendesk-webhook-invocation-id",
        stamp_header="x-zendesk-webhook-signature-timestamp",
        stamp_iso=True,
        separator="",
    ),
    secret=PROOF,
    read=read,
)
"""Calls are signed with their time, https://developer.zendesk.com/documentation/webhooks/verifying/."""
