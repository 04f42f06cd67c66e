"""The stop request. Real signals: the process tests."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from consumer.worker.daemon import ECHO_SECONDS, SECOND_SIGNAL_EXIT, Stop


@pytest.fixture
def stop() -> Iterator[Stop]:
    """A stop that catches signals; afterwards signals do what they did before."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    made = Stop()
    made.catch_signals()
    yield made
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])


def test_a_stop_request_is_remembered_and_cuts_a_wait_short() -> None:
    stop, woken = Stop(), []
    stop.request()
    assert stop.event.is_set()
    stop.wake = lambda: woken.append(True)
    stop.request()
    assert woken == [True]


def test_the_second_signal_ends_the_process(stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    signal.raise_signal(signal.SIGTERM)
    assert stop.event.is_set()
    signal.raise_signal(signal.SIGTERM)  # timeout(1) signals the process, and its group
    assert ended == []
    later = time.monotonic() + 2 * ECHO_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    signal.raise_signal(signal.SIGINT)
    assert ended == [SECOND_SIGNAL_EXIT]


def test_signals_that_are_ignored_change_nothing(stop: Stop) -> None:
    stop.ignore_signals()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert not stop.event.is_set()
