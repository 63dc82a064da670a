"""Callers who come at the same moment are served together, each with a result of their own."""

import asyncio
from collections.abc import Sequence

import pytest

from isthmus.kernel.errors import Invalid, Unavailable
from isthmus.sync.gathering import Gathering


class Work:
    """Work that ends when it is let, and remembers what was done together."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.gate = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        """Return ten times each item; 13 cannot be done, and after 99 nothing can."""
        self.turns.append(list(items))
        await self.gate.wait()
        if 13 in items:
            raise Invalid("13 cannot be done.")
        if 99 in items:
            raise Unavailable("Nothing can be done.")
        return [10 * each for each in items]


async def asked(gathering: Gathering, work: Work, *items: int) -> list[asyncio.Task[int]]:
    """Ask for each item, the first of them alone."""
    tasks: list[asyncio.Task[int]] = []
    for each in items:
        tasks.append(asyncio.create_task(gathering.ask("tens", each, work)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return tasks


async def test_who_comes_meanwhile_shares_the_next_turn() -> None:
    work = Work()
    tasks = await asked(Gathering(together_max=3), work, 1, 2, 3, 4, 5)
    work.gate.set()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50]
    assert work.turns == [[1], [2, 3, 4], [5]]


async def test_nobody_fails_by_what_another_one_brought() -> None:
    work = Work()
    tasks = await asked(Gathering(), work, 1, 2, 13, 4)
    work.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results.pop(2), Invalid)
    assert results == [10, 20, 40]
    assert work.turns == [[1], [2, 13, 4], [2], [13], [4]]


async def test_what_nobody_can_do_is_not_tried_again_for_each() -> None:
    work = Work()
    tasks = await asked(Gathering(), work, 1, 2, 99)
    work.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [int, Unavailable, Unavailable]
    assert work.turns == [[1], [2, 99]]


async def test_who_went_away_before_their_turn_is_passed_over_and_all_begin_anew_later() -> None:
    work, gathering = Work(), Gathering()
    tasks = await asked(gathering, work, 1, 2, 3)
    tasks[1].cancel()
    await asyncio.sleep(0)
    work.gate.set()
    assert await asyncio.gather(tasks[0], tasks[2]) == [10, 30]
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    assert await gathering.ask("tens", 7, work) == 70
    assert work.turns == [[1], [3], [7]]
