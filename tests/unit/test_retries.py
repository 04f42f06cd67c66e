"""Waits between attempts, and the loop that makes a call until it succeeds."""

import random
from threading import Event

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.retries import JitteredBackoff, persist


@pytest.mark.parametrize(("attempt", "most"), [(1, 0.05), (2, 0.1), (3, 0.2), (7, 3.2), (8, 5.0), (100_000, 5.0)])
def test_waits_double_up_to_the_most_and_are_jittered_down_to_half(attempt: int, most: float) -> None:
    waits = [JitteredBackoff(random.Random(seed)).delay(attempt) for seed in range(50)]
    assert all(most / 2 <= wait <= most for wait in waits)
    assert len(set(waits)) > 40


def test_jitter_comes_from_the_given_source_alone() -> None:
    def waits() -> list[float]:
        backoff = JitteredBackoff(random.Random(7), first_seconds=1.0, most_seconds=60.0)
        return [backoff.delay(attempt) for attempt in range(1, 20)]

    random.seed(1)
    before, first = random.getstate(), waits()
    assert random.getstate() == before, "the global source is left alone"
    random.seed(2)
    assert waits() == first


def test_persist_returns_the_first_result() -> None:
    assert persist(lambda: 7, seconds=1.0, stop=Event()) == 7


def test_persist_raises_at_once_what_no_retry_can_cure() -> None:
    def broken() -> None:
        raise LookupError("a defect")

    with pytest.raises(LookupError, match="a defect"):
        persist(broken, seconds=60.0, stop=Event())


def test_persist_stops_on_the_event_with_the_last_failure() -> None:
    stop, attempts = Event(), 0

    def refuse() -> None:
        nonlocal attempts
        attempts += 1
        stop.set()
        raise CallFailed(FailureKind.THROTTLED, f"attempt {attempts}")

    with pytest.raises(CallFailed, match="attempt 1"):
        persist(refuse, seconds=60.0, stop=stop)
    assert attempts == 1


def test_persist_gives_up_after_its_time_with_the_last_failure() -> None:
    attempts = 0

    def refuse() -> None:
        nonlocal attempts
        attempts += 1
        raise CallFailed(FailureKind.THROTTLED, f"attempt {attempts}")

    with pytest.raises(CallFailed, match="attempt 1"):
        persist(refuse, seconds=0.0, stop=Event())
    assert attempts == 1


def test_persist_retries_the_errors_that_it_was_given() -> None:
    class Impatient(Event):
        """Time passes at once."""

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            assert 0 < timeout <= 2.0
            return False

    attempts = 0

    def call() -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise KeyError(attempts)
        return attempts

    assert persist(call, seconds=60.0, stop=Impatient(), retry_on=lambda error: isinstance(error, KeyError)) == 3
