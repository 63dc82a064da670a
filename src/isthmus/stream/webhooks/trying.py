"""Trying an endpoint: a message that tells of nothing, sent now, whatever its rate or its circuit says."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.audit.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint, text_of
from isthmus.store.database import Database, Scope
from isthmus.stream.envelope import MEDIA_TYPE
from isthmus.stream.topics import TESTED
from isthmus.stream.webhooks.endpoints import endpoint_of, endpoint_text, secrets_of
from isthmus.stream.webhooks.sending import Answered, Sender
from isthmus.stream.webhooks.signing import headers_of
from isthmus.vault import Vault, entropy

TEST_PREFIX = "test"


class Tested(Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0 about the endpoint itself; no sequence, because it is not of the log."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str = TESTED
    subject: str
    time: datetime
    datacontenttype: str = "application/json"
    data: dict[str, str]


async def try_out(database: Database, vault: Vault, scope: Scope, endpoint: UUID, *, sender: Sender) -> Answered:
    """Send the message and return how it went; raises EndpointMissing."""
    async with database.transaction(scope) as tx:
        found = await endpoint_of(tx, endpoint)
        secrets = await secrets_of(tx, vault, endpoint)
    own = text_of(TEST_PREFIX, mint(unix_ms=milliseconds(scope.now), entropy=entropy(ENTROPY_BYTES)))
    told = {"about": "This webhook works. Nothing happened."}
    source, subject = f"/workspaces/{scope.workspace}", endpoint_text(endpoint)
    body = msgspec.json.encode(Tested(id=own, source=source, subject=subject, time=scope.now, data=told))
    headers = {**headers_of(own, body, secrets, found.kind, now=scope.now), "content-type": MEDIA_TYPE}
    answered = await sender.send(found.url, body, headers)
    async with database.transaction(scope) as tx:
        details = {"status": answered.status, "failure": answered.failure}
        resource = f"webhook:{subject}"
        await trace(tx, action="webhook.tested", resource=resource, record_id=endpoint, details=details)
    return answered
