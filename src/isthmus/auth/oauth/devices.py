"""Device authorisation (RFC 8628): a device shows a code, a person types it elsewhere and decides."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg.errors import UniqueViolation

from isthmus.auth.oauth.clients import DEVICE, Client
from isthmus.auth.oauth.codes import within
from isthmus.auth.oauth.errors import (
    AccessRefused,
    AuthorizationPending,
    ExpiredDevice,
    InvalidGrant,
    SlowDown,
)
from isthmus.auth.oauth.grants import find_grant, new_id, of_person, store_grant
from isthmus.auth.oauth.issuing import Issue, TokenAnswer, issue
from isthmus.auth.oauth.minting import digest, new_secret, new_user_code, typed_user_code
from isthmus.auth.oauth.provider import Provider, check_may
from isthmus.auth.oauth.refreshing import first_refresh
from isthmus.auth.principal import Principal
from isthmus.auth.trace import trace
from isthmus.kernel.errors import Limited
from isthmus.store.database import Transaction

DEVICE_LIFE = timedelta(minutes=10)
INTERVAL_S, SLOWER_S, INTERVAL_S_MAX = 5, 5, 60
GUESSES_MAX, GUESSES_IN = 10, timedelta(minutes=10)
_INSERT: LiteralString = """
insert into oauth_device (workspace, digest, user_digest, client, scopes, resources, interval_s, created_at, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s)
"""
_ASK: LiteralString = """
with before as (
    select digest, asked_at from oauth_device
    where workspace = current_workspace() and digest = %(digest)s and client = %(client)s for update
)
update oauth_device d
set asked_at = %(now)s,
    interval_s = case when b.asked_at > %(now)s - make_interval(secs => d.interval_s)
                      then least(d.interval_s + %(slower)s, %(most)s) else d.interval_s end
from before b where d.workspace = current_workspace() and d.digest = b.digest
returning d.status, d.grant_id, d.expires_at, d.used_at, d.resources,
          coalesce(b.asked_at > %(now)s - make_interval(secs => d.interval_s), false)
"""
_USE: LiteralString = """
update oauth_device set used_at = %s
where workspace = current_workspace() and digest = %s and status = 'allowed' and used_at is null returning grant_id
"""
_TYPED: LiteralString = """
select digest, client, scopes, resources from oauth_device
where workspace = current_workspace() and user_digest = %s and status = 'waiting' and expires_at > %s
"""
_DECIDE: LiteralString = """
update oauth_device set status = %s, grant_id = %s
where workspace = current_workspace() and digest = %s and status = 'waiting' and expires_at > %s returning digest
"""
_GUESSED: LiteralString = """
insert into oauth_seen (workspace, kind, owner, digest, expires_at) values (current_workspace(), 'guess', %s, %s, %s)
"""
_GUESSES: LiteralString = """
select count(*) from oauth_seen
where workspace = current_workspace() and kind = 'guess' and owner = %s and expires_at > %s
"""


class TooManyGuesses(Limited):
    """Somebody typed too many codes that are none."""

    code, title = "too-many-guesses", "Too many codes that are none"


class DeviceCode(Struct, frozen=True, kw_only=True):
    """What a device is told; the person types `user_code`."""

    device_code: str
    user_code: str
    expires_in: int
    interval: int


class Waiting(Struct, frozen=True, kw_only=True):
    """A device that waits for a person's word."""

    key: bytes
    client: UUID
    scopes: list[str]
    resources: list[str]


async def begin_device(
    tx: Transaction, client: Client, *, scopes: Sequence[str], resources: Sequence[str]
) -> DeviceCode:
    """Return codes for a device and for the person before it."""
    check_may(client, DEVICE)
    now, device = tx.scope.now, new_secret("isdc")
    while True:
        typed = new_user_code()
        values = (client.id, list(scopes), list(resources), INTERVAL_S, now, now + DEVICE_LIFE)
        try:
            async with tx.connection.transaction():
                await tx.connection.execute(_INSERT, (digest("device", device), digest("typed", typed), *values))
        except UniqueViolation:
            continue
        return DeviceCode(
            device_code=device,
            user_code=typed,
            expires_in=int(DEVICE_LIFE.total_seconds()),
            interval=INTERVAL_S,
        )


class Polled(Struct, frozen=True, kw_only=True):
    """What a device's question found. The moment of the question must be kept also when the answer is no."""

    status: str
    grant: UUID | None
    expires_at: datetime
    used: bool
    resources: list[str]
    too_soon: bool


