"""The wish to stop: SIGTERM and SIGINT only say so; whoever turns a loop looks. A second signal ends the process."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

SECOND_SIGNAL_EXIT: Final = 7
ECHO_SECONDS: Final = 0.05
"""timeout(1), a shell's Ctrl-C or make signal a process and its group: so soon after the first it is an echo of it."""


class Stop:
    """`event` is set once somebody wants an end; `wake` is called then, to cut a wait short."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.wake: Callable[[], None] = lambda: None
        self._caught_at = 0.0

    def wish(self) -> None:
        """Safe in a signal handler."""
        self.event.set()
        self.wake()

    def catch_signals(self) -> None:
        """Call it from the main thread. A second signal exits at once with code 7."""
        signal.signal(signal.SIGTERM, self._caught)
        signal.signal(signal.SIGINT, self._caught)

    def ignore_signals(self) -> None:
        """From now on the end is near, whatever comes: its exit code shall stay what it is."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _caught(self, _signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.event.is_set() and now - self._caught_at > ECHO_SECONDS:
            os._exit(SECOND_SIGNAL_EXIT)
        self._caught_at = now
        self.wish()
