"""Answers that need no waiting: a request that is known to the byte, decided anew, with an answer that is held.

Everything is decided as for any other call: the door, the credential, policies, limits, quotas and threats; and it is
counted in limits, quotas and threats at once, in metrics, minutes and samples within a second. Where anything would
wait, refuse or be read from the database, the call goes the ordinary way, and nothing of it was counted here.
"""

import asyncio
from collections.abc import Callable
from copy import copy
from datetime import datetime

from isthmus.gateway.decide import Asked, Chain, opens
from isthmus.gateway.histogram import timings_of
from isthmus.gateway.holding import Holding
from isthmus.gateway.metrics import Traffic
from isthmus.gateway.request import Request, RequestIds
from isthmus.gateway.request_cache import KEPT_MAX, Cache, Head, KnownRequest, digest_of, is_fit, parts_of
from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import IsthmusError

SETTLE_S = 1.0
_KINDS = frozenset({"key", "token"})


class InstantAnswers:
    """The known requests of one worker, and the way in which they are answered."""

    def __init__(
        self, chain: Chain, holding: Holding, traffic: Traffic, *, clock: Clock, ticks: Callable[[], int]
    ) -> None:
        """`ticks` counts nanoseconds."""
        self._chain, self._holding, self._traffic = chain, holding, traffic
        self._now, self._ticks = clock.now, ticks
        self._recall, self._door = chain.proof.recall, chain.door
        self._known, self._ids = Cache[KnownRequest](KEPT_MAX), RequestIds()
        self._counted: list[KnownRequest] = []
        traffic.settle = self.settle

    def answer(self, raw: bytes, peer: str, *, secure: bool, doors: object, lines: bytes) -> bytes | None:
        """Return the whole answer to a request, or None when it goes the ordinary way.

        `doors` is what other ways in than the path depend on, `lines` are headers of the server's own.
        """
        known = self._known.find((raw, peer, secure))
        if known is None or known.doors is not doors:
            return None
        began, now = self._ticks(), self._now()
        held = self._holding.find_sealed(known.held, now=now, ticks=began, secure=secure)
        if held is None:
            return None
        counted = self.decide(known, now=now, began=began)
        if counted is None:
            return None
        head, body = held
        return b"".join((head, lines, counted, b"x-request-id: ", known.asked.request_id.encode(), b"\r\n\r\n", body))

    def find(self, raw: bytes, peer: str, *, secure: bool) -> KnownRequest | None:
        """Return what is known of a request."""
        return self._known.find((raw, peer, secure))

    def decide(self, known: KnownRequest, *, now: datetime, began: int) -> bytes | None:
        """Return lines of headers for a call that is let in, and count it; None, and nothing counted, for all others.

        `began` is the tick at which it came.
        """
        asked = known.asked
        try:
            if self._door is not None:
                self._door(asked)
            if self._recall(known.credential, now=now) is not known.principal:
                return None
        except IsthmusError:
            del asked.reasons[:]
            return None
        for passes in known.passes:
            if not passes(now):
                return None
        asked.now, asked.request_id = now, self._ids.new(now)
        lines = b""
        for count in known.counts:
            lines += count(now)
        if not known.took:
            self._begin(known, now)
        micros, took = (self._ticks() - began) // 1000, known.took
        took[micros] = took.get(micros, 0) + 1
        return lines

    def keep(self, head: Head, request: Request, asked: Asked, *, place: int, doors: object) -> None:
        """Remember a request that was answered with 200, if others like it can be answered without waiting."""
        principal, route = asked.principal, asked.route
        if principal is None or asked.reasons or not route.held_s or not is_fit(head, request, route):
            return
        if principal.kind not in _KINDS or not opens(principal, route):
            return
        held = self._holding.key(request, asked, route)
        own = copy(asked)
        own.headers, own.reasons = [], []
        standings = [stage.standing_for(own) for stage in self._chain.stages]
        standing = [each for each in standings if each is not None]
        if held is None or len(standing) < len(standings):
            return
        passes, counts, hears = parts_of(standing)
        known = KnownRequest(
            asked=own,
            place=place,
            principal=principal,
            credential=digest_of(asked.authorization or ""),
            held=held,
            secure=head.secure,
            doors=doors,
            passes=passes,
            counts=counts,
            hears=hears,
        )
        self._known.keep(head, known)

    def settle(self) -> None:
        """Count in metrics, minutes and samples what was answered since the last time."""
        counted, self._counted = self._counted, []
        traffic = self._traffic
        at = counted[0].since if counted else None
        for known in counted:
            timings, known.took = timings_of(known.took), {}
            principal = known.principal
            traffic.count_many(known.place, timings)
            traffic.count_key_many(principal.kind, principal.id, timings)
            for hear in known.hears:
                hear(at or known.asked.now, timings)

    def _begin(self, known: KnownRequest, now: datetime) -> None:
        """Have it counted within a second."""
        known.since = now
        if not self._counted:
            asyncio.get_running_loop().call_later(SETTLE_S, self.settle)
        self._counted.append(known)
