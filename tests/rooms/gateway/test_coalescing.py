"""A question that many ask at once is worked out once for all who asked before it was taken up."""

import asyncio
from dataclasses import dataclass, field

import pytest

from isthmus.gateway.coalescing import Coalescing


@dataclass
class Work:
    """Work that waits for a gate and counts how often it was begun."""

    begun: int = 0
    fails: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def do(self) -> int:
        self.begun += 1
        number = self.begun
        await self.gate.wait()
        if self.fails:
            raise LookupError(str(number))
        return number


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_while_it_is_worked_out_gets_the_next_answer_with_all_others() -> None:
    together, work = Coalescing[int](), Work()
    first = [asyncio.create_task(together.ask("q", work.do)) for _ in range(5)]
    await settle()
    later = [asyncio.create_task(together.ask("q", work.do)) for _ in range(20)]
    await settle()
    assert work.begun == 1
    work.gate.set()
    assert await asyncio.gather(*first) == [1] * 5
    assert await asyncio.gather(*later) == [2] * 20


async def test_other_questions_wait_for_nobody() -> None:
    together, work = Coalescing[int](), Work()
    asked = [asyncio.create_task(together.ask(name, work.do)) for name in "abc"]
    await settle()
    assert work.begun == 3
    work.gate.set()
    await asyncio.gather(*asked)


async def test_whoever_began_it_and_goes_away_takes_nothing_from_the_others() -> None:
    together, work = Coalescing[int](), Work()
    asked = [asyncio.create_task(together.ask("q", work.do)) for _ in range(3)]
    await settle()
    asked[0].cancel()
    await settle()
    work.gate.set()
    assert await asyncio.gather(*asked[1:]) == [1, 1]


async def test_an_error_is_told_to_all_and_not_kept() -> None:
    together, work = Coalescing[int](), Work(fails=True)
    asked = [asyncio.create_task(together.ask("q", work.do)) for _ in range(3)]
    work.gate.set()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in told] == [LookupError] * 3
    work.fails = False
    assert await together.ask("q", work.do) == 2
    work.fails = True
    with pytest.raises(LookupError):
        await together.ask("q", work.do)
