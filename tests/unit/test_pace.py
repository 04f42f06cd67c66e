import threading
from threading import Event

import pytest

from consumer.aws.pace import Pace


class Clock(Event):
    """Monotonic seconds, which a wait on it passes."""

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


def moments(pace: Pace, clock: Clock, calls: int) -> list[float]:
    """When each of so many calls in a row may be made, in seconds from now."""
    began = clock.now
    told = []
    for _ in range(calls):
        pace.wait()
        told.append(clock.now - began)
    return told


@pytest.mark.parametrize(
    ("burst", "expected"),
    [(1, [0.0, 0.25, 0.5, 0.75, 1.0]), (2, [0.0, 0.0, 0.25, 0.5, 0.75]), (4, [0.0, 0.0, 0.0, 0.0, 0.25])],
)
def test_a_burst_and_then_one_after_the_other(clock: Clock, burst: int, expected: list[float]) -> None:
    assert moments(Pace(4, burst, clock, clock), clock, 5) == expected


def test_who_is_slow_anyway_never_waits(clock: Clock) -> None:
    pace = Pace(4, 1, clock, clock)
    for _ in range(5):
        assert moments(pace, clock, 1) == [0.0]
        clock.now += 0.25


def test_a_rest_earns_no_more_than_a_burst(clock: Clock) -> None:
    pace = Pace(4, 2, clock, clock)
    moments(pace, clock, 5)
    clock.now += 3600
    assert moments(pace, clock, 4) == [0.0, 0.0, 0.25, 0.5]


@pytest.mark.parametrize("burst", [1, 2, 3])
def test_no_second_has_more_than_the_pace_and_the_burst(clock: Clock, burst: int) -> None:
    told = moments(Pace(8, burst, clock, clock), clock, 50)
    assert max(sum(start <= each < start + 1 for each in told) for start in told) <= 8 + burst - 1


def test_once_it_is_to_stop_nobody_waits(clock: Clock) -> None:
    pace = Pace(0.001, 1, clock, clock)
    clock.set()
    assert moments(pace, clock, 5) == [0.0] * 5


def test_a_stop_ends_a_wait() -> None:
    stop = Event()
    pace = Pace(0.001, 1, stop)
    pace.wait()
    waiter = threading.Thread(target=pace.wait, daemon=True)
    waiter.start()
    stop.set()
    waiter.join(10)
    assert not waiter.is_alive()


def test_threads_share_it() -> None:
    """Each gets a moment of its own, however they come."""
    pauses: list[float | None] = []

    class Told(Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return False

    pace = Pace(4, 1, Told(), lambda: 0.0)
    threads = [threading.Thread(target=pace.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pause or 0 for pause in pauses) == [number / 4 for number in range(1, 20)]
