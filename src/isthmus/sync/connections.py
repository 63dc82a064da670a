"""Connections: a workspace's authorised use of a connector, with its settings, sealed secrets and one honest status."""

import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, Fault, Invalid, NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.store.fold import HERE
from isthmus.sync.connector import Connector
from isthmus.vault import Vault, entropy

NAME_CHARACTERS_MAX = 60
PROOF_CHARACTERS_MIN = 16
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_COLUMNS: LiteralString = """
select id, name, connector, settings, options, status, reason, status_at, retry_at, every_s, pushed_seq, created_at
from connection where workspace = current_workspace() and removed_at is null
"""
_INSERT: LiteralString = """
insert into connection (workspace, id, name, connector, settings, options, secrets, status, status_at, every_s,
                        created_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s, 'pending', %s, %s, %s)
on conflict (workspace, name) where removed_at is null do nothing
"""
_STATUS: LiteralString = """
update connection set status = %(status)s, reason = %(reason)s, status_at = %(now)s, retry_at = %(retry_at)s
where workspace = current_workspace() and id = %(id)s and (status <> 'paused' or %(resume)s)
"""
_AUDIT: LiteralString = """
insert into audit (workspace, at, actor, action, resource, record_id, request_id, details)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s)
"""
_PLACES = frozenset({"client_id", "url", "host", "server", "address", "domain"})
_Texts = dict[str, str]


class ConnectionMissing(NotFound):
    """There is no such connection."""

    code, title = "connection-missing", "There is no such connection"


class NameTaken(Conflicting):
    """The name says which system a claim came from, so it is used once."""

    code, title = "name-taken", "The name is taken"


class SettingsRefused(Invalid):
    """A setting is missing, unknown or empty."""

    code, title = "settings-refused", "The settings do not fit the connector"


class Options(Struct, frozen=True, kw_only=True):
    """What a connection may do: `create` names record types that are made there when they are missing.

    Without `pipeline` the records that it brings do not go through the steps of their domain.
    """

    push: bool = True
    create: tuple[str, ...] = ()
    delete: bool = True
    pipeline: bool = True


class Connection(Struct, frozen=True, kw_only=True):
    """A connection; `name` is the system in claims, `every_s` how often it is meant to run."""

    id: UUID
    name: str
    connector: str
    settings: dict[str, str]
    options: Options
    status: Status
    reason: str
    status_at: datetime
    retry_at: datetime | None
    every_s: int | None
    pushed_seq: int
    created_at: datetime


async def connect(
    tx: Transaction,
    vault: Vault,
    connector: Connector,
    *,
    name: str,
    settings: Mapping[str, str],
    options: Options = Options(),  # noqa: B008 - a frozen value.
    every_s: int | None = None,
) -> Connection:
    """Store a connection; secret settings are sealed under its own subject.

    Raises SettingsRefused with every fault, and NameTaken.
    """
    given = checked_settings(connector, name=name, settings=settings)
    own = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(ENTROPY_BYTES))
    secret_names = {each.name for each in connector.settings if each.secret}
    secrets = {key: value for key, value in given.items() if key in secret_names}
    shown = {key: value for key, value in given.items() if key not in secret_names}
    sealed = _seal(tx, vault, own, secrets)
    now = tx.scope.now
    row = (own, name, connector.name, _json(shown), _json(options), sealed, now, every_s, now)
    cursor = await tx.connection.execute(_INSERT, row)
    if cursor.rowcount != 1:
        raise NameTaken(f"There is a connection named {name!r}.", fix="Choose another name.")
    await audit(tx, action="connect", resource="connection", record_id=own, details={"name": name})
    return await connection_of(tx, name)


async def connections(tx: Transaction) -> list[Connection]:
    """Return all connections, oldest first."""
    cursor = await tx.connection.execute(_COLUMNS + " order by id")
    return [_connection(row) for row in await cursor.fetchall()]


