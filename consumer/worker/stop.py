"""The wish to stop: SIGTERM and SIGINT only say so; whoever turns a loop looks. A second signal ends the process."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

SECOND_SIGNAL_EXIT: Final = 7


class Stop:
    """`event` is set once somebody wants an end; `wake` is called then, to cut a wait short."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.wake: Callable[[], None] = lambda: None

    def wish(self) -> None:
        """Safe in a signal handler."""
        self.event.set()
        self.wake()

    def catch_signals(self) -> None:
        """Call it from the main thread. A second signal exits at once with code 7."""
        signal.signal(signal.SIGTERM, self._caught)
        signal.signal(signal.SIGINT, self._caught)

    def _caught(self, _signum: int, _frame: FrameType | None) -> None:
        if self.event.is_set():
            os._exit(SECOND_SIGNAL_EXIT)
        self.wish()
