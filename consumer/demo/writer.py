"""Writes the games while the worker runs: the first half at once, the rest when it is told to."""

import threading
from collections.abc import Iterable
from itertools import islice

from consumer.aws.source import BATCH_ITEMS, DynamoSource
from consumer.demo.games import Record
from consumer.demo.tally import Tally


class Writer:
    """A thread of its own, so that games go on while the worker is dead. `written` counts records."""

    def __init__(self, source: DynamoSource, records: Iterable[Record], pause_at: int, stop: threading.Event) -> None:
        self.tally = Tally()
        self.written = 0
        self.failure: Exception | None = None
        self._source = source
        self._records = iter(records)
        self._pause_at = pause_at
        self._stop = stop
        self._go_on = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to write, or no way to."""
        return not self._thread.is_alive()

    def start(self) -> None:
        """Begins with the first half."""
        self._thread.start()

    def go_on(self) -> None:
        """Goes on with the second half."""
        self._go_on.set()

    def close(self) -> None:
        """Waits for the batch under way; `stop` must be set."""
        self._go_on.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._write(self._pause_at)
            self._go_on.wait()
            self._write(None)
        except Exception as failure:  # noqa: BLE001 - whoever watches this thread raises it again
            self.failure = failure

    def _write(self, end: int | None) -> None:
        while not self._stop.is_set():
            room = BATCH_ITEMS if end is None else min(BATCH_ITEMS, end - self.written)
            batch = list(islice(self._records, room))
            if not batch:
                return
            self._source.write([record.image for record in batch])
            for record in batch:
                self.tally.add(record)
            self.written += len(batch)
