"""Changes written one by one, several at a time: for vendors that take one record with a request.

What is under way at once is bounded; the vendor's allowances are asked for each request all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.stream.limits import VendorQuotaUsedUp
from isthmus.sync.connector import (
    Change,
    ConnectorError,
    KeyRefused,
    Outcome,
    Setting,
    Throttled,
    Written,
)

AT_ONCE, AT_ONCE_MAX = 16, 32
SETTING = Setting(name="writes_at_once", about="Records written at the same time, 1 to 32.", default="4")


def at_once_of(settings: Mapping[str, str]) -> int:
    """Return how many records may be written at the same time; raises ConnectorError for what is no such number."""
    given = (settings.get(SETTING.name) or SETTING.default or "").strip()
    if not (given.isascii() and given.isdecimal() and 1 <= int(given) <= AT_ONCE_MAX):
        raise ConnectorError(
            f"`{SETTING.name}` is 1 to {AT_ONCE_MAX}.", fix=f"Give {SETTING.default}, or leave it out."
        )
    return int(given)


def _none(_: Change) -> bool:
    return False


async def abreast(
    changes: Sequence[Change],
    write: Callable[[Change], Awaitable[Written]],
    *,
    at_once: int = AT_ONCE,
    in_turn: Callable[[Change], bool] = _none,
) -> list[Written]:
    """Return the answer for each change, in their order; `write` is called for `at_once` of them at a time.

    Changes of one record, and of records that point to one, are written one after the other, in their order; and so are
    those of which `in_turn` is true. After the vendor could not be reached, asked to slow down or refused the key,
    nothing more is begun: the rest has failed, with the reason. Raises KeyRefused, Throttled and VendorQuotaUsedUp
    while nothing has been written, and what else `write` raises that is no ConnectorError, when what is under way has
    ended.
    """
    lanes = _lanes(changes, in_turn)
    writing = _Writing(changes, write, iter(lanes), [None] * len(changes))
    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(lanes))):
            group.create_task(writing.work())
    return writing.answered()


@dataclass(slots=True)
class _Writing:
    """What is under way: lanes that nobody took yet, the answers so far, and what went wrong."""

    changes: Sequence[Change]
    write: Callable[[Change], Awaitable[Written]]
    waiting: Iterator[list[int]]
    answers: list[Written | None]
    stopped: list[Exception] = field(default_factory=list[Exception])
    broken: list[Exception] = field(default_factory=list[Exception])

    async def work(self) -> None:
        """Write lane after lane until none is left or something went wrong."""
        for lane in self.waiting:
            for place in lane:
                if self.stopped or self.broken:
                    return
                try:
                    self.answers[place] = await self.write(self.changes[place])
                except (ConnectorError, VendorQuotaUsedUp) as error:
                    self.stopped.append(error)
                except Exception as error:  # noqa: BLE001 - it is raised when what is under way has ended.
                    self.broken.append(error)

    def answered(self) -> list[Written]:
        """Return an answer for each change; raises as `abreast` does."""
        if self.broken:
            raise self.broken[0]
        written = any(each is not None and each.outcome is Outcome.WRITTEN for each in self.answers)
        for error in self.stopped:
            if not written and isinstance(error, KeyRefused | Throttled | VendorQuotaUsedUp):
                raise error
        reason = str(self.stopped[0]) if self.stopped else ""
        return [each or _failed(self.changes[place], reason) for place, each in enumerate(self.answers)]


def _lanes(changes: Sequence[Change], in_turn: Callable[[Change], bool]) -> list[list[int]]:
    """Return the places of changes that are written one after the other: those that have a record in common."""
    first: dict[object, int] = {}
    before = list(range(len(changes)))

    def root(place: int) -> int:
        while before[place] != place:
            before[place] = place = before[before[place]]
        return place

    for place, change in enumerate(changes):
        marks: list[object] = [*change.links.values(), *([change.external_id] if change.external_id else [])]
        for mark in [*marks, in_turn] if in_turn(change) else marks:
            one, other = sorted((root(place), root(first.setdefault(mark, place))))
            before[other] = one
    lanes: dict[int, list[int]] = {}
    for place in range(len(changes)):
        lanes.setdefault(root(place), []).append(place)
    return list(lanes.values())


def _failed(change: Change, reason: str) -> Written:
    return Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=reason)
