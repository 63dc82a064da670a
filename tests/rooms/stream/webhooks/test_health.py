"""An endpoint that fails is left alone, tried, disabled in the end, and goes on by itself without losing anything."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.stream.webhooks.endpoints import Endpoint
from isthmus.stream.webhooks.retrying import ATTEMPTS_MAX, DELAYS_S, JITTER, closed_for, next_try, retry_after_s
from isthmus.stream.webhooks.running import WAITING_MAX
from tests.rooms.stream.webhooks.conftest import Post
from tests.rooms.stream.webhooks.receiving import Receiver

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@given(step=st.integers(1, 12), seed=st.integers(0, 2**32), after_s=st.none() | st.floats(0, 90_000))
def test_a_retry_is_never_early_hardly_late_and_never_before_the_receiver_asked(
    step: int, seed: int, after_s: float | None
) -> None:
    at = next_try(step, now=NOW, after_s=after_s, chance=Random(seed))
    if step >= ATTEMPTS_MAX:
        assert at is None
        return
    assert at is not None
    waited = (at - NOW).total_seconds()
    assert waited >= max(DELAYS_S[step - 1], after_s or 0) - 0.001
    assert waited <= max(DELAYS_S[step - 1] * (1 + JITTER), after_s or 0) + 0.001


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("Mon, 23 Nov 2026 12:02:00 GMT", 120),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("999999999999", 86_400),
        ("soon", None),
        ("-5", None),
        ("१२", None),
    ],
)
def test_what_retry_after_asks_for_is_read_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, now=NOW) == seconds


def test_the_pause_grows_with_the_time_of_failing() -> None:
    assert closed_for(4, failing_for=timedelta(hours=1), chance=Random(1)) is None
    pauses = [closed_for(5, failing_for=timedelta(seconds=each), chance=Random(1)) for each in (0, 60, 10_000)]
    seconds = [each.total_seconds() for each in pauses if each is not None]
    assert seconds == sorted(seconds)
    assert 10 <= seconds[0] <= 12
    assert 300 <= seconds[-1] <= 360


async def failing(post: Post, receiving: Receiver) -> Endpoint:
    """Register an endpoint and have it fail five times."""
    receiving.status = 500
    endpoint, _ = await post.register(receiving.url)
    await post.happen(*range(1, 6))
    assert await post.go() == 5
    return endpoint


async def test_after_five_failures_one_call_tries_it_and_a_success_lets_all_through(
    post: Post, receiving: Receiver
) -> None:
    endpoint = await failing(post, receiving)
    assert (await post.of(endpoint)).status == "retrying"
    assert await post.go(seconds=7) == 0
    assert await post.go(seconds=6) == 1
    receiving.status = 200
    assert await post.go(seconds=60) == 4
    assert (await post.of(endpoint)).status == "healthy"
    assert await post.go(seconds=400) == 1
    assert {each.status for each in await post.deliveries(endpoint)} == {"delivered"}


async def test_while_it_fails_the_log_keeps_what_is_not_written_down(post: Post, receiving: Receiver) -> None:
    endpoint = await failing(post, receiving)
    await post.happen(*range(6, 606))
    await post.read()
    waiting = len(await post.deliveries(endpoint))
    assert WAITING_MAX <= waiting < 605
    receiving.status = 200
    await post.go(seconds=600)
    await post.go()
    assert set(receiving.seqs) == set(range(1, 606))


async def test_after_five_days_it_is_disabled_and_an_answer_lets_it_go_on(post: Post, receiving: Receiver) -> None:
    endpoint = await failing(post, receiving)
    for _ in range(6):
        await post.happen(100)
        await post.go(days=1)
    found = await post.of(endpoint)
    assert (found.status, found.reason) == ("needs attention", "It answered 500.")
    calls = len(receiving.messages)
    await post.happen(*range(200, 300))
    assert await post.go(minutes=59) == 0
    receiving.status = 200
    assert await post.go(hours=13) > 0
    assert (await post.of(endpoint)).status == "healthy"
    assert await post.go() >= 100
    told = set(receiving.seqs[calls:])
    assert set(range(12, 112)) <= told


async def test_a_receiver_that_asks_for_a_pause_gets_one(post: Post, receiving: Receiver) -> None:
    receiving.status, receiving.headers = 429, {"Retry-After": "120"}
    endpoint, _ = await post.register(receiving.url)
    await post.happen(1)
    assert await post.go() == 1
    receiving.status, receiving.headers = 200, {}
    await post.happen(2)
    assert await post.go(seconds=110) == 0
    assert await post.go(seconds=20) == 2
    assert (await post.of(endpoint)).status == "healthy"


async def test_a_receiver_that_is_gone_is_not_called_again(post: Post, receiving: Receiver) -> None:
    receiving.status = 410
    endpoint, _ = await post.register(receiving.url)
    await post.happen(1)
    assert await post.go() == 1
    assert await post.go(days=3) == 0
    found = await post.of(endpoint)
    assert (found.status, found.reason) == ("paused", "It answered 410.")


async def test_an_endpoint_is_not_sent_more_than_its_rate(post: Post, receiving: Receiver) -> None:
    await post.register(receiving.url, per_second=20)
    await post.happen(*range(1, 101))
    await post.read()
    for _ in range(40):
        await post.go(milliseconds=50)
    assert 38 <= len(receiving.messages) <= 44
