"""The wish to stop. Real signals: the process tests."""

import os
import signal
import time

import pytest

from consumer.worker.stop import ECHO_SECONDS, SECOND_SIGNAL_EXIT, Stop


def test_a_wish_is_remembered_and_cuts_a_wait_short() -> None:
    stop, woken = Stop(), []
    stop.wish()
    assert stop.event.is_set()
    stop.wake = lambda: woken.append(True)
    stop.wish()
    assert woken == [True]


def test_the_second_signal_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    stop = Stop()
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        stop.catch_signals()
        signal.raise_signal(signal.SIGTERM)
        assert stop.event.is_set()
        signal.raise_signal(signal.SIGTERM)  # timeout(1) signals the process, and its group
        assert ended == []
        moments = iter((time.monotonic() + 2 * ECHO_SECONDS,))
        monkeypatch.setattr(time, "monotonic", lambda: next(moments))
        signal.raise_signal(signal.SIGINT)
        assert ended == [SECOND_SIGNAL_EXIT]
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_near_the_end_signals_change_nothing_any_more() -> None:
    stop = Stop()
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        stop.catch_signals()
        stop.ignore_signals()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert not stop.event.is_set()
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
