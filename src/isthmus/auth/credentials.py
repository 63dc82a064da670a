"""From a credential to its principal, remembered so that a revoked one is refused within a second.

What was found is remembered for a second; a key for longer while the number of its workspace is followed and stands.
"""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import LiteralString, Protocol
from uuid import UUID

from psycopg.rows import TupleRow

from isthmus.auth.custom_roles import list_roles
from isthmus.auth.keys import read_only
from isthmus.auth.keytext import InvalidKey, read_key_text
from isthmus.auth.lookups import Lookups
from isthmus.auth.oauth.clients import CLIENT_PREFIX
from isthmus.auth.oauth.errors import InvalidToken
from isthmus.auth.oauth.scopes import allowed_by
from isthmus.auth.people.logins import name_in, open_for
from isthmus.auth.principal import Principal
from isthmus.auth.roles import NO_CUSTOM, Custom, is_built_in, roles_held, surviving
from isthmus.auth.sessions import IDLE, SessionEnded, csrf_token, session_digest
from isthmus.auth.tokens import Access, Presented, Tokens
from isthmus.kernel.errors import Unauthenticated, Unavailable
from isthmus.kernel.ids import text_of
from isthmus.store.database import Database, Scope
from isthmus.vault import Vault

REMEMBERED = timedelta(seconds=1)
FOLLOWED = timedelta(seconds=45)
FOLLOWED_MACHINE = timedelta(minutes=10)
"""How long a machine's credential is trusted while nothing changes in its workspace; persons are looked up sooner."""
UNKNOWN = timedelta(seconds=5)
UNKNOWN_MAX = 4_096
REMEMBERED_MAX = 10_000
USE_WRITTEN = timedelta(seconds=45)
_USES_TOGETHER_S = 1.0
_FIND_KEYS: LiteralString = """
select asked.id, found.* from unnest(%s::uuid[]) as asked (id) cross join lateral find_key(asked.id) as found
"""
_FIND_SESSION: LiteralString = "select * from find_session(%s)"
_FIND_ACCESS: LiteralString = "select * from find_oauth_token(%s, %s)"
_KEYS_USED: LiteralString = """
update api_key k set last_used_at = greatest(k.last_used_at, %s)
from (select id from api_key where workspace = current_workspace() and id = any(%s) order by id for update) used
where k.workspace = current_workspace() and k.id = used.id
"""
_SESSION_SEEN: LiteralString = (
    "update session set seen_at = greatest(seen_at, %s) where workspace = current_workspace() and id = %s"
)


@dataclass(slots=True)
class _Found:
    """A principal with the moment it was asked for, the moment it ends, and when its use was last noted.

    Before `quick_until` there is nothing to look at but the number of its workspace.
    """

    principal: Principal
    asked_at: datetime
    ends_at: datetime | None
    epoch: int | None = None
    used_at: datetime | None = None
    until: datetime = field(init=False)
    note_at: datetime = field(init=False)
    quick_until: datetime = field(init=False)

    def __post_init__(self) -> None:
        """Work out until when it may be trusted while nothing changes in its workspace, and when to note its use."""
        self.until = self.asked_at + (FOLLOWED if self.principal.user is not None else FOLLOWED_MACHINE)
        self.note_at = self.until if self.used_at is None else self.used_at + USE_WRITTEN
        self.quick_until = self.asked_at


@dataclass(slots=True)
class _Batch:
    """Keys that were used, by workspace, to be written together."""

    keys: dict[int, list[UUID]] = field(default_factory=dict[int, list[UUID]])
    at: datetime | None = None
    writing: "asyncio.Task[None] | None" = None


class Epochs(Protocol):
    """The numbers under which workspaces' keys, roles and policies stand."""

    @property
    def numbers(self) -> Mapping[int, int]:
        """All of them, as they were last read; a workspace in which nothing changed is absent."""
        ...

    @property
    def until(self) -> datetime:
        """The moment from which a change may have been missed."""
        ...

    async def renew(self, *, now: datetime) -> None:
        """Read the numbers if a change may have been missed; raises Unavailable."""
        ...


