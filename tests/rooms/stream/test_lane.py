"""One connection for many callers: commands go together, answers come in order, and what breaks is told at once."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isthmus.app.engines.binaries import find_valkey
from isthmus.stream.lane import Lane, LaneAddress, LaneAway, LaneRefused
from tests.rooms.stream.stage import OwnValkey, until


@pytest.fixture
async def lane(valkey: OwnValkey) -> AsyncIterator[Lane]:
    """A connection to a Valkey that runs."""
    valkey.start()
    lane = Lane(LaneAddress(socket_path=valkey.socket), answer_s=1.0)
    await lane.open()
    yield lane
    await lane.close()


async def test_callers_of_one_moment_share_a_write_and_get_their_own_answers(lane: Lane) -> None:
    answers = await asyncio.gather(*(lane.ask("ECHO", f"{n}" * (n % 50)) for n in range(500)))
    assert answers == [f"{n}".encode() * (n % 50) for n in range(500)]
    assert lane.writes <= 3


async def test_an_error_is_told_to_whom_it_belongs(lane: Lane) -> None:
    good, bad, after = await asyncio.gather(
        lane.ask("SET", "a", "b"), lane.ask("INCR", "a"), lane.ask("GET", "a"), return_exceptions=True
    )
    assert (good, after) == (b"OK", b"b")
    assert isinstance(bad, LaneRefused)


async def test_a_caller_who_goes_away_takes_nobody_elses_answer(lane: Lane) -> None:
    first = asyncio.ensure_future(lane.ask("ECHO", "one"))
    second = asyncio.ensure_future(lane.ask("ECHO", "two"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"two"


async def test_a_killed_valkey_fails_what_waits_and_is_found_again_when_it_is_back(
    lane: Lane, valkey: OwnValkey
) -> None:
    waiting = asyncio.ensure_future(lane.ask("BLPOP", "nothing", 0))
    await asyncio.sleep(0.05)
    valkey.kill()
    with pytest.raises(LaneAway):
        await waiting
    began = time.perf_counter()
    with pytest.raises(LaneAway):
        await lane.ask("PING")
    assert time.perf_counter() - began < 0.1
    valkey.start()
    await until(lambda: lane.up)
    assert await lane.ask("PING") == b"PONG"


async def test_a_connection_that_answers_nothing_is_given_up(lane: Lane) -> None:
    await lane.ask("CLIENT", "PAUSE", 3000)
    with pytest.raises(LaneAway):
        async with asyncio.timeout(2.5):
            await lane.ask("INCR", "a")


async def test_it_speaks_over_tcp_with_a_password(tmp_path: Path) -> None:
    binary, port = find_valkey(), 26_379
    assert binary is not None
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", "s3cret", "--save", "", "--dir", tmp_path]
    running = await asyncio.create_subprocess_exec(str(binary), *map(str, arguments), stdout=subprocess.DEVNULL)
    try:
        lane = Lane(LaneAddress(host="127.0.0.1", port=port, password="s3cret", database=1))
        await lane.open()
        await until(lambda: lane.up)
        assert await lane.ask("PING") == b"PONG"
        await lane.close()
        stranger = Lane(LaneAddress(host="127.0.0.1", port=port, password="wrong"))
        await stranger.open()
        assert not stranger.up
        await stranger.close()
    finally:
        running.kill()
        await running.wait()