async def connection_of(tx: Transaction, name_or_id: str | UUID) -> Connection:
    """Return a connection by name or id; raises ConnectionMissing."""
    column: LiteralString = "name" if isinstance(name_or_id, str) else "id"
    cursor = await tx.connection.execute(_COLUMNS + f" and {column} = %s", (name_or_id,))
    row = await cursor.fetchone()
    if row is None:
        raise ConnectionMissing(f"There is no connection {str(name_or_id)!r}.", fix="Run: isthmus connect ls")
    return _connection(row)


async def all_settings(tx: Transaction, vault: Vault, connection: Connection) -> dict[str, str]:
    """Return the settings with the secrets opened, to open a session with."""
    cursor = await tx.connection.execute(
        "select secrets from connection where workspace = current_workspace() and id = %s", (connection.id,)
    )
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return connection.settings
    plain = vault.open_many(workspace=tx.scope.workspace, values=[(connection.id, bytes(row[0]))])[0]
    return connection.settings | (msgspec.json.decode(plain, type=_Texts) if plain else {})


async def change_connection(
    tx: Transaction,
    vault: Vault,
    connector: Connector,
    connection: Connection,
    *,
    settings: Mapping[str, str] | None = None,
    options: Options | None = None,
    every_s: int | UnsetType | None = UNSET,
) -> Connection:
    """Change what is given, and keep the rest; `every_s` None lets it run only when asked. Raises SettingsRefused."""
    if settings is not None:
        whole = await all_settings(tx, vault, connection) | dict(settings)
        given = checked_settings(connector, name=connection.name, settings=whole)
        if _elsewhere(connector, connection.settings, given):
            # What a person consented to is not sent to another place, or for another program.
            await tx.connection.execute(_FORGET_GRANT, (connection.id,))
        secret_names = {each.name for each in connector.settings if each.secret}
        sealed = _seal(tx, vault, connection.id, {key: given[key] for key in secret_names & set(given)})
        shown = {key: value for key, value in given.items() if key not in secret_names}
        await tx.connection.execute(
            "update connection set settings = %s, secrets = %s where workspace = current_workspace() and id = %s",
            (_json(shown), sealed, connection.id),
        )
    await tx.connection.execute(
        "update connection set options = %s, every_s = %s where workspace = current_workspace() and id = %s",
        (_json(options or connection.options), connection.every_s if every_s is UNSET else every_s, connection.id),
    )
    await audit(tx, action="change", resource="connection", record_id=connection.id, details={"name": connection.name})
    return await connection_of(tx, connection.id)


async def set_status(
    tx: Transaction, connection_id: UUID, status: Status, *, reason: str = "", retry_at: datetime | None = None
) -> None:
    """Say how a connection is, with the reason in words; what is paused stays paused."""
    await _set_status(tx, connection_id, status, reason=reason, retry_at=retry_at, resume=status == Status.PAUSED)


async def pause(tx: Transaction, connection: Connection, *, reason: str) -> None:
    """Let a connection rest until somebody resumes it."""
    await set_status(tx, connection.id, Status.PAUSED, reason=reason)
    await audit(tx, action="pause", resource="connection", record_id=connection.id, details={"reason": reason})


async def resume(tx: Transaction, connection: Connection) -> None:
    """Let a paused connection run again."""
    await _set_status(tx, connection.id, Status.PENDING, reason="", retry_at=None, resume=True)
    await audit(tx, action="resume", resource="connection", record_id=connection.id, details={"name": connection.name})


async def remove(tx: Transaction, vault: Vault, connection: Connection, *, left: str = "") -> None:
    """Take a connection away and destroy its secrets; what it claimed stays.

    `left` is why the system still keeps something for it, for the log of who did what.
    """
    await tx.connection.execute(
        "update connection set removed_at = %s, secrets = null where workspace = current_workspace() and id = %s",
        (tx.scope.now, connection.id),
    )
    for query in _CLEAR:
        await tx.connection.execute(query, (connection.id,))
    vault.erase(workspace=tx.scope.workspace, subject=connection.id)
    details = {"name": connection.name} | ({"left": left} if left else {})
    await audit(tx, action="remove", resource="connection", record_id=connection.id, details=details)


async def audit(
    tx: Transaction, *, action: str, resource: str, record_id: UUID | None, details: Mapping[str, object]
) -> None:
    """Write one row into the log of who did what."""
    scope = tx.scope
    row = (scope.now, scope.actor, action, resource, record_id, scope.cause, _json(details))
    await tx.connection.execute(_AUDIT, row)


