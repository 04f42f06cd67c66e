import threading
from threading import Event

import pytest

from consumer.aws.streams import RateLimiter


class Clock(Event):
    """A monotonic clock in seconds; a wait on it lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert timeout > 0
        self.now += 0 if self.is_set() else timeout
        return self.is_set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def seconds_of_calls(rate_limiter: RateLimiter, clock: Clock, calls: int) -> list[float]:
    """When so many calls in a row may be made, in seconds from now."""
    began = clock.now
    at = []
    for _ in range(calls):
        rate_limiter.wait()
        at.append(clock.now - began)
    return at


@pytest.mark.parametrize(
    ("burst", "expected"),
    [(1, [0.0, 0.25, 0.5, 0.75, 1.0]), (2, [0.0, 0.0, 0.25, 0.5, 0.75]), (4, [0.0, 0.0, 0.0, 0.0, 0.25])],
)
def test_a_burst_and_then_one_call_per_interval(clock: Clock, burst: int, expected: list[float]) -> None:
    assert seconds_of_calls(RateLimiter(4, burst, clock, clock), clock, 5) == expected


def test_a_slow_caller_never_waits(clock: Clock) -> None:
    rate_limiter = RateLimiter(4, 1, clock, clock)
    for _ in range(5):
        assert seconds_of_calls(rate_limiter, clock, 1) == [0.0]
        clock.now += 0.25


def test_a_pause_allows_no_more_than_a_burst(clock: Clock) -> None:
    rate_limiter = RateLimiter(4, 2, clock, clock)
    seconds_of_calls(rate_limiter, clock, 5)
    clock.now += 3600
    assert seconds_of_calls(rate_limiter, clock, 4) == [0.0, 0.0, 0.25, 0.5]


@pytest.mark.parametrize("burst", [1, 2, 3])
def test_no_second_has_more_calls_than_the_rate_and_the_burst(clock: Clock, burst: int) -> None:
    at = seconds_of_calls(RateLimiter(8, burst, clock, clock), clock, 50)
    assert max(sum(start <= second < start + 1 for second in at) for start in at) <= 8 + burst - 1


def test_after_the_stop_event_no_call_waits(clock: Clock) -> None:
    rate_limiter = RateLimiter(0.001, 1, clock, clock)
    clock.set()
    assert seconds_of_calls(rate_limiter, clock, 5) == [0.0] * 5


def test_a_stop_ends_a_wait() -> None:
    stop = Event()
    rate_limiter = RateLimiter(0.001, 1, stop)
    rate_limiter.wait()
    waiter = threading.Thread(target=rate_limiter.wait, daemon=True)
    waiter.start()
    stop.set()
    waiter.join(10)
    assert not waiter.is_alive()


def test_threads_share_it() -> None:
    """Every call gets its own time, in whatever order the threads come."""
    pauses: list[float | None] = []

    class RecordedPauses(Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return False

    rate_limiter = RateLimiter(4, 1, RecordedPauses(), lambda: 0.0)
    threads = [threading.Thread(target=rate_limiter.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pause or 0 for pause in pauses) == [number / 4 for number in range(1, 20)]
