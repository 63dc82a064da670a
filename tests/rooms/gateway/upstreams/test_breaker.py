"""A circuit opens after enough failures, tries carefully, and closes again; retries stay a share of the calls."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.gateway.upstreams.breaker import Breaker, RetryAllowance, Tolerance


def broken(breaker: Breaker, *, at: float = 0.0) -> Breaker:
    """Return it after so many failures that it is open."""
    for _ in range(5):
        assert breaker.admit(at)
        breaker.failed(at)
    assert breaker.state(at) == "open"
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(Tolerance())
    for _ in range(50):
        for _ in range(4):
            breaker.failed(0.0)
        for _ in range(8):
            breaker.succeeded(0.0)
    assert breaker.state(0.0) == "closed"
    broken(breaker)
    assert not breaker.admit(4.9)


def test_a_share_of_recent_calls_opens_it_and_old_ones_are_forgotten() -> None:
    for apart_s, state in ((0.1, "open"), (1.0, "closed")):
        breaker = Breaker(Tolerance())
        for number in range(20):
            (breaker.failed if number % 2 else breaker.succeeded)(number * apart_s)
        assert breaker.state(20 * apart_s) == state


def test_half_open_lets_one_call_pass_at_a_time_and_closes_after_two_good_ones() -> None:
    breaker = broken(Breaker(Tolerance()))
    assert breaker.state(5.0) == "half-open"
    assert [breaker.admit(5.0) for _ in range(3)] == [True, False, False]
    breaker.succeeded(5.1)
    assert breaker.state(5.1) == "half-open"
    assert breaker.admit(5.1)
    breaker.succeeded(5.2)
    assert breaker.state(5.2) == "closed"
    assert breaker.retry_after_s(5.2) == 0


def test_a_failed_try_opens_it_for_twice_as_long_up_to_a_minute() -> None:
    breaker, now, waits = broken(Breaker(Tolerance())), 0.0, list[float]()
    for _ in range(6):
        waits.append(breaker.retry_after_s(now))
        now += breaker.open_s
        assert breaker.admit(now)
        breaker.failed(now)
    assert waits == [5, 10, 20, 40, 60, 60]


def test_a_try_whose_caller_goes_away_makes_room_for_another() -> None:
    breaker = broken(Breaker(Tolerance()))
    assert breaker.admit(5.0)
    breaker.abandoned()
    assert breaker.admit(5.0)


@given(st.lists(st.booleans(), max_size=400))
def test_whatever_is_wished_retries_are_at_most_a_fifth_of_calls(wishes: list[bool]) -> None:
    budget, retries = RetryAllowance(), 0
    for calls, wish in enumerate(wishes, 1):
        budget.called()
        retries += wish and budget.take()
        assert retries <= calls * 0.2 + 1e-6


def test_unspent_retries_do_not_pile_up() -> None:
    budget = RetryAllowance()
    for _ in range(10_000):
        budget.called()
    assert sum(budget.take() for _ in range(100)) == 10