class Credentials:
    """Proves keys and sessions. One for each program; safe for many calls at once."""

    def __init__(
        self,
        database: Database,
        *,
        domains: Sequence[str],
        epochs: Epochs | None = None,
        vault: Vault | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        """`domains` are the names that domain roles hold in.

        Without `epochs` all is forgotten after a second; without a vault users have no names; without `tokens` none
        of them opens anything.
        """
        self._tokens = tokens
        self._database = database
        self._vault = vault
        self._epochs = epochs
        self._domains = tuple(domains)
        self._found: OrderedDict[bytes, _Found] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Found]] = {}
        self._used_next: _Batch | None = None
        self._used_last: asyncio.Task[None] | None = None
        self._used_again: dict[int, set[UUID]] = {}
        self._noting: asyncio.Task[None] | None = None
        self._unknown: dict[bytes, tuple[datetime, InvalidKey]] = {}
        self._key_rows = Lookups(self._find_keys)

    async def key(self, text: str, *, now: datetime) -> Principal:
        """Return the principal of an API key; raises InvalidKey."""
        digest = sha256(text.encode()).digest()
        found = self._found.get(digest)
        if found is not None and self._stands(found, now):
            return _in_time(found, now)
        if self.refuses(digest, now=now):
            known = self._unknown[digest][1]
            raise InvalidKey(known.detail, fix=known.fix)
        try:
            key = read_key_text(text)
        except InvalidKey as error:
            self._refused(digest, error, now)
            raise
        return await self._remembered(key.digest, lambda: self._ask_key(key.id, key.digest, now), now)

    async def session(self, token: str, *, now: datetime) -> Principal:
        """Return the principal of a session's token; raises SessionEnded."""
        digest = session_digest(token)
        return await self._remembered(digest, lambda: self._ask_session(digest, token, now), now)

    async def token(self, shown: Presented, *, cause: str, now: datetime) -> Principal:
        """Return the principal of an access token; raises InvalidToken, and ProofRefused for the proof of its key."""
        if self._tokens is None:
            raise InvalidToken("Access tokens open nothing here.", fix="Use an API key.")
        access = await self._tokens.read(shown.text, now=now)
        principal = await self._remembered(access.digest, lambda: self._ask_token(access, now), now)
        workspace = principal.workspace
        await self._tokens.check_binding(access, shown, workspace=workspace, cause=cause, now=now)
        return principal

    def recall(self, digest: bytes, *, now: datetime) -> Principal | None:
        """Return the principal of a key, or of a token that is bound to none, by the SHA-256 of its text.

        None where it must be asked for again; raises Unauthenticated for one that has expired.
        """
        found, epochs = self._found.get(digest), self._epochs
        if found is None or epochs is None:
            return None if found is None or not self._stands(found, now) else self._recalled(found, digest, now)
        principal = found.principal
        # This is asked at each call; what is written out here is what `_stands` says in the most frequent case.
        followed = now < epochs.until and epochs.numbers.get(principal.workspace, 0) == found.epoch
        if followed and found.asked_at <= now < found.quick_until:
            return principal
        return self._recalled(found, digest, now) if self._stands(found, now) else None

    def refuses(self, digest: bytes, *, now: datetime) -> bool:
        """Tell whether a key was found to be none of this server's a moment ago, by the SHA-256 of its text."""
        met = self._unknown.get(digest)
        return met is not None and met[0] <= now < met[0] + UNKNOWN

    def forget(self) -> None:
        """Ask again for everything, because something was revoked here."""
        self._found.clear()

    def _recalled(self, found: _Found, digest: bytes, now: datetime) -> Principal | None:
        """Return the principal of what may be trusted; raises Unauthenticated."""
        proven = found.until
        if found.principal.kind == "token":
            recalled = None if self._tokens is None else self._tokens.recalls(digest, now=now)
            if recalled is None:
                return None
            proven = recalled
        principal = _in_time(found, now)
        found.quick_until = min(found.until, found.note_at, proven, found.ends_at or found.until)
        return principal

    async def _remembered(self, digest: bytes, ask: Callable[[], Awaitable[_Found]], now: datetime) -> Principal:
        found = self._found.get(digest)
        if found is not None and not self._stands(found, now):
            found = await self._still_stands(found, now)
        return _in_time(found or await self._ask_once(digest, ask), now)

    async def _still_stands(self, found: _Found, now: datetime) -> _Found | None:
        """Return what was found if nothing but the numbers was too old, which one question for everybody mends."""
        epochs = self._epochs
        if epochs is None or found.epoch is None or now < epochs.until:
            return None
        await epochs.renew(now=now)
        return found if self._stands(found, now) else None

    def _stands(self, found: _Found, now: datetime) -> bool:
        """Tell whether what was found may still be trusted."""
        epochs = self._epochs
        if epochs is None or found.epoch is None or now >= epochs.until:
            return found.asked_at <= now < found.asked_at + REMEMBERED
        if not found.asked_at <= now < found.until:
            return False
        if epochs.numbers.get(found.principal.workspace, 0) != found.epoch:
            return now < found.asked_at + REMEMBERED
        if found.used_at is not None and now >= found.note_at:
            self._note(found, now)
        return True

    def _note(self, found: _Found, now: datetime) -> None:
        """Have it written, with what is used within a second, that a key is still used."""
        found.used_at, found.note_at = now, now + USE_WRITTEN
        self._used_again.setdefault(found.principal.workspace, set()).add(found.principal.id)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._write_noted(now))

    async def _write_noted(self, now: datetime) -> None:
        await asyncio.sleep(_USES_TOGETHER_S)
        used, self._used_again = self._used_again, {}
        with suppress(Unavailable):
            for workspace, keys in used.items():
                async with self._database.transaction(
                    Scope(workspace=workspace, actor="gate", cause="use", now=now)
                ) as tx:
                    await tx.connection.execute(_KEYS_USED, (now, sorted(keys)))

    async def custom(self, workspace: int, roles: Sequence[str], *, now: datetime) -> Custom:
        """Return the workspace's own roles if one of these may be among them."""
        if all(is_built_in(role, domains=self._domains) for role in roles):
            return NO_CUSTOM
        async with self._database.transaction(Scope(workspace=workspace, actor="gate", cause="roles", now=now)) as tx:
            return await list_roles(tx)

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

    def _refused(self, digest: bytes, refusal: InvalidKey, now: datetime) -> None:
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[digest] = now, InvalidKey(refusal.detail, fix=refusal.fix)

    async def _find_keys(self, ids: Sequence[UUID]) -> Mapping[UUID, TupleRow]:
        """Return the rows of keys by their ids."""
        async with self._database.plain() as connection:
            rows = await (await connection.execute(_FIND_KEYS, (list(ids),))).fetchall()
        return {row[0]: row[1:] for row in rows}

    async def _ask_key(self, key_id: UUID, digest: bytes, now: datetime) -> _Found:
        epochs = self._epochs
        read = epochs.numbers if epochs is not None and now < epochs.until else None
        row = await self._key_rows.get(key_id)
        known = bytes(row[2]) if row else bytes(len(digest))
        if not hmac.compare_digest(known, digest) or row is None:
            # Secrets are made at random, so that what is not known now will not be known in a moment.
            refusal = InvalidKey("The API key is not known here.", fix="Use a key of this server.")
            self._refused(digest, refusal, now)
            raise refusal
        workspace, name, _, roles, permissions, expires_at, revoked_at, last_used_at, only, *owning = row
        if revoked_at is not None:
            raise InvalidKey("The API key was revoked.", fix="Use another key.")
        account, account_name, account_roles, account_permissions, disabled_at = owning
        if account is not None and (account_name is None or disabled_at is not None):
            raise InvalidKey("The service account of the key is disabled.", fix="Have the account enabled.")
        named = (*roles, *(account_roles or ()))
        custom = await self.custom(workspace, named, now=now)
        allowed = surviving(roles, permissions, domains=self._domains, custom=custom)
        if account is not None:
            bound = surviving(account_roles, account_permissions, domains=self._domains, custom=custom)
            allowed = allowed & bound if roles or permissions else bound
        principal = Principal(
            workspace=workspace,
            kind="key",
            id=key_id,
            name=name,
            permissions=allowed,
            client=account_name or "",
            roles=tuple(sorted(roles_held(roles or account_roles or (), domains=self._domains, custom=custom))),
            only=read_only(only),
        )
        found = _Found(principal, now, expires_at, None if read is None else read.get(workspace, 0), used_at=now)
        if (expires_at is None or now < expires_at) and (last_used_at is None or now - last_used_at >= USE_WRITTEN):
            await self._used(principal, now)
        return found

    async def _ask_token(self, access: Access, now: datetime) -> _Found:
        epochs = self._epochs
        read = epochs.numbers if epochs is not None and now < epochs.until else None
        async with self._database.plain() as connection:
            row = await (await connection.execute(_FIND_ACCESS, (access.grant, access.id))).fetchone()
        if row is None or row[-1] or (row[-2] is not None and now >= row[-2]):
            raise InvalidToken("The access token was revoked.", fix="Ask for authorisation again.")
        workspace, client, client_name, client_scopes, kind, _, name, user, sealed, roles, *granting = row
        permissions, narrowed, _, methods, proven_at, mfa_at, *_ = granting
        allowed = allowed_by(access.scopes, domains=self._domains)
        if kind != "client":
            allowed &= frozenset(permissions)
        if kind != "exchange":
            allowed &= allowed_by(client_scopes, domains=self._domains)
        custom = await self.custom(workspace, roles or (), now=now)
        if user is not None:
            allowed &= surviving(roles, (), domains=self._domains, custom=custom)
        acting = access.act.get("sub") if isinstance(access.act, dict) else None
        principal = Principal(
            workspace=workspace,
            kind="token",
            id=access.grant,
            name=await self._name(workspace, user, bytes(sealed)) if user is not None else name or client_name,
            permissions=allowed,
            user=user,
            client=text_of(CLIENT_PREFIX, client),
            behind=str(acting or ""),
            roles=tuple(sorted(roles_held(roles or (), domains=self._domains, custom=custom))),
            methods=frozenset(methods),
            proven_at=proven_at,
            mfa_at=mfa_at,
            only=read_only(narrowed),
        )
        return _Found(principal, now, access.ends_at, None if read is None else read.get(workspace, 0))

    async def _ask_session(self, digest: bytes, token: str, now: datetime) -> _Found:
        async with self._database.plain() as connection:
            row = await (await connection.execute(_FIND_SESSION, (digest,))).fetchone()
        if row is None:
            raise SessionEnded("There is no such session.", fix="Sign in.")
        workspace, session_id, name, roles, seen_at, expires_at, ended_at, login, sealed, methods, proven, mfa = row
        if ended_at is not None or now >= expires_at or now - seen_at >= IDLE:
            raise SessionEnded("The session has ended.", fix="Sign in again.")
        custom = await self.custom(workspace, roles, now=now)
        principal = Principal(
            workspace=workspace,
            kind="session",
            id=session_id,
            name=await self._name(workspace, login, bytes(sealed)) if login is not None else name,
            permissions=surviving(roles, (), domains=self._domains, custom=custom),
            csrf=csrf_token(token),
            user=login,
            roles=tuple(sorted(roles_held(roles, domains=self._domains, custom=custom))),
            methods=frozenset(methods),
            proven_at=proven,
            mfa_at=mfa,
        )
        if now - seen_at >= USE_WRITTEN:
            await self._write(_SESSION_SEEN, principal, now)
        return _Found(principal, now, expires_at)

    async def _name(self, workspace: int, login: UUID, sealed: bytes) -> str:
        plain = None if self._vault is None else await open_for(self._vault, login, sealed, workspace=workspace)
        return name_in(plain) if plain else ""

    async def _used(self, principal: Principal, now: datetime) -> None:
        """Write when a key was used, in one statement with all that are to be written while another is under way."""
        batch = self._used_next
        if batch is None:
            batch = self._used_next = _Batch()
            batch.writing = asyncio.create_task(self._write_used(batch, self._used_last))
            self._used_last = batch.writing
        batch.keys.setdefault(principal.workspace, []).append(principal.id)
        batch.at = now if batch.at is None else max(batch.at, now)
        if batch.writing is not None:
            await asyncio.shield(batch.writing)

    async def _write_used(self, batch: "_Batch", before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait((before,))
        self._used_next = None
        assert batch.at is not None
        for workspace, keys in batch.keys.items():
            scope = Scope(workspace=workspace, actor="gate", cause="use", now=batch.at)
            async with self._database.transaction(scope) as tx:
                await tx.connection.execute(_KEYS_USED, (batch.at, keys))

    async def _write(self, statement: LiteralString, principal: Principal, now: datetime) -> None:
        scope = Scope(workspace=principal.workspace, actor=principal.actor, cause="use", now=now)
        async with self._database.transaction(scope) as tx:
            await tx.connection.execute(statement, (now, principal.id))


def _in_time(found: _Found, now: datetime) -> Principal:
    if found.ends_at is not None and now >= found.ends_at:
        raise Unauthenticated("The credential has expired.", fix="Ask for a new one, or sign in again.")
    return found.principal