_FORGET_GRANT: LiteralString = (
    "delete from connection_grant where workspace = current_workspace() and connection_id = %s"
)
_CLEAR: tuple[LiteralString, ...] = (
    _FORGET_GRANT,
    "delete from connection_consent where workspace = current_workspace() and connection_id = %s",
    "delete from feed_state where workspace = current_workspace() and connection_id = %s",
    "delete from feed_lane where workspace = current_workspace() and connection_id = %s",
    "delete from push_pending where workspace = current_workspace() and connection_id = %s",
    "delete from write_ledger where workspace = current_workspace() and connection_id = %s",
)


async def _set_status(
    tx: Transaction, connection_id: UUID, status: Status, *, reason: str, retry_at: datetime | None, resume: bool
) -> None:
    said = {"status": status, "reason": reason, "retry_at": retry_at}
    await tx.connection.execute(_STATUS, {**said, "now": tx.scope.now, "id": connection_id, "resume": resume})


def _elsewhere(connector: Connector, before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Tell whether settings that say where tokens go, or for which program they are, have changed."""
    if connector.oauth is None:
        return False
    named = connector.oauth.authorize_url + connector.oauth.token_url
    return any(
        before.get(name, value) != value and (name in _PLACES or f"{{{name}}}" in named or "://" in value)
        for name, value in after.items()
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _seal(tx: Transaction, vault: Vault, subject: UUID, secrets: Mapping[str, str]) -> bytes | None:
    if not secrets:
        return None
    workspace = tx.scope.workspace
    vault.ensure(workspace=workspace, subjects=[subject])
    return vault.seal_many(workspace=workspace, values=[(subject, msgspec.json.encode(secrets))])[0]


def checked_settings(connector: Connector, *, name: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with defaults filled in; raises SettingsRefused with every fault, also of what they map."""
    faults: list[Fault] = []
    if not name or len(name) > NAME_CHARACTERS_MAX or name == HERE or name.strip() != name:
        detail = f"Give a name of 1 to {NAME_CHARACTERS_MAX} characters other than {HERE!r}."
        faults.append(Fault(pointer="/name", code="invalid", detail=detail))
    declared = {each.name: each for each in connector.settings}
    for key in settings:
        if key not in declared:
            detail = f"{connector.title} has no setting {key!r}; it has {', '.join(declared) or 'none'}."
            faults.append(Fault(pointer=f"/settings/{key}", code="unknown-setting", detail=detail))
    given = dict(settings)
    for key, setting in declared.items():
        if not given.get(key) and setting.default is not None:
            given[key] = setting.default
        if key not in given or (not given[key] and setting.default is None):
            faults.append(Fault(pointer=f"/settings/{key}", code="missing", detail=f"Give {key!r}: {setting.about}."))
    faults += _digested(connector, given)
    if faults:
        raise SettingsRefused(" ".join(each.detail for each in faults), faults=tuple(faults))
    connector.adapted(given)
    return given


def _digested(connector: Connector, given: dict[str, str]) -> list[Fault]:
    """Put digests in the place of words that prove callers; returns faults about those that are too short."""
    faults: list[Fault] = []
    for setting in (each for each in connector.settings if each.proves):
        words = given.get(setting.name, "").split()
        if any(len(each) < PROOF_CHARACTERS_MIN for each in words):
            detail = f"Give {setting.name!r} at least {PROOF_CHARACTERS_MIN} characters that nobody guesses."
            faults.append(Fault(pointer=f"/settings/{setting.name}", code="weak", detail=detail))
        digests = [each if _DIGEST.fullmatch(each) else digest_of(each) for each in words]
        given |= {setting.name: "\n".join(digests)} if words else {}
    return faults


def digest_of(word: str) -> str:
    """Return what is kept of a word that proves callers."""
    return f"sha256:{sha256(word.encode()).hexdigest()}"


def _connection(row: tuple[object, ...]) -> Connection:
    names = Connection.__struct_fields__
    return msgspec.convert(dict(zip(names, row, strict=True)), Connection)
