"""The connector and the engine behind a proxy with bad days: everything arrives, once, and what does not is told."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import web

from isthmus.app.bench.faults.proxy import Fault, Front, Script, proxy
from isthmus.kernel.status import Status
from tests.conformance.conftest import Bench

TIMES = 3
STORM = (
    *(Fault.TOO_MANY, Fault.SERVER_ERROR, Fault.RESET, Fault.LOST),
    *(Fault.TRUNCATED, Fault.EXPIRED, Fault.DOUBLED),
)
Facing = Callable[[Script], AbstractAsyncContextManager[Front]]


@pytest.fixture
def facing(bench: Bench) -> Facing:
    """Put a proxy before the counterpart of the bench."""
    kept = [each.name for each in bench.side.connector.settings if each.secret]
    secrets = [value for name in kept if (value := bench.side.counterpart.settings.get(name))]

    def expires(request: web.Request) -> bool:
        told = request.headers.get("Authorization", "")
        return bool(told) and not any(secret in told for secret in secrets)

    @asynccontextmanager
    async def front(script: Script) -> AsyncGenerator[Front]:
        script.expires = expires
        async with proxy(bench.side.counterpart.settings["url"], script) as own:
            bench.settings |= {"url": own.url, "page_rows": str(bench.side.counterpart.page_rows)}
            yield own

    return front


async def arrives(bench: Bench, facing: Facing, fault: Fault) -> None:
    """Hold that everything arrives although a fault was met a few times."""
    made = bench.side.counterpart.burst(bench.side.counterpart.page_rows + 1)
    async with facing(Script.of({fault: TIMES})) as front:
        run = await bench.begin()
        assert run.status is Status.HEALTHY, run.error
        assert front.met[fault] == TIMES
        assert all([await bench.held(each) for each in made])


async def test_too_many_requests(bench: Bench, facing: Facing) -> None:
    await arrives(bench, facing, Fault.TOO_MANY)


async def test_server_errors(bench: Bench, facing: Facing) -> None:
    await arrives(bench, facing, Fault.SERVER_ERROR)


async def test_resets(bench: Bench, facing: Facing) -> None:
    await arrives(bench, facing, Fault.RESET)


async def test_truncated_answers(bench: Bench, facing: Facing) -> None:
    await arrives(bench, facing, Fault.TRUNCATED)


async def test_slow_answers(bench: Bench, facing: Facing) -> None:
    await arrives(bench, facing, Fault.SLOW)


async def test_skewed_date_header(bench: Bench, facing: Facing) -> None:
    made, text = bench.side.make()
    async with facing(Script.of({Fault.SKEWED: 1})) as front:
        run = await bench.begin()
        assert run.status is Status.HEALTHY, run.error
        assert front.met[Fault.SKEWED] == 1
        assert bench.pauses == [], "the second that it asked for was waited for, and not two days"
    assert await bench.held(made) == text


async def test_expired_token(bench: Bench, facing: Facing) -> None:
    first, _ = bench.side.counterpart.fields
    made, _ = bench.side.make()
    async with facing(Script(lambda _: None)) as front:
        await bench.begin()
        text = bench.side.name("After the session was over")
        await bench.edit(made, **{first: text})
        left = [Fault.EXPIRED]
        assert front.script is not None
        expires = front.script.expires
        front.script.due = lambda request: left.pop() if left and expires(request) else None
        run = await bench.sync()
        assert run.status is Status.HEALTHY, run.error
        assert front.met[Fault.EXPIRED] == 1
    held = bench.side.counterpart.held(made)
    assert held is not None
    assert held[first] == text


async def test_garbage_answers(bench: Bench, facing: Facing) -> None:
    made, text = bench.side.make()
    async with facing(Script(lambda _: None)) as front:
        await bench.begin()
        assert front.script is not None
        later, later_text = bench.side.make()
        front.script.due = lambda _: Fault.GARBAGE
        run = await bench.sync()
        assert run.status is Status.NEEDS_ATTENTION
        assert run.error
        assert (await bench.held(made), await bench.held(later)) == (text, None)
        front.script.due = lambda _: None
        run = await bench.sync()
        assert run.status is Status.HEALTHY, run.error
        assert await bench.held(later) == later_text


async def test_storm(bench: Bench, facing: Facing) -> None:
    first, second = bench.side.counterpart.fields
    made = bench.side.counterpart.burst(bench.side.counterpart.page_rows * 2)
    async with facing(Script.storm(7, share=0.2, kinds=STORM)) as front:
        await bench.begin()
        texts = {each: bench.side.name("Ours") for each in made[:5]}
        for each, text in texts.items():
            await bench.edit(each, **{first: text})
        theirs = bench.side.name("Theirs")
        bench.side.counterpart.put(made[6], {first: theirs})
        new = bench.side.name("Made here")
        await bench.make(**{first: new, second: "Ghent"})
        runs = [await bench.sync() for _ in range(4)]
        assert front.met.total() > 5
        assert front.script is not None
        front.script.due = lambda _: None
        last = await bench.sync()
        assert last.status is Status.HEALTHY, last.error
        assert all(run.status in (Status.HEALTHY, Status.DEGRADED) or run.error for run in runs)
    for each, text in texts.items():
        held = bench.side.counterpart.held(each)
        assert held is not None
        assert held[first] == text == await bench.held(each)
    assert await bench.held(made[6]) == theirs
    assert all([await bench.held(each) for each in made])
    assert [each.values[first] for each in await bench.records()].count(new) == 1
