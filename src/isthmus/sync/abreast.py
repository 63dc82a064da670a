"""Changes written one by one, several at a time: for vendors that take one record with a request.

What is under way at once is bounded; the vendor's allowances are asked for each request all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from isthmus.sync.connector import Change, ConnectorError, KeyRefused, Outcome, Written

AT_ONCE = 16


async def abreast(
    changes: Sequence[Change], write: Callable[[Change], Awaitable[Written]], *, at_once: int = AT_ONCE
) -> list[Written]:
    """Return the answer for each change, in their order; `write` is called for `at_once` of them at a time.

    Changes of one record are written one after the other, in their order. After the vendor could not be reached nothing
    more is begun: the rest has failed, with the reason. Raises KeyRefused, and what else `write` raises that is no
    ConnectorError, when what is under way has ended.
    """
    answers: list[Written | None] = [None] * len(changes)
    lanes: dict[object, list[int]] = {}
    for place, change in enumerate(changes):
        lanes.setdefault(change.external_id or place, []).append(place)
    waiting = iter(list(lanes.values()))
    lost: list[str] = []
    broken: list[BaseException] = []

    async def worker() -> None:
        for lane in waiting:
            for place in lane:
                if lost or broken:
                    return
                try:
                    answers[place] = await write(changes[place])
                except KeyRefused as error:
                    broken.append(error)
                except ConnectorError as error:
                    lost.append(str(error))
                    answers[place] = _failed(changes[place], str(error))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(lanes))):
            group.create_task(worker())
    if broken:
        raise broken[0]
    return [answer or _failed(changes[place], lost[0]) for place, answer in enumerate(answers)]


def _failed(change: Change, reason: str) -> Written:
    return Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=reason)
