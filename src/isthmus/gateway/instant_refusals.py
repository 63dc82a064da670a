"""Refusals that need no waiting: a request that is known to the byte was refused, and is refused again.

The reason is looked at anew at each call, without asking the database: the key is still unknown, the caller still lacks
the permission, the limit is still used up. Each refusal is counted, noted and heard by all stages like any other.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime

from isthmus.audit.queue import Noted
from isthmus.auth.keytext import InvalidKey
from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked, Chain, GrantMissing, Stage
from isthmus.gateway.errors import LimitReached
from isthmus.gateway.request import Request, RequestIds
from isthmus.gateway.request_cache import Cache, Head, digest_of, is_fit
from isthmus.gateway.sending import Outgoing, seal
from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import IsthmusError

KEPT_MAX = 2_048
Refuse = Callable[[Request, Asked, IsthmusError], Outgoing]
"""Makes the answer of a refusal."""
Note = Callable[[Asked, IsthmusError, Mapping[str, str]], Noted | None]
"""Notes a refusal for the audit log; None where that is not to be counted up."""
Count = Callable[[Asked, int, int], None]
"""Counts an answer by its status and the tick at which its request came, and tells the stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """The answer to a refusal as bytes: its head, and its body before and after each place of the call's id.

    `error` and `headers` are what it was made from.
    """

    error: IsthmusError
    headers: Sequence[tuple[str, str]]
    status: int
    size: int
    head: bytes
    body: Sequence[bytes]

    def tells(self, error: IsthmusError, headers: Sequence[tuple[str, str]]) -> bool:
        """Tell whether another refusal would be told in the same words."""
        mine = self.error
        same = mine is error or (type(mine) is type(error) and mine.detail == error.detail and mine.fix == error.fix)
        return same and self.headers == headers


@dataclass(slots=True, kw_only=True)
class _Known:
    """What was refused: by `stage` after others that would let it pass, or without a stage for want of a grant.

    `made` is the last answer to it, and `noted` what the last one is noted as, for these reasons.
    """

    request: Request
    asked: Asked
    error: IsthmusError
    principal: Principal | None
    credential: bytes
    doors: object
    passes: Sequence[Callable[[datetime], bool]]
    stage: Stage | None
    made: _Made | None = None
    noted: Noted | None = None
    reasons: Sequence[str] = ()


class InstantRefusals:
    """The refused requests of one worker that are known."""

    def __init__(
        self, chain: Chain, refuse: Refuse, note: Note, count: Count, *, clock: Clock, ticks: Callable[[], int]
    ) -> None:
        """`refuse`, `note` and `count` are the gateway's own; `ticks` counts nanoseconds."""
        self._chain, self._refuse, self._note, self._count = chain, refuse, note, count
        self._now, self._ticks = clock.now, ticks
        self._known, self._ids = Cache[_Known](KEPT_MAX), RequestIds()

    def answer(self, raw: bytes, peer: str, *, secure: bool, doors: object, lines: bytes) -> bytes | None:
        """Return the whole answer to a request, or None when it is to be decided in the ordinary way."""
        known = self._known.find((raw, peer, secure))
        if known is None or known.doors is not doors:
            return None
        began, now, asked = self._ticks(), self._now(), known.asked
        asked.now, asked.request_id, asked.principal = now, self._ids.new(now), known.principal
        asked.headers, asked.reasons = [], []
        error = self._refusal(known, asked, now)
        if error is None:
            return None
        made, noted = known.made, known.noted
        if made is None or not made.tells(error, asked.headers):
            made = known.made = self._made(known, error, secure=secure)
        if noted is not None and noted.waiting and known.reasons == asked.reasons:
            noted.count += 1
        else:
            known.noted, known.reasons = self._note(asked, error, known.request.headers), asked.reasons
        asked.sent = made.size
        self._count(asked, made.status, began)
        named = asked.request_id.encode()
        return b"".join((made.head, lines, b"x-request-id: ", named, b"\r\n\r\n", named.join(made.body)))

    def keep(self, head: Head, request: Request, asked: Asked, error: Exception, *, doors: object) -> None:
        """Remember a request that was refused, if the reason can be looked at again without waiting."""
        route, principal = asked.route, asked.principal
        if route.is_page or route.refusal is not None or not is_fit(head, request, route):
            return
        own = copy(asked)
        stage: Stage | None = None
        passes: list[Callable[[datetime], bool]] = []
        match error:
            case InvalidKey():
                principal = None
            case GrantMissing():
                principal = error.principal
            case LimitReached():
                for each in self._chain.stages:
                    if each.refuses(own):
                        stage = each
                        break
                    standing = each.standing_for(own)
                    if standing is None:
                        return
                    passes += [standing.passes] if standing.passes is not None else []
                if stage is None:
                    return
            case _:
                return
        known = _Known(
            request=request,
            asked=own,
            error=error,
            principal=principal,
            credential=digest_of(asked.authorization or ""),
            doors=doors,
            passes=passes,
            stage=stage,
        )
        self._known.keep(head, known)

    def _made(self, known: _Known, error: IsthmusError, *, secure: bool) -> _Made:
        """Make the answer for all who are refused in these words; ids of calls are all of one length."""
        asked = known.asked
        answer = self._refuse(replace(known.request, id=asked.request_id), asked, error)
        body = answer.body if isinstance(answer.body, bytes) else b""
        answer.headers += asked.headers
        return _Made(
            error=error,
            headers=asked.headers,
            status=answer.status,
            size=len(body),
            head=seal(answer, secure=secure),
            body=body.split(asked.request_id.encode()),
        )

    def _refusal(self, known: _Known, asked: Asked, now: datetime) -> IsthmusError | None:
        """Return what still speaks against a call, or None when that is not known at once."""
        chain, principal = self._chain, known.principal
        try:
            if chain.door is not None:
                chain.door(asked)
            if principal is None:
                return known.error if chain.proof.refuses(known.credential, now=now) else None
            if chain.proof.recall(known.credential, now=now) is not principal:
                return None
        except IsthmusError:
            return None
        if known.stage is None:
            return known.error if chain.widening is None or chain.widening.silent(asked) else None
        if not all(passes(now) for passes in known.passes) or not known.stage.refuses(asked):
            return None
        try:
            known.stage.admit(asked)
        except IsthmusError as error:
            return error
        message = "a stage let a call pass that it was about to refuse"
        raise AssertionError(message)
