"""What is remembered of somebody who is on the way in: for five minutes, and for one use.

A token names its workspace in front, so that it is found without looking through all; only its digest is kept.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Literal, LiteralString
from uuid import UUID

from isthmus.auth.people.errors import SignInRefused
from isthmus.store.database import Transaction

STEP_LIFE = timedelta(minutes=5)
TRIES_MAX = 5
_TOKEN_MAX = 80
Kind = Literal["code", "passkey", "enrol", "upstream"]
_INSERT: LiteralString = """
insert into sign_in_step (workspace, digest, kind, login, challenge, upstream, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s)
"""
_EXPIRE: LiteralString = """
delete from sign_in_step where workspace = current_workspace() and digest in (
    select digest from sign_in_step where workspace = current_workspace() and expires_at <= %s
    order by expires_at limit 100 for update skip locked)
"""
_TAKE: LiteralString = """
delete from sign_in_step where workspace = current_workspace() and digest = %s and kind = %s and expires_at > %s
returning login, challenge, upstream
"""
_TRY: LiteralString = """
update sign_in_step set tries = tries + 1
where workspace = current_workspace() and digest = %s and kind = %s and expires_at > %s and tries < %s
returning login, challenge, upstream
"""


@dataclass(frozen=True)
class Step:
    """What was remembered."""

    login: UUID | None
    challenge: bytes
    upstream: UUID | None


async def begin_step(
    tx: Transaction, kind: Kind, *, login: UUID | None = None, challenge: bytes = b"", upstream: UUID | None = None
) -> str:
    """Remember something and return its token."""
    token, now = new_token(tx.scope.workspace), tx.scope.now
    await tx.connection.execute(_EXPIRE, (now,))
    await tx.connection.execute(_INSERT, (token_digest(token), kind, login, challenge, upstream, now + STEP_LIFE))
    return token


async def take_step(tx: Transaction, kind: Kind, token: str) -> Step:
    """Return what was remembered and forget it, so that of many one gets it; raises SignInRefused."""
    row = await (await tx.connection.execute(_TAKE, (token_digest(token), kind, tx.scope.now))).fetchone()
    return _step(row)


async def try_step(tx: Transaction, kind: Kind, token: str) -> Step:
    """Return what was remembered and count the try, of which there are five; raises SignInRefused."""
    given = (token_digest(token), kind, tx.scope.now, TRIES_MAX)
    return _step(await (await tx.connection.execute(_TRY, given)).fetchone())


def new_token(workspace: int) -> str:
    """Return a fresh token of 256 random bits."""
    return f"{workspace}.{secrets.token_urlsafe(32)}"


def workspace_of(token: str) -> int:
    """Return the workspace that a token names; raises SignInRefused for what is no token."""
    head, dot, tail = token.partition(".")
    if len(token) > _TOKEN_MAX or not (dot and tail and head.isascii() and head.isdecimal() and len(head) < 10):  # noqa: PLR2004 - what fits an integer.
        raise _over()
    return int(head)


def token_digest(token: str) -> bytes:
    """Return the digest under which a token is kept."""
    return sha256(f"step:{token}".encode()).digest()


def _step(row: tuple[UUID | None, bytes | None, UUID | None] | None) -> Step:
    if row is None:
        raise _over()
    return Step(row[0], bytes(row[1] or b""), row[2])


def _over() -> SignInRefused:
    return SignInRefused("This took over five minutes, or was used before.", fix="Begin again.")
