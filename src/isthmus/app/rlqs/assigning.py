"""The assigner: which limit a bucket is, what each proxy gets of it, and what is drawn for it at the authority.

A bucket is named by `workspace` (its name), `limit` (the name of a limit) and `subject` (what the limit counts for;
absent for the whole workspace). It is the very bucket that calls answered here draw on.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from isthmus.app.rlqs.sharing import Share, token_bucket
from isthmus.app.rlqs.wire import Assignment, BucketId, Usage, names_of
from isthmus.gateway.limit_rules import LimitRule, read_limits
from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database, Scope
from isthmus.stream.limits import Ask, Authority

EVERY_S, TTL_S, RULES_S = 1.0, 15, 2.0
_AGAIN_TURNS = 4
Tell = Callable[[Sequence[Assignment]], None]


@dataclass
class _Known:
    """A bucket that proxies told of: its limit, where the authority keeps it, and how it is shared."""

    rule: LimitRule | None
    key: str
    share: Share | None


class Assigner:
    """Shares limits among proxies; one for each program."""

    def __init__(self, database: Database, authority: Authority, *, clock: Clock, ticks: Callable[[], float]) -> None:
        """`ticks` are seconds that never go back."""
        self._database, self._authority, self._clock, self._ticks = database, authority, clock, ticks
        self._known: dict[BucketId, _Known] = {}
        self._proxies: dict[int, Tell] = {}
        self._last = 0
        self._rules: dict[str, tuple[float, int | None, Mapping[str, LimitRule]]] = {}
        self._paid_at = ticks()

    def joined(self, tell: Tell) -> int:
        """Return the number of a proxy that is there now; `tell` is called with what it gets."""
        self._last += 1
        self._proxies[self._last] = tell
        return self._last

    def left(self, proxy: int) -> None:
        """Hear that a proxy is gone."""
        self._proxies.pop(proxy, None)
        for bucket, known in list(self._known.items()):
            if known.share is not None:
                known.share.left(proxy)
            if known.share is None or not known.share.demands:
                del self._known[bucket]

    async def told(self, proxy: int, usages: Sequence[Usage]) -> None:
        """Hear what went through buckets at a proxy; it is told at once of those that are new to it."""
        new: list[Assignment] = []
        for usage in usages:
            known = self._known.get(usage.bucket) or await self._look(usage.bucket)
            if known.share is None:
                new.append(_all_or_nothing(usage.bucket, known.rule))
                continue
            before = proxy in known.share.demands
            known.share.told(proxy, allowed=usage.allowed, denied=usage.denied, elapsed_s=usage.elapsed_s)
            if not before:
                known.share.given[proxy] = known.share.level / len(known.share.demands)
                new.append(_assignment(usage.bucket, known.share.given[proxy], known.share))
        if new and proxy in self._proxies:
            self._proxies[proxy](new)

    async def run(self) -> None:
        """Draw and assign until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(EVERY_S)
            turn += 1
            now = self._ticks()
            passed_s, self._paid_at = now - self._paid_at, now
            for bucket, known in list(self._known.items()):
                # The store may be away for a while: proxies go on with what they have until it ends.
                with suppress(Unavailable):
                    await self._renew(bucket, known, passed_s=passed_s, again=turn % _AGAIN_TURNS == 0)

    async def _renew(self, bucket: BucketId, known: _Known, *, passed_s: float, again: bool) -> None:
        share = known.share
        if share is None or not share.demands:
            return
        current = await self._look(bucket, share)
        if current.share is not share:
            again = True
        share = current.share
        if share is None:
            for tell in self._proxies.values():
                tell([_all_or_nothing(bucket, current.rule)])
            return
        before = dict(share.given)
        need = share.need(passed_s)
        if need:
            granted = (await self._authority.draw(Ask(key=current.key, rate=share.rate, need=need))).now
            share.paid(granted, need=need, passed_s=passed_s)
        for proxy, per_second in share.shares().items():
            if (again or before.get(proxy) != per_second) and proxy in self._proxies:
                self._proxies[proxy]([_assignment(bucket, per_second, share)])

    async def _look(self, bucket: BucketId, share: Share | None = None) -> _Known:
        """Return what a bucket is; a limit that was changed is shared anew."""
        names = names_of(bucket)
        workspace, rules = await self._limits(names.get("workspace", ""))
        rule = rules.get(names.get("limit", ""))
        key = f"{{{workspace}}}:{names.get('limit', '')}:{names.get('subject', '')}"
        rate = rule.rate if rule is not None and not rule.dry_run else None
        if rate is None:
            share = None
        elif share is None or share.rate != rate:
            share = Share(rate=rate, demands=dict(share.demands) if share is not None else {})
        known = self._known[bucket] = _Known(rule, key, share)
        return known

    async def _limits(self, slug: str) -> tuple[int | None, Mapping[str, LimitRule]]:
        now = self._ticks()
        found = self._rules.get(slug)
        if found is not None and now - found[0] < RULES_S:
            return found[1], found[2]
        async with self._database.plain() as connection:
            row = await (await connection.execute("select id from workspace where slug = %s", (slug,))).fetchone()
        workspace, rules = None if row is None else int(row[0]), dict[str, LimitRule]()
        if workspace is not None:
            scope = Scope(workspace=workspace, actor="limits", cause="rlqs", now=self._clock.now())
            async with self._database.transaction(scope) as tx:
                rules = (await read_limits(tx)).by_name
        self._rules[slug] = (now, workspace, rules)
        return workspace, rules


def _all_or_nothing(bucket: BucketId, rule: LimitRule | None) -> Assignment:
    """Return what holds without a rate: a limit that is unknown denies all, one that only tries refuses nothing."""
    return Assignment(bucket=bucket, ttl_s=TTL_S, allow_all=rule is not None)


def _assignment(bucket: BucketId, per_second: float, share: Share) -> Assignment:
    return Assignment(bucket=bucket, ttl_s=TTL_S, token_bucket=token_bucket(per_second, rate=share.rate))
