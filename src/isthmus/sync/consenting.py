"""A person's consent to a connection: out to the vendor with a state and a code challenge, and back with a code.

A state is for one use, by who asked for it, within ten minutes; only its digest is kept. The verifier of the challenge
follows from the state by a key of the workspace, so that it is never sent to a browser and never kept.
"""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import LiteralString
from urllib.parse import urlsplit
from uuid import UUID

from isthmus.kernel.errors import Invalid
from isthmus.store.database import Scope, Transaction
from isthmus.sync.connections import Connection, all_settings, audit, connection_of
from isthmus.sync.connector import Connector, ConnectorError
from isthmus.sync.grants import record
from isthmus.sync.oauth import ConsentNeeded, consent_url, exchange, oauth_of
from isthmus.sync.runs import Engine
from isthmus.vault import Vault, entropy

LIFE = timedelta(minutes=10)
STATE_BYTES, STATE_CHARACTERS_MAX = 32, 80
_PURPOSE = "consent verifiers"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_EXPIRE: LiteralString = "delete from connection_consent where workspace = current_workspace() and expires_at <= %s"
_INSERT: LiteralString = """
insert into connection_consent (workspace, digest, connection_id, asker, redirect_uri, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s)
"""
_TAKE: LiteralString = """
delete from connection_consent
where workspace = current_workspace() and digest = %s and asker = %s and expires_at > %s
returning connection_id, redirect_uri
"""


class ConsentOver(Invalid):
    """The answer belongs to no consent under way: it took over ten minutes, was used before, or another asked."""

    code, title = "consent-over", "There is no such consent under way"


class NoConsentHere(Invalid):
    """The connection is not used by a person's consent, or its redirect address cannot be."""

    code, title = "no-consent", "The connection cannot be consented to in this way"


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Where the person's browser goes, the state that comes back with it, and until when."""

    url: str
    state: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What the vendor added to the redirect address: a code, or an error; `iss` is who it says it is."""

    state: str = field(repr=False)
    code: str = field(default="", repr=False)
    error: str = ""
    iss: str = ""


async def begin(
    tx: Transaction, vault: Vault, connector: Connector, connection: Connection, *, redirect_uri: str
) -> Consent:
    """Begin a consent in the name of the transaction's actor; raises NoConsentHere and ConnectorError."""
    settings = await all_settings(tx, vault, connection)
    if not connector.consents(settings):
        raise NoConsentHere(
            f"{connection.name!r} is not used by a person's consent.",
            fix=f"Give it `client_id`, if {connector.title} takes one: isthmus connect --list",
        )
    _check_redirect(redirect_uri)
    now, workspace = tx.scope.now, tx.scope.workspace
    state = f"{workspace}.{_text(entropy(STATE_BYTES))}"
    url = consent_url(
        oauth_of(connector),
        settings,
        state=state,
        redirect_uri=redirect_uri,
        verifier=_verifier(vault, workspace, state),
    )
    await tx.connection.execute(_EXPIRE, (now,))
    row = (_digest(state), connection.id, tx.scope.actor, redirect_uri, now + LIFE)
    await tx.connection.execute(_INSERT, row)
    details = {"name": connection.name}
    await audit(tx, action="ask-consent", resource="connection", record_id=connection.id, details=details)
    return Consent(url=url, state=state, expires_at=now + LIFE)


async def complete(engine: Engine, scope: Scope, returned: Returned) -> Connection:
    """Take what came back, and keep the tokens; returns the connection, which may run now.

    Raises ConsentOver, ConsentNeeded where the person or the vendor refused, and ConnectorError.
    """
    store = engine.store
    async with store.database.transaction(scope) as tx:
        own, redirect_uri = await _taken(tx, returned.state)
        connection = await connection_of(tx, own)
        settings = await all_settings(tx, store.vault, connection)
    connector = engine.connectors.get(connection.connector)
    if connector is None:
        raise ConnectorError(f"There is no connector {connection.connector!r}.", fix="Install it again.")
    try:
        _check_answer(connector, returned)
        granted = await exchange(
            connector,
            settings,
            code=returned.code,
            verifier=_verifier(store.vault, scope.workspace, returned.state),
            redirect_uri=redirect_uri,
            now=scope.now,
        )
    except ConnectorError as error:
        async with store.database.transaction(scope) as tx:
            details = {"name": connection.name, "code": error.code}
            await audit(tx, action="refused", resource="connection", record_id=connection.id, details=details)
        raise
    async with store.database.transaction(scope) as tx:
        await record(tx, store.vault, await connection_of(tx, own), granted)
        return await connection_of(tx, own)


async def _taken(tx: Transaction, state: str) -> tuple[UUID, str]:
    """Return what a state is for and forget it, so that of many one gets it; raises ConsentOver."""
    row = None
    if len(state) <= STATE_CHARACTERS_MAX:
        given = (_digest(state), tx.scope.actor, tx.scope.now)
        row = await (await tx.connection.execute(_TAKE, given)).fetchone()
    if row is None:
        raise ConsentOver(
            "This took over ten minutes, was used before, or was begun by somebody else.",
            fix="Begin again: isthmus connect authorize NAME, or POST …/connections/{connection}:authorize",
        )
    return row[0], str(row[1])


def _check_answer(connector: Connector, returned: Returned) -> None:
    oauth = oauth_of(connector)
    if oauth.issuer and returned.iss and returned.iss != oauth.issuer:
        raise ConsentNeeded("The answer comes from somebody else than was asked.", fix="Begin again.")
    if returned.error or not returned.code:
        code = returned.error if returned.error.isprintable() and returned.error.isascii() else ""
        raise ConsentNeeded(
            f"{connector.title} did not give its consent ({code[:100] or 'no code'}).", fix="Begin again, and consent."
        )


def _check_redirect(redirect_uri: str) -> None:
    parts = urlsplit(redirect_uri)
    fit = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not fit or not parts.hostname or parts.fragment or parts.username:
        raise NoConsentHere(
            "The redirect address is neither https nor of this machine.", fix="Serve isthmus over https."
        )


def _verifier(vault: Vault, workspace: int, state: str) -> str:
    return _text(hmac.digest(vault.workspace(workspace).derived(_PURPOSE), state.encode(), "sha256"))


def _digest(state: str) -> bytes:
    return sha256(f"consent:{state}".encode()).digest()


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
