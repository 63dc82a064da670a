"""Where upstreams are registered: rows of a workspace, and what every worker remembers of all of them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, LiteralString
from urllib.parse import urlsplit

from msgspec import Meta, Struct, convert

from isthmus.audit.trace import trace
from isthmus.gateway.epoch import Epoch
from isthmus.gateway.upstreams.headers import check_path
from isthmus.kernel.errors import Conflicting, Fault, Invalid, Malformed, NotFound
from isthmus.store.database import Database, Transaction
from isthmus.stream.outbound import Outbound, OutboundRefused

REMEMBERED, FOLLOWED = timedelta(seconds=1), timedelta(seconds=15)
UPSTREAMS_MAX, HOSTS_MAX = 200, 20
USE = "gateway:use"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_Millis = Annotated[int, Meta(ge=1, le=3_600_000)]
_Host = Annotated[str, Meta(max_length=253, pattern="^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
_ALL: LiteralString = "select * from all_upstreams()"
_LIST: LiteralString = """
select u.name, u.url, u.permission,
       array(select h.host from upstream_host h
             where h.workspace = current_workspace() and h.upstream = u.name order by 1),
       u.connect_ms, u.first_byte_ms, u.idle_ms, u.retries, u.health_path, u.health_s
from upstream u where u.workspace = current_workspace() order by u.name
"""
_INSERT: LiteralString = """
insert into upstream (workspace, name, url, permission, connect_ms, first_byte_ms, idle_ms, retries, health_path,
                      health_s, created_at, created_by)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing returning 1
"""
_INSERT_HOST: LiteralString = """
insert into upstream_host (workspace, host, upstream) values (current_workspace(), %s, %s)
on conflict do nothing returning 1
"""
_DELETE: LiteralString = "delete from upstream where workspace = current_workspace() and name = %s returning 1"


class UpstreamMissing(NotFound):
    """There is no such upstream, or the caller may not see it."""

    code, title = "upstream-missing", "There is no such upstream"


class UpstreamTaken(Conflicting):
    """Another upstream has this name or this host."""

    code, title = "upstream-taken", "There is such an upstream already"


class UpstreamRefused(Invalid):
    """The upstream cannot be registered as it is described."""

    code, title = "upstream-refused", "The upstream cannot be registered"


class NewUpstream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service: `url` is what paths are appended to, `hosts` are names under which it is reached beside `/up/<name>/`.

    `connect_ms`, `first_byte_ms` (after the request is sent) and `idle_ms` (between pieces, both ways) bound how long
    it is waited for. `retries` is how often a call that changes nothing may be repeated. With a `health_path` it is
    asked every `health_s` seconds whether it is well.
    """

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,49}$")]
    url: Annotated[str, Meta(min_length=8, max_length=1_000)]
    permission: Annotated[str, Meta(max_length=100)] = USE
    hosts: Annotated[list[_Host], Meta(max_length=HOSTS_MAX)] = []
    connect_ms: _Millis = 2_000
    first_byte_ms: _Millis = 30_000
    idle_ms: _Millis = 60_000
    retries: Annotated[int, Meta(ge=0, le=3)] = 1
    health_path: Annotated[str, Meta(max_length=500)] = ""
    health_s: Annotated[int, Meta(ge=1, le=3_600)] = 10


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the operator allows: which addresses may be called, which host names are the program's own."""

    outbound: Outbound
    own_hosts: frozenset[str]
    permissions: frozenset[str]


async def list_upstreams(tx: Transaction) -> list[NewUpstream]:
    """Return the workspace's upstreams by their names."""
    return [_upstream(row) for row in await (await tx.connection.execute(_LIST)).fetchall()]


async def add_upstream(tx: Transaction, wanted: NewUpstream, *, rules: Rules) -> NewUpstream:
    """Register an upstream; raises UpstreamRefused and UpstreamTaken."""
    _check(wanted, rules)
    if len(await list_upstreams(tx)) >= UPSTREAMS_MAX:
        raise UpstreamRefused(f"There are {UPSTREAMS_MAX} upstreams already.", fix="Remove one that is not needed.")
    scope = tx.scope
    values = (wanted.connect_ms, wanted.first_byte_ms, wanted.idle_ms, wanted.retries)
    health = (wanted.health_path, wanted.health_s)
    row = (wanted.name, wanted.url, wanted.permission, *values, *health, scope.now, scope.actor)
    if await (await tx.connection.execute(_INSERT, row)).fetchone() is None:
        raise UpstreamTaken(f"There is an upstream {wanted.name!r} already.", fix="Remove it, or choose another name.")
    for host in dict.fromkeys(wanted.hosts):
        if await (await tx.connection.execute(_INSERT_HOST, (host, wanted.name))).fetchone() is None:
            raise UpstreamTaken(f"The host {host} leads to an upstream already.", fix="Choose another name.")
    details = {"url": wanted.url, "permission": wanted.permission}
    await trace(tx, action="upstream.added", resource=f"upstream:{wanted.name}", record_id=None, details=details)
    return wanted


