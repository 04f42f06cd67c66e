"""A thread that runs beside a test."""

import threading
from abc import ABC, abstractmethod
from typing import Final, Self

_JOIN_SECONDS: Final = 60.0


class Background(ABC):
    """Use it in a `with`: `run` ends when `stop` is set, at the end of the block. `failure` is what it raised."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(_JOIN_SECONDS)

    @property
    def running(self) -> bool:
        """Whether `run` has not ended. Raises its failure."""
        if self.failure is not None:
            raise self.failure
        return self._thread.is_alive()

    @abstractmethod
    def run(self) -> None:
        """What runs in the thread."""

    def _run(self) -> None:
        try:
            self.run()
        except Exception as failure:  # noqa: BLE001  the main thread raises it
            self.failure = failure
