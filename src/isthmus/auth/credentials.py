"""From a credential to its principal, remembered for at most a second, so that a revoked one is refused after that."""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.auth.keytext import InvalidKey, read_key_text
from isthmus.auth.principal import Principal
from isthmus.auth.roles import surviving
from isthmus.auth.sessions import IDLE, SessionEnded, csrf_token, session_digest
from isthmus.kernel.errors import Unauthenticated
from isthmus.store.database import Database, Scope

REMEMBERED = timedelta(seconds=1)
REMEMBERED_MAX = 10_000
USE_WRITTEN = timedelta(minutes=1)
_FIND_KEY: LiteralString = "select * from find_api_key(%s)"
_FIND_SESSION: LiteralString = "select * from find_session(%s)"
_KEY_USED: LiteralString = (
    "update api_key set last_used_at = greatest(last_used_at, %s) where workspace = current_workspace() and id = %s"
)
_SESSION_SEEN: LiteralString = (
    "update session set seen_at = greatest(seen_at, %s) where workspace = current_workspace() and id = %s"
)


@dataclass(frozen=True)
class _Found:
    """A principal with the moment it was asked for and the moment it ends."""

    principal: Principal
    asked_at: datetime
    ends_at: datetime | None


class Credentials:
    """Proves keys and sessions. One for each program; safe for many calls at once."""

    def __init__(self, database: Database, *, domains: Sequence[str]) -> None:
        """`domains` are the names that domain roles hold in."""
        self._database = database
        self._domains = tuple(domains)
        self._found: OrderedDict[bytes, _Found] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Found]] = {}

    async def key(self, text: str, *, now: datetime) -> Principal:
        """Return the principal of an API key; raises InvalidKey."""
        key = read_key_text(text)
        return await self._remembered(key.digest, lambda: self._ask_key(key.id, key.digest, now), now)

    async def session(self, token: str, *, now: datetime) -> Principal:
        """Return the principal of a session's token; raises SessionEnded."""
        digest = session_digest(token)
        return await self._remembered(digest, lambda: self._ask_session(digest, token, now), now)

    def forget(self) -> None:
        """Ask again for everything, because something was revoked here."""
        self._found.clear()

    async def _remembered(self, digest: bytes, ask: Callable[[], Awaitable[_Found]], now: datetime) -> Principal:
        found = self._found.get(digest)
        if found is None or not found.asked_at <= now < found.asked_at + REMEMBERED:
            found = await self._ask_once(digest, ask)
        if found.ends_at is not None and now >= found.ends_at:
            raise Unauthenticated("The credential has expired.", fix="Ask for a new one, or sign in again.")
        return found.principal

    async def _ask_once(self, digest: bytes, ask: Callable[[], Awaitable[_Found]]) -> _Found:
        """Let calls that come at the same moment wait for one question; what is not found is not remembered."""
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.ensure_future(self._keep(digest, ask))
            task.add_done_callback(lambda done: self._asked(digest, done))
        return await asyncio.shield(task)

    def _asked(self, digest: bytes, done: asyncio.Task[_Found]) -> None:
        self._asking.pop(digest, None)
        if not done.cancelled():
            done.exception()  # Whoever waited has it; it is read here for the case that all of them went away.

    async def _keep(self, digest: bytes, ask: Callable[[], Awaitable[_Found]]) -> _Found:
        self._found.pop(digest, None)
        found = await ask()
        self._found[digest] = found
        while len(self._found) > REMEMBERED_MAX:
            self._found.popitem(last=False)
        return found

    async def _ask_key(self, key_id: UUID, digest: bytes, now: datetime) -> _Found:
        async with self._database.plain() as connection:
            row = await (await connection.execute(_FIND_KEY, (key_id,))).fetchone()
        known = bytes(row[2]) if row else bytes(len(digest))
        if not hmac.compare_digest(known, digest) or row is None:
            raise InvalidKey("The API key is not known here.", fix="Use a key of this server.")
        workspace, name, _, roles, permissions, expires_at, revoked_at, last_used_at = row
        if revoked_at is not None:
            raise InvalidKey("The API key was revoked.", fix="Use another key.")
        allowed = surviving(roles, permissions, domains=self._domains)
        principal = Principal(workspace=workspace, kind="key", id=key_id, name=name, permissions=allowed)
        found = _Found(principal, now, expires_at)
        if (expires_at is None or now < expires_at) and (last_used_at is None or now - last_used_at >= USE_WRITTEN):
            await self._write(_KEY_USED, principal, now)
        return found

    async def _ask_session(self, digest: bytes, token: str, now: datetime) -> _Found:
        async with self._database.plain() as connection:
            row = await (await connection.execute(_FIND_SESSION, (digest,))).fetchone()
        if row is None:
            raise SessionEnded("There is no such session.", fix="Sign in.")
        workspace, session_id, name, roles, seen_at, expires_at, ended_at = row
        if ended_at is not None or now >= expires_at or now - seen_at >= IDLE:
            raise SessionEnded("The session has ended.", fix="Sign in again.")
        principal = Principal(
            workspace=workspace,
            kind="session",
            id=session_id,
            name=name,
            permissions=surviving(roles, (), domains=self._domains),
            csrf=csrf_token(token),
        )
        if now - seen_at >= USE_WRITTEN:
            await self._write(_SESSION_SEEN, principal, now)
        return _Found(principal, now, expires_at)

    async def _write(self, statement: LiteralString, principal: Principal, now: datetime) -> None:
        scope = Scope(workspace=principal.workspace, actor=principal.actor, cause="use", now=now)
        async with self._database.transaction(scope) as tx:
            await tx.connection.execute(statement, (now, principal.id))