async def remove_upstream(tx: Transaction, name: str) -> None:
    """Take an upstream away; raises UpstreamMissing."""
    if await (await tx.connection.execute(_DELETE, (name,))).fetchone() is None:
        raise UpstreamMissing(f"There is no upstream {name[:50]!r}.", fix="List them: isthmus upstreams ls")
    await trace(tx, action="upstream.removed", resource=f"upstream:{name}", record_id=None, details={})


def _check(wanted: NewUpstream, rules: Rules) -> None:
    faults: list[Fault] = []
    try:
        rules.outbound.check(wanted.url, plain_names=True)
        parts = urlsplit(wanted.url)
        if parts.query or parts.fragment:
            faults.append(_fault("/url", "The address has a query or a fragment."))
        check_path(parts.path)
    except (OutboundRefused, Malformed) as error:
        faults.append(_fault("/url", f"{error.detail} {error.fix}"))
    if wanted.permission not in rules.permissions:
        faults.append(_fault("/permission", f"There is no permission {wanted.permission!r}."))
    if wanted.health_path and not wanted.health_path.startswith("/"):
        faults.append(_fault("/health_path", "The path does not begin with `/`."))
    faults += [
        _fault(f"/hosts/{at}", "This name leads to the program itself.")
        for at, host in enumerate(wanted.hosts)
        if host in rules.own_hosts | _LOCAL_NAMES
    ]
    if faults:
        raise UpstreamRefused("The upstream cannot be registered.", fix="Mend what `errors` names.", faults=(*faults,))


def _fault(pointer: str, detail: str) -> Fault:
    return Fault(pointer=pointer, code=UpstreamRefused.code, detail=detail)


def _upstream(row: Sequence[object]) -> NewUpstream:
    return convert(dict(zip(NewUpstream.__struct_fields__, row, strict=True)), NewUpstream)


class Register:
    """All upstreams as a worker last read them; one for each worker."""

    def __init__(self, database: Database, epoch: Epoch) -> None:
        """Nothing is read before somebody asks."""
        self._database, self._epoch = database, epoch
        self._known: Mapping[tuple[int, str], NewUpstream] = {}
        self._hosts: Mapping[str, str] = {}
        self._read_at: datetime | None = None
        self._numbers: Mapping[int, int] | None = None
        self._turn = asyncio.Lock()

    @property
    def hosts(self) -> Mapping[str, str]:
        """Names of hosts and the upstreams they lead to, as of the last reading."""
        return self._hosts

    async def all(self, *, now: datetime) -> Mapping[tuple[int, str], NewUpstream]:
        """Return all upstreams by workspace and name; raises DatabaseAway when they are not known well enough."""
        if not self._stands(now):
            async with self._turn:
                if not self._stands(now):
                    await self._read(now)
        return self._known

    async def find(self, workspace: int, name: str, *, now: datetime) -> NewUpstream:
        """Return an upstream of a workspace; raises UpstreamMissing."""
        found = (await self.all(now=now)).get((workspace, name))
        if found is None:
            raise UpstreamMissing("There is no such upstream.", fix="List them: GET /api/v1/upstreams")
        return found

    def forget(self) -> None:
        """Read again, because something was changed here."""
        self._read_at = None

    def _stands(self, now: datetime) -> bool:
        if self._read_at is None or now < self._read_at:
            return False
        if now < self._read_at + REMEMBERED:
            return True
        fresh = self._numbers is not None and self._epoch.fresh(now=now)
        return fresh and now < self._read_at + FOLLOWED and self._numbers == self._epoch.numbers

    async def _read(self, now: datetime) -> None:
        numbers = self._epoch.numbers if self._epoch.fresh(now=now) else None
        async with self._database.plain() as connection:
            rows = await (await connection.execute(_ALL)).fetchall()
        self._known = dict(_named(rows))
        hosts = {host: name for (_, name), each in self._known.items() for host in each.hosts}
        # What depends on the names stands for as long as they are the same ones.
        self._hosts = self._hosts if hosts == self._hosts else hosts
        self._read_at, self._numbers = now, numbers


def _named(rows: Iterable[Sequence[object]]) -> Iterable[tuple[tuple[int, str], NewUpstream]]:
    for workspace, *rest in rows:
        made = _upstream(rest)
        yield (convert(workspace, int), made.name), made
