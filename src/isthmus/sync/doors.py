"""Doors: programs of others call as they would call their vendor's server, show a key, and are answered as there.

What is proven is kept sealed as it came and acknowledged at once; it is read, mapped and put later, once in effect.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import msgspec

from isthmus.kernel.errors import Unauthenticated
from isthmus.store.database import Scope
from isthmus.stream.webhooks.verifying import SignatureRefused
from isthmus.sync.connections import Connection, all_settings, digest_of
from isthmus.sync.connector import Door, Opened, Sent
from isthmus.sync.inbound import inbound_of, is_known, keep, workspace_of
from isthmus.sync.runs import Engine


class KeyUnknown(Unauthenticated):
    """No key was shown, or none that this address takes; nothing of what was sent is kept."""

    code, title = "write-key-unknown", "The write key is not known here"


@dataclass(frozen=True)
class WriteKey:
    """The verifier of connections with doors: whoever calls shows a key at one of them, and signs nothing."""

    def verify(self, body: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], now: datetime) -> str:
        """Refuse what is sent to the connection itself; raises SignatureRefused."""
        del body, headers, secrets, now
        raise SignatureRefused("Nothing is taken at this address.", fix="Call one of the paths below it.")


@dataclass(frozen=True, kw_only=True)
class Proven:
    """A call that is proven: the workspace and the connection that it is for."""

    workspace: int
    connection: Connection


async def prove(engine: Engine, connection_id: UUID, door: Door, opened: Opened, *, cause: str) -> Proven:
    """Return whose a call is; raises KeyUnknown, also where there is no connection, or one without this door."""
    try:
        workspace = await workspace_of(engine, connection_id)
        scope = engine.scope(workspace=workspace, actor=f"connection:{connection_id}", cause=cause)
        async with engine.store.database.transaction(scope) as tx:
            connection, inbound = await inbound_of(tx, engine, connection_id)
            settings = await all_settings(tx, engine.store.vault, connection)
    except SignatureRefused as error:
        raise _unknown() from error
    digests = settings.get(inbound.secret, "").split()
    shown = [digest_of(each) for each in opened.keys if each]
    if door not in inbound.doors or not any(hmac.compare_digest(one, each) for one in shown for each in digests):
        raise _unknown()
    return Proven(workspace=workspace, connection=connection)


async def take_in(engine: Engine, connection_id: UUID, sent: Sent, *, scope: Scope) -> bool:
    """Keep what was sent, once it is proven; tells whether it is new."""
    whole = sha256(b"\0".join((sent.path.encode(), sent.query, sent.body))).hexdigest()
    external_id = f"sha256:{whole}"
    async with engine.store.database.transaction(scope) as tx:
        if await is_known(tx, connection_id, external_id):
            return False
    return await keep(engine, scope, connection_id, external_id, kept(sent))


def kept(sent: Sent) -> bytes:
    """Return what was sent in the form in which it is kept, without the header that proved it."""
    headers = {name: value for name, value in sent.headers.items() if name != "authorization"}
    return msgspec.msgpack.encode(msgspec.structs.replace(sent, headers=headers))


def sent_of(body: bytes) -> Sent:
    """Return what was sent from the form in which it is kept; raises MsgspecError for what is no such thing."""
    return msgspec.msgpack.decode(body, type=Sent)


def _unknown() -> KeyUnknown:
    return KeyUnknown(
        "The write key is not known at this address.", fix="Copy the address and the key of the connection again."
    )
