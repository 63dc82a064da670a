"""A bounded sample of decisions, over which a change of policies is tried before it is made.

Decisions of one hour that are alike in everything that policies look at are one row with a count: the caller, the
route, its network (/24 or /48, never its address), purpose, roughly how long ago it proved itself, and what was
decided. Names of people are left out. Rows are kept eight days; what is over the bounds is counted and left out.
"""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import LiteralString
from uuid import UUID

import msgspec
import psycopg

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked
from isthmus.gateway.policy.facts import Situation
from isthmus.gateway.policy.vocabulary import Vocabulary
from isthmus.kernel.errors import Unavailable
from isthmus.kernel.money import Money
from isthmus.store.database import Database, Scope, Transaction

PACE_S = 10.0
CLASSES_MAX = 4_000
_MUCH, _PAUSE_S = CLASSES_MAX // 2, 0.5
ROWS_MAX = 50_000
KEPT = timedelta(days=8)
_REFUSED = frozenset({401, 403, 429})
_AGES_S = (60, 300, 900, 1800, 3600, 14_400, 86_400)
_WRITE: LiteralString = """
insert into decision_sample (workspace, digest, hour, facts, allowed, refused_by, shadowed_by, seen)
select current_workspace(), decode(digest, 'hex'), hour, facts, allowed, refused_by, shadowed_by, seen
from jsonb_to_recordset(%s::text::jsonb) as given (digest text, hour timestamptz, facts jsonb, allowed boolean,
    refused_by text[], shadowed_by text[], seen bigint)
where (select count(*) from decision_sample where workspace = current_workspace()) < %s
on conflict (workspace, hour, digest) do update set seen = decision_sample.seen + excluded.seen
"""
_FORGET: LiteralString = "delete from decision_sample where workspace = current_workspace() and hour < %s"
_READ: LiteralString = """
select facts, allowed, refused_by, shadowed_by, seen, hour from decision_sample
where workspace = current_workspace() and hour >= %s order by hour, digest
"""


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a decision was made from, as it is kept."""

    route: str
    kind: str
    id: UUID
    hour: datetime
    user: UUID | None = None
    client: str = ""
    behind: str = ""
    roles: list[str] = []
    permissions: list[str] = []
    methods: list[str] = []
    narrowed: bool = False
    network: str = ""
    local: bool = False
    purpose: str = ""
    upstream: str = ""
    mfa_age_s: int | None = None
    proven_age_s: int | None = None
    amount: Money | None = None

    def situation(self, vocabulary: Vocabulary) -> Situation | None:
        """Return the call again, or None when its route is gone."""
        route = vocabulary.by_name.get(self.route)
        if route is None or self.kind not in {"key", "session", "token"}:
            return None
        principal = Principal(
            workspace=0,
            kind="key" if self.kind == "key" else "session" if self.kind == "session" else "token",
            id=self.id,
            name="",
            permissions=frozenset(self.permissions),
            user=self.user,
            client=self.client,
            behind=self.behind,
            roles=tuple(self.roles),
            methods=frozenset(self.methods),
            mfa_at=_ago(self.hour, self.mfa_age_s),
            proven_at=_ago(self.hour, self.proven_age_s),
            only={"": frozenset[UUID]()} if self.narrowed else {},
        )
        return Situation(
            principal=principal,
            route=route,
            now=self.hour,
            client=self.network.partition("/")[0],
            local=self.local,
            purpose=self.purpose,
            upstream=self.upstream,
            amount=self.amount,
        )


@dataclass(frozen=True)
class Decided:
    """Alike decisions of one hour, `seen` times."""

    facts: Kept
    allowed: bool
    refused_by: tuple[str, ...]
    shadowed_by: tuple[str, ...]
    seen: int
    hour: datetime


@dataclass(slots=True)
class _Count:
    """Alike decisions since the last write. It holds the caller, so that its identity stays its own till then."""

    principal: Principal
    kept: Kept
    refused: bool
    reasons: tuple[str, ...]
    amount: Money | None
    seen: int = 1


class Sample:
    """Gathers decisions in memory and writes them every ten seconds, or sooner when it is much. One for each worker."""

    def __init__(self, database: Database) -> None:
        """Nothing runs until there is something to write."""
        self._database = database
        self._counts: dict[tuple[object, ...], _Count] = {}
        self._writer: asyncio.Task[None] | None = None
        self._much = asyncio.Event()
        self._cleared: dict[int, int] = {}
        self.dropped = 0

    def noting(self, asked: Asked, *, status: int) -> Callable[[datetime, int], None]:
        """Return what counts many decisions like one, the first of them at a moment."""
        counts: dict[tuple[object, ...], _Count] | None = None
        alike: _Count | None = None

        def note(at: datetime, times: int) -> None:
            nonlocal counts, alike
            if alike is not None and counts is self._counts and alike.kept.hour.hour == at.hour:
                alike.seen += times
                return
            asked.now = at
            counts, alike = self._counts, self.note(asked, status=status, times=times)

        return note

    def note(self, asked: Asked, *, status: int, times: int = 1) -> "_Count | None":
        """Count a decision; policies' and grants' refusals are denied, what a handler answered is allowed.

        Return where it is counted.
        """
        principal = asked.principal
        if principal is None:
            return None
        reasons = tuple(asked.reasons) if asked.reasons else ()
        refused, now, to = status in _REFUSED, asked.now, asked.upstream
        key = (id(principal), id(asked.route), now.hour, asked.client, asked.purpose, asked.local, refused, reasons, to)
        found = self._counts.get(key)
        if found is not None and found.amount == asked.amount:
            found.seen += times
            return found
        if len(self._counts) >= CLASSES_MAX:
            self.dropped += times
            return None
        if found is not None:
            key = (*key, asked.amount, now)
        kept = self._counts[key] = _Count(principal, _kept(asked, principal), refused, reasons, asked.amount, times)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_soon())
        if len(self._counts) >= _MUCH:
            self._much.set()
        return kept

    async def close(self) -> None:
        """Write what waits."""
        if self._writer is not None and not self._writer.done():
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        await self.write()

    async def write(self) -> None:
        """Write what was gathered; what cannot be written is counted as dropped."""
        counts, self._counts = self._counts, {}
        groups: dict[int, dict[str, _Row]] = {}
        latest: dict[int, datetime] = {}
        for each in counts.values():
            workspace, row = each.principal.workspace, _row(each)
            rows = groups.setdefault(workspace, {})
            alike = rows.setdefault(row.digest, row)
            if alike is not row:
                alike.seen += each.seen
            latest[workspace] = max(each.kept.hour, latest.get(workspace, each.kept.hour))
        for workspace, rows in groups.items():
            scope = Scope(workspace=workspace, actor="gate", cause="sample", now=latest[workspace])
            try:
                async with self._database.transaction(scope) as tx:
                    await tx.connection.execute(_WRITE, (msgspec.json.encode(list(rows.values())).decode(), ROWS_MAX))
                    if self._cleared.get(workspace) != scope.now.toordinal():
                        await tx.connection.execute(_FORGET, (scope.now - KEPT,))
                        self._cleared[workspace] = scope.now.toordinal()
            except (Unavailable, psycopg.Error):
                self.dropped += len(rows)

    async def _write_soon(self) -> None:
        while self._counts:
            with suppress(TimeoutError):
                async with asyncio.timeout(PACE_S):
                    await self._much.wait()
            self._much.clear()
            await self.write()
            await asyncio.sleep(_PAUSE_S)


async def read_sample(tx: Transaction, *, since: datetime) -> list[Decided]:
    """Return the decisions from an hour on."""
    rows = await (await tx.connection.execute(_READ, (since,))).fetchall()
    return [
        Decided(msgspec.convert(facts, Kept), allowed, tuple(refused_by), tuple(shadowed_by), seen, hour)
        for facts, allowed, refused_by, shadowed_by, seen, hour in rows
    ]


def _kept(asked: Asked, principal: Principal) -> Kept:
    now = asked.now
    return Kept(
        route=f"{asked.route.method} {asked.route.path}",
        kind=principal.kind,
        id=principal.id,
        hour=now.replace(minute=0, second=0, microsecond=0),
        user=principal.user,
        client=principal.client,
        behind=principal.behind,
        roles=sorted(principal.roles),
        permissions=sorted(principal.permissions),
        methods=sorted(principal.methods),
        narrowed=bool(principal.only),
        network=_network(asked.client),
        local=asked.local,
        purpose=asked.purpose,
        upstream=asked.upstream,
        mfa_age_s=_age(principal.mfa_at, now),
        proven_age_s=_age(principal.proven_at, now),
        amount=asked.amount,
    )


class _Row(msgspec.Struct):
    """A row as it is written; its facts are encoded once, for it and for its digest."""

    digest: str
    hour: datetime
    facts: msgspec.Raw
    allowed: bool
    refused_by: list[str]
    shadowed_by: list[str]
    seen: int


def _row(count: _Count) -> _Row:
    kept, refused, reasons = count.kept, count.refused, count.reasons
    facts = msgspec.Raw(msgspec.json.encode(kept))
    by = [each.removeprefix("policy:") for each in reasons if each.startswith("policy:")] if refused else []
    shadows = [each.removeprefix("shadow:") for each in reasons if each.startswith("shadow:")]
    what = msgspec.json.encode([facts, refused, by, shadows])
    return _Row(
        digest=hashlib.sha256(what).hexdigest()[:32],
        hour=kept.hour,
        facts=facts,
        allowed=not refused,
        refused_by=by,
        shadowed_by=shadows,
        seen=count.seen,
    )


def _network(client: str) -> str:
    """Return the network of an address; made anew only for addresses not met lately."""
    found = _networks.get(client)
    if found is None:
        if len(_networks) >= CLASSES_MAX:
            _networks.clear()
        try:
            found = str(ip_network(f"{client}/{48 if ':' in client else 24}", strict=False))
        except ValueError:
            found = ""
        _networks[client] = found
    return found


_networks: dict[str, str] = {}


def _age(at: datetime | None, now: datetime) -> int | None:
    """Return how long ago something was, rounded down to a step, so that alike calls stay alike."""
    if at is None:
        return None
    seconds = (now - at).total_seconds()
    return max((step for step in _AGES_S if step <= seconds), default=0)


def _ago(hour: datetime, age_s: int | None) -> datetime | None:
    return None if age_s is None else hour - timedelta(seconds=age_s)
