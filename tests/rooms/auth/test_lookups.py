"""What is looked up at the same moment is looked up together."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from isthmus.auth.lookups import TOGETHER_MAX, Lookups


@dataclass
class Shelf:
    """Even numbers and their halves, read slowly; it remembers how it was asked."""

    asked: list[int] = field(default_factory=list[int])
    fails: bool = False

    async def read(self, keys: Sequence[int]) -> Mapping[int, int]:
        self.asked.append(len(keys))
        await asyncio.sleep(0)
        if self.fails:
            raise LookupError
        return {key: key // 2 for key in keys if key % 2 == 0}


async def test_everybody_gets_what_is_there_of_what_they_asked_for() -> None:
    shelf = Shelf()
    gathered = Lookups(shelf.read)
    found = await asyncio.gather(*(gathered.get(number % 10) for number in range(100)))
    assert found == [number % 10 // 2 if number % 2 == 0 else None for number in range(100)]
    assert shelf.asked == [10]


async def test_questions_are_bounded_and_an_error_is_told_to_all_who_asked() -> None:
    shelf = Shelf()
    gathered = Lookups(shelf.read)
    await asyncio.gather(*(gathered.get(number) for number in range(TOGETHER_MAX + 1)))
    assert shelf.asked == [TOGETHER_MAX, 1]
    shelf.fails = True
    told = await asyncio.gather(*(gathered.get(number) for number in range(3)), return_exceptions=True)
    assert [type(each) for each in told] == [LookupError] * 3
    shelf.fails = False
    assert await gathered.get(2) == 1


async def test_whoever_goes_away_takes_nothing_from_the_others() -> None:
    gathered = Lookups(Shelf().read)
    asked = [asyncio.create_task(gathered.get(4)) for _ in range(2)]
    await asyncio.sleep(0)
    asked[0].cancel()
    assert await asked[1] == 2
    with pytest.raises(asyncio.CancelledError):
        await asked[0]