async def poll_device(tx: Transaction, client: Client, *, code: str) -> Polled:
    """Note that a device asks, and return what it found; raises InvalidGrant for an unknown code."""
    check_may(client, DEVICE)
    values = {"digest": digest("device", code), "client": client.id, "now": tx.scope.now}
    answered = await tx.connection.execute(_ASK, {**values, "slower": SLOWER_S, "most": INTERVAL_S_MAX})
    row = await answered.fetchone()
    if row is None:
        raise InvalidGrant("The device code is not known for this program.")
    status, grant, expires_at, used_at, resources, too_soon = row
    return Polled(
        status=status,
        grant=grant,
        expires_at=expires_at,
        used=used_at is not None,
        resources=resources,
        too_soon=too_soon,
    )


async def redeem_device(
    provider: Provider, tx: Transaction, client: Client, polled: Polled, *, code: str, bound_to: str | None
) -> TokenAnswer:
    """Exchange a device code for tokens; of many who try at once one succeeds.

    Raises AuthorizationPending, SlowDown, ExpiredDevice, AccessRefused and InvalidGrant.
    """
    now = tx.scope.now
    if polled.used:
        raise InvalidGrant("The device code was used before; what it gave is revoked.", ends=polled.grant)
    if now >= polled.expires_at:
        raise ExpiredDevice("Nobody decided in time.", fix="Begin again.")
    if polled.status == "refused":
        raise AccessRefused("The person said no.", fix="Begin again if that was a mistake.")
    if polled.status == "waiting":
        if polled.too_soon:
            raise SlowDown("You ask too often.", fix=f"Wait {SLOWER_S} seconds longer between two questions.")
        raise AuthorizationPending("The person has not decided yet.", fix="Ask again after the interval.")
    used = await (await tx.connection.execute(_USE, (now, digest("device", code)))).fetchone()
    if used is None:
        raise InvalidGrant("The device code was used before; what it gave is revoked.", ends=polled.grant)
    grant = await find_grant(tx, used[0])
    if grant is None or not grant.is_alive(now):
        raise InvalidGrant("What was allowed has ended.")
    wanted = Issue(
        scopes=tuple(grant.scopes),
        resources=tuple(grant.resources),
        bound_to=bound_to,
        refresh=await first_refresh(tx, client, grant, bound_to=bound_to),
    )
    return await issue(provider, client, grant, wanted, now=now)


async def check_guesses(tx: Transaction, person: Principal) -> None:
    """Raise TooManyGuesses for somebody who typed ten codes that are none in ten minutes."""
    row = await (await tx.connection.execute(_GUESSES, (str(person.id), tx.scope.now))).fetchone()
    if row is None or row[0] >= GUESSES_MAX:
        raise TooManyGuesses("You typed too many codes that are none.", fix="Wait ten minutes.")


async def find_waiting(tx: Transaction, person: Principal, typed: str) -> Waiting | None:
    """Return the device of a typed code, or None; what is none is counted."""
    now = tx.scope.now
    row = await (await tx.connection.execute(_TYPED, (digest("typed", typed_user_code(typed)), now))).fetchone()
    if row is None:
        await tx.connection.execute(_GUESSED, (str(person.id), new_id(now).bytes, now + GUESSES_IN))
        return None
    key, client, scopes, resources = row
    return Waiting(key=key, client=client, scopes=scopes, resources=resources)


async def allow_device(
    provider: Provider,
    tx: Transaction,
    client: Client,
    waiting: Waiting,
    *,
    person: Principal,
    proven_at: datetime,
) -> bool:
    """Let a device in on a person's word; tells whether it still waited. Raises AccessRefused."""
    now = tx.scope.now
    scopes = within(waiting.scopes, person=person, domains=provider.domains)
    grant = of_person(
        person,
        client=client,
        kind="device",
        scopes=scopes,
        resources=waiting.resources,
        proven_at=proven_at,
        now=now,
    )
    row = await (await tx.connection.execute(_DECIDE, ("allowed", grant.id, waiting.key, now))).fetchone()
    if row is None:
        return False
    await store_grant(tx, grant)
    return True


async def refuse_device(tx: Transaction, client: Client, waiting: Waiting) -> bool:
    """Refuse a device on a person's word; tells whether it still waited."""
    now = tx.scope.now
    row = await (await tx.connection.execute(_DECIDE, ("refused", None, waiting.key, now))).fetchone()
    if row is not None:
        details = {"client": str(client.id)}
        await trace(tx, action="device.refused", resource="oauth_device", record_id=None, details=details)
    return row is not None
