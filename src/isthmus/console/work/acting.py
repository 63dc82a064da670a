"""What the buttons of the page do to everything that waits for one reason."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from isthmus.console.work.views import CauseKind
from isthmus.gateway import Services
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.store.database import Scope, Transaction
from isthmus.stream import parked
from isthmus.stream.jobs import board
from isthmus.stream.jobs.job import JOB_PREFIX
from isthmus.sync.inbound import stuck_alike
from isthmus.sync.letters import LETTER_PREFIX, MESSAGE_PREFIX, Finder, discard_letter, retry_letter

AT_ONCE_MAX = 100
Deed: TypeAlias = Callable[[Transaction, str], Awaitable[int]]
"""Does it to one, named by its id; returns how many were done, 0 when it failed again."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One reason why something waits: of which sort, for whom, and the reason itself."""

    kind: CauseKind
    who: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What came of it: how many were done, how many could not be, and whether there are more to ask for again."""

    done: int = 0
    failed: int = 0
    more: bool = False


async def retry_cause(services: Services, scope: Scope, cause: Cause, *, find: Finder) -> Tally:
    """Try again what waits for one reason, a hundred at once at most, each in a transaction of its own."""

    async def letter(tx: Transaction, own: str) -> int:
        found = await retry_letter(tx, own, find=find)
        return found.done + found.queued

    async def job(tx: Transaction, own: str) -> int:
        await board.again(tx, uuid_of(JOB_PREFIX, own))
        return 1

    return await _to_each(services, scope, cause, job if cause.kind == "job" else letter)


async def discard_cause(services: Services, scope: Scope, cause: Cause) -> Tally:
    """Give up what waits for one reason and for nothing before it, a hundred at once at most."""

    async def letter(tx: Transaction, own: str) -> int:
        await discard_letter(tx, own, vault=services.vault)
        return 1

    async def job(tx: Transaction, own: str) -> int:
        await board.discard(tx, uuid_of(JOB_PREFIX, own))
        return 1

    return await _to_each(services, scope, cause, job if cause.kind == "job" else letter)


async def _to_each(services: Services, scope: Scope, cause: Cause, deed: Deed) -> Tally:
    async with services.database.transaction(scope) as tx:
        waiting = await _waiting(tx, cause, limit=AT_ONCE_MAX + 1)
    done = failed = 0
    for own in waiting[:AT_ONCE_MAX]:
        try:
            async with services.database.transaction(scope) as tx:
                count = await deed(tx, own)
        except (Conflicting, NotFound):
            # Somebody else was faster, or another job for the same waits already: it stays as it is.
            count = 0
        done, failed = done + count, failed + (count == 0)
    return Tally(done=done, failed=failed, more=len(waiting) > AT_ONCE_MAX)


async def _waiting(tx: Transaction, cause: Cause, *, limit: int) -> Sequence[str]:
    if cause.kind == "event":
        found = await parked.heads(tx, consumer=cause.who, reason=cause.reason, limit=limit)
        return [text_of(LETTER_PREFIX, each.id) for each in found]
    if cause.kind == "message":
        stuck = await stuck_alike(tx, connection=cause.who, reason=cause.reason, limit=limit)
        return [text_of(MESSAGE_PREFIX, each) for each in stuck]
    jobs = await board.waiting(tx, kind=cause.who, reason=cause.reason, limit=limit)
    return [text_of(JOB_PREFIX, each) for each in jobs]
